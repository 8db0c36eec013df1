//! The output cache of a site: headers of responses, purging, counters, and failures of the store.

mod common;

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::OriginalUri, routing::get};
use cache_core::{Cache, CacheHandle, ErrorKind, ManualClock, OnOutage, Settings};
use cache_dummy::DummyCache;
use cache_http::{
    BrowserTtl, CacheTags, Counts, HttpCacheLayer, NoStore, Policy, Purge, Reason, cache_page,
};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_testing::{Chaos, Fault, Remote};
use common::{Cached, Got, Site, View, page, request, until};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};

async fn page_lives_for_the_ttl_of_the_site(site: Site) {
    let view = View::with(&[]);
    let cached = view.cached(&site.layer().ttl(Duration::from_secs(60)));
    assert_eq!(cached.get("/").await.body, "page 0");
    site.advance(59);
    assert!(cached.get("/").await.is_hit());
    site.advance(1);
    assert_eq!(cached.get("/").await.body, "page 1");
}

async fn lifetime_of_the_response_is_obeyed(site: Site) {
    let expires = "Thu, 01 Jan 2026 00:00:30 GMT";
    for (name, value) in [
        ("cache-control", "max-age=30"),
        ("cache-control", "s-maxage=30, max-age=9"),
        ("expires", expires),
    ] {
        let view = View::new(move |_, _| {
            page(&[(name, value), ("date", "Thu, 01 Jan 2026 00:00:00 GMT")], "")
        });
        // The store does not use this clock: only the lifetime of the page decides.
        let site = Site::with(site.cache.clone());
        let cached = view.cached(&site.layer().key_prefix(value));
        cached.get("/").await;
        site.advance(29);
        assert!(cached.get("/").await.is_hit(), "{value}");
        site.advance(1);
        assert!(!cached.get("/").await.is_hit(), "{value}");
    }
}

async fn jitter_spreads_the_lifetimes_of_pages(site: Site) {
    let policy = Policy::site().ttl(Duration::from_secs(1000)).ttl_jitter(0.5);
    let layer = site.layer().policy(policy).browser_ttl(BrowserTtl::SameAsCache);
    let cached = View::with(&[]).cached(&layer);
    let mut lifetimes = Vec::new();
    for number in 0..20 {
        let first = cached.get(&format!("/{number}")).await;
        let hit = cached.get(&format!("/{number}")).await;
        assert_eq!(first.header("cache-control"), hit.header("cache-control"));
        let ttl = hit.header("cache-status").and_then(|status| status.split("ttl=").nth(1));
        lifetimes.push(ttl.and_then(|ttl| ttl.parse::<u64>().ok()).expect("a hit"));
    }
    assert!(lifetimes.iter().all(|ttl| (500..=1000).contains(ttl)), "{lifetimes:?}");
    lifetimes.sort_unstable();
    assert!(lifetimes[19] - lifetimes[0] > 50, "{lifetimes:?}");
}

async fn early_refresh_replaces_a_page_before_it_expires(site: Site) {
    for (layer, policy) in
        [(site.layer(), Policy::site()), (site.shared().key_prefix("shared"), Policy::shared())]
    {
        let layer = layer.policy(policy.early_refresh(0.9));
        let gate = Arc::new(Semaphore::new(1));
        let opened = Arc::clone(&gate);
        let view = View::waiting(move |_, calls| {
            let gate = Arc::clone(&opened);
            async move {
                gate.acquire().await.expect("semaphore is open").forget();
                page(&[("cache-control", "max-age=100")], &format!("page {calls}"))
            }
        });
        let cached = view.cached(&layer);
        cached.get("/").await;
        site.advance(89);
        assert!(cached.get("/").await.is_hit());
        assert_eq!(view.calls(), 1);
        site.advance(1);
        for _ in 0..5 {
            let got = cached.get("/").await;
            assert!(got.is_hit() && got.body == "page 0", "{got:?}");
        }
        until(async || view.calls() == 2).await;
        assert!(cached.get("/").await.is_hit());
        gate.add_permits(1);
        until(async || cached.get("/").await.body == "page 1").await;
        site.advance(89);
        assert!(cached.get("/").await.is_hit());
        assert_eq!(view.calls(), 2, "one request refreshes the page");
    }
}

