//! The output cache of a site: what goes out, what is purged, and what happens when the store fails.

mod common;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::OriginalUri, routing::get};
use cache_core::{Cache, CacheHandle, Error, ErrorKind, Result, Settings, Ttl, Value, async_trait};
use cache_dummy::DummyCache;
use cache_http::{
    BrowserTtl, CacheTags, Counts, HttpCacheLayer, NoStore, Policy, Purge, Reason, cache_page,
};
use cache_locmem::{LocMemCache, LocMemOptions};
use common::{Cached, Got, Site, View, page, request, until};
use http::{Method, StatusCode};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};

on_each_store! {
    async fn a_page_is_made_once_and_lives_for_the_site_s_timeout(site: Site) {
        let view = View::with(&[]);
        let cached = view.cached(&site.layer().ttl(Duration::from_secs(60)));
        assert_eq!(cached.get("/").await.body, "page 0");
        site.wait(59);
        assert!(cached.get("/").await.is_hit());
        site.wait(1);
        assert_eq!(cached.get("/").await.body, "page 1");
    }

    async fn a_lifetime_that_the_view_gives_is_obeyed(site: Site) {
        let expires = "Thu, 01 Jan 2026 00:00:30 GMT";
        for (name, value) in [("cache-control", "max-age=30"), ("cache-control", "s-maxage=30, max-age=9"), ("expires", expires)] {
            let view = View::new(move |_, _| page(&[(name, value), ("date", "Thu, 01 Jan 2026 00:00:00 GMT")], ""));
            // A clock of its own, which the store does not see: the page's own lifetime decides.
            let site = Site::with(site.cache.clone());
            let cached = view.cached(&site.layer().key_prefix(value));
            cached.get("/").await;
            site.wait(29);
            assert!(cached.get("/").await.is_hit(), "{value}");
            site.wait(1);
            assert!(!cached.get("/").await.is_hit(), "{value}");
        }
    }

    async fn a_view_s_timeout_is_the_most_its_pages_live(site: Site) {
        let view = View::with(&[("cache-control", "max-age=600")]);
        let cached = view.cached(&cache_page(&site.cache, Duration::from_secs(10)).clock(site.time.clock()));
        cached.get("/").await;
        site.wait(10);
        cached.get("/").await;
        assert_eq!(view.calls(), 2);
    }

    async fn what_goes_out_says_how_old_it_is_and_how_long_it_lives(site: Site) {
        let cached = View::with(&[]).cached(&site.layer().ttl(Duration::from_secs(60)));
        let first = cached.get("/").await;
        site.wait(7);
        let second = cached.get("/").await;
        assert_eq!((first.header("age"), second.header("age")), (None, Some("7")));
        for got in [first, second] {
            assert_eq!(got.header("cache-control"), Some("max-age=60"));
            assert_eq!(got.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
            assert_eq!(got.header("expires"), Some("Thu, 01 Jan 2026 00:01:00 GMT"));
        }
    }

    async fn a_304_of_the_site_tells_too_what_the_view_s_own_cache_said(site: Site) {
        let view = View::with(&[("etag", "\"v1\"")]).cached(&site.layer().key_prefix("view").cache_status("view"));
        let inside = view.0.map_response(|response| response.map(Body::new));
        let cached = Cached(site.layer().layer(BoxCloneSyncService::new(inside)));
        cached.get("/").await;
        let got = cached.get_with("/", &[("if-none-match", "\"v1\"")]).await;
        let told: Vec<_> = got.headers.get_all("cache-status").iter().map(|told| told.to_str().expect("a text")).collect();
        assert_eq!(got.status, StatusCode::NOT_MODIFIED);
        assert!(told.len() == 2 && told[0].starts_with("view; hit") && told[1].starts_with("c; fwd="), "{told:?}");
    }

    async fn browsers_may_have_a_lifetime_of_their_own(site: Site) {
        let layer = site.layer().browser_ttl(BrowserTtl::Fixed(Duration::from_secs(5)));
        let cached = View::with(&[]).cached(&layer);
        assert_eq!(cached.get("/").await.header("cache-control"), Some("max-age=5"));
        site.wait(100);
        let later = cached.get("/").await;
        assert_eq!((later.header("age"), later.header("cache-control")), (Some("100"), Some("max-age=105")));
        let as_is = View::with(&[]).cached(&site.layer().key_prefix("b").browser_ttl(BrowserTtl::FromResponse));
        assert_eq!(as_is.get("/").await.header("cache-control"), None);
    }

    async fn a_response_that_is_not_stored_goes_out_as_the_view_made_it(site: Site) {
        let got = View::with(&[("cache-control", "private")]).cached(&site.layer()).get("/").await;
        assert_eq!((got.header("cache-control"), got.header("expires")), (Some("private"), None));
    }

    async fn pages_of_other_prefixes_are_other_pages(site: Site) {
        let view = View::with(&[]);
        view.cached(&site.layer()).get("/").await;
        assert!(!view.cached(&site.layer().key_prefix("b")).get("/").await.is_hit());
    }

    async fn a_key_function_keeps_languages_apart(site: Site) {
        let layer = site.layer().key_function(|parts| {
            parts.headers.get("accept-language").map_or(String::new(), |line| format!("{line:?}"))
        });
        let cached = View::with(&[]).cached(&layer);
        cached.get_with("/", &[("accept-language", "de")]).await;
        assert!(!cached.get_with("/", &[("accept-language", "en")]).await.is_hit());
        layer.purge_handle().purge_uri("http://example.org/", Purge::Hard).await.expect("the store works");
        for language in ["de", "en"] {
            assert!(!cached.get_with("/", &[("accept-language", language)]).await.is_hit());
        }
    }

    async fn a_uri_is_purged_with_all_its_variants_and_no_other(site: Site) {
        let layer = site.layer();
        let cached = View::with(&[("vary", "X-A")]).cached(&layer);
        for (uri, value) in [("/a?x", "1"), ("/a?x", "2"), ("/a", "1")] {
            cached.get_with(uri, &[("x-a", value)]).await;
        }
        layer.purge_handle().purge_uri("https://example.org/a?x", Purge::Hard).await.expect("the store works");
        for value in ["1", "2"] {
            assert!(!cached.get_with("/a?x", &[("x-a", value)]).await.is_hit());
            assert!(cached.get_with("/a?x", &[("x-a", value)]).await.is_hit(), "it can be stored again");
        }
        assert!(cached.get_with("/a", &[("x-a", "1")]).await.is_hit());
    }

    async fn a_path_is_purged_at_every_host_that_is_named(site: Site) {
        let layer = site.layer().hosts(["example.org", "shop.org"]);
        let cached = View::with(&[]).cached(&layer);
        for host in ["example.org", "shop.org"] {
            cached.get_with("/a", &[("host", host)]).await;
        }
        layer.purge_handle().purge_uri("/a", Purge::Hard).await.expect("the store works");
        for host in ["example.org", "shop.org"] {
            assert!(!cached.get_with("/a", &[("host", host)]).await.is_hit());
        }
        let error = site.layer().purge_handle().purge_uri("/a", Purge::Hard).await.expect_err("no host");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("/a") && error.to_string().contains("hosts"), "{error}");
    }

    async fn a_path_is_purged_at_whichever_port_it_was_asked_for(site: Site) {
        let layer = site.layer().hosts(["localhost"]);
        let cached = View::with(&[]).cached(&layer);
        for host in ["localhost", "localhost:3000"] {
            cached.get_with("/a", &[("host", host)]).await;
            assert!(cached.get_with("/a", &[("host", host)]).await.is_hit());
        }
        layer.purge_handle().purge_uri("/a", Purge::Hard).await.expect("the store works");
        for host in ["localhost", "localhost:3000"] {
            assert!(!cached.get_with("/a", &[("host", host)]).await.is_hit());
        }
    }

    async fn a_tag_is_purged_with_all_its_pages_and_no_other(site: Site) {
        let view = View::new(|request, _| {
            let mut response = page(&[], "");
            response.extensions_mut().insert(CacheTags::new([request.uri().path(), "posts"]));
            response
        });
        let layer = site.layer().tag("site");
        let cached = view.cached(&layer);
        for (tag, gone) in [("/a", ["/a"].as_slice()), ("posts", &["/a", "/b"]), ("site", &["/a", "/b"]), ("other", &[])] {
            for uri in ["/a", "/b"] {
                cached.get(uri).await;
            }
            layer.purge_handle().purge_tag(tag, Purge::Hard).await.expect("the store works");
            for uri in ["/a", "/b"] {
                assert_eq!(cached.get(uri).await.is_hit(), !gone.contains(&uri), "{tag} {uri}");
            }
        }
    }

    async fn all_pages_of_a_prefix_are_purged_at_once(site: Site) {
        let (layer, other) = (site.layer(), site.layer().key_prefix("other"));
        let view = View::with(&[]);
        for layer in [&layer, &other] {
            view.cached(layer).get("/").await;
        }
        layer.purge_handle().purge_all(Purge::Hard).await.expect("the store works");
        assert!(!view.cached(&layer).get("/").await.is_hit());
        assert!(view.cached(&other).get("/").await.is_hit());
    }

    async fn a_soft_purge_makes_pages_stale_and_not_absent(site: Site) {
        let layer = site.layer().policy(Policy::site().stale_while_revalidate(Duration::from_secs(30)));
        let view = View::with(&[]);
        let cached = view.cached(&layer);
        cached.get("/").await;
        layer.purge_handle().purge_uri("http://example.org/", Purge::Soft).await.expect("the store works");
        assert_eq!(cached.get("/").await.body, "page 0");
        until(async || cached.get("/").await.body == "page 1").await;
        // Who makes it may not be through yet, and is told from who makes it after the next purge by the time of the last.
        site.time.advance(Duration::from_millis(1));
        layer.purge_handle().purge_uri("http://example.org/", Purge::Hard).await.expect("the store works");
        assert_eq!(cached.get("/").await.body, "page 2");
    }

    async fn a_page_that_is_purged_while_it_is_made_is_not_stored(site: Site) {
        let layer = site.layer();
        for tag in [false, true] {
            let (purging, time) = (layer.clone(), site.time.clone());
            let view = View::waiting(move |_, calls| {
                let (purging, time) = (purging.clone(), time.clone());
                async move {
                    time.advance(Duration::from_millis(1));
                    if calls == 0 {
                        let purged = match tag {
                            true => purging.purge_handle().purge_tag("t", Purge::Hard).await,
                            false => purging.purge_handle().purge_uri("http://example.org/", Purge::Hard).await,
                        };
                        purged.expect("the store works");
                    }
                    let mut response = page(&[], &format!("page {calls}"));
                    response.extensions_mut().insert(CacheTags::new(["t"]));
                    response
                }
            });
            let cached = view.cached(&layer);
            assert_eq!(cached.get("/").await.reason(), "purged");
            assert_eq!(cached.get("/").await.body, "page 1");
            assert!(cached.get("/").await.is_hit());
            layer.purge_handle().purge_all(Purge::Hard).await.expect("the store works");
        }
    }

    async fn an_application_can_keep_any_page_out(site: Site) {
        let view = View::new(|_, _| {
            let mut response = page(&[], "");
            response.extensions_mut().insert(NoStore);
            response
        });
        let cached = view.cached(&site.layer());
        cached.get("/").await;
        assert_eq!(cached.get("/").await.reason(), "opt-out");
    }

    async fn every_request_is_counted_with_its_reason(site: Site) {
        let layer = site.layer();
        let cached = View::with(&[]).cached(&layer);
        cached.get("/").await;
        cached.get("/").await;
        cached.ask(Method::POST, "/", &[]).await;
        let Counts { hits, misses, bypasses, stored, rejected, reasons, .. } = layer.counts();
        assert_eq!((hits, misses, bypasses, stored, rejected), (1, 1, 1, 1, 0));
        assert_eq!(reasons, [(Reason::Method, 1), (Reason::UriMiss, 1)]);
    }

    async fn the_requests_of_a_view_with_a_cache_of_its_own_are_no_misses_of_the_site(site: Site) {
        let (outer, own) = (site.layer(), site.layer().key_prefix("view"));
        let inside = View::with(&[]).cached(&own).0.map_response(|response| response.map(Body::new));
        let cached = Cached(outer.layer(BoxCloneSyncService::new(inside)));
        cached.get("/").await;
        cached.get("/").await;
        cached.ask(Method::HEAD, "/", &[]).await;
        assert_eq!((own.counts().hits, own.counts().misses), (2, 1));
        let Counts { hits, misses, bypasses, stored, rejected, reasons, .. } = outer.counts();
        assert_eq!((hits, misses, bypasses, stored, rejected), (0, 0, 3, 0, 0));
        assert_eq!(reasons, [(Reason::InnerCache, 3)]);
    }

    async fn a_report_is_added_to_those_of_caches_further_in(site: Site) {
        let view = View::with(&[("cache-status", "origin; hit")]).cached(&site.layer());
        let got = view.get("/").await;
        let lines: Vec<_> = got.headers.get_all("cache-status").iter().collect();
        assert_eq!(lines, ["origin; hit", "c; fwd=uri-miss; fwd-status=200; stored; detail=uri-miss"]);
        let silent = View::with(&[]).cached(&HttpCacheLayer::new(&site.cache).key_prefix("x")).get("/").await;
        assert_eq!(silent.header("cache-status"), None);
    }

    async fn what_is_not_modified_is_said_in_a_line(site: Site) {
        let view = View::with(&[("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT"), ("x-long", "1")]).cached(&site.layer());
        view.get("/").await;
        let got = view.get_with("/", &[("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")]).await;
        assert_eq!((got.status, &*got.body, got.header("x-long")), (StatusCode::NOT_MODIFIED, "", None));
        assert!(got.header("cache-control").is_some() && got.header("date").is_some());
        assert!(view.get_with("/", &[("if-modified-since", "Mon, 01 Dec 2025 00:00:00 GMT")]).await.status == StatusCode::OK);
    }
}

