//! Hits without sockets: the service called where it is.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{Router, body::Body, http::Request, response::Response};
use http_body_util::BodyExt as _;
use tower::{Service as _, ServiceExt as _};

use crate::sites::{self, HEADERS, PATH};

/// A site with the page in it, in which nobody waits.
pub(crate) struct Warm {
    site: Router,
    request: Request<()>,
}

impl Warm {
    pub(crate) async fn new(name: &str) -> Self {
        let site = sites::site(name);
        let request = HEADERS
            .iter()
            .fold(Request::get(PATH), |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("it is a request");
        for _ in 0..2 {
            let request = request.clone().map(|()| Body::empty());
            let response = site.clone().oneshot(request).await.expect("it never fails");
            assert_eq!(response.headers()["etag"], sites::FIRST_TAG, "{name}");
            axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("it is there");
        }
        Self { site, request }
    }

    /// One hit, with its body as the one frame that it is.
    pub(crate) fn hit(&mut self) {
        let request = self.request.clone().map(|()| Body::empty());
        let response: Response = now(self.site.call(request)).expect("it never fails");
        let frame = now(response.into_body().frame());
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
}

/// The result of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    // Some wake themselves first.
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}