async fn timeout_of_cache_page_limits_the_lifetime(site: Site) {
    let view = View::with(&[("cache-control", "max-age=600")]);
    let cached =
        view.cached(&cache_page(&site.cache, Duration::from_secs(10)).clock(site.time.clock()));
    cached.get("/").await;
    site.advance(10);
    cached.get("/").await;
    assert_eq!(view.calls(), 2);
}

async fn pages_age_by_the_clock_of_the_cache(site: Site) {
    let cache = site.cache.with_clock(site.time.clock());
    for layer in [HttpCacheLayer::new(&cache), HttpCacheLayer::shared(&cache).key_prefix("shared")]
    {
        let cached = View::with(&[]).cached(&layer.ttl(Duration::from_secs(60)));
        assert_eq!(cached.get("/").await.header("age"), None);
        site.advance(7);
        assert_eq!(cached.get("/").await.header("age"), Some("7"));
    }
}

async fn clock_of_the_layer_overrides_that_of_the_cache(site: Site) {
    let cache = site.cache.with_clock(ManualClock::new().clock());
    let layer = HttpCacheLayer::new(&cache).clock(site.time.clock());
    let cached = View::with(&[]).cached(&layer);
    assert_eq!(cached.get("/").await.header("age"), None);
    site.advance(7);
    assert_eq!(cached.get("/").await.header("age"), Some("7"));
}