#[tokio::test]
async fn views_that_a_router_shows_one_uri_are_two_pages_where_the_layer_is_told_the_whole() {
    let layer = Site::in_memory().layer().uri_function(|request| {
        match request.extensions.get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri.clone(),
            None => request.uri.clone(),
        }
    });
    tells_nested_views_apart(&layer).await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn with_the_feature_axum_its_nested_views_are_two_pages() {
    tells_nested_views_apart(&Site::in_memory().layer()).await;
}

async fn tells_nested_views_apart(layer: &HttpCacheLayer) {
    let nested = |body| Router::new().route("/list", get(async move || body).layer(layer.clone()));
    let app = Router::new().nest("/news", nested("news")).nest("/shop", nested("shop"));
    let ask = async |uri| {
        Got::of(app.clone().oneshot(request(Method::GET, uri, &[])).await.expect("it answers"))
            .await
    };
    for (uri, body) in [("/news/list", "news"), ("/shop/list", "shop")] {
        assert_eq!(ask(uri).await.body, body);
        assert!(ask(uri).await.is_hit());
    }
    layer
        .purge_handle()
        .purge_uri("http://example.org/news/list", Purge::Hard)
        .await
        .expect("the store works");
    assert!(!ask("/news/list").await.is_hit());
    assert!(ask("/shop/list").await.is_hit());
}

