//! The layer, and the methods that configure it.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{CacheHandle, Clock};
use http::{Uri, request::Parts, response};
use tower_layer::Layer;

use crate::{
    admission::{Admission, NewPageLimit},
    counts::Counts,
    fill_budget::FillBudget,
    pattern::Pattern,
    policy::Policy,
    purge::PurgeHandle,
    query::MARKETING,
    service::HttpCache,
    settings::{BrowserTtl, Flights, Settings},
    warm_up::WarmUp,
};

/// Layer that applies [`HttpCache`], which serves responses from a cache and stores them there.
///
/// For a *per-site* cache, put one layer around all routes. For a *per-view* cache, put a layer
/// around one route; see [`cache_page`]. If a request passes through both, the per-view cache
/// handles it.
///
/// Cloning costs a reference count. Clones share their counters and let only one request at a time
/// produce a page. Changing a setting of a clone does not change the others.
///
/// The layer must run on a tokio runtime with the time driver enabled.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// use axum::{Router, routing::get};
/// use cache_http::{HttpCacheLayer, cache_page};
///
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// let site = HttpCacheLayer::new(&cache).hosts(["example.org"]).ttl(Duration::from_secs(60));
/// let terms = cache_page(&cache, Duration::from_secs(86_400));
/// let app: Router = Router::new()
///     .route("/", get(async || "the front page"))
///     .route("/terms", get(async || "rarely changes").layer(terms))
///     .layer(site);
/// ```
#[derive(Clone)]
pub struct HttpCacheLayer {
    settings: Arc<Settings>,
}

/// Returns a layer for one view, whose pages live for at most `timeout`.
///
/// A response that states a shorter lifetime lives for that time.
///
/// The site's [`PurgeHandle`] also purges the pages of this layer if both layers have the same
/// settings for that: see [Several layers](PurgeHandle#several-layers).
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// # use axum::{Router, routing::get};
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// use cache_http::cache_page;
///
/// let news = cache_page(&cache, Duration::from_secs(15 * 60)).key_prefix("news").tag("news");
/// let app: Router = Router::new().route("/news", get(async || "news").layer(news));
/// ```
#[must_use]
pub fn cache_page(cache: &CacheHandle, timeout: Duration) -> HttpCacheLayer {
    HttpCacheLayer::new(cache).policy(Policy::site().ttl(timeout).max_ttl(timeout))
}

impl HttpCacheLayer {
    /// Creates the output cache of a site, with [`Policy::site`].
    #[must_use]
    pub fn new(cache: &CacheHandle) -> Self {
        Self { settings: Arc::new(Settings::new(cache)) }
    }

    /// Creates a shared cache as defined in RFC 9111, with [`Policy::shared`].
    #[must_use]
    pub fn shared(cache: &CacheHandle) -> Self {
        Self::new(cache).policy(Policy::shared()).browser_ttl(BrowserTtl::FromResponse)
    }