async fn responses_state_their_age_and_lifetime(site: Site) {
    let layer = site.layer().ttl(Duration::from_secs(60)).browser_ttl(BrowserTtl::SameAsCache);
    let cached = View::with(&[]).cached(&layer);
    let first = cached.get("/").await;
    site.advance(7);
    let second = cached.get("/").await;
    assert_eq!((first.header("age"), second.header("age")), (None, Some("7")));
    for got in [first, second] {
        assert_eq!(got.header("cache-control"), Some("max-age=60"));
        assert_eq!(got.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
        assert_eq!(got.header("expires"), Some("Thu, 01 Jan 2026 00:01:00 GMT"));
    }
}

async fn not_modified_response_keeps_the_cache_status_of_the_view(site: Site) {
    let view = View::with(&[("etag", "\"v1\"")])
        .cached(&site.layer().key_prefix("view").cache_status("view"));
    let inside = view.0.map_response(|response| response.map(Body::new));
    let cached = Cached(site.layer().layer(BoxCloneSyncService::new(inside)));
    cached.get("/").await;
    let got = cached.get_with("/", &[("if-none-match", "\"v1\"")]).await;
    let statuses: Vec<_> = got
        .headers
        .get_all("cache-status")
        .iter()
        .map(|statuses| statuses.to_str().expect("ASCII"))
        .collect();
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
    assert!(
        statuses.len() == 2
            && statuses[0].starts_with("view; hit")
            && statuses[1].starts_with("c; fwd="),
        "{statuses:?}"
    );
}

async fn browsers_revalidate_pages_with_an_entity_tag(site: Site) {
    let view = View::with(&[("cache-control", "max-age=99"), ("expires", "0")]);
    for layer in [site.layer(), cache_page(&site.cache, Duration::from_secs(60)).key_prefix("v")] {
        let cached = view.cached(&layer);
        let (first, hit) = (cached.get("/").await, cached.get("/").await);
        assert_eq!(first.header("etag"), None);
        for got in [first, hit.clone()] {
            assert_eq!(got.header("cache-control"), Some("max-age=0, must-revalidate"));
            assert_eq!(got.header("expires"), None);
        }
        let tag = hit.header("etag").expect("an entity tag");
        let again = cached.get_with("/", &[("if-none-match", tag)]).await;
        assert_eq!((again.status, again.header("etag")), (StatusCode::NOT_MODIFIED, Some(tag)));
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        cached.get("/").await;
        assert_eq!(cached.get_with("/", &[("if-none-match", tag)]).await.status, StatusCode::OK);
    }
}

async fn browser_ttl_can_differ_from_the_cache(site: Site) {
    let layer = site.layer().browser_ttl(BrowserTtl::Fixed(Duration::from_secs(5)));
    let cached = View::with(&[]).cached(&layer);
    assert_eq!(cached.get("/").await.header("cache-control"), Some("max-age=5"));
    site.advance(100);
    let later = cached.get("/").await;
    assert_eq!(
        (later.header("age"), later.header("cache-control")),
        (Some("100"), Some("max-age=105"))
    );
    let as_is =
        View::with(&[]).cached(&site.layer().key_prefix("b").browser_ttl(BrowserTtl::FromResponse));
    assert_eq!(as_is.get("/").await.header("cache-control"), None);
}

async fn response_that_is_not_stored_keeps_its_headers(site: Site) {
    let got = View::with(&[("cache-control", "private")]).cached(&site.layer()).get("/").await;
    assert_eq!((got.header("cache-control"), got.header("expires")), (Some("private"), None));
}

async fn prefixes_have_separate_pages(site: Site) {
    let view = View::with(&[]);
    view.cached(&site.layer()).get("/").await;
    assert!(!view.cached(&site.layer().key_prefix("b")).get("/").await.is_hit());
}

async fn key_function_separates_pages(site: Site) {
    let layer = site.layer().key_function(|parts| {
        parts.headers.get("accept-language").map_or(String::new(), |line| format!("{line:?}"))
    });
    let cached = View::with(&[]).cached(&layer);
    cached.get_with("/", &[("accept-language", "de")]).await;
    assert!(!cached.get_with("/", &[("accept-language", "en")]).await.is_hit());
    layer.purge_handle().purge_uri("http://example.org/", Purge::Hard).await.expect("store works");
    for language in ["de", "en"] {
        assert!(!cached.get_with("/", &[("accept-language", language)]).await.is_hit());
    }
}

async fn purge_uri_removes_all_variants_of_that_uri_only(site: Site) {
    let layer = site.layer();
    let cached = View::with(&[("vary", "X-A")]).cached(&layer);
    for (uri, value) in [("/a?x", "1"), ("/a?x", "2"), ("/a", "1")] {
        cached.get_with(uri, &[("x-a", value)]).await;
    }
    layer
        .purge_handle()
        .purge_uri("https://example.org/a?x", Purge::Hard)
        .await
        .expect("store works");
    for value in ["1", "2"] {
        assert!(!cached.get_with("/a?x", &[("x-a", value)]).await.is_hit());
        assert!(
            cached.get_with("/a?x", &[("x-a", value)]).await.is_hit(),
            "stored again after the purge"
        );
    }
    assert!(cached.get_with("/a", &[("x-a", "1")]).await.is_hit());
}

async fn purge_of_a_path_covers_all_hosts(site: Site) {
    let lists = [&[][..], &[".org"], &["example.org", ".shop.org"], &["example.org", "shop.org"]];
    for (hosts, preset) in lists.into_iter().flat_map(|hosts| [(hosts, "site"), (hosts, "shared")])
    {
        let layer = if preset == "site" { site.layer() } else { site.shared() };
        let layer = layer.key_prefix(&format!("{preset}{hosts:?}")).hosts(hosts.iter().copied());
        let cached = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        let is_hit = async |uri, host| cached.get_with(uri, &[("host", host)]).await.is_hit();
        for host in ["example.org", "shop.org", "example.org:8000"] {
            for uri in ["/a", "/b"] {
                is_hit(uri, host).await;
                assert!(is_hit(uri, host).await);
            }
        }
        layer.purge_handle().purge_uri("/a", Purge::Hard).await.expect("store works");
        for host in ["example.org", "shop.org", "example.org:8000"] {
            assert!(!is_hit("/a", host).await, "{hosts:?} {host}");
            assert!(is_hit("/b", host).await, "{hosts:?} {host}");
        }
    }
}

async fn purge_of_one_host_keeps_the_pages_of_others_if_all_are_listed(site: Site) {
    for (hosts, kept) in
        [(&["example.org", "shop.org"][..], true), (&[".org"], false), (&[], false)]
    {
        let layer = site.layer().key_prefix(&format!("{hosts:?}")).hosts(hosts.iter().copied());
        let cached = View::with(&[]).cached(&layer);
        let is_hit = async |host| cached.get_with("/a", &[("host", host)]).await.is_hit();
        for host in ["example.org", "shop.org"] {
            is_hit(host).await;
        }
        let purged = layer.purge_handle().purge_uri("http://example.org/a", Purge::Hard).await;
        purged.expect("store works");
        assert!(!is_hit("example.org").await, "{hosts:?}");
        assert_eq!(is_hit("shop.org").await, kept, "{hosts:?}");
    }
}

async fn purge_of_an_invalid_uri_is_a_configuration_error(site: Site) {
    let purged = site.layer().purge_handle().purge_uri("http://a b/", Purge::Hard).await;
    let error = purged.expect_err("invalid URI");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("http://a b/") && error.source().is_some(), "{error}");
}

