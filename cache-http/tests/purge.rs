//! Purges, in stores that processes share above all.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use cache_core::{
    CacheHandle, Clear, ErrorKind, ManualClock, Result, Settings, Tags, Timeout, Value,
};
use cache_http::{CacheTags, HttpCacheLayer, Policy, Purge, PurgeHandle, PurgeService};
use cache_memcached::{MemcachedCache, MemcachedOptions, WhenDead};
use cache_redis::{RedisCache, RedisOptions};
use cache_testing::{Pause, Recorder, Remote, Verbs};
use common::{Cached, Got, Site, View, page, request};
use http::{HeaderName, Method, StatusCode};
use serde_json::{Value as Json, json};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt as _;
use xtask::servers::{Kind, Server};

/// A store as another process sees it: it keeps no objects, and two of them are never taken for the
/// same store. Records the calls, and can hold them.
struct Process {
    recorder: Recorder,
    pause: Pause,
}

impl Process {
    fn of(site: &Site) -> Self {
        let pause = Pause::new(Arc::new(Remote::new(Arc::clone(site.cache.store()))));
        Self { recorder: Recorder::new(Arc::new(pause.clone())), pause }
    }

    fn cache(&self, site: &Site) -> CacheHandle {
        site.cache.with_store(Arc::new(self.recorder.clone()))
    }

    /// Runs `interruption` after this number of calls, before the next one. Returns a task that
    /// ends with it.
    fn interrupt_after(
        &self,
        calls: usize,
        interruption: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        tokio::spawn(self.pause.before(Verbs::ALL, calls + 1).during(interruption))
    }

    /// The verbs of the calls since the last time.
    fn calls(&self) -> Vec<&'static str> {
        let calls = self.recorder.calls();
        self.recorder.reset();
        calls.iter().map(|call| call.verb.name()).collect()
    }
}

