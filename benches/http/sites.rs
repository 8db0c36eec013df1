//! One page, served in several ways.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Body,
    error_handling::HandleErrorLayer,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{Route, get},
};
use axum_response_cache::CacheLayer as AxumResponseCache;
use bytes::Bytes;
use cache_core::{CacheHandle, Settings};
use cache_http::{CachedBody, HttpCache, HttpCacheLayer, Policy};
use cache_locmem::LocMemCache;
use cachette_benches::workload::HOUR;
use http_body_util::Full;
use tower::{
    Layer, Service,
    util::{AndThenLayer, MapResponse},
};
use tower_http_cache::prelude::CacheLayer as TowerHttpCache;

pub(crate) const OURS: &str = "cachette";
pub(crate) const OURS_AROUND: &str = "cachette, around the router";
pub(crate) const OURS_SHARED: &str = "cachette, shared preset";
pub(crate) const STATIC: &str = "static axum handler";
pub(crate) const TOWER_HTTP_CACHE: &str = "tower-http-cache";
pub(crate) const AXUM_RESPONSE_CACHE: &str = "axum-response-cache";

/// The names of all sites.
pub(crate) const ALL: [&str; 6] =
    [OURS, OURS_AROUND, OURS_SHARED, STATIC, TOWER_HTTP_CACHE, AXUM_RESPONSE_CACHE];

/// The path of the page.
pub(crate) const PATH: &str = "/page";

/// The headers of a browser's request.
pub(crate) const HEADERS: [(&str, &str); 7] = [
    ("host", "example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "_ga=GA1.1.1234567890.1234567890; theme=dark"),
    ("upgrade-insecure-requests", "1"),
];

/// The length of the page.
const LENGTH: usize = 10 * 1024;

/// The tag of the page from the first call of its handler. With another tag, it is not a hit.
pub(crate) const FIRST_TAG: &str = "\"00000001\"";

/// A site, as it is served.
pub(crate) enum Site {
    Router(Router),
    /// A cache around a router.
    Cached(MapResponse<HttpCache<Router>, IntoAxum>),
}

/// `axum::serve` needs a body of axum.
type IntoAxum = fn(axum::http::Response<CachedBody<Body>>) -> Response;

/// Returns the site of this name.
pub(crate) fn site(name: &str) -> Site {
    if name == OURS_AROUND {
        let into_axum: IntoAxum = |response| response.map(Body::new);
        let cached = ours().layer(numbered().with_state(()));
        return Site::Cached(MapResponse::new(cached, into_axum));
    }
    // Like `axum::serve`: otherwise, each request would turn the handler into a service.
    Site::Router(layered(name).with_state(()))
}

fn layered(name: &str) -> Router {
    match name {
        OURS => behind(ours()),
        OURS_SHARED => behind(HttpCacheLayer::shared(&cache())),
        STATIC => static_page(),
        TOWER_HTTP_CACHE => {
            let never = HandleErrorLayer::new(async |_| StatusCode::INTERNAL_SERVER_ERROR);
            let cache = TowerHttpCache::new_in_memory(1000).with_ttl(HOUR);
            behind((never, cache, AndThenLayer::new(collected)))
        }
        AXUM_RESPONSE_CACHE => behind(AxumResponseCache::with_lifespan(HOUR)),
        other => panic!("unknown site {other:?}, expected one of {ALL:?}"),
    }
}

fn ours() -> HttpCacheLayer {
    HttpCacheLayer::new(&cache()).policy(Policy::site().ignore_cookies(["theme"]))
}

/// tower-http-cache needs a body that is `Sync`, unlike axum's. Only misses call this.
async fn collected(response: Response) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, LENGTH).await.expect("the whole body");
    Ok(Response::from_parts(head, Full::new(bytes)))
}

fn cache() -> CacheHandle {
    CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default())
}

/// The least work of a handler.
fn static_page() -> Router {
    let body = body();
    let handler = move || {
        let page = page(HeaderValue::from_static(FIRST_TAG), body.clone());
        async { page }
    };
    Router::new().route(PATH, get(handler))
}

/// The handler behind a cache for its route.
fn behind<L>(cache: L) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<axum::extract::Request, Error = Infallible> + Clone + Send + Sync + 'static,
    <L::Service as Service<axum::extract::Request>>::Response: IntoResponse + 'static,
    <L::Service as Service<axum::extract::Request>>::Future: Send + 'static,
{
    numbered().layer(cache)
}

/// A handler that numbers its responses.
fn numbered() -> Router {
    let (body, calls) = (body(), Arc::new(AtomicUsize::new(1)));
    let handler = move || {
        let number = calls.fetch_add(1, Relaxed);
        let tag = HeaderValue::from_str(&format!("\"{number:08}\"")).expect("a valid header");
        let page = page(tag, body.clone());
        async { page }
    };
    Router::new().route(PATH, get(handler))
}

fn body() -> Bytes {
    b"0123456789abcdef".repeat(LENGTH / 16).into()
}

/// The page with as many headers as a cache adds.
fn page(tag: HeaderValue, body: Bytes) -> Response {
    let of = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let headers = [
        of(header::CONTENT_TYPE, "text/html; charset=utf-8"),
        of(header::CACHE_CONTROL, "max-age=3600"),
        of(header::EXPIRES, "Fri, 31 Dec 2049 23:59:59 GMT"),
        of(header::AGE, "0"),
        (header::ETAG, tag),
    ];
    (headers, body).into_response()
}