async fn purge_of_a_text_without_a_path_is_a_configuration_error(site: Site) {
    for text in ["books", "example.org:80", "*"] {
        let purged = site.layer().purge_handle().purge_uri(text, Purge::Hard).await;
        let error = purged.expect_err("neither a path nor a URI");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
    }
}

async fn purge_handle_outlives_the_layer(site: Site) {
    let layer = site.layer();
    let handle = layer.purge_handle().clone();
    let cached = View::with(&[]).cached(&layer);
    drop(layer);
    cached.get("/").await;
    assert!(cached.get("/").await.is_hit());
    handle.purge_all(Purge::Hard).await.expect("store works");
    assert!(!cached.get("/").await.is_hit());
}

async fn purge_of_a_path_covers_all_ports(site: Site) {
    let layer = site.layer().hosts(["localhost"]);
    let cached = View::with(&[]).cached(&layer);
    for host in ["localhost", "localhost:3000"] {
        cached.get_with("/a", &[("host", host)]).await;
        assert!(cached.get_with("/a", &[("host", host)]).await.is_hit());
    }
    layer.purge_handle().purge_uri("/a", Purge::Hard).await.expect("store works");
    for host in ["localhost", "localhost:3000"] {
        assert!(!cached.get_with("/a", &[("host", host)]).await.is_hit());
    }
}

async fn purge_tag_removes_all_pages_with_that_tag_only(site: Site) {
    let view = View::new(|request, _| {
        let mut response = page(&[], "");
        response.extensions_mut().insert(CacheTags::new([request.uri().path(), "posts"]));
        response
    });
    let layer = site.layer().tag("site");
    let cached = view.cached(&layer);
    for (tag, gone) in [
        ("/a", ["/a"].as_slice()),
        ("posts", &["/a", "/b"]),
        ("site", &["/a", "/b"]),
        ("other", &[]),
    ] {
        for uri in ["/a", "/b"] {
            cached.get(uri).await;
        }
        layer.purge_handle().purge_tag(tag, Purge::Hard).await.expect("store works");
        for uri in ["/a", "/b"] {
            assert_eq!(cached.get(uri).await.is_hit(), !gone.contains(&uri), "{tag} {uri}");
        }
    }
}

async fn purge_all_removes_the_pages_of_one_prefix(site: Site) {
    let (layer, other) = (site.layer(), site.layer().key_prefix("other"));
    let view = View::with(&[]);
    for layer in [&layer, &other] {
        view.cached(layer).get("/").await;
    }
    layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    assert!(!view.cached(&layer).get("/").await.is_hit());
    assert!(view.cached(&other).get("/").await.is_hit());
}

async fn soft_purge_makes_pages_stale(site: Site) {
    let layer = site.layer().policy(Policy::site().stale_while_revalidate(Duration::from_secs(30)));
    let view = View::with(&[]);
    let cached = view.cached(&layer);
    cached.get("/").await;
    layer.purge_handle().purge_uri("http://example.org/", Purge::Soft).await.expect("store works");
    assert_eq!(cached.get("/").await.body, "page 0");
    until(async || cached.get("/").await.body == "page 1").await;
    // The request that produced the page may still be running. Requests after the next purge do not
    // join it, because the time of the last purge differs.
    site.time.advance(Duration::from_millis(1));
    layer.purge_handle().purge_uri("http://example.org/", Purge::Hard).await.expect("store works");
    assert_eq!(cached.get("/").await.body, "page 2");
}

