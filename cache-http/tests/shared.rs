//! The shared cache of RFC 9111: validation, stale responses, invalidation, ranges, directives of
//! requests, targeted headers.

mod common;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use cache_http::{BrowserTtl, HttpCacheLayer, Policy, Purge, Reason, SetCookies};
use common::{Cached, Got, Site, View, page, until};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{sync::Semaphore, time::Instant};

/// Creates a view whose page has this entity tag. It returns a 304 to clients that have the page.
fn tagged(headers: &'static [(&'static str, &'static str)], tag: &'static str) -> View {
    View::new(move |request, calls| validated(&request, headers, tag, calls))
}

fn validated(
    request: &Request<Body>,
    headers: &[(&str, &str)],
    tag: &str,
    calls: usize,
) -> Response<Body> {
    let mut response = page(headers, &format!("page {calls}"));
    response.headers_mut().insert("etag", tag.parse().expect("valid value"));
    if request.headers().get("if-none-match").is_some_and(|asked| *asked == *tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response
}

fn error(status: u16) -> Response<Body> {
    let mut response = page(&[], "sorry");
    *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
    response
}

/// Sends concurrent requests for a stale page whose view takes a second. Returns how many seconds
/// they take, and how often the view is called.
async fn concurrent_requests(view: &View, layer: &HttpCacheLayer, site: &Site) -> (u64, usize) {
    let cached = view.cached(layer);
    cached.get("/").await;
    site.advance(11);
    let (started_at, before) = (Instant::now(), view.calls());
    let visits: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let cached = cached.clone();
                async move { cached.get("/").await.body }
            })
        })
        .collect();
    for context in visits {
        assert_eq!(context.await.expect("task panicked"), "page 0");
    }
    (started_at.elapsed().as_secs(), view.calls() - before)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn concurrent_requests_for_a_page_with_no_cache_validate_it_without_waiting() {
    let site = Site::in_memory();
    let view = View::waiting(|request, calls| async move {
        tokio::time::sleep(SECOND).await;
        validated(&request, &[("cache-control", "no-cache")], "\"v\"", calls)
    });
    let layer = site.shared().policy(Policy::shared().validate_no_cache());
    assert_eq!(concurrent_requests(&view, &layer, &site).await, (1, 10));
}

#[tokio::test(start_paused = true)]
async fn waiters_for_a_page_that_became_private_do_not_wait_for_each_other() {
    let site = Site::in_memory();
    let view = View::waiting(|request, calls| async move {
        tokio::time::sleep(SECOND).await;
        let directives = if calls == 0 { "max-age=10" } else { "private, max-age=10" };
        validated(&request, &[("cache-control", directives)], "\"v\"", calls)
    });
    // One more request finds out whether the first response is an exception.
    assert_eq!(concurrent_requests(&view, &site.shared(), &site).await, (3, 10));
}

#[tokio::test(start_paused = true)]
async fn failing_origin_is_called_once_for_concurrent_requests() {
    let site = Site::in_memory();
    let view = View::waiting(|_, calls| async move {
        tokio::time::sleep(SECOND).await;
        if calls == 0 {
            page(&[("cache-control", "max-age=10, stale-if-error=99")], "page 0")
        } else {
            error(503)
        }
    });
    assert_eq!(concurrent_requests(&view, &site.layer(), &site).await, (1, 1));
}

/// Sends this many requests at once. Returns their bodies, and how many seconds they take.
async fn burst(cached: &Cached, requests: Vec<Request<Body>>) -> (Vec<String>, u64) {
    let started_at = Instant::now();
    let visits: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.send(request).await.body })
        })
        .collect();
    let mut bodies = Vec::new();
    for visit in visits {
        bodies.push(visit.await.expect("task panicked"));
    }
    (bodies, started_at.elapsed().as_secs())
}

fn get() -> Request<Body> {
    common::request(Method::GET, "/", &[])
}

