//! A view for development: what each request does with its caches.

mod body;
mod calls;
mod future;
mod html;
mod panel;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use cache_core::observe::Trace;
use http::{
    HeaderMap, HeaderName, Method, Request, Response, Version,
    header::{ACCEPT, IF_MODIFIED_SINCE, IF_NONE_MATCH, VIA},
    request::Parts,
};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use self::future::Shown;
pub use self::{body::CacheDebugBody, calls::CacheCalls, future::CacheDebugFuture};
use crate::extensions::HasOuterCache;

/// Layer that applies [`CacheDebug`], which shows what each request does with its caches, for
/// development.
///
/// It shows the operations of this process that belong to the request: of handlers, of
/// [`Fragments`](crate::Fragments), and of page caches, with their outcomes and times. Only caches
/// that are observed report them: set `OBSERVE = true`, or call `observe(true)` of the builder of
/// `Caches`.
///
/// They are shown in four places.
///
/// - **Header.** Each response has a `Server-Timing` such as `cache;desc="12 calls, 9
///   hits";dur=3.1`, which browsers show next to their own timings. The duration is the time in
///   milliseconds during which at least one operation was running, without the producers of values.
/// - **Panel.** HTML pages have a panel at their end, which opens with a click. It is inserted
///   before `</body>` into responses that are complete, are not encoded, and have a body of known
///   length, of at most [2 MiB](Self::max_body). It contains no script.
/// - **JSON.** A request with the header `Cache-Calls: json` gets the operations in place of the
///   response: `curl -H 'cache-calls: json' http://127.0.0.1:8080/`.
/// - **Extension.** The request contains [`CacheCalls`], for handlers.
///
/// # Who may see it
///
/// Keys are often personal data. Without [`show_if`](Self::show_if), the layer is active only if
/// this crate is compiled with `debug_assertions`, as in the profile `dev`, and only for requests
/// that do not show a proxy: those of HTTP/1.1 or later without headers such as `Forwarded`,
/// `X-Forwarded-*`, `Via`, `X-Real-IP` and `CF-Connecting-IP`. A proxy that adds none of them goes
/// unnoticed. All other requests and their responses pass through unchanged.
///
/// # Order of layers
///
/// Put this layer outside of page caches and inside of compression. Inside of a page cache, it does
/// nothing for requests whose responses may be stored, and warns once: what it would add is never
/// stored. A page with a panel is also marked `no-store`, for browsers and for other caches, and
/// has no `ETag`, no `Last-Modified`, and none of the headers by which proxies and content delivery
/// networks store pages in spite of that, such as `CDN-Cache-Control`.
///
/// # Limits
///
/// - At most 1,000 operations of a request are kept, with at most 100 keys each. The panel shows
///   200 operations with 10 keys each. All forms say how many are left out.
/// - Operations that happen while a body is read are in the panel and in JSON. They are in the
///   header if the body is one that is searched for `</body>`. A streamed body, whose length is not
///   known, is passed on as it is.
/// - What continues after the response, such as the refresh of a stale page, may be missing. A
///   request that waits for a page which another request produces shows only its own operations.
/// - The page must contain `</body>`. Responses with `Cache-Control: no-transform` or
///   `Content-Disposition: attachment` are not changed.
/// - If the `Content-Security-Policy` of the page contains a nonce for styles, the panel uses it.
///   If the policy forbids inline styles, the panel says so and remains readable.
/// - A `GET` that accepts HTML is sent on without `If-None-Match` and `If-Modified-Since`: a 304
///   has no page.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_core::observe::{ObserveOptions, Observed};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, response::Html, routing::get};
/// use cache_http::{CacheDebugLayer, HttpCacheLayer};
/// use http::Request;
/// use tower::ServiceExt;
///
/// # let store = Arc::new(LocMemCache::default());
/// # let store = Observed::new("default", store, ObserveOptions::default());
/// # let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
/// let app = Router::new()
///     .route("/", get(async || Html("<body>the front page</body>")))
///     .layer(HttpCacheLayer::new(&cache))
///     .layer(CacheDebugLayer::new().show_if(|parts| parts.headers.contains_key("x-developer")));
///
/// let request = Request::get("/").header("host", "shop.org").header("x-developer", "ada");
/// let response = app.oneshot(request.body(Body::empty())?).await?;
/// assert!(response.headers()["server-timing"].to_str()?.starts_with("cache;desc="));
///
/// let page = axum::body::to_bytes(response.into_body(), 100_000).await?;
/// assert!(page.starts_with(b"<body>the front page<cachette-calls>"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CacheDebugLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    show_if: Option<ShowIf>,
    panel: bool,
    max_body: u64,
    warned: Arc<AtomicBool>,
}

type ShowIf = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

impl CacheDebugLayer {
    /// Creates a layer that is active in builds with `debug_assertions`, for requests that have not
    /// passed through a proxy.
    #[must_use]
    pub fn new() -> Self {
        let warned = Arc::default();
        let settings = Settings { show_if: None, panel: true, max_body: 2 << 20, warned };
        Self { settings: Arc::new(settings) }
    }