async fn page_that_is_purged_while_it_is_produced_is_not_stored(site: Site) {
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
                        false => {
                            purging
                                .purge_handle()
                                .purge_uri("http://example.org/", Purge::Hard)
                                .await
                        }
                    };
                    purged.expect("store works");
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
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn response_with_the_no_store_extension_is_not_stored(site: Site) {
    let view = View::new(|_, _| {
        let mut response = page(&[], "");
        response.extensions_mut().insert(NoStore);
        response
    });
    let cached = view.cached(&site.layer());
    cached.get("/").await;
    assert_eq!(cached.get("/").await.reason(), "opt-out");
}

async fn request_that_meets_a_condition_bypasses_the_cache(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let layer = layer
            .bypass_if(|request| request.uri.path().starts_with("/admin/"))
            .bypass_if(|request| request.headers.contains_key("x-preview"));
        let cached = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        cached.get("/").await;
        for (uri, headers) in [("/admin/", &[][..]), ("/", &[("x-preview", "1")])] {
            for _ in 0..2 {
                assert_eq!(cached.get_with(uri, headers).await.reason(), "bypass-if", "{uri}");
            }
        }
        assert!(cached.get("/").await.is_hit());
        assert_eq!(layer.counts().bypasses, 4);
        assert!(layer.counts().reasons.contains(&(Reason::BypassIf, 4)));
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn response_that_meets_a_condition_is_not_stored(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let layer = layer
            .do_not_store_if(|response| response.status == StatusCode::OK)
            .do_not_store_if(|response| response.headers.contains_key("x-debug"));
        let cached = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        for _ in 0..2 {
            assert_eq!(cached.get("/").await.reason(), "do-not-store-if");
        }
        assert!(layer.counts().reasons.contains(&(Reason::DoNotStoreIf, 2)));
    }
}

async fn requests_are_counted_with_their_reasons(site: Site) {
    let layer = site.layer();
    let cached = View::with(&[]).cached(&layer);
    cached.get("/").await;
    cached.get("/").await;
    cached.ask(Method::POST, "/", &[]).await;
    let Counts { hits, misses, bypasses, stored, rejected, reasons, .. } = layer.counts();
    assert_eq!((hits, misses, bypasses, stored, rejected), (1, 1, 1, 1, 0));
    assert_eq!(reasons, [(Reason::Method, 1), (Reason::UriMiss, 1)]);
}

