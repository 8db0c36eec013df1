//! What `CacheDebugLayer` shows, to whom, and that page caches never store it.

mod common;

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use cache_core::{
    CacheHandle, Settings, Timeout,
    observe::{ObserveOptions, Observed},
};
use cache_http::{CacheCalls, CacheDebugLayer, HttpCacheLayer};
use common::{Got, Inner, Site, View, page, request};
use http::{Method, Request, Response, Version, request::Parts};
use http_body::{Frame, SizeHint};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
const PAGE: &str = "<html><body>a page</body></html>";

/// A cache in the same store, which reports what it does.
fn observed(site: &Site) -> CacheHandle {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let key_prefix = format!("debug{}", NUMBER.fetch_add(1, SeqCst));
    let store = Arc::clone(site.cache.store());
    let store = Observed::new("default", store, ObserveOptions::default());
    CacheHandle::new("default", Arc::new(store), Settings { key_prefix, ..Settings::default() })
}

fn is_developer(parts: &Parts) -> bool {
    parts.headers.contains_key("x-developer")
}

fn debug() -> CacheDebugLayer {
    CacheDebugLayer::new().show_if(is_developer)
}

fn boxed<S, B>(service: S) -> Inner
where
    S: tower::Service<Request<Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    BoxCloneSyncService::new(service.map_response(|response: Response<B>| response.map(Body::new)))
}

async fn send(service: &Inner, request: Request<Body>) -> Got {
    Got::of(service.clone().oneshot(request).await.expect("infallible")).await
}

/// Sends the request of a developer, as a browser does.
async fn show(service: &Inner, uri: &str) -> Got {
    send(service, request(Method::GET, uri, &[("x-developer", "1"), ("accept", "text/html")])).await
}

async fn get(service: &Inner, uri: &str) -> Got {
    send(service, request(Method::GET, uri, &[])).await
}

async fn json(service: &Inner, method: Method, uri: &str) -> Value {
    let headers = [("x-developer", "1"), ("cache-calls", "json")];
    let got = send(service, request(method, uri, &headers)).await;
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    serde_json::from_str(&got.body).expect("valid JSON")
}

fn operations(json: &Value) -> Vec<(&str, &str)> {
    let operations = json["cache"]["operations"].as_array().expect("operations");
    operations
        .iter()
        .map(|call| {
            let name = |field: &str| call[field].as_str().expect("a name");
            (name("operation"), name("outcome"))
        })
        .collect()
}

/// A view that looks up a key, and its service in the layer.
fn looking_up(cache: &CacheHandle, key: &'static str) -> Inner {
    let cache = cache.clone();
    let view = View::waiting(move |_, _| {
        let cache = cache.clone();
        async move {
            cache.get::<String>(key).await.expect("the store works");
            page(&[HTML], PAGE)
        }
    });
    view.service()
}

#[track_caller]
fn assert_unchanged(got: &Got) {
    assert_eq!(got.body, PAGE);
    assert_eq!(got.header("server-timing"), None);
}

#[track_caller]
fn assert_panel(got: &Got) {
    assert!(got.body.starts_with("<html><body>a page<cachette-calls>"), "{}", got.body);
    assert!(got.body.ends_with("</cachette-calls></body></html>"), "{}", got.body);
    assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    let timing = got.header("server-timing").expect("a timing");
    assert!(timing.starts_with("cache;desc=\"") && timing.contains("\";dur="), "{timing}");
}

fn presets(site: &Site, cache: &CacheHandle) -> [HttpCacheLayer; 2] {
    let layer = |layer: HttpCacheLayer| layer.clock(site.time.clock()).cache_status("c");
    [
        layer(HttpCacheLayer::new(cache).key_prefix("site")),
        layer(HttpCacheLayer::shared(cache).key_prefix("shared")),
    ]
}

async fn page_is_stored_without_the_panel_outside_of_the_cache(site: Site) {
    let cache = observed(&site);
    for layer in presets(&site, &cache) {
        let view = View::new(|_, _| page(&[HTML, MINUTE], PAGE));
        let service = boxed(debug().layer(layer.layer(view.service())));
        let produced = show(&service, "/").await;
        assert_panel(&produced);
        assert!(produced.body.contains(">set"), "storing the page is shown: {}", produced.body);
        let hit = show(&service, "/").await;
        assert_panel(&hit);
        assert!(hit.is_hit() && hit.body.contains(">hit"), "{hit:?}");
        let visitor = get(&service, "/").await;
        assert!(visitor.is_hit());
        assert_unchanged(&visitor);
        assert_eq!(view.calls(), 1);
    }
}

