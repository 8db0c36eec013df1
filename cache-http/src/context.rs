//! A request that the cache handles, and how it relates to the page that a lookup has found.

use std::sync::Arc;

use cache_core::tags::Fill;
use http::{Response, request::Parts};
use http_body::Body;

use crate::{
    admission::{NewEntries, PageId},
    counts::Event,
    date::UnixTime,
    extensions::{IsWarmUp, OuterCache},
    hit,
    key::Keys,
    page_store::{FlightKey, Found, Lookup},
    policy::{CacheMeta, Reason, Reuse},
    record::Page,
    request_flags::RequestFlags,
    respond::{CachedResponse, PageSource, page_response},
    settings::Settings,
};

/// A request with its keys.
pub(crate) struct RequestContext {
    pub(crate) settings: Arc<Settings>,
    pub(crate) parts: Parts,
    pub(crate) flags: RequestFlags,
    pub(crate) keys: Keys,
    /// When the page was looked up last.
    pub(crate) looked_up_at: UnixTime,
    pub(crate) miss: Option<CountOnDrop>,
    /// The page, if it is new to the store, and whether other variants of its URI are stored.
    new_page: Option<(PageId, bool)>,
    /// The production of the page, once it has begun.
    pub(crate) fill: Option<Arc<Fill>>,
}

/// Counts a request that was not served from the store when it ends, however it ends.
///
/// It counts as a miss, unless a layer further inside turns out to handle it: that layer counts
/// its own hits and misses.
pub(crate) struct CountOnDrop {
    settings: Arc<Settings>,
    event: Event,
}

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.settings.count(self.event);
    }
}

impl CountOnDrop {
    pub(crate) fn set_bypass(&mut self, reason: Reason) {
        self.event = Event::Bypass(reason);
    }
}

impl RequestContext {
    pub(crate) fn new(
        settings: &Arc<Settings>,
        parts: Parts,
        flags: RequestFlags,
        keys: Keys,
    ) -> Self {
        Self {
            // Read before the page is produced. If a page was found, its stamps show whether it is
            // purged meanwhile.
            looked_up_at: settings.clock.unix_time(),
            settings: Arc::clone(settings),
            parts,
            flags,
            keys,
            miss: None,
            new_page: None,
            fill: None,
        }
    }

    /// Looks up the page. If the store fails, the result is a miss.
    pub(crate) async fn lookup(&mut self) -> Lookup {
        self.looked_up_at = self.settings.clock.unix_time();
        let (page_store, policy) = (&self.settings.page_store, &self.settings.policy);
        let lookup = async {
            page_store
                .lookup(&self.keys, policy, &self.parts.headers)
                .await
                .map_err(|error| page_store.failed(&error))
        };
        self.settings.with_store_timeout(lookup).await.unwrap_or_else(Lookup::miss)
    }

    /// Starts the production of the page, if it has not started. Call it before the lookup: a purge
    /// after that is then noticed, see [`Fill`].
    pub(crate) fn start_fill(&mut self) {
        self.fill.get_or_insert_with(|| Arc::new(Fill::start()));
    }

    /// The key of the requests that can share a page with this one.
    pub(crate) fn flight_key(&self, lookup: &Lookup) -> FlightKey {
        lookup.flight_key(&self.keys, &self.settings.policy, &self.parts.headers)
    }

    /// Whether the last responses for this page could not be stored.
    pub(crate) fn is_unshared(&self, lookup: &Lookup) -> bool {
        self.settings.flights.is_unshared(&self.flight_key(lookup))
    }

    /// How the page that was found may be used.
    pub(crate) fn reuse(&self, lookup: &Lookup) -> Reuse {
        match (&lookup.found, lookup.found.page()) {
            (_, Some((page, soft_purged))) => {
                let age = page.age(&self.settings.clock);
                self.settings.reuse(page, age, soft_purged, &self.parts, self.flags)
            }
            (Found::Miss(reason), None) => Reuse::No(*reason),
            (Found::Page { .. }, None) => Reuse::No(Reason::UriMiss),
        }
    }

