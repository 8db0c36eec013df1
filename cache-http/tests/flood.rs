//! Floods of new pages beside the pages that a site serves.

mod common;

use std::{ops::Range, time::Duration};

use axum::body::Body;
use cache_http::{Counts, HttpCacheLayer, Policy, Purge, Reason};
use cache_locmem::{LocMemOptions, Policy as Eviction};
use common::{Cached, Got, Site, View, page};

/// What the flood makes up.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Query,
    /// Each query is requested twice, within a tenth of a second.
    QueryTwice,
    Host,
    UserAgent,
}

const FLOODS: [Flood; 4] = [Flood::Query, Flood::QueryTwice, Flood::Host, Flood::UserAgent];

const HOT_PAGES: usize = 20;
const FLOOD_PER_HOT_REQUEST: usize = 35;

impl Flood {
    async fn send(self, cached: &Cached, number: usize) {
        let twice = number % 70 / 2 + number / 70 * 70;
        let got = match self {
            Self::Query => cached.get(&format!("/?{number}")).await,
            Self::QueryTwice => cached.get(&format!("/?{twice}")).await,
            Self::Host => cached.get_with("/", &[("host", &format!("h{number}.org"))]).await,
            Self::UserAgent => {
                let agent = format!("agent {number}");
                cached.get_with(&hot(number % HOT_PAGES), &[("user-agent", &agent)]).await
            }
        };
        assert!(got.status.is_success());
    }
}

fn hot(page: usize) -> String {
    format!("/hot/{page}")
}

/// Requests each hot page once a second, beside 700 requests of the flood. Returns the ratio of
/// hits among the requests for hot pages.
async fn hot_hit_ratio(site: &Site, cached: &Cached, flood: Flood, seconds: Range<usize>) -> f64 {
    let requests = seconds.start * HOT_PAGES..seconds.end * HOT_PAGES;
    let (mut hits, total) = (0, requests.len());
    for request in requests {
        hits += usize::from(get_hot(cached, request % HOT_PAGES).await);
        for number in 0..FLOOD_PER_HOT_REQUEST {
            flood.send(cached, request * FLOOD_PER_HOT_REQUEST + number).await;
        }
        site.time.advance(Duration::from_secs(1) / 20);
    }
    hits as f64 / total as f64
}

async fn get_hot(cached: &Cached, page: usize) -> bool {
    cached.get_with(&hot(page), &[("user-agent", "browser")]).await.is_hit()
}

fn cached(layer: &HttpCacheLayer) -> Cached {
    View::with(&[("cache-control", "max-age=600"), ("vary", "user-agent")]).cached(layer)
}

fn rejected(counts: &Counts) -> u64 {
    let count = counts.reasons.iter().find(|(reason, _)| *reason == Reason::NewPageLimit);
    count.map_or(0, |(_, count)| *count)
}

fn site(policy: Eviction) -> Site {
    Site::in_memory_with(LocMemOptions::default().policy(policy))
}

#[tokio::test]
async fn flood_of_new_pages_does_not_evict_hot_pages() {
    for policy in [Eviction::Lru, Eviction::S3Fifo] {
        for flood in FLOODS {
            let site = site(policy);
            let layer = site.layer();
            let cached = cached(&layer);
            for page in 0..HOT_PAGES {
                get_hot(&cached, page).await;
            }
            let ratio = hot_hit_ratio(&site, &cached, flood, 0..15).await;
            assert!(ratio >= 0.95, "{policy:?} {flood:?}: {ratio}");
            assert!(rejected(&layer.counts()) > 1000, "{policy:?} {flood:?}");
        }
    }
}

#[tokio::test]
async fn hot_pages_are_stored_during_a_flood() {
    for policy in [Eviction::Lru, Eviction::S3Fifo] {
        for flood in FLOODS {
            let site = site(policy);
            let cached = cached(&site.shared());
            hot_hit_ratio(&site, &cached, flood, 0..5).await;
            let ratio = hot_hit_ratio(&site, &cached, flood, 5..15).await;
            assert!(ratio >= 0.95, "{policy:?} {flood:?}: {ratio}");
        }
    }
}

#[tokio::test]
async fn flood_evicts_hot_pages_if_new_pages_are_unlimited() {
    let site = site(Eviction::Lru);
    let cached = cached(&site.layer().unlimited_new_pages());
    assert!(hot_hit_ratio(&site, &cached, Flood::Query, 0..5).await < 0.1);
}

/// A store that evicts in the order of writing, however often a page is read.
#[tokio::test]
async fn flood_of_new_pages_costs_few_hits_if_the_oldest_pages_are_evicted() {
    let site = Site::on_files();
    let cached = cached(&site.layer());
    for page in 0..HOT_PAGES {
        get_hot(&cached, page).await;
    }
    let ratio = hot_hit_ratio(&site, &cached, Flood::Query, 0..40).await;
    assert!(ratio >= 0.9, "{ratio}");
}

#[tokio::test]
async fn pages_of_a_site_are_stored_at_their_first_request_after_the_start() {
    let site = Site::in_memory();
    let layer = site.layer();
    let cached = View::with(&[]).cached(&layer);
    for expected in [false, true] {
        for page in 0..100 {
            assert_eq!(cached.get(&hot(page)).await.is_hit(), expected, "{page}");
        }
    }
    assert_eq!(rejected(&layer.counts()), 0);
}

/// `stored`, or why the response was not stored.
fn outcome(got: &Got) -> &str {
    let stored = got.header("cache-status").is_some_and(|status| status.contains("; stored"));
    if stored { "stored" } else { got.reason() }
}