async fn nothing_is_added_inside_of_a_page_cache(site: Site) {
    let cache = observed(&site);
    for layer in presets(&site, &cache) {
        let view = View::new(|request, _| {
            let is_bypass = request.headers().contains_key("authorization");
            assert_eq!(request.extensions().get::<CacheCalls>().is_some(), is_bypass);
            page(&[HTML, MINUTE], PAGE)
        });
        let service = boxed(layer.layer(debug().layer(view.service())));
        for is_hit in [false, true] {
            let got = show(&service, "/").await;
            assert_unchanged(&got);
            assert_eq!(got.is_hit(), is_hit);
        }
        assert_unchanged(&get(&service, "/").await);
        // A request that bypasses the cache is not stored.
        let headers = [("x-developer", "1"), ("authorization", "a")];
        assert_panel(&send(&service, request(Method::GET, "/", &headers)).await);
        assert_unchanged(&get(&service, "/").await);
    }
}

async fn validation_stores_no_timing(site: Site) {
    let cache = observed(&site);
    let [_, layer] = presets(&site, &cache);
    let validated = View::new(|request, _| {
        let headers = [HTML, ("cache-control", "max-age=10"), ("etag", "\"1\"")];
        let mut response = page(&headers, PAGE);
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = http::StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    for service in [
        boxed(layer.layer(debug().layer(validated.service()))),
        boxed(debug().layer(layer.clone().key_prefix("outside").layer(validated.service()))),
    ] {
        show(&service, "/").await;
        site.advance(20);
        let validated = show(&service, "/").await;
        assert!(validated.header("cache-status").is_some_and(|status| status.contains("304")));
        let visitor = get(&service, "/").await;
        assert!(visitor.is_hit(), "{visitor:?}");
        assert_unchanged(&visitor);
    }
}

async fn purge_after_an_unsafe_request_is_shown(site: Site) {
    let cache = observed(&site);
    let [_, layer] = presets(&site, &cache);
    let view = View::new(|_, _| page(&[HTML, MINUTE], PAGE));
    let service = boxed(debug().layer(layer.layer(view.service())));
    get(&service, "/").await;
    let calls = json(&service, Method::POST, "/").await;
    assert!(!operations(&calls).is_empty(), "{calls}");
    assert_eq!(calls["request"]["method"], "POST");
}

on_each_store! {
    page_is_stored_without_the_panel_outside_of_the_cache,
    nothing_is_added_inside_of_a_page_cache,
    validation_stores_no_timing,
    purge_after_an_unsafe_request_is_shown,
}

#[tokio::test]
async fn default_layer_shows_nothing_to_requests_of_proxies() {
    let layer = CacheDebugLayer::new();
    let service = boxed(layer.layer(looking_up(&observed(&Site::in_memory()), "key")));
    let html = ("accept", "text/html");
    for header in [
        "forwarded",
        "x-forwarded-for",
        "X-Forwarded-Proto",
        "X_Forwarded_For",
        "x-original-forwarded-for",
        "via",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-envoy-external-address",
    ] {
        let got = send(&service, request(Method::GET, "/", &[html, (header, "")])).await;
        assert_eq!(got.body, PAGE, "{header}");
        assert_unchanged(&got);
    }
    // nginx talks to its upstreams so by default, without any of these headers.
    let mut old = request(Method::GET, "/", &[html]);
    *old.version_mut() = Version::HTTP_10;
    assert_unchanged(&send(&service, old).await);
    let got = send(&service, request(Method::GET, "/", &[html])).await;
    // The tests are also run in the profile `release`.
    match cfg!(debug_assertions) {
        true => assert_panel(&got),
        false => assert_unchanged(&got),
    }
}

#[tokio::test]
async fn only_requests_that_the_predicate_accepts_are_shown() {
    let service = boxed(debug().layer(looking_up(&observed(&Site::in_memory()), "key")));
    assert_unchanged(&get(&service, "/").await);
    let asks = request(Method::GET, "/", &[("cache-calls", "json")]);
    assert_unchanged(&send(&service, asks).await);
    let proxied = [("x-developer", "1"), ("x-forwarded-for", "::1")];
    assert_panel(&send(&service, request(Method::GET, "/", &proxied)).await);
}

#[tokio::test]
async fn header_counts_calls_and_hits() {
    let cache = observed(&Site::in_memory());
    let looked_up = cache.clone();
    let view = View::waiting(move |_, _| {
        let cache = looked_up.clone();
        async move {
            cache.set("a", "b", Timeout::Default).await.expect("stored");
            for key in ["a", "a", "absent"] {
                cache.get::<String>(key).await.expect("the store works");
            }
            page(&[], "text")
        }
    });
    let service = boxed(debug().layer(view.service()));
    let got = show(&service, "/").await;
    let timing = got.header("server-timing").expect("a timing");
    assert!(timing.starts_with("cache;desc=\"4 calls, 2 hits\";dur="), "{timing}");
    assert_eq!(got.body, "text");
}

#[tokio::test]
async fn nested_calls_have_their_level() {
    let cache = observed(&Site::in_memory());
    let view = View::waiting(move |_, _| {
        let cache = cache.clone();
        async move {
            let inner = cache.clone();
            let produce = async || {
                inner.get::<String>("inner").await.expect("the store works");
                "produced".to_owned()
            };
            cache.get_or_set("outer", Timeout::Default, produce).await.expect("produced");
            page(&[HTML], PAGE)
        }
    });
    let service = boxed(debug().layer(view.service()));
    let got = show(&service, "/").await;
    assert!(got.body.contains("level 1 </span>get<"), "{}", got.body);
    let calls = json(&service, Method::GET, "/").await;
    assert_eq!(operations(&calls), [("get", "hit")]);
}

#[tokio::test]
async fn keys_are_escaped_in_html_and_json() {
    let cache = observed(&Site::in_memory());
    let service = boxed(debug().layer(looking_up(&cache, "</script><img/onerror=\"1\">\u{e4}")));
    let got = show(&service, "/").await;
    assert!(!got.body.contains("<img") && got.body.is_ascii(), "{}", got.body);
    assert!(got.body.contains("&#60;img/onerror=&#34;1&#34;&#62;&#228;"), "{}", got.body);
    let calls = json(&service, Method::GET, "/").await;
    let key = calls["cache"]["operations"][0]["keys"][0].as_str().expect("a key");
    assert!(key.ends_with("<img/onerror=\"1\">\u{e4}"), "{key}");
}

#[tokio::test]
async fn calls_are_bounded_and_the_panel_says_so() {
    let cache = observed(&Site::in_memory());
    let view = View::waiting(move |_, _| {
        let cache = cache.clone();
        async move {
            for _ in 0..1005 {
                cache.get::<String>("absent").await.expect("the store works");
            }
            page(&[HTML], PAGE)
        }
    });
    let service = boxed(debug().layer(view.service()));
    let got = show(&service, "/").await;
    assert!(got.body.contains("Only the first 200 of 1005 operations are shown."), "{}", got.body);
    assert_eq!(got.body.matches("<tr").count(), 201);
    let timing = got.header("server-timing").expect("a timing");
    assert!(timing.contains("1005 calls, 0 or more hits"), "{timing}");
    let calls = json(&service, Method::GET, "/").await;
    assert_eq!(calls["cache"]["omitted"], 5);
    assert_eq!(operations(&calls).len(), 1000);
}

/// A body that looks up a key when it is read. Its length is known or not.
struct Lazy {
    cache: CacheHandle,
    length: SizeHint,
    is_read: bool,
    outcome: Result<(), &'static str>,
}

impl http_body::Body for Lazy {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.is_read {
            return Poll::Ready(self.outcome.err().map(Err));
        }
        let cache = self.cache.clone();
        let lookup = pin!(cache.get::<String>("in the body"));
        assert!(lookup.poll(context).is_ready(), "the store is in memory");
        self.is_read = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(PAGE)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
    }
}

fn lazy(length: SizeHint, outcome: Result<(), &'static str>) -> Inner {
    let cache = observed(&Site::in_memory());
    let view = View::new(move |_, _| {
        let mut response = page(&[HTML], "");
        let (cache, length) = (cache.clone(), length);
        *response.body_mut() = Body::new(Lazy { cache, length, is_read: false, outcome });
        response
    });
    boxed(debug().layer(view.service()))
}

fn known_length() -> SizeHint {
    SizeHint::with_exact(PAGE.len() as u64)
}

#[tokio::test]
async fn calls_while_a_body_of_known_length_is_read_are_shown() {
    let service = lazy(known_length(), Ok(()));
    let got = show(&service, "/").await;
    assert_panel(&got);
    assert!(got.body.contains("in the body"), "{}", got.body);
    assert!(
        got.header("server-timing").is_some_and(|timing| timing.contains("\"1 call, 0 hits\""))
    );
    assert_eq!(operations(&json(&service, Method::GET, "/").await), [("get", "miss")]);
}

#[tokio::test]
async fn streamed_body_is_passed_on_without_a_panel() {
    let got = show(&lazy(SizeHint::new(), Ok(())), "/").await;
    assert_eq!(got.body, PAGE);
    assert!(
        got.header("server-timing").is_some_and(|timing| timing.contains("\"0 calls, 0 hits\""))
    );
}

#[tokio::test]
async fn body_that_fails_is_passed_on_without_a_panel() {
    let got = show(&lazy(known_length(), Err("broken")), "/").await;
    assert!(got.failed);
    assert_eq!(got.body, PAGE);
}

#[tokio::test]
async fn responses_that_are_no_whole_pages_are_not_changed() {
    for header in [
        ("content-encoding", "gzip"),
        ("cache-control", "no-transform"),
        ("content-disposition", "attachment"),
    ] {
        let view = View::new(move |_, _| page(&[HTML, header], PAGE));
        let got = show(&boxed(debug().layer(view.service())), "/").await;
        assert_eq!(got.body, PAGE, "{header:?}");
        assert!(got.header("server-timing").is_some());
    }
    let view = View::new(|_, _| page(&[("content-type", "text/plain")], PAGE));
    assert_eq!(show(&boxed(debug().layer(view.service())), "/").await.body, PAGE);
    let layer = debug().max_body(PAGE.len() as u64 - 1);
    let service = boxed(layer.layer(View::new(|_, _| page(&[HTML], PAGE)).service()));
    assert_eq!(show(&service, "/").await.body, PAGE);
    let service =
        boxed(debug().panel(false).layer(View::new(|_, _| page(&[HTML], PAGE)).service()));
    let got = show(&service, "/").await;
    assert_eq!(got.body, PAGE);
    assert!(got.header("server-timing").is_some());
}

#[tokio::test]
async fn page_with_a_panel_has_no_validators_and_is_never_a_304() {
    let view = View::new(|request, _| {
        assert!(!request.headers().contains_key("if-none-match"));
        page(&[HTML, ("etag", "\"1\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")], PAGE)
    });
    let service = boxed(debug().layer(view.service()));
    let headers = [("x-developer", "1"), ("accept", "text/html"), ("if-none-match", "\"1\"")];
    let got = send(&service, request(Method::GET, "/", &headers)).await;
    assert_panel(&got);
    assert_eq!((got.header("etag"), got.header("last-modified")), (None, None));
}

#[tokio::test]
async fn page_with_a_panel_is_not_stored_by_content_delivery_networks() {
    let headers = [
        HTML,
        ("cache-control", "public, max-age=60"),
        ("cdn-cache-control", "max-age=600"),
        ("cloudflare-cdn-cache-control", "max-age=600"),
        ("surrogate-control", "max-age=600"),
        ("edge-control", "max-age=600"),
        ("x-accel-expires", "600"),
    ];
    let view = View::new(move |_, _| page(&headers, PAGE));
    let got = show(&boxed(debug().layer(view.service())), "/").await;
    assert_panel(&got);
    for (name, _) in &headers[2..] {
        assert_eq!(got.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn body_that_is_longer_than_it_says_is_read_up_to_the_bound() {
    let view = View::new(|_, _| {
        let mut response = page(&[HTML], "");
        *response.body_mut() = Body::new(Endless);
        response
    });
    let service = boxed(debug().max_body(1000).layer(view.service()));
    let headers = [("x-developer", "1"), ("accept", "text/html")];
    let response = service.oneshot(request(Method::GET, "/", &headers)).await.expect("infallible");
    assert!(response.headers().contains_key("server-timing"));
    assert!(!response.headers().contains_key("cache-control"), "the page was not changed");
}

/// A body that never ends, although it says so.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"<body></body>")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(13)
    }
}

#[tokio::test]
async fn panel_uses_the_nonce_of_the_page() {
    let policy = ("content-security-policy", "default-src 'none'; style-src 'nonce-abc'");
    let service =
        boxed(debug().layer(View::new(move |_, _| page(&[HTML, policy], PAGE)).service()));
    assert!(show(&service, "/").await.body.contains("<style nonce=\"abc\">"));
}

#[tokio::test]
async fn handler_finds_the_calls_in_the_request() {
    let cache = observed(&Site::in_memory());
    let view = View::waiting(move |request: Request<Body>, _| {
        let cache = cache.clone();
        async move {
            cache.get::<String>("key").await.expect("the store works");
            let calls = request.extensions().get::<CacheCalls>().expect("the extension");
            page(&[], &serde_json::to_string(calls).expect("serializable"))
        }
    });
    let service = boxed(debug().layer(view.service()));
    let calls: Value = serde_json::from_str(&show(&service, "/").await.body).expect("valid JSON");
    assert_eq!((&calls["calls"], &calls["misses"]), (&1.into(), &1.into()), "{calls}");
}

#[tokio::test]
async fn second_layer_adds_nothing() {
    let inner = debug().layer(looking_up(&observed(&Site::in_memory()), "key"));
    let got = show(&boxed(debug().layer(inner)), "/").await;
    assert_eq!(got.body.matches("<cachette-calls>").count(), 1);
    assert_eq!(got.headers.get_all("server-timing").iter().count(), 1);
}