#[tokio::test(start_paused = true)]
async fn page_that_is_stale_on_arrival_is_shared_with_those_who_waited_for_it() {
    let site = Site::in_memory();
    let view = View::waiting(|request, calls| async move {
        tokio::time::sleep(SECOND).await;
        validated(&request, &[("cache-control", "public, max-age=0")], "\"v\"", calls)
    });
    let cached = view.cached(&site.shared());
    // Once for a page that is not stored yet, and once for one that is validated.
    for calls in [1, 2] {
        let (bodies, seconds) = burst(&cached, (0..30).map(|_| get()).collect()).await;
        assert_eq!((bodies, seconds), (vec!["page 0".to_owned(); 30], 1));
        assert_eq!(view.calls(), calls);
    }
    assert!(!cached.get("/").await.is_hit(), "a later request is validated");
    assert_eq!(view.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn waiter_gets_the_whole_response_after_validation_with_another_tag() {
    let site = Site::in_memory();
    let view = View::waiting(|request, calls| async move {
        tokio::time::sleep(SECOND).await;
        let tag = format!("\"v{}\"", calls.min(1));
        let headers = [("cache-control", "max-age=10"), ("etag", &*tag)];
        let mut response = page(&headers, &format!("page {calls}"));
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    let (mut bodies, seconds) = burst(&cached, (0..10).map(|_| get()).collect()).await;
    assert_eq!((bodies.remove(0), seconds), ("page 0".to_owned(), 2));
    assert_eq!(bodies, vec!["page 2".to_owned(); 9]);
}

/// A body that is pending until it is released.
struct Held(Arc<AtomicBool>);

impl futures_core::Stream for Held {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.0.load(SeqCst) {
            return Poll::Ready(None);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[tokio::test]
async fn page_that_is_stale_on_arrival_is_not_shared_with_later_requests() {
    let site = Site::in_memory();
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let view = View::new(move |_, calls| {
        let directives = ("cache-control", "public, max-age=0");
        let tag = format!("\"v{calls}\"");
        let mut response = page(&[directives, ("etag", &tag)], &format!("page {calls}"));
        if calls == 0 {
            *response.body_mut() = Body::new(StreamBody::new(Held(Arc::clone(&released))));
        }
        response
    });
    let cached = view.cached(&site.shared());
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get("/").await }
    });
    until(async || view.calls() == 1).await;
    site.advance(1);
    let later: Vec<_> = (0..5)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.get("/").await.body })
        })
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    release.store(true, SeqCst);
    assert_eq!(first.await.expect("task panicked").body, "");
    for visit in later {
        assert_ne!(visit.await.expect("task panicked"), "");
    }
    assert_eq!(view.calls(), 6);
}

/// Creates a view that sets a cookie if the request has `X-New`, and takes a second.
fn greeting(headers: &'static [(&'static str, &'static str)]) -> View {
    View::waiting(move |request, calls| async move {
        tokio::time::sleep(SECOND).await;
        let mut response = page(headers, &format!("page {calls}"));
        if request.headers().contains_key("x-new") {
            response.headers_mut().insert("set-cookie", "a=1".parse().expect("valid value"));
        }
        response
    })
}

#[tokio::test(start_paused = true)]
async fn response_that_may_not_be_stored_does_not_disable_single_flight() {
    let site = Site::in_memory();
    for layer in [site.layer(), site.shared().key_prefix("shared")] {
        let view = greeting(&[("cache-control", "max-age=60")]);
        let bad = common::request(Method::GET, "/", &[("x-new", "1")]);
        let requests = [bad].into_iter().chain((0..29).map(|_| get())).collect();
        let (mut bodies, seconds) = burst(&view.cached(&layer), requests).await;
        assert_eq!((bodies.remove(0), seconds), ("page 0".to_owned(), 2));
        assert_eq!(bodies, vec!["page 1".to_owned(); 29]);
    }
}

#[tokio::test(start_paused = true)]
async fn stored_page_enables_single_flight_again() {
    let site = Site::in_memory();
    let view = greeting(&[("cache-control", "max-age=10")]);
    let cached = view.cached(&site.shared());
    for _ in 0..3 {
        cached.get_with("/", &[("x-new", "1")]).await;
    }
    cached.get("/").await;
    site.advance(11);
    let (bodies, seconds) = burst(&cached, (0..9).map(|_| get()).collect()).await;
    assert_eq!((bodies, seconds), (vec!["page 4".to_owned(); 9], 1));
}

async fn refresh_that_may_not_be_stored_does_not_pin_the_stale_page(site: Site) {
    for layer in [site.layer(), site.shared().key_prefix("shared")] {
        let view = View::new(|request, calls| {
            let directives = ("cache-control", "max-age=10, stale-while-revalidate=999");
            let mut response = page(&[directives], &format!("page {calls}"));
            if request.headers().contains_key("x-new") {
                response.headers_mut().insert("set-cookie", "a=1".parse().expect("valid value"));
            }
            response
        });
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(11);
        assert_eq!(cached.get_with("/", &[("x-new", "1")]).await.body, "page 0");
        until(async || layer.counts().rejected == 1).await;
        assert_eq!(cached.get("/").await.body, "page 0");
        until(async || cached.get("/").await.body == "page 2").await;
    }
}

async fn page_that_became_private_is_not_served_until_its_window_ends(site: Site) {
    for layer in [site.layer(), site.shared().key_prefix("shared")] {
        let view = View::new(|_, calls| {
            let directives = if calls == 0 { "max-age=10" } else { "private" };
            let directives = format!("{directives}, stale-while-revalidate=999");
            page(&[("cache-control", &directives)], &format!("page {calls}"))
        });
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(11);
        for rejected in 1..=2 {
            assert_eq!(cached.get("/").await.body, "page 0");
            until(async || layer.counts().rejected == rejected).await;
        }
        for calls in 3..6 {
            assert_eq!(cached.get("/").await.body, format!("page {calls}"));
        }
    }
}