async fn layers_on_one_store_share_the_limit(site: Site) {
    let layers = ["one", "other"].map(|prefix| site.layer().key_prefix(prefix));
    let [one, other] = layers.each_ref().map(|layer| View::with(&[]).cached(layer));
    let limit = site.cache.store().max_entries().unwrap_or(10_000) / 3;
    for page in 0..limit {
        one.get(&format!("/{page}")).await;
    }
    assert_eq!(outcome(&other.get("/").await), "new-page-limit");
    assert_eq!(outcome(&other.get("/").await), "stored", "requested twice");
    assert!(other.get("/").await.is_hit());
}

on_each_store!(shared_limit_in_memory in_memory: layers_on_one_store_share_the_limit,);
on_each_store!(shared_limit_on_redis on_redis: layers_on_one_store_share_the_limit,);

async fn limit_of_new_pages_can_be_set(site: Site) {
    for layer in [site.layer().key_prefix("site"), site.shared().key_prefix("shared")] {
        let view = View::with(&[("cache-control", "max-age=60")]);
        let cached = view.cached(&layer.new_page_limit(2, 1));
        let mut outcomes = Vec::new();
        for page in 0..4 {
            outcomes.push(outcome(&cached.get(&format!("/{page}")).await).to_owned());
        }
        assert_eq!(outcomes, ["stored", "stored", "new-page-limit", "new-page-limit"]);
        site.advance(1);
        assert_eq!(outcome(&cached.get("/4").await), "stored", "a second later");
        assert_eq!(outcome(&cached.get("/5").await), "new-page-limit");
    }
}

async fn page_is_stored_after_the_minimum_number_of_uses(site: Site) {
    for layer in [site.layer().key_prefix("site"), site.shared().key_prefix("shared")] {
        let view = View::with(&[("cache-control", "max-age=60"), ("vary", "x-a")]);
        let cached = view.cached(&layer.min_uses(3));
        for expected in ["min-uses", "min-uses", "stored"] {
            assert_eq!(outcome(&cached.get("/").await), expected);
        }
        assert!(cached.get("/").await.is_hit());
        assert_eq!(outcome(&cached.get("/other").await), "min-uses");
        site.advance(60);
        assert_eq!(outcome(&cached.get("/").await), "stored", "it was requested often before");
    }
}

async fn purged_page_is_not_new(site: Site) {
    let layer = site.layer().new_page_limit(1, 0);
    let cached = View::with(&[]).cached(&layer);
    cached.get("/").await;
    for _ in 0..3 {
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        assert_eq!(outcome(&cached.get("/").await), "stored");
        assert!(cached.get("/").await.is_hit());
    }
    assert_eq!(outcome(&cached.get("/new").await), "new-page-limit");
}

async fn warm_up_is_not_limited(site: Site) {
    let layer = site.layer().hosts(["example.org"]).new_page_limit(1, 0).min_uses(2);
    let cached = View::with(&[]).cached(&layer);
    let uris = ["/1", "/2", "/3"];
    let parsed = uris.map(|uri| uri.parse().expect("valid URI"));
    let report = layer.warm_up().run::<Body, _, _>(cached.0.clone(), parsed).await;
    assert_eq!(report.stored, 3, "{report:?}");
    for uri in uris {
        assert!(cached.get(uri).await.is_hit(), "{uri}");
    }
}

async fn uri_keeps_the_variants_that_are_requested_most(site: Site) {
    let view = View::with(&[("cache-control", "max-age=600"), ("vary", "x-a")]);
    for (layer, policy) in [
        (site.layer().key_prefix("site"), Policy::site()),
        (site.shared().key_prefix("shared"), Policy::shared()),
    ] {
        let cached = view.cached(&layer.policy(policy.max_variants(2)));
        let get = async |variant| {
            site.advance(1);
            cached.get_with("/", &[("x-a", variant)]).await
        };
        for variant in ["a", "a", "a", "b", "b", "b", "b", "b"] {
            get(variant).await;
        }
        assert_eq!(outcome(&get("made up").await), "variant-limit");
        assert!(get("a").await.is_hit() && get("b").await.is_hit());
        let mut requests = 0;
        while !get("c").await.is_hit() {
            requests += 1;
            assert!(requests < 10, "c is never stored");
        }
        assert!(get("b").await.is_hit());
        assert_eq!(outcome(&get("a").await), "variant-limit", "c was requested more often");
    }
}

async fn headers_that_a_uri_varies_on_are_limited(site: Site) {
    for (layer, policy) in [
        (site.layer().key_prefix("site"), Policy::site()),
        (site.shared().key_prefix("shared"), Policy::shared()),
    ] {
        let view = View::new(|_, calls| {
            let vary = ["x-a", "x-b, x-c", "x-b", "x-d, x-e, x-f"][calls % 4];
            page(&[("cache-control", "max-age=60"), ("vary", vary)], "")
        });
        let cached = view.cached(&layer.policy(policy.max_vary_headers(2)));
        let mut outcomes = Vec::new();
        for variant in ["1", "2", "3", "4"] {
            let got = cached.get_with("/", &[("x-a", variant)]).await;
            outcomes.push(outcome(&got).to_owned());
        }
        assert_eq!(outcomes, ["stored", "vary", "stored", "vary"]);
    }
}

on_each_store! {
    warm_up_is_not_limited,
    uri_keeps_the_variants_that_are_requested_most,
    headers_that_a_uri_varies_on_are_limited,
    limit_of_new_pages_can_be_set,
    page_is_stored_after_the_minimum_number_of_uses,
    purged_page_is_not_new,
}
