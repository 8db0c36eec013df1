//! Storing pages before visitors ask for them.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum::body::Body;
use cache_http::{HttpCacheLayer, WarmUpReport};
use common::{Site, View, page};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::ACCEPT_LANGUAGE};
use tower::Layer;

const STORED: (&str, &str) = ("cache-control", "max-age=60");

fn layers(site: &Site) -> [HttpCacheLayer; 2] {
    let shared = site.shared().key_prefix("shared");
    [site.layer().hosts(["example.org"]), shared.hosts(["example.org"])]
}

fn uris(all: &[&str]) -> Vec<Uri> {
    all.iter().map(|uri| uri.parse().expect("valid URI")).collect()
}

async fn warm_up(layer: &HttpCacheLayer, view: &View, all: &[&str]) -> WarmUpReport {
    layer.warm_up().run(layer.layer(view.service()), uris(all)).await
}

fn counts(report: WarmUpReport) -> [u64; 4] {
    [report.stored, report.already_stored, report.not_stored, report.failed]
}

fn by_path(request: &Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/private" => page(&[("cache-control", "private")], ""),
        "/broken" => {
            let mut response = page(&[], "");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
        "/panic" => panic!("a bug in the view"),
        path => page(&[STORED], path),
    }
}

async fn visitors_get_hits_after_a_warm_up(site: Site) {
    for layer in layers(&site) {
        let view = View::new(|request, _| by_path(&request));
        let all = ["/a", "/b?x=1", "https://example.org/c", "http://EXAMPLE.org"];
        assert_eq!(counts(warm_up(&layer, &view, &all).await), [4, 0, 0, 0]);
        let cached = view.cached(&layer);
        for path in ["/a", "/b?x=1", "/c", "/"] {
            assert!(cached.get(path).await.is_hit(), "{path}");
        }
        assert_eq!(view.calls(), 4);
    }
}

async fn pages_are_counted_by_result(site: Site) {
    for layer in layers(&site) {
        let view = View::new(|request, _| by_path(&request));
        view.cached(&layer).get("/a").await;
        let all = ["/a", "/b", "/private", "https://other.org/", "/broken", "/panic"];
        assert_eq!(counts(warm_up(&layer, &view, &all).await), [1, 1, 2, 2]);
        assert_eq!(view.calls(), 6, "a stored page is not requested");
    }
}

async fn stale_page_is_requested_again(site: Site) {
    for layer in layers(&site) {
        let view = View::with(&[STORED]);
        assert_eq!(warm_up(&layer, &view, &["/"]).await.stored, 1);
        site.advance(60);
        assert_eq!(warm_up(&layer, &view, &["/"]).await.stored, 1);
        assert_eq!(warm_up(&layer, &view, &["/"]).await.already_stored, 1);
        assert_eq!(view.calls(), 2);
    }
}

async fn headers_select_the_variant(site: Site) {
    for layer in layers(&site) {
        let view = View::with(&[STORED, ("vary", "accept-language")]);
        let german = layer.warm_up().header(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        assert_eq!(german.run(layer.layer(view.service()), uris(&["/"])).await.stored, 1);
        let cached = view.cached(&layer);
        assert!(cached.get_with("/", &[("accept-language", "de")]).await.is_hit());
        assert!(!cached.get_with("/", &[("accept-language", "en")]).await.is_hit());
    }
}

on_each_store! {
    visitors_get_hits_after_a_warm_up,
    pages_are_counted_by_result,
    stale_page_is_requested_again,
    headers_select_the_variant,
}

#[tokio::test]
async fn uri_without_any_host_is_a_failure() {
    let (site, view) = (Site::in_memory(), View::with(&[STORED]));
    for layer in [site.layer(), site.layer().hosts([".example.org"])] {
        assert_eq!(counts(warm_up(&layer, &view, &["/"]).await), [0, 0, 0, 1]);
    }
    assert_eq!(view.calls(), 0);
}

#[tokio::test]
async fn concurrency_is_bounded() {
    for (limit, expected) in [(0, 1), (1, 1), (3, 3)] {
        let layer = Site::in_memory().layer();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let maximum = Arc::clone(&most);
        let view = View::waiting(move |_, _| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, SeqCst);
                page(&[STORED], "")
            }
        });
        let all = (0..20).map(|page| format!("http://a/{page}").parse().expect("valid URI"));
        let warm_up = layer.warm_up().concurrency(limit);
        assert_eq!(warm_up.run(layer.layer(view.service()), all).await.stored, 20);
        assert_eq!(maximum.load(SeqCst), expected);
    }
}