async fn response_without_lifetime_is_not_stored(site: Site) {
    let cached = View::with(&[]).cached(&site.shared());
    assert_eq!(cached.get("/").await.reason(), "no-lifetime");
}

async fn heuristic_lifetime_is_a_tenth_of_the_time_since_modification(site: Site) {
    let view = View::with(&[("last-modified", "Wed, 31 Dec 2025 23:43:20 GMT")]);
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(99);
    assert!(cached.get("/").await.is_hit());
    site.advance(1);
    assert_eq!(cached.get("/").await.body, "page 1");
}

async fn initial_age_counts(site: Site) {
    let view = View::with(&[("cache-control", "max-age=60"), ("age", "50")]);
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(9);
    assert_eq!(cached.get("/").await.header("age"), Some("59"));
    site.advance(1);
    assert!(!cached.get("/").await.is_hit());
}

async fn validated_page_is_fresh_again(site: Site) {
    let view = tagged(&[("cache-control", "max-age=10")], "\"v1\"");
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    let validated = cached.get("/").await;
    assert_eq!(
        (validated.status, &*validated.body, validated.header("age")),
        (StatusCode::OK, "page 0", Some("0"))
    );
    assert_eq!(
        validated.header("cache-status"),
        Some("c; fwd=stale; fwd-status=304; stored; detail=stale")
    );
    site.advance(9);
    assert!(cached.get("/").await.is_hit());
    assert_eq!(view.calls(), 2);
}

async fn validation_with_another_entity_tag_is_not_believed(site: Site) {
    for (stored, confirmed) in
        [("\"v1\"", "\"v2\""), ("\"v1\"", "W/\"v2\""), ("W/\"v1\"", "\"v1\"")]
    {
        let view = View::new(move |request, calls| {
            let conditional = request.headers().contains_key("if-none-match");
            let tag = if calls == 0 { stored } else { confirmed };
            let mut response =
                page(&[("cache-control", "max-age=10"), ("etag", tag)], &format!("page {calls}"));
            if conditional {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = Body::empty();
            }
            response
        });
        let cached = view.cached(&site.shared().key_prefix(&format!("{stored}{confirmed}")));
        cached.get("/").await;
        site.advance(11);
        let unconfirmed = cached.get("/").await;
        assert_eq!(
            (&*unconfirmed.body, unconfirmed.header("etag"), unconfirmed.header("age")),
            ("page 0", Some(stored), Some("11"))
        );
        for _ in 0..2 {
            let got = cached.get("/").await;
            assert_eq!((&*got.body, got.header("etag")), ("page 2", Some(confirmed)));
        }
        assert_eq!(view.calls(), 3);
    }
}

