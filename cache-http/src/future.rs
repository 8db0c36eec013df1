//! Response futures of the services in this crate.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

pub use crate::{change_headers::ChangeHeadersFuture, debug::CacheDebugFuture};
use crate::{
    extensions::OuterCache,
    policy::Reason,
    respond::{CachedResponse, pass_through},
    settings::Settings,
};

pin_project! {
    /// Response future of [`HttpCache`](crate::HttpCache).
    ///
    /// If a store in this process has the page, the future is ready at the first poll, and creating
    /// it allocates nothing.
    pub struct ResponseFuture<F, B: Body, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B: Body, E> {
        Ready { response: Option<CachedResponse<B>> },
        PassThrough {
            #[pin]
            inner: F,
            settings: Arc<Settings>,
            reason: Reason,
            outer: OuterCache,
        },
        Boxed { future: BoxFuture<B, E> },
    }
}

type BoxFuture<B, E> = Pin<Box<dyn Future<Output = Result<CachedResponse<B>, E>> + Send>>;

impl<F, B: Body, E> ResponseFuture<F, B, E> {
    pub(crate) fn ready(response: CachedResponse<B>) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(crate) fn pass_through(
        inner: F,
        settings: Arc<Settings>,
        reason: Reason,
        outer: OuterCache,
    ) -> Self {
        Self { state: State::PassThrough { inner, settings, reason, outer } }
    }

    pub(crate) fn boxed(
        future: impl Future<Output = Result<CachedResponse<B>, E>> + Send + 'static,
    ) -> Self {
        Self { state: State::Boxed { future: Box::pin(future) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<CachedResponse<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Ready { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProjection::PassThrough { inner, settings, reason, outer } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(pass_through(settings, response, *reason, *outer)))
            }
            StateProjection::Boxed { future } => future.as_mut().poll(context),
        }
    }
}

impl<F, B: Body, E> fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