#[tokio::test]
async fn a_cache_that_stores_nothing_serves_every_page() {
    let cache = CacheHandle::new("off", Arc::new(DummyCache), Settings::default());
    let view = View::with(&[]);
    let cached = view.cached(&HttpCacheLayer::new(&cache));
    for body in ["page 0", "page 1"] {
        assert_eq!(cached.get("/").await.body, body);
    }
}

#[tokio::test]
async fn pages_count_with_their_bodies_where_a_store_is_bounded_by_bytes() {
    let options = LocMemOptions::default().max_bytes(1 << 20).cull_frequency(1_000_000);
    let store = Arc::new(LocMemCache::new(options).expect("the options are valid"));
    let cache = CacheHandle::new("default", Arc::<LocMemCache>::clone(&store), Settings::default());
    let view = View::new(|_, _| page(&[], &"x".repeat(100_000)));
    let cached = view.cached(&HttpCacheLayer::new(&cache));
    for number in 0..20 {
        cached.get(&format!("/{number}")).await;
    }
    assert!(
        cached.get("/19").await.body.len() == 100_000 && view.calls() == 20,
        "the last one is there"
    );
    assert!((900_000..=1 << 20).contains(&store.bytes()), "{}", store.bytes());
}

/// A store that is away.
#[derive(Debug)]
struct Away;