/// A layer of each preset.
fn layers(site: &Site, cache: &CacheHandle) -> [HttpCacheLayer; 2] {
    let layer = HttpCacheLayer::new(cache).clock(site.time.clock()).cache_status("c");
    let shared = HttpCacheLayer::shared(cache).clock(site.time.clock()).cache_status("c");
    [layer, shared.key_prefix("shared")]
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Creates a view that runs `purge` during its first call, and whose pages have the tag `t`.
fn purging_view<F>(purge: impl Fn() -> F + Send + Sync + 'static) -> View
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    View::waiting(move |_, calls| {
        let purge = (calls == 0).then(&purge);
        async move {
            if let Some(purge) = purge {
                purge.await.expect("store works");
            }
            let mut response = page(&[FRESH], &format!("page {calls}"));
            response.extensions_mut().insert(CacheTags::new(["t"]));
            response
        }
    })
}

/// Creates a view whose page another process purges during the first call. The clock of that
/// process has stopped when it started.
fn view_purged_in(process: &HttpCacheLayer) -> View {
    let purging = process.clone().clock(ManualClock::new().clock()).purge_handle();
    purging_view(move || {
        let purging = purging.clone();
        async move { purging.purge_uri("http://example.org/", Purge::Hard).await }
    })
}

async fn assert_purged_page_is_not_stored(cached: &Cached, calls_before: usize) {
    assert_eq!(cached.get("/").await.reason(), "purged");
    let next = cached.get("/").await;
    assert_eq!(next.body, format!("page {}", calls_before + 1));
    let hit = cached.get("/").await;
    assert!(hit.is_hit() && hit.body == next.body, "{hit:?}");
}

async fn purge_in_another_process_wins_over_the_first_page_of_a_uri(site: Site) {
    let (here, there) = (Process::of(&site).cache(&site), Process::of(&site).cache(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        site.advance(3600);
        let view = view_purged_in(&there);
        assert_purged_page_is_not_stored(&view.cached(&here), 0).await;
    }
}

async fn purge_in_another_process_wins_over_a_refresh(site: Site) {
    let (here, there) = (Process::of(&site).cache(&site), Process::of(&site).cache(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        View::with(&[FRESH]).cached(&here).get("/").await;
        site.advance(3600);
        let view = view_purged_in(&there);
        assert_purged_page_is_not_stored(&view.cached(&here), 0).await;
    }
}

async fn purge_of_everything_in_another_process_wins_over_the_first_page(site: Site) {
    let (here, there) = (Process::of(&site).cache(&site), Process::of(&site).cache(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        let purging = there.clock(ManualClock::new().clock()).purge_handle();
        let view = purging_view(move || {
            let purging = purging.clone();
            async move { purging.purge_all(Purge::Hard).await }
        });
        assert_purged_page_is_not_stored(&view.cached(&here), 0).await;
    }
}

async fn purge_of_an_unknown_tag_in_another_process_wins(site: Site) {
    let (here, there) = (Process::of(&site).cache(&site), Process::of(&site).cache(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        let (purging, time) = (there.purge_handle(), site.time.clone());
        let view = purging_view(move || {
            time.advance(Duration::from_millis(1));
            let purging = purging.clone();
            async move { purging.purge_tag("t", Purge::Hard).await }
        });
        assert_purged_page_is_not_stored(&view.cached(&here), 0).await;
    }
}

async fn page_that_another_page_has_preceded_is_not_stored_after_a_purge(site: Site) {
    let process = |site: &Site| Process::of(site).cache(site);
    let (here, there) = (process(&site), process(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        let other = View::with(&[FRESH]).cached(&there);
        let purging = there.purge_handle();
        // The URI has no generation when it is purged, and one when the page is stored.
        let view = purging_view(move || {
            let (other, purging) = (other.clone(), purging.clone());
            async move {
                purging.purge_uri("http://example.org/", Purge::Hard).await?;
                other.get("/").await;
                Ok(())
            }
        });
        let cached = view.cached(&here);
        assert_eq!(cached.get("/").await.reason(), "purged");
        assert!(cached.get("/").await.is_hit(), "the page of the other process is kept");
    }
}

/// A cache of a process, cleared by a generation in its keys.
fn with_generation(site: &Site, process: &Process) -> CacheHandle {
    let key_prefix = site.cache.key_prefix().into();
    let settings = Settings { key_prefix, clear: Clear::Generation, ..Settings::default() };
    CacheHandle::new("default", Arc::new(process.recorder.clone()), settings)
        .with_clock(site.time.clock())
}

/// Replaces the generation in the keys as another process does, unseen by the handles of this one.
async fn clear_elsewhere(site: &Site) {
    let (store, record) = (site.cache.store(), format!("{}:~:clear", site.cache.key_prefix()));
    let found = store.get(&record).await.expect("store works");
    let Some(Value::Bytes(found)) = found else { panic!("the generation was read") };
    let mut changed = found.to_vec();
    // Behind the header and the format.
    changed[4] ^= 0xFF;
    store.set(&record, Value::Bytes(changed.into()), None).await.expect("store works");
}

async fn clear_of_a_generation_removes_the_pages_of_its_cache_only(site: Site) {
    let cleared = with_generation(&site, &Process::of(&site));
    let all = layers(&site, &cleared).into_iter().zip(layers(&site, &site.cache));
    for (layer, kept) in all {
        let (cached, kept) =
            (View::with(&[FRESH]).cached(&layer), View::with(&[FRESH]).cached(&kept));
        for _ in 0..2 {
            cached.get("/").await;
            kept.get("/").await;
            assert!(cached.get("/").await.is_hit() && kept.get("/").await.is_hit());
            cleared.clear().await.expect("store works");
            assert!(!cached.get("/").await.is_hit() && kept.get("/").await.is_hit());
        }
    }
}

async fn clear_of_a_generation_wins_over_a_page_in_production(site: Site) {
    let here = with_generation(&site, &Process::of(&site));
    let there = with_generation(&site, &Process::of(&site));
    for is_known in [false, true] {
        for layer in layers(&site, &here) {
            if is_known {
                View::with(&[FRESH]).cached(&layer).get("/another").await;
            }
            let clearing = there.clone();
            let view = purging_view(move || {
                let clearing = clearing.clone();
                async move { clearing.clear().await }
            });
            assert_purged_page_is_not_stored(&view.cached(&layer), 0).await;
            there.clear().await.expect("store works");
        }
    }
}

async fn purge_reaches_pages_of_a_generation_that_its_process_has_not_seen(site: Site) {
    for preset in 0..2 {
        for purged in 0..4 {
            let here = with_generation(&site, &Process::of(&site));
            let layer = layers(&site, &here)[preset].clone().purge_prefixes().tag("t");
            View::with(&[FRESH]).cached(&layer).get("/earlier").await;
            clear_elsewhere(&site).await;
            let there = with_generation(&site, &Process::of(&site));
            let there = layers(&site, &there)[preset].clone().purge_prefixes().tag("t");
            let cached = View::with(&[FRESH]).cached(&there);
            cached.get("/news/1").await;
            assert!(cached.get("/news/1").await.is_hit());
            // A tag that was purged by a clock of the same time counts as purged before.
            site.advance(1);
            let purging = layer.purge_handle();
            let done = match purged {
                0 => purging.purge_uri("http://example.org/news/1", Purge::Hard).await,
                1 => purging.purge_prefix("/news", Purge::Hard).await,
                2 => purging.purge_tag("t", Purge::Hard).await,
                _ => purging.purge_all(Purge::Hard).await,
            };
            done.expect("store works");
            assert!(!cached.get("/news/1").await.is_hit(), "{purged}");
        }
    }
}

async fn unsafe_request_invalidates_although_its_client_disconnects(site: Site) {
    let process = Process::of(&site);
    let [site_layer, shared] = layers(&site, &process.cache(&site));
    for layer in [site_layer.policy(Policy::site().invalidation(true)), shared] {
        let cached = View::with(&[FRESH]).cached(&layer);
        cached.get("/").await;
        assert!(cached.get("/").await.is_hit());
        let held = process.pause.before(Verbs::ALL, 1);
        let post = tokio::spawn({
            let cached = cached.clone();
            async move { cached.ask(Method::POST, "/", &[]).await }
        });
        held.reached().await;
        post.abort();
        assert!(post.await.expect_err("aborted").is_cancelled());
        held.release();
        common::until(async || !cached.get("/").await.is_hit()).await;
    }
}

/// The layers of both presets, which read tags from `Surrogate-Key` and `Cache-Tag`.
fn layers_with_tag_headers(site: &Site) -> [HttpCacheLayer; 2] {
    let headers = ["surrogate-key", "cache-tag"].map(HeaderName::from_static);
    let [site, shared] = layers(site, &site.cache);
    [
        site.policy(Policy::site().tag_headers(headers.clone())),
        shared.policy(Policy::shared().tag_headers(headers)),
    ]
}

async fn tags_are_read_from_response_headers_and_removed(site: Site) {
    let view = View::with(&[
        FRESH,
        ("surrogate-key", "post:1 author:7"),
        ("surrogate-key", "posts"),
        ("cache-tag", "front page, news"),
    ]);
    for layer in layers_with_tag_headers(&site) {
        let cached = view.cached(&layer);
        for tag in ["post:1", "author:7", "posts", "front page", "news"] {
            for is_hit in [false, true] {
                let got = cached.get("/").await;
                assert_eq!(got.is_hit(), is_hit, "{tag}");
                assert_eq!((got.header("surrogate-key"), got.header("cache-tag")), (None, None));
            }
            layer.purge_handle().purge_tag(tag, Purge::Hard).await.expect("store works");
        }
        let got = cached.ask(Method::POST, "/", &[]).await;
        assert_eq!((got.header("surrogate-key"), got.header("cache-tag")), (None, None));
    }
}

async fn tag_is_the_same_for_pages_and_values(site: Site) {
    let cache = site.cache.with_clock(site.time.clock());
    for (number, layer) in layers(&site, &site.cache).into_iter().enumerate() {
        let layer = layer.key_prefix(&number.to_string()).tag("t");
        let cached = View::with(&[FRESH]).cached(&layer);
        for purge in [Purge::Hard, Purge::Soft] {
            for by_cache in [true, false] {
                cached.get("/").await;
                cache
                    .set_with("k", "value", Timeout::Default, &Tags::of(["t"]))
                    .await
                    .expect("store works");
                assert!(cached.get("/").await.is_hit());
                assert!(cache.get::<String>("k").await.expect("store works").is_some());
                match by_cache {
                    true => cache.purge_tags(["t"], purge).await.expect("store works"),
                    false => {
                        layer.purge_handle().purge_tag("t", purge).await.expect("store works");
                    }
                }
                assert_eq!(cached.get("/").await.reason(), "purged");
                assert_eq!(cache.get::<String>("k").await.expect("store works"), None);
            }
        }
    }
}

async fn tag_headers_are_kept_unless_they_are_configured(site: Site) {
    let view = View::with(&[FRESH, ("surrogate-key", "a"), ("cache-tag", "b")]);
    for layer in layers(&site, &site.cache) {
        let cached = view.cached(&layer);
        cached.get("/").await;
        layer.purge_handle().purge_tag("a", Purge::Hard).await.expect("store works");
        let got = cached.get("/").await;
        assert!(got.is_hit(), "{got:?}");
        assert_eq!((got.header("surrogate-key"), got.header("cache-tag")), (Some("a"), Some("b")));
    }
}

async fn response_with_too_many_or_too_long_tags_is_not_stored(site: Site) {
    let tags = |count: usize| (0..count).map(|tag| tag.to_string()).collect::<Vec<_>>().join(",");
    for (tags, stored) in
        [(tags(64), true), (tags(65), false), ("x".repeat(1024), true), ("x".repeat(1025), false)]
    {
        let view = View::new(move |_, _| page(&[FRESH, ("cache-tag", &tags)], ""));
        for layer in layers_with_tag_headers(&site) {
            let cached = view.cached(&layer);
            let first = cached.get("/").await;
            assert_eq!(first.reason() == "tags", !stored, "{first:?}");
            assert_eq!(first.header("cache-tag"), None);
            assert_eq!(cached.get("/").await.is_hit(), stored);
            layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        }
    }
}

async fn validated_page_keeps_its_tags(site: Site) {
    let view = View::new(|request, _| {
        let mut response = page(&[("cache-control", "max-age=10"), ("etag", "\"v\"")], "");
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert("cache-tag", "header".parse().expect("valid header"));
            response.extensions_mut().insert(CacheTags::new(["extension"]));
        }
        response
    });
    let [_, layer] = layers_with_tag_headers(&site);
    let cached = view.cached(&layer);
    for tag in ["header", "extension"] {
        assert!(!cached.get("/").await.is_hit(), "{tag}");
        site.advance(11);
        let validated = cached.get("/").await;
        let status = validated.header("cache-status").unwrap_or_default();
        assert!(status.contains("fwd-status=304; stored"), "{status}");
        assert!(cached.get("/").await.is_hit());
        layer.purge_handle().purge_tag(tag, Purge::Hard).await.expect("store works");
    }
    assert!(!cached.get("/").await.is_hit());
}

async fn purge_of_a_uri_reaches_other_layers_with_the_same_hosts(site: Site) {
    let (listed, every_host) = (site.layer(), site.layer());
    let purge = site.layer().hosts(["example.org"]).purge_handle();
    for (layer, is_kept) in [(listed.hosts(["example.org"]), false), (every_host, true)] {
        let cached = View::with(&[FRESH]).cached(&layer);
        cached.get("/page").await;
        purge.purge_uri("/page", Purge::Hard).await.expect("store works");
        assert_eq!(cached.get("/page").await.is_hit(), is_kept, "{layer:?}");
        purge.purge_all(Purge::Hard).await.expect("store works");
        assert!(!cached.get("/page").await.is_hit(), "{layer:?}");
    }
}

async fn purge_of_a_prefix_covers_whole_segments(site: Site) {
    const ALL: [&str; 8] = [
        "/",
        "/news",
        "/news/",
        "/news?page=2",
        "/news/2026/1",
        "/news/2027",
        "/newsletter",
        "/shop/news",
    ];
    for layer in layers(&site, &site.cache) {
        let layer = layer.purge_prefixes();
        let cached = View::with(&[FRESH]).cached(&layer);
        for (prefix, kept) in [
            ("/news", [0, 6, 7].as_slice()),
            ("/news/", &[0, 6, 7]),
            ("/news/2026", &[0, 1, 2, 3, 5, 6, 7]),
            ("/news/2026/1", &[0, 1, 2, 3, 5, 6, 7]),
            ("/new", &[0, 1, 2, 3, 4, 5, 6, 7]),
            ("/", &[]),
        ] {
            for uri in ALL {
                cached.get(uri).await;
                assert!(cached.get_with(uri, &[]).await.is_hit(), "{uri}");
            }
            layer.purge_handle().purge_prefix(prefix, Purge::Hard).await.expect("store works");
            for (index, uri) in ALL.iter().enumerate() {
                let is_kept = cached.get(uri).await.is_hit();
                assert_eq!(is_kept, kept.contains(&index), "{prefix} {uri}");
            }
        }
    }
}

async fn soft_purge_of_a_prefix_makes_pages_stale_on_every_host(site: Site) {
    let [layer, _] = layers(&site, &site.cache);
    let policy = Policy::site().stale_if_error(Duration::from_secs(60));
    let layer = layer.policy(policy).hosts(["example.org", "shop.org"]).purge_prefixes();
    let view = View::new(|_, calls| {
        let mut response = page(&[], "page");
        if calls >= 2 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    });
    let cached = view.cached(&layer);
    let get = async |host| cached.get_with("/a/b", &[("host", host)]).await;
    for host in ["example.org", "shop.org"] {
        get(host).await;
        assert!(get(host).await.is_hit());
    }
    layer.purge_handle().purge_prefix("/a", Purge::Soft).await.expect("store works");
    for host in ["example.org", "shop.org"] {
        assert_eq!(get(host).await.body, "page");
    }
    assert_eq!((layer.counts().stale, view.calls()), (2, 4));
}

async fn purge_of_a_prefix_in_another_process_wins(site: Site) {
    let (here, there) = (Process::of(&site).cache(&site), Process::of(&site).cache(&site));
    for (here, there) in layers(&site, &here).into_iter().zip(layers(&site, &there)) {
        let (purging, time) = (there.purge_prefixes().purge_handle(), site.time.clone());
        let view = purging_view(move || {
            time.advance(Duration::from_millis(1));
            let purging = purging.clone();
            async move { purging.purge_prefix("/news", Purge::Hard).await }
        });
        let cached = view.cached(&here.purge_prefixes());
        assert_eq!(cached.get("/news/1").await.reason(), "purged");
        assert_eq!(cached.get("/news/1").await.body, "page 1");
        assert!(cached.get("/news/1").await.is_hit());
    }
}

#[tokio::test]
async fn prefix_that_cannot_be_purged_is_a_configuration_error() {
    let site = Site::in_memory();
    let error = async |layer: &HttpCacheLayer, prefix: &str| {
        let purged = layer.purge_handle().purge_prefix(prefix, Purge::Hard).await;
        let error = purged.expect_err("no such prefix");
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let message = error(&site.layer(), "/news").await;
    assert!(message.contains("/news") && message.contains("purge_prefixes"), "{message}");
    let layer = site.layer().purge_prefixes();
    for prefix in ["", "news", "http://example.org/news", "/a b", "/a?b", "/a#b", "*"] {
        let message = error(&layer, prefix).await;
        assert!(message.contains(&format!("{prefix:?}")), "{message}");
    }
    let message = error(&layer, &"/a".repeat(9)).await;
    assert!(message.contains('8') && message.contains('9'), "{message}");
    layer.purge_handle().purge_prefix(&"/a".repeat(8), Purge::Hard).await.expect("8 segments");
}

const TOKEN: &str = "0123456789abcdef";

/// The purge service of a layer, as a route of axum.
struct Endpoint(Router);

impl Endpoint {
    fn of(layer: &HttpCacheLayer) -> Self {
        let service = PurgeService::new(layer.purge_handle(), TOKEN).expect("valid token");
        Self(Router::new().route_service("/-/purge", service))
    }

    async fn send(&self, method: Method, headers: &[(&str, &str)], body: &str) -> (Got, Json) {
        let request = request(method, "/-/purge?token=0123456789abcdef", headers);
        let request = request.map(|_| Body::from(body.to_owned()));
        let got = Got::of(self.0.clone().oneshot(request).await.expect("infallible")).await;
        assert_eq!(got.header("cache-control"), Some("no-store"));
        assert!(!format!("{got:?}").contains(TOKEN), "{got:?}");
        let json = serde_json::from_str(&got.body).expect("JSON");
        (got, json)
    }

    async fn post(&self, body: &str) -> (StatusCode, Json) {
        let (got, json) = self.send(Method::POST, &[("authorization", BEARER)], body).await;
        (got.status, json)
    }
}

const BEARER: &str = "Bearer 0123456789abcdef";

async fn purge_service_purges_what_the_body_names(site: Site) {
    for layer in layers(&site, &site.cache) {
        let layer = layer.tag("news").purge_prefixes();
        let (cached, endpoint) = (View::with(&[FRESH]).cached(&layer), Endpoint::of(&layer));
        for pages in [
            json!({"uris": ["/news/1"], "tags": [], "prefixes": [], "all": false}),
            json!({"uris": [], "tags": ["other", "news"], "prefixes": [], "all": false}),
            json!({"uris": [], "tags": [], "prefixes": ["/news"], "all": false}),
            json!({"uris": [], "tags": [], "prefixes": [], "all": true}),
        ] {
            for soft in [false, true] {
                let mut pages = pages.clone();
                pages["soft"] = json!(soft);
                cached.get("/news/1").await;
                assert!(cached.get("/news/1").await.is_hit());
                let expected = (StatusCode::OK, json!({"purged": pages}));
                assert_eq!(endpoint.post(&pages.to_string()).await, expected);
                assert_eq!(cached.get("/news/1").await.reason(), "purged", "{pages}");
            }
        }
    }
}

async fn purge_service_rejects_requests_without_its_token(site: Site) {
    let layer = site.layer();
    let (cached, endpoint) = (View::with(&[FRESH]).cached(&layer), Endpoint::of(&layer));
    cached.get("/").await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer 0123456789abcdeg")],
        &[("authorization", "Bearer 0123456789abcdef0")],
        &[("authorization", "Bearer 0123456789abcde")],
        &[("authorization", "Basic 0123456789abcdef")],
        &[("authorization", "0123456789abcdef")],
        &[("authorization", BEARER), ("authorization", BEARER)],
        &[("x-token", "0123456789abcdef")],
    ] {
        for method in [Method::POST, Method::GET] {
            let (got, json) = endpoint.send(method, headers, r#"{"all": true}"#).await;
            assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{headers:?}");
            assert_eq!(got.header("www-authenticate"), Some("Bearer"));
            assert_eq!(json["purged"]["all"], false);
        }
    }
    assert!(cached.get("/").await.is_hit());
    let lower_case = &[("authorization", "bearer 0123456789abcdef")];
    let (got, _) = endpoint.send(Method::POST, lower_case, r#"{"all": true}"#).await;
    assert_eq!(got.status, StatusCode::OK);
}

async fn soft_purge_by_the_service_makes_pages_stale(site: Site) {
    let [layer, _] = layers(&site, &site.cache);
    let layer = layer.policy(Policy::site().stale_while_revalidate(Duration::from_secs(30)));
    let cached = View::with(&[]).cached(&layer);
    cached.get("/").await;
    let (status, _) = Endpoint::of(&layer).post(r#"{"all": true, "soft": true}"#).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(cached.get("/").await.body, "page 0");
    assert_eq!(layer.counts().stale, 1);
}

#[tokio::test]
async fn purge_service_accepts_only_post() {
    let endpoint = Endpoint::of(&Site::in_memory().layer());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let (got, _) = endpoint.send(method, &[("authorization", BEARER)], "").await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(got.header("allow"), Some("POST"));
    }
}

#[tokio::test]
async fn purge_service_reports_what_is_wrong_with_a_body() {
    let site = Site::in_memory();
    let endpoint = Endpoint::of(&site.layer());
    let too_long = format!(r#"{{"tags": ["{}"]}}"#, "x".repeat(64 * 1024));
    for (body, status, part) in [
        ("", 400, "body"),
        ("tags=a", 400, "body"),
        ("[]", 400, "body"),
        ("{}", 400, "names nothing"),
        (r#"{"soft": true}"#, 400, "names nothing"),
        (r#"{"tag": ["a"]}"#, 400, "tag"),
        (r#"{"tags": "a"}"#, 400, "string"),
        (r#"{"uris": ["http://a b/"]}"#, 400, "http://a b/"),
        (r#"{"prefixes": ["/a"]}"#, 400, "purge_prefixes"),
        (too_long.as_str(), 413, "65536"),
    ] {
        let (got, json) = endpoint.post(body).await;
        assert_eq!(got, status, "{body}");
        let error = json["error"].as_str().expect("an error");
        assert!(error.contains(part), "{body}: {error}");
    }
    let (status, json) = endpoint.post(r#"{"uris": ["/a", "http://a b/", "/c"]}"#).await;
    assert_eq!((status, &json["purged"]["uris"]), (StatusCode::BAD_REQUEST, &json!(["/a"])));
}

#[tokio::test]
async fn purge_service_reports_a_failure_of_the_store_without_its_address() {
    let store = RedisCache::new(&["redis://127.0.0.1:1"], RedisOptions::default());
    let store = Arc::new(store.expect("valid options"));
    let cache = CacheHandle::new("down", store, Settings::default());
    let (status, json) = Endpoint::of(&HttpCacheLayer::new(&cache)).post(r#"{"all": true}"#).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(json["purged"]["all"] == false && !json.to_string().contains("127.0.0.1"), "{json}");
}

#[test]
fn purge_token_must_be_long_and_visible() {
    let handle = Site::in_memory().layer().purge_handle();
    for token in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé-"] {
        let error = PurgeService::new(handle.clone(), token).expect_err("invalid token");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(token.is_empty() || !error.to_string().contains(token), "{error}");
    }
    let service = PurgeService::new(handle, TOKEN).expect("valid token");
    assert!(!format!("{service:?}").contains(TOKEN));
}

async fn unsafe_request_invalidates_if_the_policy_says_so(site: Site) {
    let [own, shared] = layers(&site, &site.cache);
    for (layer, invalidates) in [
        (own.clone(), false),
        (own.policy(Policy::site().invalidation(true)).key_prefix("set"), true),
        (shared.clone(), true),
        (shared.policy(Policy::shared().invalidation(false)).key_prefix("unset"), false),
    ] {
        let cached = View::with(&[FRESH]).cached(&layer);
        for uri in ["/", "/other"] {
            cached.get(uri).await;
        }
        cached.ask(Method::DELETE, "/", &[]).await;
        assert_eq!(cached.get("/").await.is_hit(), !invalidates, "{layer:?}");
        assert!(cached.get("/other").await.is_hit());
    }
}

async fn unsafe_requests_to_unknown_uris_evict_no_pages(site: Site) {
    let cached = View::with(&[FRESH]).cached(&site.shared());
    for number in 0..20 {
        cached.get(&format!("/{number}")).await;
    }
    for number in 0..1000 {
        cached.ask(Method::POST, &format!("/unknown/{number}"), &[]).await;
    }
    for number in 0..20 {
        assert!(cached.get(&format!("/{number}")).await.is_hit(), "{number}");
    }
}

/// What the pages of a site show, and the other process that changes and purges it.
#[derive(Clone)]
struct Content {
    version: Arc<AtomicUsize>,
    time: ManualClock,
    purging: PurgeHandle,
    kind: &'static str,
}

impl Content {
    fn change(&self) {
        self.version.fetch_add(1, SeqCst);
        self.time.advance(Duration::from_millis(1));
    }

    async fn purge(&self) {
        let purged = match self.kind {
            "uri" => self.purging.purge_uri("/a/b", Purge::Hard).await,
            "tag" => self.purging.purge_tag("t", Purge::Hard).await,
            "prefix" => self.purging.purge_prefix("/a", Purge::Hard).await,
            _ => self.purging.purge_all(Purge::Hard).await,
        };
        purged.expect("store works");
    }
}

/// Two processes with the same site: the first serves its pages, and the second purges them.
/// `stored` states whether there is a page already, which is stale.
async fn two_processes(
    kind: &'static str,
    preset: usize,
    stored: bool,
) -> ([Process; 2], HttpCacheLayer, Content) {
    let site = Site::in_memory();
    let processes = [(); 2].map(|()| Process::of(&site));
    let [here, there] = processes.each_ref().map(|process| {
        layers(&site, &process.cache(&site))[preset].clone().tag("t").purge_prefixes()
    });
    if stored {
        View::with(&[FRESH]).cached(&here).get("/a/b").await;
        site.advance(61);
    }
    let (version, time) = (Arc::default(), site.time.clone());
    (processes, here, Content { version, time, purging: there.purge_handle(), kind })
}

fn cases() -> impl Iterator<Item = (&'static str, usize, bool)> {
    ["uri", "tag", "prefix", "all"].into_iter().flat_map(|kind| {
        (0..2).flat_map(move |preset| [false, true].map(|stored| (kind, preset, stored)))
    })
}

#[tokio::test]
async fn purge_between_any_two_store_calls_of_a_request_leaves_no_old_page() {
    for (kind, preset, stored) in cases() {
        for calls in 0.. {
            let ([here, _], layer, content) = two_processes(kind, preset, stored).await;
            let shown = Arc::clone(&content.version);
            let view = View::new(move |_, _| page(&[FRESH], &shown.load(SeqCst).to_string()));
            let cached = view.cached(&layer);
            let other = content.clone();
            let interruption = here.interrupt_after(calls, async move {
                other.change();
                other.purge().await;
            });
            cached.get("/a/b").await;
            if !interruption.is_finished() {
                assert!(calls >= 5, "{calls} store calls");
                break;
            }
            interruption.await.expect("task panicked");
            let next = cached.get("/a/b").await;
            assert_eq!(next.body, "1", "{kind} {stored} after {calls} store calls: {next:?}");
        }
    }
}

#[tokio::test]
async fn request_after_a_purge_does_not_share_a_page_from_before_it() {
    for (kind, preset, stored) in cases() {
        for calls in 0.. {
            let ([here, _], layer, content) = two_processes(kind, preset, stored).await;
            let shown = Arc::clone(&content.version);
            let view = View::new(move |_, _| page(&[FRESH], &shown.load(SeqCst).to_string()));
            let cached = view.cached(&layer);
            let (other, late) = (content.clone(), cached.clone());
            let (sender, visit) = oneshot::channel();
            let interruption = here.interrupt_after(calls, async move {
                other.change();
                other.purge().await;
                let visit = tokio::spawn(async move { late.get("/a/b").await });
                // It now waits for the first request, or is complete.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert!(sender.send(visit).is_ok());
            });
            cached.get("/a/b").await;
            if !interruption.is_finished() {
                assert!(calls >= 5, "{calls} store calls");
                break;
            }
            interruption.await.expect("task panicked");
            let visit = visit.await.expect("sent").await.expect("task panicked");
            assert_eq!(visit.body, "1", "{kind} {stored} after {calls} store calls: {visit:?}");
        }
    }
}

#[tokio::test]
async fn page_that_is_stored_between_any_two_store_calls_of_a_purge_is_not_served() {
    for (kind, preset, stored) in cases() {
        for calls in 0.. {
            let ([_, there], layer, content) = two_processes(kind, preset, stored).await;
            let (shown, gate) = (Arc::clone(&content.version), Arc::new(Notify::new()));
            let (opened, rendered) = (Arc::clone(&gate), Arc::new(Notify::new()));
            let rendering = Arc::clone(&rendered);
            let view = View::waiting(move |_, calls| {
                let response = page(&[FRESH], &shown.load(SeqCst).to_string());
                let (gate, rendered) = (Arc::clone(&opened), Arc::clone(&rendering));
                async move {
                    if calls == 0 {
                        rendered.notify_one();
                        gate.notified().await;
                    }
                    response
                }
            });
            let cached = view.cached(&layer);
            let first = cached.clone();
            let request = tokio::spawn(async move { first.get("/a/b").await });
            rendered.notified().await;
            content.change();
            let interruption = there.interrupt_after(calls, async move {
                gate.notify_one();
                assert_eq!(request.await.expect("task panicked").body, "0");
            });
            content.purge().await;
            if !interruption.is_finished() {
                // The generation of a tag is replaced without being read.
                let least = if ["tag", "prefix"].contains(&kind) { 1 } else { 2 };
                assert!(calls >= least, "{calls} store calls");
                break;
            }
            interruption.await.expect("task panicked");
            let next = cached.get("/a/b").await;
            assert_eq!(next.body, "1", "{kind} {stored} after {calls} store calls: {next:?}");
        }
    }
}

#[tokio::test]
async fn hit_in_a_shared_store_reads_all_generations_at_once() {
    for (vary, tags, reads) in [
        (&[FRESH][..], 0, 1),
        (&[FRESH], 3, 2),
        (&[FRESH, ("vary", "x-a")], 0, 2),
        (&[FRESH, ("vary", "x-a")], 3, 3),
    ] {
        let site = Site::in_memory();
        let process = Process::of(&site);
        for layer in layers(&site, &process.cache(&site)) {
            let layer = (0..tags).fold(layer, |layer, tag| layer.tag(&tag.to_string()));
            let cached = View::with(vary).cached(&layer);
            cached.get("/").await;
            process.calls();
            assert!(cached.get("/").await.is_hit());
            let calls = process.calls();
            assert_eq!(calls.len(), reads, "{calls:?}");
        }
    }
}

#[tokio::test]
async fn page_with_tags_is_stored_in_few_round_trips() {
    let site = Site::in_memory();
    let process = Process::of(&site);
    // Layers share tags, so each has its own here.
    for (layer, tags) in
        layers(&site, &process.cache(&site)).into_iter().zip([["a", "b", "c"], ["d", "e", "f"]])
    {
        let layer = tags.into_iter().fold(layer, HttpCacheLayer::tag);
        let cached = View::with(&[FRESH]).cached(&layer);
        // Two lookups, before and after the request has become the one that produces the page.
        let calls = |added: usize, kept: usize| {
            let last = [&["ttl"].repeat(kept), &["get_many", "set"][..]].concat();
            [&["get_many"; 3][..], &["add"].repeat(added), &last].concat()
        };
        // The whole cache, the URI and the tags have no generation. The writes are concurrent.
        cached.get("/").await;
        assert_eq!(process.calls(), calls(5, 0));
        // Those of the tags must outlive the page. The read after that is concurrent.
        process.recorder.reset();
        cached.get("/other").await;
        assert_eq!(process.recorder.round_trips(), 6);
        assert_eq!(process.calls(), calls(1, 3));
    }
}

/// `when_dead = "miss"` hides that a server cannot be reached, but not that nothing was purged.
#[tokio::test]
async fn purge_that_reaches_no_server_is_an_error() {
    let mut server = Server::start(Kind::Memcached).expect("memcached starts");
    let options = MemcachedOptions::default().when_dead(WhenDead::Miss);
    let store = MemcachedCache::new(&[format!("127.0.0.1:{}", server.port())], &options);
    let store = Arc::new(store.expect("valid options"));
    let site = Site::with(CacheHandle::new("default", store, Settings::default()));
    let layers = layers(&site, &site.cache);
    for layer in &layers {
        View::with(&[FRESH]).cached(layer).get("/").await;
    }
    server.kill().expect("memcached is killed");
    for layer in layers {
        let purging = layer.purge_handle();
        for purge in [Purge::Hard, Purge::Soft] {
            purging.purge_uri("http://example.org/", purge).await.expect_err("nothing was purged");
            purging.purge_tag("t", purge).await.expect_err("nothing was purged");
            purging.purge_all(purge).await.expect_err("nothing was purged");
        }
    }
}

on_each_store! {
    purge_of_a_uri_reaches_other_layers_with_the_same_hosts,
    purge_in_another_process_wins_over_the_first_page_of_a_uri,
    purge_in_another_process_wins_over_a_refresh,
    purge_of_everything_in_another_process_wins_over_the_first_page,
    purge_of_an_unknown_tag_in_another_process_wins,
    clear_of_a_generation_removes_the_pages_of_its_cache_only,
    clear_of_a_generation_wins_over_a_page_in_production,
    purge_reaches_pages_of_a_generation_that_its_process_has_not_seen,
    page_that_another_page_has_preceded_is_not_stored_after_a_purge,
    unsafe_request_invalidates_although_its_client_disconnects,
    unsafe_requests_to_unknown_uris_evict_no_pages,
    tags_are_read_from_response_headers_and_removed,
    tag_is_the_same_for_pages_and_values,
    tag_headers_are_kept_unless_they_are_configured,
    response_with_too_many_or_too_long_tags_is_not_stored,
    validated_page_keeps_its_tags,
    purge_of_a_prefix_covers_whole_segments,
    soft_purge_of_a_prefix_makes_pages_stale_on_every_host,
    purge_of_a_prefix_in_another_process_wins,
    unsafe_request_invalidates_if_the_policy_says_so,
    purge_service_purges_what_the_body_names,
    purge_service_rejects_requests_without_its_token,
    soft_purge_by_the_service_makes_pages_stale,
}
