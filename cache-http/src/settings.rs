//! What a cache of pages is made with: the layer, and its settings.

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{CacheHandle, Clock, Error, ErrorKind};
use http::{StatusCode, Uri, request::Parts};
use tower_layer::Layer;

use crate::{
    Counts, Policy, Reason,
    counts::{Counters, Event},
    key::{Digest, KeyBuilder, Keys},
    page_store::PageStore,
    request_flags::RequestFlags,
    service::HttpCache,
    single_flight::SingleFlight,
};

/// A layer that answers from a cache what it may, and keeps there what it may.
///
/// *Per site*: one layer around all routes. *Per view*: the same layer, with a timeout of its own, around one route; see
/// [`cache_page`]. Where both are, the view's wins.
///
/// Cloning costs a reference count. Clones share counters and flights; a setting changes that clone alone.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// use axum::{Router, routing::get};
/// use cache_http::{HttpCacheLayer, cache_page};
///
/// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
/// let site = HttpCacheLayer::new(&cache).hosts(["shop.example.org"]).ttl(Duration::from_secs(60));
/// let app: Router = Router::new()
///     .route("/", get(async || "the front page"))
///     .route("/meta", get(async || "seldom new").layer(cache_page(&cache, Duration::from_secs(86_400))))
///     .layer(site);
/// ```
///
/// It wants a tokio runtime with a timer.
#[derive(Clone)]
pub struct HttpCacheLayer {
    pub(crate) settings: Arc<Settings>,
}

/// All settings. Changed by a copy.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) key_builder: KeyBuilder,
    pub(crate) page_store: PageStore,
    pub(crate) clock: Clock,
    pub(crate) browser_ttl: BrowserTtl,
    pub(crate) tags: Vec<String>,
    pub(crate) cache_status: Option<Arc<str>>,
    pub(crate) flights: Arc<SingleFlight>,
    /// Source long a page waits for its store, each time.
    pub(crate) store_timeout: Duration,
    pub(crate) counters: Arc<Counters>,
    alias: Arc<str>,
    cache: CacheHandle,
}

/// What browsers, and caches further out, are told about the lifetime of a stored page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserTtl {
    /// The same lifetime as in this cache, by `max-age` and `Expires`, as Django does. The default of a site.
    SameAsCache,
    /// A lifetime of their own, from when they get the page: `max-age` grows with the page's age, so that `Age` and `Date` stay
    /// true. A smaller one that the view gave stays.
    Fixed(Duration),
    /// What the view says, and nothing more. The default of a shared cache.
    FromResponse,
}

/// Source long those who want a page wait for the one who makes it.
const FLIGHT: Duration = Duration::from_secs(5);
/// Source long a page waits for its store.
const STORE: Duration = Duration::from_secs(5);

/// The same layer for one view: its pages live for `timeout`, or less if they say so.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// # use axum::{Router, routing::get};
/// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
/// use cache_http::cache_page;
///
/// let quarter = cache_page(&cache, Duration::from_secs(15 * 60)).key_prefix("news").tag("news");
/// let app: Router = Router::new().route("/news", get(async || "news").layer(quarter));
/// ```
#[must_use]
pub fn cache_page(cache: &CacheHandle, timeout: Duration) -> HttpCacheLayer {
    HttpCacheLayer::new(cache).policy(Policy::site().ttl(timeout).max_ttl(timeout))
}

impl HttpCacheLayer {
    /// The output cache of a site: [`Policy::site`].
    #[must_use]
    pub fn new(cache: &CacheHandle) -> Self {
        let digest = if cache.store().keeps_objects() { Digest::Local } else { Digest::Portable };
        let key_builder = KeyBuilder { digest, ..KeyBuilder::default() };
        let settings = Settings {
            policy: Policy::site(),
            page_store: PageStore::new(cache.clone(), &key_builder.generation_of_all()),
            key_builder,
            clock: Clock::system(),
            browser_ttl: BrowserTtl::SameAsCache,
            tags: Vec::new(),
            cache_status: None,
            flights: Arc::new(SingleFlight::new(FLIGHT)),
            store_timeout: STORE,
            counters: Arc::new(Counters::new(cache.alias())),
            alias: cache.alias().into(),
            cache: cache.clone(),
        };
        Self { settings: Arc::new(settings) }
    }

    /// A shared cache by RFC 9111: [`Policy::shared`].
    #[must_use]
    pub fn shared(cache: &CacheHandle) -> Self {
        Self::new(cache).policy(Policy::shared()).browser_ttl(BrowserTtl::FromResponse)
    }