fn away<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unavailable, "no answer"))
}

#[async_trait]
impl Cache for Away {
    fn name(&self) -> &str {
        "away"
    }
    async fn get(&self, _: &str) -> Result<Option<Value>> {
        away()
    }
    async fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<()> {
        away()
    }
    async fn add(&self, _: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        away()
    }
    async fn touch(&self, _: &str, _: Option<Duration>) -> Result<bool> {
        away()
    }
    async fn incr(&self, _: &str, _: i64) -> Result<Option<i64>> {
        away()
    }
    async fn delete(&self, _: &str) -> Result<bool> {
        away()
    }
    async fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
        away()
    }
    async fn clear(&self) -> Result<()> {
        away()
    }
}

/// A store that never answers.
#[derive(Debug)]
struct Silent;

async fn silence<T>() -> Result<T> {
    std::future::pending().await
}

#[async_trait]
impl Cache for Silent {
    fn name(&self) -> &str {
        "silent"
    }
    async fn get(&self, _: &str) -> Result<Option<Value>> {
        silence().await
    }
    async fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<()> {
        silence().await
    }
    async fn add(&self, _: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        silence().await
    }
    async fn touch(&self, _: &str, _: Option<Duration>) -> Result<bool> {
        silence().await
    }
    async fn incr(&self, _: &str, _: i64) -> Result<Option<i64>> {
        silence().await
    }
    async fn delete(&self, _: &str) -> Result<bool> {
        silence().await
    }
    async fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
        silence().await
    }
    async fn clear(&self) -> Result<()> {
        silence().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_not_waited_for() {
    let limit = Duration::from_secs(2);
    let cache = CacheHandle::new("silent", Arc::new(Silent), Settings::default());
    let cached = View::with(&[]).cached(&HttpCacheLayer::shared(&cache).store_timeout(limit));
    for (method, body) in [(Method::GET, "page 0"), (Method::POST, "page 1")] {
        let started_at = tokio::time::Instant::now();
        assert_eq!(cached.ask(method, "/", &[]).await.body, body);
        assert_eq!(started_at.elapsed().as_secs(), limit.as_secs());
    }
}

#[tokio::test]
async fn a_store_that_fails_is_counted_and_the_page_is_served_all_the_same() {
    let layer = HttpCacheLayer::new(&CacheHandle::new("away", Arc::new(Away), Settings::default()));
    let cached = View::with(&[]).cached(&layer);
    for body in ["page 0", "page 1"] {
        let got = cached.get("/").await;
        assert_eq!((got.status, &*got.body), (StatusCode::OK, body));
    }
    let failures = layer
        .counts()
        .reasons
        .iter()
        .filter(|(reason, _)| *reason == Reason::StoreFailed)
        .map(|(_, count)| *count)
        .sum::<u64>();
    assert_eq!(failures, 2, "two look-ups: {:?}", layer.counts());
    assert_eq!(
        layer.purge_handle().purge_all(Purge::Hard).await.expect_err("it is away").kind(),
        ErrorKind::Unavailable
    );
}
