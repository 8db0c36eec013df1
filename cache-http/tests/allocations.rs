//! The number of allocations of a hit.

mod common;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use axum::body::Body;
use cache_http::{HttpCache, HttpCacheLayer, Policy};
use common::{Inner, Site, View, page, request};
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::Service;

fn view() -> View {
    View::new(|_, _| {
        page(&[("cache-control", "max-age=60"), ("content-type", "text/html")], &"x".repeat(10_000))
    })
}

/// Returns the number of allocations of a hit, without those of creating the request.
async fn allocations(layer: &HttpCacheLayer) -> u64 {
    let cached = view().cached(layer);
    // Performs what is done once for each page or for each thread.
    for _ in 0..3 {
        cached.get_with(PAGE, &BROWSER).await;
    }
    let (mut service, request) = (cached.0, request(Method::GET, PAGE, &BROWSER));
    measure(|| hit(&mut service, request)).count_total
}

fn site_layer(site: &Site) -> HttpCacheLayer {
    HttpCacheLayer::new(&site.cache).policy(Policy::site().ignore_cookies(["theme"]))
}

fn hit(service: &mut HttpCache<Inner>, request: Request<Body>) {
    let response = now(service.call(request)).expect("infallible");
    assert!(response.headers().contains_key("age"), "not a hit");
    let body = now(response.into_body().frame()).expect("body").expect("infallible");
    assert_eq!(body.into_data().map(|data| data.len()).ok(), Some(10_000));
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("pending"),
    }
}

const PAGE: &str = "/a/page?of=10";

const BROWSER: [(&str, &str); 4] = [
    ("user-agent", "Mozilla/5.0"),
    ("accept", "text/html"),
    ("accept-encoding", "gzip, br"),
    ("cookie", "_ga=GA1.1.1234567890.1234567890; theme=dark"),
];

/// Those of the header map.
const ALLOCATIONS_PER_HIT: u64 = 2;

#[tokio::test]
async fn hit_allocates_only_the_header_map() {
    let site = Site::in_memory();
    for layer in [site_layer(&site), HttpCacheLayer::shared(&site.cache).key_prefix("shared")] {
        assert_eq!(allocations(&layer.clock(site.time.clock())).await, ALLOCATIONS_PER_HIT);
    }
}

#[tokio::test]
async fn list_of_hosts_adds_no_allocation_to_a_hit() {
    let site = Site::in_memory();
    let layer = site_layer(&site).clock(site.time.clock()).hosts([".org", "example.org"]);
    assert_eq!(allocations(&layer).await, ALLOCATIONS_PER_HIT);
}

#[tokio::test]
async fn query_rules_add_no_allocation_to_a_hit_whose_query_needs_no_change() {
    let site = Site::in_memory();
    let layer = site_layer(&site).clock(site.time.clock());
    let layer = layer.ignore_marketing_query().only_query(["of", "page"]).sort_query();
    assert_eq!(allocations(&layer).await, ALLOCATIONS_PER_HIT);
}