async fn page_with_must_revalidate_is_a_502_after_validation_with_another_tag(site: Site) {
    let view = View::new(|request, calls| {
        let tag = format!("\"v{calls}\"");
        let directives = "max-age=10, must-revalidate";
        let mut response =
            page(&[("cache-control", directives), ("etag", &tag)], &format!("page {calls}"));
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    let layer = site.shared();
    let cached = view.cached(&layer);
    cached.get("/").await;
    site.advance(11);
    assert_eq!(cached.get("/").await.status, StatusCode::BAD_GATEWAY);
    assert!(layer.counts().reasons.contains(&(Reason::Validator, 1)), "{:?}", layer.counts());
    assert_eq!(cached.get("/").await.body, "page 2");
}

async fn weak_entity_tag_of_a_304_confirms_the_strong_one(site: Site) {
    let view = View::new(|request, calls| {
        let conditional = request.headers().contains_key("if-none-match");
        let tag = if conditional { "W/\"v1\"" } else { "\"v1\"" };
        let mut response =
            page(&[("cache-control", "max-age=10"), ("etag", tag)], &format!("page {calls}"));
        if conditional {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    let validated = cached.get("/").await;
    assert_eq!((&*validated.body, validated.header("age")), ("page 0", Some("0")));
    assert!(cached.get("/").await.is_hit());
}

async fn changed_page_is_replaced(site: Site) {
    let view = View::new(|request, calls| {
        validated(&request, &[("cache-control", "max-age=10")], &format!("\"v{calls}\""), calls)
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    assert_eq!(cached.get("/").await.body, "page 1");
    assert_eq!(cached.get("/").await.body, "page 1");
}

async fn validated_page_that_became_private_is_not_stored(site: Site) {
    let view = View::new(|request, calls| {
        let directives = if calls == 0 { "max-age=10" } else { "private, max-age=10" };
        validated(&request, &[("cache-control", directives)], "\"v\"", calls)
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    for calls in [2, 3] {
        let got = cached.get("/").await;
        assert_eq!((got.header("age"), got.is_hit()), (Some("0"), false));
        assert_eq!(view.calls(), calls);
    }
}

async fn cookie_of_a_304_is_sent_only_to_its_client(site: Site) {
    let (got, next) = cookies_after_validation(&site, SetCookies::Strip).await;
    assert_eq!((&*got, &*next), (&["a=1".to_owned()][..], &[][..]));
}

async fn cookie_of_a_304_is_stored_once_if_enabled(site: Site) {
    let (got, next) = cookies_after_validation(&site, SetCookies::Store).await;
    assert_eq!((&*got, &*next), (&["a=1".to_owned()][..], &["a=1".to_owned()][..]));
}

/// Validates a page with a 304 that sets a cookie. Returns the cookies that its client receives,
/// and those of the next hit.
async fn cookies_after_validation(site: &Site, set: SetCookies) -> (Vec<String>, Vec<String>) {
    let view = View::new(|request, calls| {
        let mut response = validated(&request, &[("cache-control", "max-age=10")], "\"v\"", calls);
        if calls > 0 {
            response.headers_mut().insert("set-cookie", "a=1".parse().expect("valid value"));
        }
        response
    });
    let cached = view.cached(&site.shared().policy(Policy::shared().set_cookies(set)));
    cached.get("/").await;
    site.advance(11);
    let got = cached.get("/").await;
    let next = cached.get("/").await;
    assert!(got.body == "page 0" && next.is_hit(), "{got:?} {next:?}");
    let cookies = |got: &Got| {
        let lines = got.headers.get_all("set-cookie").iter();
        lines.map(|line| line.to_str().expect("ASCII").to_owned()).collect()
    };
    (cookies(&got), cookies(&next))
}

async fn validations_do_not_add_up_jitter(site: Site) {
    for ttl in [BrowserTtl::Revalidate, BrowserTtl::SameAsCache] {
        let policy = Policy::shared().ttl_jitter(0.5);
        let layer = site.shared().policy(policy).browser_ttl(ttl).key_prefix(&format!("{ttl:?}"));
        let view = View::new(|request, _| {
            if request.headers().contains_key("if-none-match") {
                let mut response = page(&[("etag", "\"a\"")], "");
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
            page(&[("etag", "\"a\""), ("cache-control", "max-age=1000")], "page")
        });
        let cached = view.cached(&layer);
        cached.get("/").await;
        for _ in 0..10 {
            site.advance(1001);
            assert!(!cached.get("/").await.is_hit(), "validated");
            site.advance(400);
            assert!(cached.get("/").await.is_hit(), "{ttl:?}");
        }
    }
}

async fn validated_page_keeps_its_lifetime_if_browsers_revalidate(site: Site) {
    let layer = site.shared().browser_ttl(BrowserTtl::Revalidate);
    let view = View::new(|request, _| {
        if request.headers().contains_key("if-none-match") {
            let mut response = page(&[("etag", "\"a\"")], "");
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        page(&[("etag", "\"a\""), ("cache-control", "max-age=60, stale-if-error=30")], "page")
    });
    let cached = view.cached(&layer);
    cached.get("/").await;
    for calls in 2..4 {
        site.advance(61);
        assert!(!cached.get("/").await.is_hit(), "validated");
        assert!(cached.get("/").await.is_hit());
        assert_eq!(view.calls(), calls);
    }
}

async fn client_with_the_page_gets_a_304_after_validation(site: Site) {
    let cached = tagged(&[("cache-control", "max-age=10")], "\"v1\"").cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    assert_eq!(
        cached.get_with("/", &[("if-none-match", "\"v1\"")]).await.status,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(cached.get_with("/", &[("if-none-match", "\"v0\"")]).await.body, "page 0");
}

async fn stale_page_is_served_while_revalidating(site: Site) {
    let view = View::with(&[("cache-control", "max-age=10, stale-while-revalidate=20")]);
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(15);
    assert_eq!(cached.get("/").await.body, "page 0");
    until(async || cached.get("/").await.body == "page 1").await;
    assert_eq!(view.calls(), 2, "the view was called once more");
    site.advance(30);
    assert_eq!(cached.get("/").await.body, "page 2");
}

async fn stale_page_is_served_if_the_origin_fails(site: Site) {
    let view = View::new(|_, calls| match calls {
        0 => page(&[("cache-control", "max-age=10, stale-if-error=20")], "good"),
        calls => error([500, 502, 503, 504, 404][calls - 1]),
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    for _ in 0..4 {
        assert_eq!(cached.get("/").await.body, "good");
    }
    assert_eq!(
        cached.get("/").await.status,
        StatusCode::NOT_FOUND,
        "a 404 is not an error of the origin"
    );
}

async fn head_and_range_get_the_stale_page_if_the_origin_fails(site: Site) {
    // A site serves no ranges, but may always respond with the whole page.
    for (layer, part) in [
        (site.layer(), (StatusCode::OK, "good")),
        (site.shared().key_prefix("shared"), (StatusCode::PARTIAL_CONTENT, "oo")),
    ] {
        let view = View::new(|_, calls| match calls {
            0 => page(&[("cache-control", "max-age=10, stale-if-error=20")], "good"),
            _ => error(503),
        });
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(11);
        let head = cached.ask(Method::HEAD, "/", &[]).await;
        assert_eq!(
            (head.status, head.header("content-length"), &*head.body),
            (StatusCode::OK, Some("4"), "")
        );
        let got = cached.get_with("/", &[("range", "bytes=1-2")]).await;
        assert_eq!((got.status, &*got.body), part);
        assert_eq!(layer.counts().stale, 2);
        site.advance(20);
        let late = cached.ask(Method::HEAD, "/", &[]).await;
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
        let late = cached.get_with("/", &[("range", "bytes=1-2")]).await;
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

async fn page_with_must_revalidate_is_not_served_stale(site: Site) {
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=10"] {
        let view = View::new(move |_, calls| match calls {
            0 => page(
                &[(
                    "cache-control",
                    &format!(
                        "max-age=10, stale-if-error=99, stale-while-revalidate=99, {directive}"
                    ),
                )],
                "",
            ),
            _ => error(500),
        });
        let cached = view.cached(&site.shared().key_prefix(directive));
        cached.get("/").await;
        site.advance(11);
        assert_eq!(cached.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR, "{directive}");
    }
}

async fn page_with_s_maxage_is_served_stale_if_the_response_and_the_policy_allow_it(site: Site) {
    let window = Duration::from_secs(99);
    for (directives, policy, stale) in [
        ("s-maxage=10, stale-while-revalidate=99", Policy::site(), true),
        ("s-maxage=10, stale-if-error=99", Policy::site(), true),
        ("s-maxage=10", Policy::site().stale_if_error(window), false),
        ("s-maxage=10, stale-if-error=99, proxy-revalidate", Policy::site(), false),
        ("s-maxage=10, stale-if-error=99", Policy::site().stale_with_s_maxage(false), false),
        ("s-maxage=10, stale-if-error=99", Policy::shared(), false),
        ("s-maxage=10, stale-if-error=99", Policy::shared().stale_with_s_maxage(true), true),
    ] {
        let view = View::new(move |_, calls| match calls {
            0 => page(&[("cache-control", directives)], "good"),
            _ => error(500),
        });
        let layer = site.layer().policy(policy.clone());
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(11);
        assert_eq!(cached.get("/").await.body == "good", stale, "{directives} {policy:?}");
    }
}

async fn successful_unsafe_request_invalidates(site: Site) {
    let view =
        View::new(|request, calls| match (request.method().as_str(), request.uri().query()) {
            ("GET", _) => page(&[("cache-control", "max-age=60")], &format!("page {calls}")),
            (_, Some("fail")) => error(400),
            _ => {
                let elsewhere = ("content-location", "http://elsewhere.org/c");
                let mut created = page(&[("location", "/b"), elsewhere], "");
                *created.status_mut() = StatusCode::CREATED;
                created
            }
        });
    let cached = view.cached(&site.shared());
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROBNICATE"] {
        let method = Method::from_bytes(method.as_bytes()).expect("valid method");
        for uri in ["/a", "/b", "/c", "/d?fail"] {
            cached.get(uri).await;
        }
        cached.ask(method.clone(), "/a", &[]).await;
        cached.ask(method.clone(), "/d?fail", &[]).await;
        for (uri, kept) in [("/a", false), ("/b", false), ("/c", true), ("/d?fail", true)] {
            assert_eq!(cached.get(uri).await.is_hit(), kept, "{method} {uri}");
        }
    }
}

async fn redirect_after_an_unsafe_request_does_not_invalidate_its_target(site: Site) {
    let view = View::new(|request, _| match request.method().as_str() {
        "GET" => page(&[("cache-control", "max-age=60")], ""),
        _ => {
            let mut redirect = page(&[("location", "/")], "");
            *redirect.status_mut() = StatusCode::FOUND;
            redirect
        }
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    cached.get("/login").await;
    cached.ask(Method::POST, "/login", &[]).await;
    assert!(cached.get("/").await.is_hit());
    assert!(!cached.get("/login").await.is_hit());
}

async fn page_that_is_changed_while_it_is_first_produced_is_not_stored(site: Site) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let view = View::waiting(move |request, calls| {
        let gate = Arc::clone(&opened);
        async move {
            if request.method() == Method::GET && calls == 0 {
                gate.acquire().await.expect("semaphore is open").forget();
            }
            page(&[("cache-control", "max-age=60")], &format!("page {calls}"))
        }
    });
    let cached = view.cached(&site.shared());
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get("/").await }
    });
    until(async || view.calls() == 1).await;
    site.time.advance(Duration::from_millis(1));
    cached.ask(Method::POST, "/", &[]).await;
    site.time.advance(Duration::from_millis(1));
    let after = cached.get("/").await;
    assert_eq!(after.body, "page 2", "a request after the change does not wait for the old page");
    gate.add_permits(1);
    assert_eq!(first.await.expect("task panicked").reason(), "purged");
    let next = cached.get("/").await;
    assert!(next.is_hit() && next.body == "page 2", "{next:?}");
}

async fn range_is_served_from_a_complete_page(site: Site) {
    let view = View::with(&[("cache-control", "max-age=60"), ("etag", "\"v\"")]);
    let cached = view.cached(&site.shared());
    for is_hit in [false, true] {
        let part = cached.get_with("/", &[("range", "bytes=0-3")]).await;
        assert_eq!((part.status, &*part.body), (StatusCode::PARTIAL_CONTENT, "page"));
        assert_eq!(
            (part.header("content-range"), part.header("content-length"), part.is_hit()),
            (Some("bytes 0-3/6"), Some("4"), is_hit)
        );
    }
    let beyond = cached.get_with("/", &[("range", "bytes=9-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, Some("bytes */6"))
    );
    let changed = cached.get_with("/", &[("range", "bytes=0-3"), ("if-range", "\"w\"")]).await;
    assert_eq!((changed.status, &*changed.body), (StatusCode::OK, "page 0"));
    assert_eq!(view.calls(), 1);
}

async fn head_and_range_validate_the_stale_page(site: Site) {
    let view = tagged(&[("cache-control", "max-age=10")], "\"v\"");
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    let ranges = [("range", "bytes=1-2"), ("range", "bytes=-5")];
    let requests = [(Method::HEAD, &[][..], ""), (Method::GET, &ranges[..1], "ag")];
    let suffix = (Method::GET, &ranges[1..], "age 0");
    for (calls, (method, headers, body)) in requests.into_iter().chain([suffix]).enumerate() {
        site.advance(11);
        assert_eq!(cached.ask(method, "/", headers).await.body, body);
        assert_eq!(view.calls(), calls + 2);
        assert!(cached.get("/").await.is_hit());
    }
}

async fn range_that_no_page_can_have_is_passed_on(site: Site) {
    let view = View::new(|request, _| {
        let range = request.headers().get("range").map(|range| range.to_str().expect("ASCII"));
        let mut part = page(&[("cache-control", "max-age=60")], range.unwrap_or("none"));
        *part.status_mut() = StatusCode::PARTIAL_CONTENT;
        part
    });
    let cached = view.cached(&site.shared().policy(Policy::shared().max_body(100)));
    for range in ["bytes=100-", "bytes=-5", "bytes=0-1,5-6"] {
        let got = cached.get_with("/", &[("range", range)]).await;
        assert_eq!((got.status, &*got.body), (StatusCode::PARTIAL_CONTENT, range));
    }
}

async fn request_directives_are_obeyed_only_if_enabled(site: Site) {
    let view = View::with(&[("cache-control", "max-age=60")]);
    let obeying = view.cached(&site.shared().policy(Policy::shared().request_directives(true)));
    assert_eq!(
        obeying.get_with("/", &[("cache-control", "only-if-cached")]).await.status,
        StatusCode::GATEWAY_TIMEOUT
    );
    obeying.get("/").await;
    site.advance(10);
    for directive in ["no-cache", "max-age=0", "max-age=5", "min-fresh=55"] {
        let got = view.cached(&site.shared()).get_with("/", &[("cache-control", directive)]).await;
        assert!(got.is_hit(), "{directive} is ignored unless switched on");
        let got = obeying.get_with("/", &[("cache-control", directive)]).await;
        assert!(!got.is_hit(), "{directive}");
        site.advance(10);
    }
    assert!(
        obeying.get_with("/", &[("cache-control", "max-age=20, only-if-cached")]).await.is_hit()
    );
}

async fn response_to_a_request_with_no_store_is_not_stored(site: Site) {
    let cached = View::with(&[("cache-control", "max-age=60")]).cached(&site.shared());
    cached.get_with("/", &[("cache-control", "no-store")]).await;
    assert!(!cached.get("/").await.is_hit());
}

async fn request_with_no_store_does_not_disable_single_flight(site: Site) {
    let view = View::waiting(|_, calls| async move {
        tokio::task::yield_now().await;
        page(&[("cache-control", "max-age=60")], &format!("page {calls}"))
    });
    let cached = view.cached(&site.shared());
    cached.get_with("/", &[("cache-control", "no-store")]).await;
    let (one, other) = tokio::join!(cached.get("/"), cached.get("/"));
    assert_eq!((one.body, other.body), ("page 1".to_owned(), "page 1".to_owned()));
}

async fn request_with_no_store_does_not_prevent_revalidation(site: Site) {
    let view = View::with(&[("cache-control", "max-age=10, stale-while-revalidate=99")]);
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    site.advance(11);
    assert_eq!(cached.get_with("/", &[("cache-control", "no-store")]).await.body, "page 0");
    until(async || cached.get("/").await.body == "page 1").await;
    assert_eq!(view.calls(), 2);
}

async fn targeted_headers_take_precedence_and_are_removed(site: Site) {
    let own = HeaderName::from_static("shop-cache-control");
    let layer = site.shared().policy(Policy::shared().targeted([own]));
    let lifetime = async |headers: &'static [(&'static str, &'static str)]| {
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        let cached = View::with(headers).cached(&layer);
        let first = cached.get("/").await;
        assert_eq!(first.header("shop-cache-control"), None);
        let second = cached.get("/").await;
        assert_eq!(second.header("shop-cache-control"), None);
        second
            .header("cache-status")
            .and_then(|status| status.split("ttl=").nth(1)?.parse::<u64>().ok())
    };
    assert_eq!(
        lifetime(&[("shop-cache-control", "max-age=30"), ("cache-control", "no-store")]).await,
        Some(30)
    );
    assert_eq!(
        lifetime(&[("shop-cache-control", "no-store"), ("cache-control", "max-age=60")]).await,
        None
    );
    assert_eq!(
        lifetime(&[("shop-cache-control", "max-age=\"30\""), ("cache-control", "max-age=60")])
            .await,
        Some(60)
    );
    assert_eq!(
        lifetime(&[("shop-cache-control", ""), ("cache-control", "max-age=60")]).await,
        Some(60)
    );
    assert_eq!(
        lifetime(&[("cdn-cache-control", "max-age=30"), ("cache-control", "max-age=60")]).await,
        Some(60)
    );
}

/// Whether a response with this status and these directives, last modified long ago, is stored.
async fn stores_status(site: &Site, policy: Policy, status: u16, directives: &'static str) -> bool {
    let view = View::new(move |_, _| {
        let modified = ("last-modified", "Mon, 01 Dec 2025 00:00:00 GMT");
        let mut response = page(&[("cache-control", directives), modified], "");
        *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
        response
    });
    let layer = site.shared().policy(policy).key_prefix(&format!("{status}{directives}"));
    let cached = view.cached(&layer);
    cached.get("/").await;
    cached.get("/").await.is_hit()
}

async fn other_statuses_are_stored_only_with_a_lifetime_or_public(site: Site) {
    for (status, directives, stored) in [
        (301, "max-age=9", true),
        (302, "max-age=9", true),
        (302, "", false),
        (302, "public", true),
        (501, "", true),
        (505, "", false),
        (599, "", false),
        (599, "public", true),
        (599, "max-age=9", true),
    ] {
        let found = stores_status(&site, Policy::shared(), status, directives).await;
        assert_eq!(found, stored, "{status} {directives}");
    }
}

async fn failures_are_stored_only_with_an_explicit_lifetime(site: Site) {
    let with_ttl = Policy::shared().ttl(Duration::from_secs(60));
    for status in [500, 502, 503, 504] {
        for policy in [Policy::shared(), with_ttl.clone()] {
            assert!(!stores_status(&site, policy, status, "public").await, "{status}");
        }
        assert!(stores_status(&site, Policy::shared(), status, "max-age=9").await, "{status}");
    }
    assert!(!stores_status(&site, with_ttl, 501, "").await, "the ttl is for pages");
}

async fn must_understand_overrides_no_store_only_if_enabled(site: Site) {
    let obeyed = Policy::shared().obey_must_understand();
    for (status, directives, by_default, if_enabled) in [
        (200, "max-age=9, must-understand, no-store", false, true),
        (404, "max-age=9, must-understand, no-store", false, true),
        (599, "max-age=9, must-understand, no-store", false, false),
        (599, "max-age=9, must-understand", false, false),
        (200, "max-age=9, must-understand, private", false, false),
        (200, "max-age=9, no-store", false, false),
    ] {
        let found = stores_status(&site, Policy::shared(), status, directives).await;
        assert_eq!(found, by_default, "{status} {directives}");
        let found = stores_status(&site, obeyed.clone(), status, directives).await;
        assert_eq!(found, if_enabled, "{status} {directives}");
    }
}

async fn targeted_headers_are_forwarded_only_if_enabled(site: Site) {
    let own = HeaderName::from_static("shop-cache-control");
    let policy = Policy::shared().targeted([own]).forward_targeted();
    let cached =
        View::with(&[("shop-cache-control", "max-age=30")]).cached(&site.shared().policy(policy));
    for hit in [false, true] {
        let got = cached.get("/").await;
        assert_eq!((got.is_hit(), got.header("shop-cache-control")), (hit, Some("max-age=30")));
    }
}

async fn targeted_header_counts_after_a_304_without_it(site: Site) {
    let own = HeaderName::from_static("shop-cache-control");
    let view = View::new(|_, calls| {
        let stated = [("shop-cache-control", "max-age=10"), ("cache-control", "max-age=1000")];
        let headers = if calls == 0 { &stated[..] } else { &[] };
        let mut response = page(headers, "");
        response.headers_mut().insert("etag", "\"v\"".parse().expect("valid value"));
        if calls > 0 {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    });
    let cached = view.cached(&site.shared().policy(Policy::shared().targeted([own])));
    cached.get("/").await;
    for _ in 0..2 {
        site.advance(11);
        let validated = cached.get("/").await;
        assert!(!validated.is_hit() && validated.status == StatusCode::OK, "{validated:?}");
        assert_eq!(validated.header("shop-cache-control"), None);
        assert!(cached.get("/").await.is_hit());
    }
}

async fn no_cache_is_validated_for_each_request_only_if_enabled(site: Site) {
    for (index, headers) in [
        &[("cache-control", "no-cache")][..],
        &[("cache-control", "max-age=60, no-cache, stale-while-revalidate=60")],
        &[("cache-control", "max-age=60, no-cache=\"x\"")],
        &[("cache-control", "max-age=60;no-cache")],
        &[("pragma", "no-cache")],
    ]
    .into_iter()
    .enumerate()
    {
        let layer = site.shared().key_prefix(&index.to_string());
        let view = tagged(headers, "\"v\"");
        let by_default = view.cached(&layer);
        assert_eq!(by_default.get("/").await.reason(), "no-cache", "{headers:?}");
        assert_eq!(by_default.get("/").await.body, "page 1");
        let enabled = view.cached(&layer.policy(Policy::shared().validate_no_cache()));
        for calls in 3..6 {
            let got = enabled.get("/").await;
            assert!(!got.is_hit() && got.body == "page 2", "{headers:?}: {got:?}");
            assert_eq!(view.calls(), calls);
        }
    }
}

async fn no_cache_without_a_validator_is_not_stored(site: Site) {
    let policy = Policy::shared().validate_no_cache();
    let cached = View::with(&[("cache-control", "max-age=60, no-cache")])
        .cached(&site.shared().policy(policy));
    assert_eq!(cached.get("/").await.reason(), "no-cache");
    assert_eq!(cached.get("/").await.body, "page 1");
}

async fn no_cache_is_not_served_if_the_origin_fails(site: Site) {
    let view = View::new(|_, calls| match calls {
        0 => page(&[("cache-control", "no-cache, stale-if-error=60"), ("etag", "\"v\"")], "page"),
        _ => error(503),
    });
    let policy = Policy::shared().validate_no_cache().stale_if_error(60 * SECOND);
    let cached = view.cached(&site.shared().policy(policy));
    cached.get("/").await;
    assert_eq!(cached.get("/").await.body, "sorry");
}

on_each_store! {
    refresh_that_may_not_be_stored_does_not_pin_the_stale_page,
    page_that_became_private_is_not_served_until_its_window_ends,
    response_without_lifetime_is_not_stored,
    heuristic_lifetime_is_a_tenth_of_the_time_since_modification,
    initial_age_counts,
    validated_page_is_fresh_again,
    validation_with_another_entity_tag_is_not_believed,
    page_with_must_revalidate_is_a_502_after_validation_with_another_tag,
    weak_entity_tag_of_a_304_confirms_the_strong_one,
    changed_page_is_replaced,
    validated_page_that_became_private_is_not_stored,
    cookie_of_a_304_is_sent_only_to_its_client,
    cookie_of_a_304_is_stored_once_if_enabled,
    validated_page_keeps_its_lifetime_if_browsers_revalidate,
    validations_do_not_add_up_jitter,
    client_with_the_page_gets_a_304_after_validation,
    stale_page_is_served_while_revalidating,
    stale_page_is_served_if_the_origin_fails,
    head_and_range_get_the_stale_page_if_the_origin_fails,
    page_with_must_revalidate_is_not_served_stale,
    page_with_s_maxage_is_served_stale_if_the_response_and_the_policy_allow_it,
    successful_unsafe_request_invalidates,
    redirect_after_an_unsafe_request_does_not_invalidate_its_target,
    page_that_is_changed_while_it_is_first_produced_is_not_stored,
    range_is_served_from_a_complete_page,
    head_and_range_validate_the_stale_page,
    range_that_no_page_can_have_is_passed_on,
    request_directives_are_obeyed_only_if_enabled,
    response_to_a_request_with_no_store_is_not_stored,
    request_with_no_store_does_not_disable_single_flight,
    request_with_no_store_does_not_prevent_revalidation,
    no_cache_is_validated_for_each_request_only_if_enabled,
    no_cache_without_a_validator_is_not_stored,
    no_cache_is_not_served_if_the_origin_fails,
    targeted_headers_take_precedence_and_are_removed,
    targeted_headers_are_forwarded_only_if_enabled,
    targeted_header_counts_after_a_304_without_it,
    other_statuses_are_stored_only_with_a_lifetime_or_public,
    failures_are_stored_only_with_an_explicit_lifetime,
    must_understand_overrides_no_store_only_if_enabled,
}
