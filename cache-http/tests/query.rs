//! Normalisation of queries.

mod common;

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, extract::OriginalUri, routing::get};
use cache_http::{HttpCacheLayer, Purge};
use common::{Got, Site, View, page, request};
use http::{Method, Request};
use tower::ServiceExt;

/// A view that remembers the queries that it has seen.
fn view() -> (View, Arc<Mutex<Vec<Option<String>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let view = View::new(move |request: Request<Body>, calls| {
        log.lock().expect("not poisoned").push(request.uri().query().map(str::to_owned));
        page(&[("cache-control", "max-age=60")], &format!("page {calls}"))
    });
    (view, seen)
}

fn presets(site: &Site) -> [HttpCacheLayer; 2] {
    [site.layer().key_prefix("site"), site.shared().key_prefix("shared")]
}

async fn uris_that_differ_only_in_ignored_parameters_share_a_page(site: Site) {
    for layer in presets(&site) {
        let (view, seen) = view();
        let cached = view.cached(&layer.ignore_marketing_query().ignore_query(["ref"]));
        cached.get("/?utm_source=a&page=2&gclid=1&ref=x").await;
        for uri in ["/?page=2", "/?page=2&utm_medium=b", "/?%75tm_source=c&page=2&&"] {
            assert!(cached.get(uri).await.is_hit(), "{uri}");
        }
        for uri in ["/", "/?page=3", "/?page=2&Ref=1", "/?page=2&page=2"] {
            assert!(!cached.get(uri).await.is_hit(), "{uri}");
        }
        assert_eq!(seen.lock().expect("not poisoned")[0].as_deref(), Some("page=2"));
    }
}

async fn only_listed_parameters_reach_the_view(site: Site) {
    for layer in presets(&site) {
        let (view, seen) = view();
        let cached = view.cached(&layer.only_query(["page", "filter[*]"]));
        cached.get("/?x=1&filter%5Bsize%5D=2&page=3").await;
        assert!(cached.get("/?filter%5Bsize%5D=2&y=4&page=3").await.is_hit());
        cached.get("/?z=1").await;
        assert!(cached.get("/").await.is_hit());
        let expected = [Some("filter%5Bsize%5D=2&page=3".to_owned()), None];
        assert_eq!(*seen.lock().expect("not poisoned"), expected);
    }
}

async fn order_of_parameters_counts_unless_they_are_sorted(site: Site) {
    for layer in presets(&site) {
        let (view, seen) = view();
        let cached = view.cached(&layer.clone().sort_query());
        cached.get("/?b=1&a=2&b=0").await;
        assert!(cached.get("/?a=2&b=1&b=0").await.is_hit());
        assert!(!cached.get("/?a=2&b=0&b=1").await.is_hit());
        assert_eq!(seen.lock().expect("not poisoned")[0].as_deref(), Some("a=2&b=1&b=0"));
        let cached = view.cached(&layer);
        cached.get("/unsorted?b=1&a=2").await;
        assert!(!cached.get("/unsorted?a=2&b=1").await.is_hit());
    }
}

async fn head_and_stale_refresh_do_not_see_ignored_parameters(site: Site) {
    let (view, seen) = view();
    let cached = view.cached(&site.shared().ignore_query(["utm_*"]));
    cached.ask(Method::HEAD, "/?utm_id=1", &[]).await;
    assert!(cached.get("/?utm_id=2").await.is_hit());
    site.advance(60);
    cached.get("/?utm_id=3").await;
    site.advance(60);
    cached.ask(Method::HEAD, "/?utm_id=4", &[]).await;
    assert_eq!(*seen.lock().expect("not poisoned"), [None, None, None]);
}

async fn request_that_bypasses_the_cache_keeps_its_query(site: Site) {
    let (view, seen) = view();
    let cached = view.cached(&site.layer().only_query(["page"]));
    cached.get_with("/?token=1", &[("authorization", "Basic x")]).await;
    cached.ask(Method::POST, "/?token=2", &[]).await;
    let expected = ["token=1", "token=2"].map(|query| Some(query.to_owned()));
    assert_eq!(*seen.lock().expect("not poisoned"), expected);
}

async fn purge_of_a_uri_ignores_the_same_parameters(site: Site) {
    let layer = site.layer().hosts(["example.org"]).ignore_query(["utm_*"]).sort_query();
    let cached = view().0.cached(&layer);
    for (stored, purged) in [
        ("/?b=1&a=2&utm_id=3", "/?a=2&b=1"),
        ("/?a=2&b=1", "http://example.org/?b=1&a=2&utm_id=4"),
        ("/", "/?utm_id=5"),
    ] {
        cached.get(stored).await;
        layer.purge_handle().purge_uri(purged, Purge::Hard).await.expect("store works");
        assert!(!cached.get(stored).await.is_hit(), "{purged}");
    }
}

async fn unsafe_method_invalidates_the_page_without_ignored_parameters(site: Site) {
    let view = View::new(|request, _| {
        let headers = [("cache-control", "max-age=60"), ("content-location", "/other?utm_id=1")];
        page(if request.method() == Method::GET { &headers[..1] } else { &headers }, "")
    });
    let cached = view.cached(&site.shared().ignore_query(["utm_*"]));
    for uri in ["/?a=1", "/other"] {
        cached.get(uri).await;
    }
    cached.ask(Method::POST, "/?utm_id=2&a=1", &[]).await;
    for uri in ["/?a=1", "/other"] {
        assert!(!cached.get(uri).await.is_hit(), "{uri}");
    }
}

on_each_store! {
    uris_that_differ_only_in_ignored_parameters_share_a_page,
    only_listed_parameters_reach_the_view,
    order_of_parameters_counts_unless_they_are_sorted,
    head_and_stale_refresh_do_not_see_ignored_parameters,
    request_that_bypasses_the_cache_keeps_its_query,
    purge_of_a_uri_ignores_the_same_parameters,
    unsafe_method_invalidates_the_page_without_ignored_parameters,
}

/// Requests a nested view that shows its own URI and the original one.
async fn ask_nested(layer: HttpCacheLayer, uris: [&str; 2]) -> [Got; 2] {
    let show =
        async |OriginalUri(original): OriginalUri, uri: http::Uri| format!("{original} {uri}");
    let app: Router =
        Router::new().nest("/news", Router::new().route("/list", get(show).layer(layer)));
    let mut responses = Vec::new();
    for uri in uris {
        let response = app.clone().oneshot(request(Method::GET, uri, &[])).await;
        responses.push(Got::of(response.expect("infallible")).await);
    }
    responses.try_into().expect("two responses")
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn nested_view_does_not_find_ignored_parameters_in_its_original_uri() {
    let layer = Site::in_memory().layer().ignore_query(["utm_*"]);
    let [first, second] = ask_nested(layer, ["/news/list?utm_id=1&a=2", "/news/list?a=2"]).await;
    assert_eq!(first.body, "/news/list?a=2 /list?a=2");
    assert!(second.is_hit() && second.body == first.body, "{second:?}");
}

#[tokio::test]
async fn uri_function_may_return_ignored_parameters() {
    let layer = Site::in_memory().layer().ignore_query(["utm_*"]).uri_function(|request| {
        let original: Option<&OriginalUri> = request.extensions.get();
        original.map_or_else(|| request.uri.clone(), |original| original.0.clone())
    });
    let [_, second] = ask_nested(layer, ["/news/list?utm_id=1&a=2", "/news/list?a=2"]).await;
    assert!(second.is_hit(), "{second:?}");
}