    /// Sets which responses are stored, for how long, and when they are served.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.edit(|settings| settings.policy = policy)
    }

    /// Sets the lifetime of pages that do not state one, as [`Policy::ttl`] does.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.edit(|settings| settings.policy = settings.policy.clone().ttl(ttl))
    }

    /// Sets the prefix of the keys of pages.
    ///
    /// Caches with different prefixes never share pages and are purged separately. The prefix is
    /// added to the KEY_PREFIX of the cache.
    #[must_use]
    pub fn key_prefix(self, prefix: &str) -> Self {
        self.edit(|settings| settings.set_key_prefix(prefix))
    }

    /// Sets the hosts whose requests are cached. Requests for other hosts bypass the cache.
    ///
    /// `.example.org` stands for that domain and all its subdomains.
    ///
    /// If this is not set, each well-formed host has its own pages: a client that sends made-up
    /// hosts uses up the [limit of new pages](Self::new_page_limit).
    #[must_use]
    pub fn hosts<N: Into<String>>(self, hosts: impl IntoIterator<Item = N>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect();
        self.edit(|settings| settings.key_builder.hosts = hosts)
    }

    /// Sets the scheme of requests whose URI has none, as is usual. The default is `http`.
    #[must_use]
    pub fn scheme(self, scheme: &str) -> Self {
        self.edit(|settings| {
            settings.key_builder.scheme = Some(scheme.to_ascii_lowercase().into());
        })
    }

    /// Adds a part to the key, such as the language or the tenant.
    ///
    /// Requests for which `function` returns different values never share a page.
    #[must_use]
    pub fn key_function(self, function: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.key_builder.function = Some(Arc::new(function)))
    }

    /// Sets a function that returns the full URI of a request.
    ///
    /// Set it if a router shortens URIs before they reach this layer. Otherwise `/news/list` and
    /// `/shop/list` may both be seen as `/list` and share one page.
    ///
    /// The feature `axum` handles axum's `nest` without this setting.
    ///
    /// # Examples
    ///
    /// Without the feature `axum`, `nest` can be handled like this:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// use axum::{Router, extract::OriginalUri, routing::get};
    /// use cache_http::HttpCacheLayer;
    ///
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let view = HttpCacheLayer::new(&cache).uri_function(|request| {
    ///     match request.extensions.get::<OriginalUri>() {
    ///         Some(OriginalUri(uri)) => uri.clone(),
    ///         None => request.uri.clone(),
    ///     }
    /// });
    /// let news = Router::new().route("/list", get(async || "news").layer(view.clone()));
    /// let shop = Router::new().route("/list", get(async || "shop").layer(view));
    /// let app: Router = Router::new().nest("/news", news).nest("/shop", shop);
    /// ```
    #[must_use]
    pub fn uri_function(self, function: impl Fn(&Parts) -> Uri + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.key_builder.uri = Some(Arc::new(function)))
    }

    /// Adds query parameters that no page depends on. In a name, one `*` stands for any characters.
    ///
    /// URIs that differ only in these parameters share a page. The parameters are removed from each
    /// request that the cache handles: the inner service never sees them, so a redirect that copies
    /// the query loses them. Requests that bypass the cache keep them. Purges and invalidation
    /// treat URIs in the same way.
    ///
    /// Names are compared after decoding: `%75tm_source` is `utm_source`, and `filter%5Bsize%5D` is
    /// `filter[size]`. They are case-sensitive. The other parameters are passed on as they were
    /// sent, except that empty ones are removed, as in `?a=1&&b=2` and `/?`.
    ///
    /// In axum, enable the feature `axum`. Otherwise a handler still finds the parameters in
    /// `OriginalUri`.
    ///
    /// # Performance
    ///
    /// If no parameter is removed and no name is encoded, a hit allocates nothing more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// use cache_http::HttpCacheLayer;
    ///
    /// let site = HttpCacheLayer::new(&cache).ignore_query(["utm_*", "gclid"]).sort_query();
    /// ```
    #[must_use]
    pub fn ignore_query<N: AsRef<str>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let added = names.into_iter().map(|name| Pattern::new(name.as_ref()));
        self.edit(|settings| settings.key_builder.query.ignored.extend(added))
    }

    /// Ignores the parameters that advertisers, mail services and social networks add to links, as
    /// [`ignore_query`](Self::ignore_query) does.
    ///
    /// Examples are `utm_*`, `gclid`, `fbclid`, `msclkid` and `mc_eid`. Scripts in browsers still
    /// see them. Do not set this if the application evaluates them itself.
    #[must_use]
    pub fn ignore_marketing_query(self) -> Self {
        self.ignore_query(MARKETING)
    }

    /// Sets the query parameters that pages depend on. In a name, one `*` stands for any
    /// characters.
    ///
    /// All others are ignored, as [`ignore_query`](Self::ignore_query) describes. Made-up
    /// parameters then neither reach the inner service nor fill the store.
    #[must_use]
    pub fn only_query<N: AsRef<str>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| Pattern::new(name.as_ref())).collect();
        self.edit(|settings| settings.key_builder.query.only = Some(names))
    }

    /// Sorts query parameters by name, so that URIs that differ only in their order share a page.
    ///
    /// Parameters with the same name keep their order. The inner service receives the sorted query.
    #[must_use]
    pub fn sort_query(self) -> Self {
        self.edit(|settings| settings.key_builder.query.sorted = true)
    }

    /// Adds a condition on requests. Requests that meet it bypass the cache, with
    /// [`Reason::BypassIf`](crate::Reason::BypassIf).
    ///
    /// The function is called for each request.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// use cache_http::HttpCacheLayer;
    ///
    /// let site = HttpCacheLayer::new(&cache)
    ///     .bypass_if(|request| request.uri.path().starts_with("/admin/"))
    ///     .do_not_store_if(|response| response.headers.contains_key("x-debug"));
    /// ```
    #[must_use]
    pub fn bypass_if(self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.bypass_if.push(Arc::new(condition)))
    }

    /// Adds a condition on responses. Responses that meet it are not stored, with
    /// [`Reason::DoNotStoreIf`](crate::Reason::DoNotStoreIf).
    #[must_use]
    pub fn do_not_store_if(
        self,
        condition: impl Fn(&response::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.edit(|settings| settings.do_not_store_if.push(Arc::new(condition)))
    }

    /// Limits how many new pages are stored: `burst` at once, and `per_second` on average.
    ///
    /// A client that makes up queries, hosts or headers gets a new page with each request. Without
    /// a limit, these pages would push those that others request out of a full store. A page is
    /// new if it is not in the store and was not stored lately. Beyond the limit, a new page is
    /// stored only if it was requested several times lately: at least twice, and up to 16 times if
    /// many pages were stored beyond the limit. Others are produced for each request, and counted
    /// with [`Reason::NewPageLimit`](crate::Reason::NewPageLimit).
    ///
    /// If this is not set, the limit depends on the
    /// [number of entries](cache_core::Cache::max_entries) that the store keeps, with 10,000 for
    /// one that does not limit it: a third of it after the process has started, and later a tenth
    /// at once and a 150th per second. The layers on one store share that limit. If it is set, this
    /// layer and its clones have one of their own.
    #[must_use]
    pub fn new_page_limit(self, burst: u32, per_second: u32) -> Self {
        let limit = NewPageLimit::new(burst, per_second);
        self.edit(|settings| settings.admission = Arc::new(Admission::new(Some(limit))))
    }

    /// Stores new pages without [limit](Self::new_page_limit).
    #[must_use]
    pub fn unlimited_new_pages(self) -> Self {
        self.edit(|settings| settings.admission = Arc::new(Admission::new(None)))
    }

    /// Sets how often a page must be requested before it is stored. The default is 1: the first
    /// response is stored.
    ///
    /// Requests are counted in this process, for at most 16,384 pages. Pages that replace a stale
    /// or purged one are always stored. Other responses are counted with
    /// [`Reason::MinUses`](crate::Reason::MinUses).
    #[must_use]
    pub fn min_uses(self, uses: u8) -> Self {
        self.edit(|settings| settings.min_uses = uses)
    }

    /// Adds a tag to every page that this layer stores, for [`PurgeHandle::purge_tag`].
    ///
    /// Responses add further tags with [`CacheTags`](crate::CacheTags).
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.edit(|settings| settings.tags.push(tag.to_owned()))
    }

    /// Lets pages be purged by the prefixes of their paths, with [`PurgeHandle::purge_prefix`].
    ///
    /// Pages that were stored without this setting are not reached.
    ///
    /// # Performance
    ///
    /// Each page gets a generation for each segment of its path, at most 8, as if these were tags:
    /// one more small entry in the store for each prefix, which for most pages means one more for
    /// each page. In a store of this process, a hit reads them once a second; in others, it reads
    /// all of them and those of the tags in one round trip, which pages without tags do not have
    /// otherwise.
    #[must_use]
    pub fn purge_prefixes(self) -> Self {
        self.edit(|settings| settings.purge_prefixes = true)
    }

    /// Sets the lifetime of pages in browsers and in caches outside of this one.
    #[must_use]
    pub fn browser_ttl(self, ttl: BrowserTtl) -> Self {
        self.edit(|settings| settings.browser_ttl = ttl)
    }

    /// Adds `Cache-Status` (RFC 9211) to each response, with `name` as the name of this cache.
    ///
    /// The name consists of letters, digits, `-`, `_` and `.`; other characters become `-`. The
    /// header shows clients what is stored.
    #[must_use]
    pub fn cache_status(self, name: &str) -> Self {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let name: String =
            name.bytes().map(|byte| if valid(byte) { char::from(byte) } else { '-' }).collect();
        let name = if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name
        } else {
            format!("c{name}")
        };
        self.edit(|settings| settings.cache_status = Some(name.into()))
    }

    /// Sets how long a request waits for another one that produces the same page. The default is 5
    /// seconds.
    ///
    /// After that time, each request produces its own response.
    #[must_use]
    pub fn wait_timeout(self, timeout: Duration) -> Self {
        self.edit(|settings| settings.flights = Arc::new(Flights::new(timeout)))
    }

    /// Sets how long the inner service may take to respond. The default is no limit.
    ///
    /// A response is due when its head is; its body may take longer. If it is late, the inner
    /// service has failed: the client gets the stale page, if that may be served on errors (see
    /// [`Policy::stale_if_error`]), and otherwise a 504. Applies to requests that the cache
    /// handles, not to those that bypass it.
    #[must_use]
    pub fn origin_timeout(self, timeout: Duration) -> Self {
        self.edit(|settings| settings.origin_timeout = Some(timeout))
    }

    /// Sets how long a request waits for a fresh page if there is a stale one that may be served on
    /// errors (see [`Policy::stale_if_error`]). The default is no limit.
    ///
    /// After that time the client gets the stale page, while the fresh one is still being produced
    /// and stored, for at most [`origin_timeout`](Self::origin_timeout) or 60 seconds.
    #[must_use]
    pub fn soft_timeout(self, timeout: Duration) -> Self {
        self.edit(|settings| settings.soft_timeout = Some(timeout))
    }

    /// Sets the maximum number of bytes of all bodies that are being collected for the store. The
    /// default is 64 MiB.
    ///
    /// A response that would exceed it is passed on without being stored, and counted as
    /// [`Reason::FillBytes`](crate::Reason::FillBytes). A body counts until its page is stored and
    /// its client has received what was collected. The limit covers this layer and its clones, but
    /// not the pages in the store.
    #[must_use]
    pub fn max_fill_bytes(self, bytes: u64) -> Self {
        self.edit(|settings| settings.fill_budget = Arc::new(FillBudget::new(bytes)))
    }

    /// Sets the timeout of looking up a page, and of storing one. The default is 5 seconds.
    ///
    /// A store that takes longer is treated as one that failed. The stores of this workspace have
    /// shorter timeouts of their own.
    #[must_use]
    pub fn store_timeout(self, timeout: Duration) -> Self {
        self.edit(|settings| settings.store_timeout = timeout)
    }

    /// Sets the clock that determines the age of pages.
    ///
    /// The default is the [clock of the cache](CacheHandle::clock), which is the one that `Caches`
    /// are built with.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.edit(|settings| settings.clock = clock)
    }

    /// Returns how many requests and responses this layer and its clones have handled, by result.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.settings.counters.read()
    }

    /// Returns a handle that purges the pages of this layer.
    ///
    /// The handle uses the settings that the layer has now, such as
    /// [`key_prefix`](Self::key_prefix) and [`hosts`](Self::hosts). Configure the layer first.
    #[must_use]
    pub fn purge_handle(&self) -> PurgeHandle {
        PurgeHandle::new(Arc::clone(&self.settings))
    }

    /// Returns a [`WarmUp`], which requests pages so that they are stored before visitors ask for
    /// them.
    ///
    /// It uses the settings that the layer has now. Configure the layer first.
    #[must_use]
    pub fn warm_up(&self) -> WarmUp {
        WarmUp::new(Arc::clone(&self.settings))
    }

    /// Returns a layer for development that reports request headers which change pages although the
    /// pages do not vary on them.
    ///
    /// Put it inside of this layer. It uses the settings that this layer has now, such as the
    /// [`policy`](Self::policy): configure this layer first. See
    /// [`VaryCheckLayer`](crate::VaryCheckLayer).
    #[cfg(feature = "vary-check")]
    #[cfg_attr(docsrs, doc(cfg(feature = "vary-check")))]
    #[must_use]
    pub fn vary_check(&self) -> crate::VaryCheckLayer {
        crate::VaryCheckLayer::new(Arc::clone(&self.settings))
    }

    fn edit(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for HttpCacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("alias", &self.settings.page_store.cache().alias())
            .field("key_prefix", &self.settings.key_builder.prefix)
            .field("policy", &self.settings.policy)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HttpCacheLayer {
    type Service = HttpCache<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpCache::new(inner, Arc::clone(&self.settings))
    }
}
