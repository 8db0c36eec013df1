//! The response, with what its request has done.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response,
};
use http_body::Body;
use pin_project_lite::pin_project;
use serde_json::json;

use super::{
    CacheCalls, CacheDebugBody,
    body::TracedBody,
    html::{self, InsertionPoint},
    panel,
};
use crate::extensions::NoStore;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A request whose calls are shown.
pub(super) struct Shown {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) max_body: u64,
    /// Whether the calls take the place of the response.
    pub(super) json: bool,
    pub(super) panel: bool,
    pub(super) calls: CacheCalls,
}

impl Shown {
    /// Waits for the response and adds to it what the request has done.
    pub(super) async fn respond<F, B, E>(self, inner: F) -> Result<Response<CacheDebugBody<B>>, E>
    where
        F: Future<Output = Result<Response<B>, E>>,
        B: Body,
    {
        let trace = self.calls.trace();
        let (mut head, body) = trace.collect(inner).await?.into_parts();
        let mut body = TracedBody::new(body, trace.clone());
        if self.json {
            body.read(self.max_body).await;
            body.set(Bytes::from(self.json(head.status)));
            head = json_head();
        } else if self.panel && html::is_page(&head) {
            body.read(self.max_body).await;
            self.add_panel(&mut head, &mut body);
        }
        head.headers.append(SERVER_TIMING, self.calls.server_timing());
        // No page cache stores what describes one request.
        head.extensions.insert(NoStore);
        Ok(Response::from_parts(head, CacheDebugBody::traced(body)))
    }

    fn json(&self, status: StatusCode) -> String {
        let request = json!({
            "method": self.method.as_str(), "uri": self.uri.to_string(), "status": status.as_u16(),
        });
        json!({ "request": request, "cache": self.calls }).to_string()
    }

    fn add_panel<B: Body>(&self, head: &mut response::Parts, body: &mut TracedBody<B>) {
        let Some(page) = body.whole() else { return };
        let Some(at) = InsertionPoint::find(&page) else { return };
        let nonce = html::style_nonce(&head.headers);
        let panel = panel::render(&self.calls, &self.method, &self.uri, nonce.as_deref());
        let page = at.insert(page, &panel);
        html::change_headers(&mut head.headers, page.len());
        body.set(Bytes::from(page));
    }
}

fn json_head() -> response::Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
    head
}

pin_project! {
    /// Response future of [`CacheDebug`](crate::CacheDebug).
    pub struct CacheDebugFuture<F, B: Body, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B: Body, E> {
        PassThrough { #[pin] inner: F },
        Boxed { future: BoxFuture<B, E> },
    }
}

type BoxFuture<B, E> = Pin<Box<dyn Future<Output = Result<Response<CacheDebugBody<B>>, E>> + Send>>;

impl<F, B: Body, E> CacheDebugFuture<F, B, E> {
    pub(super) fn pass_through(inner: F) -> Self {
        Self { state: State::PassThrough { inner } }
    }

    pub(super) fn boxed(
        future: impl Future<Output = Result<Response<CacheDebugBody<B>>, E>> + Send + 'static,
    ) -> Self {
        Self { state: State::Boxed { future: Box::pin(future) } }
    }
}

impl<F, B, E> Future for CacheDebugFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<CacheDebugBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::PassThrough { inner } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(response.map(CacheDebugBody::pass_through)))
            }
            StateProjection::Boxed { future } => future.as_mut().poll(context),
        }
    }
}

impl<F, B: Body, E> fmt::Debug for CacheDebugFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheDebugFuture").finish_non_exhaustive()
    }
}
