//! Pages and fragments in configured caches.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use cachette::{
    Caches, ManualClock,
    http::{Fragments, HttpCacheLayer},
};
use http::{Request, Response};
use tower_service::Service;

async fn get_page(app: &Router) -> Response<Body> {
    let request = Request::get("http://example.org/").body(Body::empty()).expect("valid request");
    let response = app.clone().call(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    // A page is stored once its body has been read.
    let body = axum::body::to_bytes(body, 1024).await.expect("a complete body");
    Response::from_parts(head, body.into())
}

#[tokio::test]
async fn clock_of_the_caches_decides_when_pages_and_fragments_expire() {
    let time = ManualClock::new();
    let caches = Caches::builder()
        .url("default", "locmem://")
        .clock(time.clock())
        .build()
        .await
        .expect("valid configuration");
    let (cache, minute) = (&caches["default"], Duration::from_secs(60));
    let app = Router::new()
        .route("/", get(async || "page"))
        .layer(HttpCacheLayer::new(cache).ttl(minute));
    let fragment = async |rendered: &str| {
        let rendered = cache
            .fragment("box", &[], minute, async || Ok::<_, ()>(rendered.to_owned()))
            .await
            .expect("store responds");
        rendered.expect("infallible")
    };
    let age = async || get_page(&app).await.headers().get("age").cloned();

    assert_eq!((age().await, &*fragment("first").await), (None, "first"));
    time.advance(Duration::from_secs(59));
    assert_eq!(age().await.expect("a hit"), "59");
    assert_eq!(fragment("second").await, "first");
    time.advance(Duration::from_secs(1));
    assert_eq!((age().await, &*fragment("second").await), (None, "second"));
}
