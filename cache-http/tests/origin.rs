//! Origins that fail, hang, or are slow: timeouts, shared failures, and lifetimes of errors.

mod common;

use std::time::Duration;

use axum::body::Body;
use cache_http::{HttpCacheLayer, Policy, Reason};
use common::{Cached, Got, Site, View, page, until};
use http::{Method, Response, StatusCode};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn error(status: u16, headers: &[(&str, &str)]) -> Response<Body> {
    let mut response = page(headers, "sorry");
    *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
    response
}

/// Creates a view whose responses take this many seconds, each after that of the call before.
fn slow_view(seconds: &'static [u64]) -> View {
    View::waiting(move |_, calls| async move {
        sleep(Duration::from_secs(seconds.get(calls).copied().unwrap_or_default())).await;
        let directives = "max-age=10, stale-if-error=999";
        page(&[("cache-control", directives)], &format!("page {calls}"))
    })
}

fn layers(site: &Site) -> [HttpCacheLayer; 2] {
    [site.layer(), site.shared().key_prefix("shared")]
}

/// Sends requests at once. Returns the responses, and how many seconds they take.
async fn burst(cached: &Cached, count: usize) -> (Vec<Got>, u64) {
    let started_at = Instant::now();
    let visits: Vec<_> = (0..count)
        .map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.get("/").await })
        })
        .collect();
    let mut responses = Vec::new();
    for visit in visits {
        responses.push(visit.await.expect("task panicked"));
    }
    (responses, started_at.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn stale_page_is_served_after_the_soft_timeout_while_the_fill_continues() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let view = slow_view(&[0, 4]);
        let cached = view.cached(&layer.soft_timeout(SECOND));
        cached.get("/").await;
        site.advance(11);
        let (got, seconds) = burst(&cached, 9).await;
        assert!(got.iter().all(|got| got.body == "page 0"), "{got:?}");
        assert_eq!((seconds, view.calls()), (1, 2));
        sleep(4 * SECOND).await;
        let next = cached.get("/").await;
        assert!(next.is_hit() && next.body == "page 1", "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn response_before_the_soft_timeout_is_fresh() {
    let site = Site::in_memory();
    let cached = slow_view(&[0, 1]).cached(&site.layer().soft_timeout(2 * SECOND));
    cached.get("/").await;
    site.advance(11);
    assert_eq!(cached.get("/").await.body, "page 1");
}

#[tokio::test(start_paused = true)]
async fn handler_that_hangs_is_a_failure() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let layer = layer.origin_timeout(2 * SECOND);
        let view = slow_view(&[0, 99, 99]);
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(11);
        let (mut got, seconds) = burst(&cached, 1).await;
        assert_eq!((&*got.remove(0).body, seconds), ("page 0", 2));
        let started_at = Instant::now();
        let late = cached.get("/other").await;
        assert_eq!((late.status, late.reason()), (StatusCode::GATEWAY_TIMEOUT, "origin-timeout"));
        assert_eq!(started_at.elapsed().as_secs(), 2);
        assert!(layer.counts().reasons.contains(&(Reason::OriginTimeout, 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn origin_timeout_does_not_limit_requests_that_bypass_the_cache() {
    let site = Site::in_memory();
    let cached = slow_view(&[9]).cached(&site.layer().origin_timeout(SECOND));
    assert_eq!(cached.ask(Method::POST, "/", &[]).await.body, "page 0");
}

#[tokio::test(start_paused = true)]
async fn waiters_get_the_stale_page_if_the_handler_hangs() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let view = slow_view(&[0, 30, 30]);
        let cached = view.cached(&layer.wait_timeout(5 * SECOND));
        cached.get("/").await;
        site.advance(11);
        let first = tokio::spawn({
            let cached = cached.clone();
            async move { cached.get("/").await.body }
        });
        until(async || view.calls() == 2).await;
        let (got, seconds) = burst(&cached, 9).await;
        assert!(got.iter().all(|got| got.body == "page 0"), "{got:?}");
        assert_eq!((seconds, view.calls()), (5, 2));
        assert_eq!(first.await.expect("task panicked"), "page 1");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_origin_is_asked_twice_for_concurrent_requests_without_a_stale_page() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let view = View::waiting(|_, _| async {
            sleep(SECOND).await;
            error(503, &[])
        });
        let cached = view.cached(&layer);
        for round in 1..3 {
            let (got, seconds) = burst(&cached, 30).await;
            assert_eq!((seconds, view.calls()), (2, 2 * round));
            let bodies = |body| got.iter().filter(|got| got.body == body).count();
            assert_eq!((bodies("sorry"), bodies("")), (2, 28));
            assert!(got.iter().all(|got| got.status == StatusCode::SERVICE_UNAVAILABLE));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failure_of_one_request_does_not_fail_those_who_wait() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let view = View::waiting(|_, calls| async move {
            sleep(SECOND).await;
            match calls {
                0 => error(500, &[]),
                _ => page(&[("cache-control", "max-age=60")], "good"),
            }
        });
        let (got, seconds) = burst(&view.cached(&layer), 30).await;
        assert_eq!((got.iter().filter(|got| got.body == "good").count(), seconds), (29, 2));
        assert_eq!(view.calls(), 2);
    }
}

async fn status_with_a_lifetime_is_stored_for_that_time(site: Site) {
    for status in [StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::SERVICE_UNAVAILABLE] {
        for (layer, policy) in [(site.layer(), Policy::site()), (site.shared(), Policy::shared())] {
            // The store does not use this clock: only the lifetime of the page decides.
            let time = Site::with(site.cache.clone());
            let policy = policy.stale_while_revalidate(99 * SECOND);
            let prefix = format!("{status}{}", policy.is_shared());
            let layer = layer
                .policy(policy.status_ttl(status, 3 * SECOND))
                .clock(time.time.clock())
                .key_prefix(&prefix);
            let view = View::new(move |_, _| error(status.as_u16(), &[]));
            let cached = view.cached(&layer);
            cached.get("/").await;
            time.advance(2);
            let hit = cached.get("/").await;
            assert!(hit.is_hit() && hit.status == status && hit.body == "sorry", "{hit:?}");
            time.advance(1);
            let stale = cached.get("/").await;
            assert_eq!(stale.header("age").is_some(), !status.is_server_error(), "{stale:?}");
        }
    }
}

async fn status_with_a_lifetime_is_not_stored_if_the_response_forbids_it(site: Site) {
    for directives in ["private", "no-store", "no-cache", "max-age=0"] {
        for (layer, policy) in
            [(site.layer(), Policy::site()), (site.shared().key_prefix("shared"), Policy::shared())]
        {
            let layer = layer.policy(policy.status_ttl(StatusCode::NOT_FOUND, 3 * SECOND));
            let view = View::new(move |_, _| error(404, &[("cache-control", directives)]));
            let cached = view.cached(&layer);
            cached.get("/").await;
            assert!(!cached.get("/").await.is_hit(), "{directives}");
        }
    }
}

async fn own_lifetime_of_a_response_precedes_that_of_its_status(site: Site) {
    let policy = Policy::site().status_ttl(StatusCode::NOT_FOUND, 3 * SECOND);
    let view = View::new(|_, _| error(404, &[("cache-control", "max-age=60")]));
    let cached = view.cached(&site.layer().policy(policy));
    cached.get("/").await;
    site.advance(59);
    assert!(cached.get("/").await.is_hit());
}

on_each_store! {
    status_with_a_lifetime_is_stored_for_that_time,
    status_with_a_lifetime_is_not_stored_if_the_response_forbids_it,
    own_lifetime_of_a_response_precedes_that_of_its_status,
}
