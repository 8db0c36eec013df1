//! The settings of a layer, and the state that its clones share.

use std::{sync::Arc, time::Duration};

use cache_core::{CacheHandle, Clock, Error, ErrorKind, OnOutage};
use http::{request::Parts, response};
use tokio::sync::Semaphore;

use crate::{
    admission::{Admission, PageId},
    counts::{Counters, Event},
    extensions::NoStore,
    fill_budget::FillBudget,
    fill_task::MAX_ABANDONED_FILLS,
    flights,
    key::{KeyBuilder, KeyHash, Keys},
    page_store::{FlightKey, Lookup, PageStore},
    policy::{Policy, Reason, RequestCheck, Reuse},
    record::{Page, Record},
    request_flags::RequestFlags,
};

/// The requests that are producing pages now.
pub(crate) type Flights = flights::Flights<FlightKey, Arc<Record>>;

/// The request that produces a page for others.
pub(crate) type Leader = flights::Leader<FlightKey, Arc<Record>>;

/// A condition of the application on requests.
pub(crate) type RequestPredicate = dyn Fn(&Parts) -> bool + Send + Sync;

/// A condition of the application on responses.
pub(crate) type ResponsePredicate = dyn Fn(&response::Parts) -> bool + Send + Sync;

/// All settings of a layer. A layer changes them in a copy of its own.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) key_builder: KeyBuilder,
    pub(crate) page_store: PageStore,
    pub(crate) clock: Clock,
    pub(crate) browser_ttl: BrowserTtl,
    /// Tags of every page.
    pub(crate) tags: Vec<String>,
    /// Requests that one of these accepts bypass the cache.
    pub(crate) bypass_if: Vec<Arc<RequestPredicate>>,
    /// Responses that one of these accepts are not stored.
    pub(crate) do_not_store_if: Vec<Arc<ResponsePredicate>>,
    /// Whether pages can be purged by the prefixes of their paths.
    pub(crate) purge_prefixes: bool,
    /// The name of this cache in `Cache-Status`.
    pub(crate) cache_status: Option<Arc<str>>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) fill_budget: Arc<FillBudget>,
    /// A permit for each task that may run on after its client has left.
    pub(crate) abandoned_fills: Arc<Semaphore>,
    pub(crate) admission: Arc<Admission>,
    /// How often a page must have been requested to be stored.
    pub(crate) min_uses: u8,
    /// The timeout of each access to the store.
    pub(crate) store_timeout: Duration,
    /// How long the inner service may take to respond.
    pub(crate) origin_timeout: Option<Duration>,
    /// How long a request waits for a fresh page, if there is a stale one.
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) counters: Arc<Counters>,
}

/// The lifetime of pages in browsers and in caches outside of this one.
///
/// `s-maxage`, `stale-while-revalidate` and `stale-if-error` of a response are sent unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserTtl {
    /// Zero: browsers keep the page, but validate it each time, so that a purge reaches them.
    ///
    /// Sent as `max-age=0, must-revalidate`. A page without an entity tag gets one when it is
    /// stored, and hits are sent with it. The first response, which is streamed, has none.
    ///
    /// The default of [`HttpCacheLayer::new`](crate::HttpCacheLayer::new) and
    /// [`cache_page`](crate::cache_page).
    Revalidate,
    /// The lifetime in this cache, sent as `max-age` and `Expires`, as Django does.
    ///
    /// A purge does not reach the pages that browsers keep.
    SameAsCache,
    /// This duration from when the browser receives the page.
    ///
    /// Sent as a `max-age` that grows with the age of the page, so that `Age` and `Date` stay
    /// correct. A smaller `max-age` of the view is kept.
    Fixed(Duration),
    /// The lifetime that the response states.
    ///
    /// The default of [`HttpCacheLayer::shared`](crate::HttpCacheLayer::shared).
    FromResponse,
}

const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_FILL_BYTES: u64 = 64 << 20;

impl Settings {
    pub(crate) fn new(cache: &CacheHandle) -> Self {
        let hash = if cache.store().keeps_objects() { KeyHash::Local } else { KeyHash::Portable };
        let key_builder = KeyBuilder { hash, ..KeyBuilder::default() };
        Self {
            policy: Policy::site(),
            // Pages miss during an outage anyway, but a purge that was lost must be reported.
            page_store: PageStore::new(
                cache.with_on_outage(OnOutage::Error),
                &key_builder.generation_of_all(),
            ),
            key_builder,
            clock: cache.clock().clone(),
            browser_ttl: BrowserTtl::Revalidate,
            tags: Vec::new(),
            bypass_if: Vec::new(),
            do_not_store_if: Vec::new(),
            purge_prefixes: false,
            cache_status: None,
            flights: Arc::new(Flights::new(WAIT_TIMEOUT)),
            fill_budget: Arc::new(FillBudget::new(MAX_FILL_BYTES)),
            abandoned_fills: Arc::new(Semaphore::new(MAX_ABANDONED_FILLS)),
            admission: Admission::of_store(cache),
            min_uses: 1,
            store_timeout: STORE_TIMEOUT,
            origin_timeout: None,
            soft_timeout: None,
            counters: Arc::new(Counters::new(cache.alias())),
        }
    }

    pub(crate) fn set_key_prefix(&mut self, prefix: &str) {
        self.key_builder.prefix = prefix.into();
        let cache = self.page_store.cache().clone();
        self.page_store = PageStore::new(cache, &self.key_builder.generation_of_all());
    }

    /// Creates the keys of a request, unless it bypasses the cache. `empty` states that the request
    /// has no body.
    pub(crate) fn check_request(
        &self,
        parts: &Parts,
        empty: bool,
    ) -> Result<(RequestFlags, Keys), Reason> {
        if parts.extensions.get::<NoStore>().is_some() {
            return Err(Reason::OptOut);
        }
        if self.bypass_if.iter().any(|is_accepted| is_accepted(parts)) {
            return Err(Reason::BypassIf);
        }
        let mut flags = RequestFlags::from_headers(&parts.headers);
        let (method, headers) = (&parts.method, &parts.headers);
        let check = self.policy.check_request_with_flags(method, headers, flags, empty)?;
        flags.public_pages_only = check == RequestCheck::PublicPages;
        Ok((flags, self.key_builder.keys(parts, flags)?))
    }

    /// How a page of this age may be used for a request.
    pub(crate) fn reuse(
        &self,
        page: &Page,
        age: Duration,
        soft_purged: bool,
        parts: &Parts,
        flags: RequestFlags,
    ) -> Reuse {
        if flags.public_pages_only
            && !page.meta.public
            && let Err(reason) = self.policy.check_unknown_cookies(&parts.headers)
        {
            return Reuse::No(reason);
        }
        self.policy.reuse(&page.meta, age, soft_purged, &parts.headers)
    }

    /// Identifies the page that a lookup has found or missed.
    pub(crate) fn page_id(&self, keys: &Keys, lookup: &Lookup, parts: &Parts) -> PageId {
        self.admission.page_id(&lookup.page_key(keys, &self.policy, &parts.headers))
    }

    /// Awaits an access to the store. A timeout is logged.
    pub(crate) async fn with_store_timeout<T>(
        &self,
        access: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        tokio::time::timeout(self.store_timeout, access).await.unwrap_or_else(|_elapsed| {
            let message = format!("the store did not respond within {:?}", self.store_timeout);
            Err(self.page_store.failed(&Error::new(ErrorKind::Unavailable, message)))
        })
    }

    pub(crate) fn count(&self, event: Event) {
        self.counters.count(self.page_store.cache().alias(), event);
    }
}