    /// Sets which requests may see the caches, in all builds. It replaces the default conditions.
    ///
    /// Behind a proxy, the address of the connection is that of the proxy, and clients can invent
    /// headers that the proxy does not remove. Decide by something that they cannot forge, such as
    /// a session.
    #[must_use]
    pub fn show_if(self, is_shown: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.edit(|settings| settings.show_if = Some(Arc::new(is_shown)))
    }

    /// Sets whether HTML pages have a panel. The default is `true`.
    #[must_use]
    pub fn panel(self, is_added: bool) -> Self {
        self.edit(|settings| settings.panel = is_added)
    }

    /// Sets the maximum length in bytes of the pages that the panel is added to. They are kept in
    /// memory until they are complete. The default is 2 MiB.
    #[must_use]
    pub fn max_body(self, bytes: u64) -> Self {
        self.edit(|settings| settings.max_body = bytes)
    }

    fn edit(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for CacheDebugLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CacheDebugLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheDebugLayer")
            .field("panel", &self.settings.panel)
            .field("max_body", &self.settings.max_body)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CacheDebugLayer {
    type Service = CacheDebug<S>;

    fn layer(&self, inner: S) -> CacheDebug<S> {
        CacheDebug { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The header of a request for JSON.
const CACHE_CALLS: HeaderName = HeaderName::from_static("cache-calls");

impl Settings {
    fn is_shown(&self, parts: &Parts) -> bool {
        let is_shown = match &self.show_if {
            Some(is_shown) => is_shown(parts),
            None => cfg!(debug_assertions) && !is_from_proxy(parts),
        };
        // A second layer has nothing to add to the first one.
        if !is_shown || parts.extensions.get::<CacheCalls>().is_some() {
            return false;
        }
        // The cache further out would store what is added, also to a 304, which it merges into its
        // page.
        let has_outer_cache = parts.extensions.get::<HasOuterCache>().is_some();
        if has_outer_cache && !self.warned.swap(true, Relaxed) {
            tracing::warn!(
                "`CacheDebugLayer` shows nothing of pages that may be stored, because it is inside \
                 of a page cache: add it after the layer of that cache"
            );
        }
        !has_outer_cache
    }

    /// Prepares a request and decides how its calls are shown.
    fn prepare(self: &Arc<Self>, parts: &mut Parts) -> Shown {
        let calls = CacheCalls::new(Trace::new());
        parts.extensions.insert(calls.clone());
        let json = parts.headers.remove(CACHE_CALLS).is_some_and(|form| form == "json");
        let panel = self.panel && parts.method != Method::HEAD;
        if parts.method == Method::GET && (json || panel && accepts_html(&parts.headers)) {
            parts.headers.remove(IF_NONE_MATCH);
            parts.headers.remove(IF_MODIFIED_SINCE);
        }
        Shown {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            max_body: self.max_body,
            json: json && parts.method != Method::HEAD,
            panel,
            calls,
        }
    }
}

/// Parts of the names of headers that proxies add: `X-Forwarded-For`, `X-Original-Forwarded-For`,
/// `X_Forwarded_For`, `X-Real-IP`, `True-Client-IP`, `CF-Connecting-IP` and
/// `X-Envoy-External-Address`.
const PROXY_HEADERS: [&str; 7] =
    ["forwarded", "real-ip", "real_ip", "client-ip", "client_ip", "connecting-ip", "x-envoy-"];

/// Whether a request has passed through a proxy, as far as it shows.
///
/// nginx adds no header by default, but sends HTTP/1.0, which browsers do not.
fn is_from_proxy(parts: &Parts) -> bool {
    let is_of_proxy = |name: &HeaderName| {
        *name == VIA || PROXY_HEADERS.iter().any(|part| name.as_str().contains(part))
    };
    parts.version < Version::HTTP_11 || parts.headers.keys().any(is_of_proxy)
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.to_ascii_lowercase().contains("text/html"))
}

/// Middleware that shows what each request does with its caches, for development.
///
/// Created by [`CacheDebugLayer`].
#[derive(Clone)]
pub struct CacheDebug<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> CacheDebug<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service and drops the middleware.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: fmt::Debug> fmt::Debug for CacheDebug<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheDebug").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Q, B> Service<Request<Q>> for CacheDebug<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<CacheDebugBody<B>>;
    type Error = S::Error;
    type Future = CacheDebugFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if !self.settings.is_shown(&parts) {
            return CacheDebugFuture::pass_through(
                self.inner.call(Request::from_parts(parts, body)),
            );
        }
        let shown = self.settings.prepare(&mut parts);
        let request = Request::from_parts(parts, body);
        // Some services, such as a page cache in the memory of this process, work in `call`.
        let inner = shown.calls.trace().in_scope(|| self.inner.call(request));
        CacheDebugFuture::boxed(shown.respond(inner))
    }
}