    /// Whether the page that was found may be served if fetching a fresh one fails.
    pub(crate) fn may_serve_stale(&self, lookup: &Lookup) -> bool {
        matches!(self.reuse(lookup), Reuse::StaleIfError(_) | Reuse::StaleWhileRevalidate)
    }

    /// Whether the page that was found is fresh, but is refreshed in the background.
    pub(crate) fn is_refresh_due(&self, lookup: &Lookup) -> bool {
        hit::is_refresh_due(&self.settings, lookup)
    }

    pub(crate) fn fresh_response<B: Body>(&self, lookup: &Lookup) -> Option<CachedResponse<B>> {
        hit::fresh_response(&self.settings, &self.keys, lookup, &self.parts, self.flags)
    }

    pub(crate) fn stale_response<B: Body>(&self, lookup: &Lookup) -> CachedResponse<B> {
        self.settings.count(Event::Stale);
        match lookup.found.page() {
            Some((page, _)) => self.page_response(page, PageSource::Stored),
            None => Response::default(),
        }
    }

    pub(crate) fn page_response<B: Body>(
        &self,
        page: &Page,
        source: PageSource,
    ) -> CachedResponse<B> {
        let age = page.age(&self.settings.clock);
        let response = page_response(&self.settings, page, age, &self.parts, self.flags, source);
        self.notify_outer(response)
    }

    pub(crate) fn notify_outer<B: Body>(&self, response: CachedResponse<B>) -> CachedResponse<B> {
        OuterCache::of_request(&self.parts).notify(response)
    }

    /// Records the request, if the page is new to the store.
    pub(crate) fn record_use(&mut self, lookup: &Lookup) {
        if lookup.is_new() {
            let page = self.settings.page_id(&self.keys, lookup, &self.parts);
            match self.parts.extensions.get() {
                Some(IsWarmUp) => self.settings.admission.record_hit(page),
                None => self.settings.admission.record_miss(page),
            }
            self.new_page = Some((page, !lookup.vary.is_empty()));
        }
    }

    /// Decides whether the page is stored, if it is new to the store.
    pub(crate) fn admit(&self, meta: &CacheMeta) -> Result<(), Reason> {
        let Some((page, has_variants)) = self.new_page else { return Ok(()) };
        let entries = match (has_variants, meta.vary.is_empty()) {
            (true, _) => NewEntries::FurtherVariant,
            (false, true) => NewEntries::Page,
            (false, false) => NewEntries::FirstVariant,
        };
        let settings = &self.settings;
        settings.admission.admit(page, entries, settings.min_uses, settings.clock.now())
    }

    /// Counts the request as a miss when it ends.
    pub(crate) fn count_miss(&mut self, reason: Reason) {
        let settings = Arc::clone(&self.settings);
        self.miss = Some(CountOnDrop { settings, event: Event::Miss(reason) });
    }

    /// If the request has an unknown cookie, counts it as a bypass when it ends, and returns why.
    pub(crate) fn count_unknown_cookies(&mut self) -> Option<Reason> {
        let (settings, headers) = (&self.settings, &self.parts.headers);
        if !self.flags.public_pages_only {
            return None;
        }
        let reason = settings.policy.check_unknown_cookies(headers).err()?;
        for name in settings.policy.unknown_cookies(headers) {
            settings.counters.unknown_cookies.count(settings.page_store.cache().alias(), name);
        }
        let settings = Arc::clone(settings);
        self.miss = Some(CountOnDrop { settings, event: Event::Bypass(reason) });
        Some(reason)
    }

    /// Counts why the response is not stored.
    pub(crate) fn count_rejected(&mut self, reason: Reason) {
        match &mut self.miss {
            Some(miss) if reason == Reason::InnerCache => miss.set_bypass(reason),
            Some(_) if self.flags.public_pages_only => {}
            _ => self.settings.count(Event::Rejected(reason)),
        }
    }
}
