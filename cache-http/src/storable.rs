//! Whether a response is stored, and the page that it becomes.

use std::sync::Arc;

use http::{Extensions, response};

use crate::{
    context::RequestContext,
    extensions::{InnerCache, NoStore},
    fill_budget::Reservation,
    page_store::Lookup,
    pending_page::PendingPage,
    policy::{BodyLength, CacheMeta, Reason, content_length},
    response_headers::{headers_to_store, set_freshness},
    settings::Leader,
    tags::page_tags,
};

impl RequestContext {
    /// Decides whether a new page is stored, and reserves the bytes of its body.
    ///
    /// Admission comes last: a page that there is no room for must not count as a stored one.
    pub(crate) fn accept_page(
        &self,
        head: &response::Parts,
        length: BodyLength,
    ) -> Result<(CacheMeta, Reservation), Reason> {
        let mut meta = self.check_response(head, length)?;
        let reservation = self.reserve(length)?;
        self.admit(&meta)?;
        self.settings.policy.shorten_lifetime(&mut meta, fastrand::f64());
        Ok((meta, reservation))
    }

    /// Decides whether a response may be stored.
    pub(crate) fn check_response(
        &self,
        head: &response::Parts,
        length: BodyLength,
    ) -> Result<CacheMeta, Reason> {
        if is_from_inner_cache(&head.extensions) {
            return Err(Reason::InnerCache);
        }
        if head.extensions.get::<NoStore>().is_some() {
            return Err(Reason::OptOut);
        }
        if self.settings.do_not_store_if.iter().any(|is_accepted| is_accepted(head)) {
            return Err(Reason::DoNotStoreIf);
        }
        let now = self.settings.clock.unix_time();
        let policy = &self.settings.policy;
        let request = &self.parts.headers;
        let checked = policy.check_response(request, head.status, &head.headers, length, now);
        let checked = checked.and_then(|meta| {
            page_tags(&self.settings, &head.headers, head.extensions.get()).map(|_tags| meta)
        });
        checked.map_err(|reason| match self.flags.public_pages_only {
            true => policy.check_unknown_cookies(request).err().unwrap_or(reason),
            false => reason,
        })
    }

    /// Creates the page without its body, and sets the headers that the response is sent with.
    pub(crate) fn pending_page(
        &self,
        lookup: Lookup,
        leader: Option<Leader>,
        head: &mut response::Parts,
        meta: CacheMeta,
        length: BodyLength,
    ) -> PendingPage {
        let settings = Arc::clone(&self.settings);
        let received_at = (settings.clock.now(), settings.clock.unix_time());
        set_freshness(&mut head.headers, settings.browser_ttl, &meta, received_at.1);
        let headers = headers_to_store(&head.headers, &settings.policy);
        let length = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::Unknown => content_length(&head.headers).ok().flatten(),
        };
        PendingPage {
            tags: self.generations_of_tags(head),
            keys: self.keys.clone(),
            looked_up_at: self.looked_up_at,
            received_at,
            request_headers: self.parts.headers.clone(),
            status: head.status,
            settings,
            lookup,
            meta,
            headers,
            length,
            leader,
            fill: self.fill.clone(),
        }
    }

    /// The composed keys of the generations of the page's tags, which
    /// [`check_response`](Self::check_response) has accepted, and of the prefixes of its path.
    fn generations_of_tags(&self, head: &response::Parts) -> Vec<String> {
        let tags = page_tags(&self.settings, &head.headers, head.extensions.get());
        let (key_builder, page_store) = (&self.settings.key_builder, &self.settings.page_store);
        let tags = tags.unwrap_or_default();
        let tags = tags.iter().map(|tag| page_store.generation_of_tag(tag));
        let prefixes = self.settings.purge_prefixes.then_some(&self.parts);
        let prefixes = prefixes.map(|parts| key_builder.generations_of_prefixes(parts));
        let prefixes = prefixes.into_iter().flatten();
        tags.chain(prefixes.map(|prefix| page_store.cache().composed_key(&prefix))).collect()
    }
}

pub(crate) fn is_from_inner_cache(response: &Extensions) -> bool {
    response.get::<InnerCache>().is_some()
}