    /// What may be stored, and for how long.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.edit(|settings| settings.policy = policy)
    }

    /// Source long pages live that do not say so themselves: [`Policy::ttl`].
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.edit(|settings| settings.policy = settings.policy.clone().ttl(ttl))
    }

    /// KEY_PREFIX of the pages: pages of different prefixes are never mixed up, nor purged together.
    #[must_use]
    pub fn key_prefix(self, prefix: &str) -> Self {
        self.edit(|settings| {
            settings.key_builder.prefix = prefix.into();
            settings.page_store =
                PageStore::new(settings.cache.clone(), &settings.key_builder.generation_of_all());
        })
    }

    /// The hosts whose requests are cached; those of others pass by. `.example.org` stands for that domain and all below. Without
    /// this, any host that is well-formed has pages of its own: then whoever can name a host can collector the store.
    #[must_use]
    pub fn hosts<N: Into<String>>(self, hosts: impl IntoIterator<Item = N>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect();
        self.edit(|settings| settings.key_builder.hosts = hosts)
    }

    /// The scheme of requests whose URI has none, which are most; `http` unless set.
    #[must_use]
    pub fn scheme(self, scheme: &str) -> Self {
        self.edit(|settings| settings.key_builder.scheme = Some(scheme.to_ascii_lowercase().into()))
    }

    /// A further selecting_value of the key, such as the language or the tenant. Requests for which it answers differently never
    /// get each other's pages.
    #[must_use]
    pub fn key_function(self, function: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.key_builder.function = Some(Arc::new(function)))
    }

    /// What a request's URI is. Say it where a router cuts URIs before this layer sees them: otherwise `/news/list` and
    /// `/shop/list` are both `/list`, and one page. What axum cuts in `nest` is known by itself with the feature `axum`, and
    /// can be told so without it:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// use axum::{Router, extract::OriginalUri, routing::get};
    /// use cache_http::HttpCacheLayer;
    ///
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let view = HttpCacheLayer::new(&cache).uri(|request| match request.extensions.get::<OriginalUri>() {
    ///     Some(OriginalUri(uri)) => uri.clone(),
    ///     None => request.uri.clone(),
    /// });
    /// let news = Router::new().route("/list", get(async || "news").layer(view.clone()));
    /// let shop = Router::new().route("/list", get(async || "shop").layer(view));
    /// let app: Router = Router::new().nest("/news", news).nest("/shop", shop);
    /// ```
    #[must_use]
    pub fn uri(self, function: impl Fn(&Parts) -> Uri + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.key_builder.uri = Some(Arc::new(function)))
    }

    /// A tag on every page that this layer stores, to purge them by. Responses add others as [`CacheTags`].
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.edit(|settings| settings.tags.push(tag.to_owned()))
    }

    /// What browsers are told about the lifetime.
    #[must_use]
    pub fn browser_ttl(self, ttl: BrowserTtl) -> Self {
        self.edit(|settings| settings.browser_ttl = ttl)
    }

    /// Adds `Cache-Status` (RFC 9211) to each response, under this name, which is a token: letters, digits, `-`, `_`, `.`. It
    /// tells outsiders what is stored.
    #[must_use]
    pub fn cache_status(self, name: &str) -> Self {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let name: String =
            name.bytes().map(|byte| if fits(byte) { char::from(byte) } else { '-' }).collect();
        let name = if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name
        } else {
            format!("c{name}")
        };
        self.edit(|settings| settings.cache_status = Some(name.into()))
    }

    /// Source long those who want a page wait for the one who makes it; 5 seconds unless set. Then each makes its own.
    #[must_use]
    pub fn wait_timeout(self, limit: Duration) -> Self {
        self.edit(|settings| settings.flights = Arc::new(SingleFlight::new(limit)))
    }

    /// Source long a look-up in the store may take, and how long storing a page; 5 seconds unless set. A store that takes longer
    /// counts as one that failed. Those of this workspace have limits of their own and give up before.
    #[must_use]
    pub fn store_timeout(self, limit: Duration) -> Self {
        self.edit(|settings| settings.store_timeout = limit)
    }

    /// The clock that pages age by. Give it the clock of the store.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.edit(|settings| settings.clock = clock)
    }

    /// What became of the requests so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.settings.counters.read()
    }

    fn edit(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for HttpCacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("alias", &self.settings.alias)
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

impl Settings {
    /// Whether the cache looks at a request, what of it, and under which keys.
    pub(crate) fn admit(&self, parts: &Parts, empty: bool) -> Result<(RequestFlags, Keys), Reason> {
        if parts.extensions.get::<NoStore>().is_some() {
            return Err(Reason::OptOut);
        }
        let flags = RequestFlags::from_headers(&parts.headers);
        self.policy.check_request_with_flags(&parts.method, &parts.headers, flags, empty)?;
        Ok((flags, self.key_builder.keys(parts, flags)?))
    }

    /// What the store answers, if it does within the limit; or [`Reason::StoreFailed`], logged.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        tokio::time::timeout(self.store_timeout, answer).await.unwrap_or_else(|_elapsed| {
            let error = Error::new(
                ErrorKind::Unavailable,
                format!("no answer within {:?}", self.store_timeout),
            );
            Err(self.page_store.failed(&error))
        })
    }

    pub(crate) fn count(&self, event: Event) {
        self.counters.count(&self.alias, event);
    }

    /// Whether a stale page is better than this answer (RFC 5861, section 4).
    pub(crate) fn is_error(status: StatusCode) -> bool {
        matches!(status.as_u16(), 500 | 502 | 503 | 504)
    }
}

/// In a request's or a response's extensions: it is not to be stored, whatever its headers say.
#[derive(Clone, Copy, Debug)]
pub struct NoStore;

/// In a response's extensions: tags to purge the page by.
///
/// ```
/// use axum::{Extension, response::IntoResponse};
/// use cache_http::CacheTags;
///
/// async fn post() -> impl IntoResponse {
///     (Extension(CacheTags::new(["post:42", "author:7"])), "a post")
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags(pub(crate) Vec<String>);

impl CacheTags {
    /// These tags.
    pub fn new<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }
}

/// In a request's extensions: a layer further out is to be told by [`InnerCache`] if another one looks after the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasOuterCache;

/// In a response's extensions, where a layer further out wants to know: one for its view looked after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerCache;