async fn requests_of_an_inner_cache_count_as_bypasses(site: Site) {
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

async fn cache_status_is_appended_to_that_of_inner_caches(site: Site) {
    let view = View::with(&[("cache-status", "origin; hit")]).cached(&site.layer());
    let got = view.get("/").await;
    let lines: Vec<_> = got.headers.get_all("cache-status").iter().collect();
    assert_eq!(lines, ["origin; hit", "c; fwd=uri-miss; fwd-status=200; stored; detail=uri-miss"]);
    let silent =
        View::with(&[]).cached(&HttpCacheLayer::new(&site.cache).key_prefix("x")).get("/").await;
    assert_eq!(silent.header("cache-status"), None);
}

async fn not_modified_response_has_no_body(site: Site) {
    let view = View::with(&[("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT"), ("x-long", "1")])
        .cached(&site.layer());
    view.get("/").await;
    let got = view.get_with("/", &[("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")]).await;
    assert_eq!(
        (got.status, &*got.body, got.header("x-long")),
        (StatusCode::NOT_MODIFIED, "", None)
    );
    assert!(got.header("cache-control").is_some() && got.header("date").is_some());
    assert!(
        view.get_with("/", &[("if-modified-since", "Mon, 01 Dec 2025 00:00:00 GMT")]).await.status
            == StatusCode::OK
    );
}

#[tokio::test]
async fn uri_function_separates_nested_views() {
    let layer = Site::in_memory().layer().uri_function(|request| {
        match request.extensions.get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri.clone(),
            None => request.uri.clone(),
        }
    });
    assert_nested_views_are_separate(&layer).await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn feature_axum_separates_nested_views() {
    assert_nested_views_are_separate(&Site::in_memory().layer()).await;
}

async fn assert_nested_views_are_separate(layer: &HttpCacheLayer) {
    let nested = |body| Router::new().route("/list", get(async move || body).layer(layer.clone()));
    let app = Router::new().nest("/news", nested("news")).nest("/shop", nested("shop"));
    let ask = async |uri| {
        Got::of(app.clone().oneshot(request(Method::GET, uri, &[])).await.expect("infallible"))
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
        .expect("store works");
    assert!(!ask("/news/list").await.is_hit());
    assert!(ask("/shop/list").await.is_hit());
}

#[tokio::test]
async fn dummy_cache_serves_every_page() {
    let cache = CacheHandle::new("off", Arc::new(DummyCache), Settings::default());
    let view = View::with(&[]);
    let cached = view.cached(&HttpCacheLayer::new(&cache));
    for body in ["page 0", "page 1"] {
        assert_eq!(cached.get("/").await.body, body);
    }
}

#[tokio::test]
async fn page_bodies_count_towards_max_bytes() {
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
        "the last page is stored"
    );
    assert!((900_000..=1 << 20).contains(&store.bytes()), "{}", store.bytes());
}

/// Creates a store on a server, with a fault in every call.
fn store_with(fault: Fault) -> Arc<dyn Cache> {
    let store = Chaos::new(Arc::new(Remote::new(Arc::new(LocMemCache::default()))));
    store.inject(fault);
    Arc::new(store)
}

#[tokio::test(start_paused = true)]
async fn store_that_never_responds_times_out() {
    let limit = Duration::from_secs(2);
    let cache = CacheHandle::new("silent", store_with(Fault::hang()), Settings::default());
    let cached = View::with(&[]).cached(&HttpCacheLayer::shared(&cache).store_timeout(limit));
    for (method, body) in [(Method::GET, "page 0"), (Method::POST, "page 1")] {
        let started_at = tokio::time::Instant::now();
        assert_eq!(cached.ask(method, "/", &[]).await.body, body);
        assert_eq!(started_at.elapsed().as_secs(), limit.as_secs());
    }
}

#[tokio::test]
async fn failing_store_is_counted_and_the_page_is_served() {
    for on_outage in [OnOutage::Error, OnOutage::Miss] {
        let settings = Settings { on_outage, ..Settings::default() };
        let store = store_with(Fault::error(ErrorKind::Unavailable));
        let cache = CacheHandle::new("unreachable", store, settings);
        let layer = HttpCacheLayer::new(&cache);
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
        assert_eq!(failures, 2, "two lookups: {:?}", layer.counts());
        let purged = layer.purge_handle().purge_all(Purge::Hard).await;
        assert_eq!(purged.expect_err("the purge is lost").kind(), ErrorKind::Unavailable);
    }
}

on_each_store! {
    page_lives_for_the_ttl_of_the_site,
    lifetime_of_the_response_is_obeyed,
    jitter_spreads_the_lifetimes_of_pages,
    early_refresh_replaces_a_page_before_it_expires,
    timeout_of_cache_page_limits_the_lifetime,
    pages_age_by_the_clock_of_the_cache,
    clock_of_the_layer_overrides_that_of_the_cache,
    responses_state_their_age_and_lifetime,
    not_modified_response_keeps_the_cache_status_of_the_view,
    browser_ttl_can_differ_from_the_cache,
    browsers_revalidate_pages_with_an_entity_tag,
    response_that_is_not_stored_keeps_its_headers,
    prefixes_have_separate_pages,
    key_function_separates_pages,
    purge_uri_removes_all_variants_of_that_uri_only,
    purge_of_a_path_covers_all_hosts,
    purge_of_one_host_keeps_the_pages_of_others_if_all_are_listed,
    purge_of_an_invalid_uri_is_a_configuration_error,
    purge_of_a_text_without_a_path_is_a_configuration_error,
    purge_handle_outlives_the_layer,
    purge_of_a_path_covers_all_ports,
    purge_tag_removes_all_pages_with_that_tag_only,
    purge_all_removes_the_pages_of_one_prefix,
    soft_purge_makes_pages_stale,
    page_that_is_purged_while_it_is_produced_is_not_stored,
    response_with_the_no_store_extension_is_not_stored,
    request_that_meets_a_condition_bypasses_the_cache,
    response_that_meets_a_condition_is_not_stored,
    requests_are_counted_with_their_reasons,
    requests_of_an_inner_cache_count_as_bypasses,
    cache_status_is_appended_to_that_of_inner_caches,
    not_modified_response_has_no_body,
}
