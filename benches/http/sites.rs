//! One page, served in several ways.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{Route, get},
};
use axum_response_cache::CacheLayer as AxumResponseCache;
use bytes::Bytes;
use cache_core::{CacheHandle, Settings};
use cache_http::{HttpCacheLayer, Policy};
use cache_locmem::LocMemCache;
use http_body_util::Full;
use tower::{Layer, Service, util::AndThenLayer};
use tower_http_cache::prelude::CacheLayer as TowerHttpCache;

pub(crate) const OURS: &str = "cachette";
pub(crate) const OURS_SHARED: &str = "cachette, shared preset";
pub(crate) const STATIC: &str = "static axum handler";
pub(crate) const TOWER_HTTP_CACHE: &str = "tower-http-cache";
pub(crate) const AXUM_RESPONSE_CACHE: &str = "axum-response-cache";

/// All of them.
pub(crate) const ALL: [&str; 5] =
    [OURS, OURS_SHARED, STATIC, TOWER_HTTP_CACHE, AXUM_RESPONSE_CACHE];

/// Where the page is.
pub(crate) const PATH: &str = "/page";

/// What a browser says when it asks for it.
pub(crate) const HEADERS: [(&str, &str); 7] = [
    ("host", "example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "_ga=GA1.1.1234567890.1234567890; theme=dark"),
    ("upgrade-insecure-requests", "1"),
];

/// Its length.
const LENGTH: usize = 10 * 1024;

/// How long it may be kept.
const HOUR: Duration = Duration::from_secs(3600);

/// The tag of a page that was made by the first call of its handler: one that came later was no hit.
pub(crate) const FIRST_TAG: &str = "\"00000001\"";

/// The site of this name.
pub(crate) fn site(name: &str) -> Router {
    match name {
        OURS => {
            let policy = Policy::site().ignore_cookies(["theme"]);
            behind(HttpCacheLayer::new(&cache()).policy(policy))
        }
        OURS_SHARED => behind(HttpCacheLayer::shared(&cache())),
        STATIC => unchanging(),
        TOWER_HTTP_CACHE => {
            let never = HandleErrorLayer::new(async |_| StatusCode::INTERNAL_SERVER_ERROR);
            let cache = TowerHttpCache::new_in_memory(1000).with_ttl(HOUR);
            behind((never, cache, AndThenLayer::new(of_bytes)))
        }
        AXUM_RESPONSE_CACHE => behind(AxumResponseCache::with_lifespan(HOUR)),
        other => panic!("{other:?} is none of {ALL:?}"),
    }
}

/// tower-http-cache wants a body that threads may share, which axum's is not. Only what is no hit comes here.
async fn of_bytes(response: Response) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, LENGTH).await.expect("it is all there");
    Ok(Response::from_parts(head, Full::new(bytes)))
}

fn cache() -> CacheHandle {
    CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default())
}

/// The least that a handler can do.
fn unchanging() -> Router {
    let body = body();
    let answer = move || {
        let page = page(HeaderValue::from_static(FIRST_TAG), body.clone());
        async { page }
    };
    Router::new().route(PATH, get(answer))
}

/// A handler that numbers its answers, in a cache.
fn behind<L>(cache: L) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<axum::extract::Request, Error = Infallible> + Clone + Send + Sync + 'static,
    <L::Service as Service<axum::extract::Request>>::Response: IntoResponse + 'static,
    <L::Service as Service<axum::extract::Request>>::Future: Send + 'static,
{
    let (body, calls) = (body(), Arc::new(AtomicUsize::new(1)));
    let answer = move || {
        let number = calls.fetch_add(1, Relaxed);
        let tag = HeaderValue::from_str(&format!("\"{number:08}\"")).expect("it is a value");
        let page = page(tag, body.clone());
        async { page }
    };
    Router::new().route(PATH, get(answer)).layer(cache)
}

fn body() -> Bytes {
    b"0123456789abcdef".repeat(LENGTH / 16).into()
}

/// As many headers as a page has that comes from a cache, whoever serves it.
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
