//! What a hit allocates.

mod common;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use axum::body::Body;
use cache_http::{HttpCache, HttpCacheLayer};
use common::{Inner, Site, View, page, request};
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::Service;

fn view() -> View {
    View::new(|_, _| {
        page(&[("cache-control", "max-age=60"), ("content-type", "text/html")], &"x".repeat(10_000))
    })
}

/// Source much a hit allocates, the making of the request aside.
async fn allocations(layer: &HttpCacheLayer) -> u64 {
    let cached = view().cached(layer);
    // What is done once, for each page or for each thread, is done by then.
    for _ in 0..3 {
        cached.get_with(PAGE, &BROWSER).await;
    }
    let (mut service, request) = (cached.0, request(Method::GET, PAGE, &BROWSER));
    measure(|| hit(&mut service, request)).count_total
}

fn hit(service: &mut HttpCache<Inner>, request: Request<Body>) {
    let response = now(service.call(request)).expect("views never fail");
    assert!(response.headers().contains_key("age"), "it is a hit");
    let body =
        now(response.into_body().frame()).expect("there is a body").expect("it does not break off");
    assert_eq!(body.into_data().map(|data| data.len()).ok(), Some(10_000));
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a hit never waits"),
    }
}

const PAGE: &str = "/a/page?of=10";

const BROWSER: [(&str, &str); 4] = [
    ("user-agent", "Mozilla/5.0"),
    ("accept", "text/html"),
    ("accept-encoding", "gzip, br"),
    ("cookie", "_ga=GA1.1.1234567890.1234567890; theme=dark"),
];

/// What the key is made of, and the header map, which is two.
const OF_A_HIT: u64 = 3;

#[tokio::test]
async fn a_hit_allocates_its_headers_and_little_else() {
    let site = Site::in_memory();
    for layer in
        [HttpCacheLayer::new(&site.cache), HttpCacheLayer::shared(&site.cache).key_prefix("shared")]
    {
        assert_eq!(allocations(&layer.clock(site.time.clock())).await, OF_A_HIT);
    }
}

#[tokio::test]
async fn the_hosts_of_a_site_cost_a_hit_nothing() {
    let site = Site::in_memory();
    let layer =
        HttpCacheLayer::new(&site.cache).clock(site.time.clock()).hosts([".org", "example.org"]);
    assert_eq!(allocations(&layer).await, OF_A_HIT);
}
