//! Hits without sockets: calls of the service.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{body::Body, http::Request};
use http_body_util::BodyExt as _;
use tower::Service as _;

use crate::sites::{self, HEADERS, PATH, Site};

/// A site whose page is cached, and which therefore never waits.
pub(crate) struct Warm {
    site: Site,
    request: Request<()>,
}

impl Warm {
    pub(crate) async fn new(name: &str) -> Self {
        let mut site = sites::site(name);
        let request = HEADERS
            .iter()
            .fold(Request::get(PATH), |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("a valid request");
        for _ in 0..2 {
            let request = request.clone().map(|()| Body::empty());
            let response = match &mut site {
                Site::Router(site) => site.call(request).await,
                Site::Cached(site) => site.call(request).await,
            };
            let response = response.expect("it never fails");
            assert_eq!(response.headers()["etag"], sites::FIRST_TAG, "{name}");
            axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("the whole body");
        }
        Self { site, request }
    }

    /// Requests the page. Its body is a single frame.
    pub(crate) fn hit(&mut self) {
        let request = self.request.clone().map(|()| Body::empty());
        let response = match &mut self.site {
            Site::Router(site) => poll(site.call(request)),
            Site::Cached(site) => poll(site.call(request)),
        };
        let frame = poll(response.expect("it never fails").into_body().frame());
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
}

/// Returns the output of a future that never waits. Some futures wake themselves first.
fn poll<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}
