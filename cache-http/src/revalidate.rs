//! Validation of stored pages with the origin (RFC 9111, section 4.3).

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    },
};
use http_body::Body;

use crate::{
    conditional::is_weak_match,
    context::RequestContext,
    counts::Event,
    date::{self, UnixTime},
    flights::Outcome,
    page_store::Lookup,
    policy::{BodyLength, CacheMeta, Reason},
    record::{Page, Record},
    respond::{CachedResponse, PageSource, stored_response},
    response_headers::headers_to_store,
    settings::{BrowserTtl, Leader},
};

impl RequestContext {
    /// In a shared cache, adds conditions with the validators of the stored page to a request.
    /// Returns whether there are any.
    pub(crate) fn add_conditions(&self, lookup: &Lookup, headers: &mut HeaderMap) -> bool {
        let shared = self.settings.policy.is_shared();
        let Some((page, _)) = lookup
            .found
            .page()
            .filter(|(page, _)| shared && !page.meta.validation_window.is_zero())
        else {
            return false;
        };
        let mut added = false;
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = page.headers.get(&validator) {
                headers.insert(condition, value.clone());
                added = true;
            }
        }
        added
    }

    /// Whether a 304 with these headers is about the stored page (RFC 9111, section 4.3.4).
    ///
    /// A strong entity tag must equal that of the page. A weak one must match it weakly. A 304
    /// without an entity tag is about the page whose validators were sent.
    pub(crate) fn is_about(&self, lookup: &Lookup, new: &HeaderMap) -> bool {
        let text = |headers: &HeaderMap| {
            headers.get(ETAG).map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned())
        };
        let Some((page, _)) = lookup.found.page() else { return false };
        match (text(&page.headers), text(new)) {
            (Some(stored), Some(new)) if new.starts_with("W/") => is_weak_match(&stored, &new),
            (Some(stored), Some(new)) => stored == new,
            (None, _) | (_, None) => true,
        }
    }

    /// Handles a 304 that is not about the stored page.
    ///
    /// The page is removed, so that the next request, which may be waiting for this one, gets the
    /// whole response of the origin. This request has no second body to ask the origin with: it
    /// gets the page as it was stored, or a 502 if the page must not be served stale.
    pub(crate) async fn reject_validation<B: Body>(&self, lookup: &Lookup) -> CachedResponse<B> {
        self.settings.count(Event::Rejected(Reason::Validator));
        let Some((page, _)) = lookup.found.page() else { return Response::default() };
        let page_store = &self.settings.page_store;
        let removed = async {
            page_store.remove(&self.keys, page).await.map_err(|error| page_store.failed(&error))
        };
        // A failure is logged.
        let _ = self.settings.with_store_timeout(removed).await;
        if self.settings.policy.forbids_stale(&page.headers) {
            let status = StatusCode::BAD_GATEWAY;
            return self.notify_outer(stored_response(status, HeaderMap::new(), Bytes::new()));
        }
        self.stale_response(lookup)
    }

    /// Whether a page keeps its lifetime if it is validated by a 304 with these headers.
    ///
    /// The stored `Cache-Control` may be the one for browsers. It must not take the place of the
    /// one that the 304 omits.
    fn keeps_lifetime(&self, new: &HeaderMap) -> bool {
        matches!(self.settings.browser_ttl, BrowserTtl::Revalidate | BrowserTtl::SameAsCache)
            && !self.settings.policy.states_lifetime(new)
    }

    /// Stores a validated page again, with the headers of the 304. It is also the response.
    pub(crate) async fn refresh<B: Body>(
        self,
        lookup: Lookup,
        leader: Option<Leader>,
        new: HeaderMap,
        reason: Reason,
    ) -> CachedResponse<B> {
        let Some((page, _)) = lookup.found.page() else { return Response::default() };
        let now = self.settings.clock.unix_time();
        let headers = updated_headers(page, &new, now);
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.headers) = (page.status, headers);
        let body = page.body.clone();
        let length = BodyLength::Known(body.len() as u64);
        let mut fallback = Page {
            headers: headers_to_store(&head.headers, &self.settings.policy),
            stored_at: now,
            received_at: None,
            ..page.clone()
        };
        fallback.meta.initial_age = Duration::ZERO;
        let stored = PageSource::Validated { reason, stored: true };
        let not_stored = PageSource::Validated { reason, stored: false };
        let meta = match self.check_response(&head, length) {
            Ok(meta) if self.keeps_lifetime(&new) => CacheMeta {
                lifetime: page.meta.lifetime,
                stale_while_revalidate: page.meta.stale_while_revalidate,
                stale_if_error: page.meta.stale_if_error,
                ..meta
            },
            Ok(mut meta) => {
                self.settings.policy.shorten_lifetime(&mut meta, fastrand::f64());
                meta
            }
            Err(rejection) => {
                self.settings.count(Event::Rejected(rejection));
                if let Some(leader) = leader {
                    leader.complete(Outcome::Unshareable);
                }
                return self.page_response(&fallback, not_stored);
            }
        };
        // The tags of the page are not in a 304.
        let tags: Vec<String> = page.stamps.tags.iter().map(|(tag, _)| tag.clone()).collect();
        let mut pending_page = self.pending_page(lookup, leader, &mut head, meta, length);
        pending_page.add_tags(tags);
        let record = pending_page.store(body).await.ok();
        match record.as_deref().and_then(Record::page) {
            Some(page) => self.page_response(page, stored),
            None => self.page_response(&fallback, not_stored),
        }
    }
}

/// The headers of a stored page, updated with those of a 304 (RFC 9111, section 3.2).
fn updated_headers(page: &Page, new: &HeaderMap, now: UnixTime) -> HeaderMap {
    const OF_THE_BODY: [HeaderName; 4] =
        [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE];
    let mut headers = page.headers.clone();
    headers.insert(DATE, date::write(now));
    for name in new.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name.clone(), HeaderValue::clone(value));
        }
    }
    headers
}
