//! Layers that change the headers of every response they see: for one view, or for many.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{CacheControl, add_never_cache_headers, patch_cache_control, patch_vary_headers};

/// Puts directives into each response's `Cache-Control`, as Django's decorator `cache_control` does.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use cache_http::{CacheControl, cache_control, never_cache, vary_on_cookie};
///
/// let minute = CacheControl::new().public().max_age(Duration::from_secs(60));
/// let app: Router = Router::new()
///     .route("/news", get(async || "news").layer(cache_control(minute)))
///     .route("/account", get(async || "yours").layer(never_cache()))
///     .route("/basket", get(async || "yours").layer(vary_on_cookie()));
/// ```
#[must_use]
pub fn cache_control(directives: CacheControl) -> ChangeHeaders {
    ChangeHeaders::new(move |headers| patch_cache_control(headers, &directives))
}

/// Forbids every cache to keep what it sees: [`add_never_cache_headers`] for each response.
#[must_use]
pub fn never_cache() -> ChangeHeaders {
    ChangeHeaders::new(add_never_cache_headers)
}

/// Adds names to each response's `Vary`.
#[must_use]
pub fn vary_on_headers<const N: usize>(names: [&'static str; N]) -> ChangeHeaders {
    ChangeHeaders::new(move |headers| patch_vary_headers(headers, names))
}

/// Adds `Cookie` to each response's `Vary`.
#[must_use]
pub fn vary_on_cookie() -> ChangeHeaders {
    vary_on_headers(["Cookie"])
}

/// A layer, and with it a service, that changes the headers of each response.
#[derive(Clone)]
pub struct ChangeHeaders<S = ()> {
    inner: S,
    change: Arc<dyn Fn(&mut HeaderMap) + Send + Sync>,
}

impl ChangeHeaders {
    /// A layer of your own kind.
    pub fn new(change: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self { inner: (), change: Arc::new(change) }
    }
}

impl<S> Layer<S> for ChangeHeaders {
    type Service = ChangeHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChangeHeaders { inner, change: Arc::clone(&self.change) }
    }
}

impl<S, Request, B> Service<Request> for ChangeHeaders<S>
where
    S: Service<Request, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ChangeHeadersFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ChangeHeadersFuture { inner: self.inner.call(request), change: Arc::clone(&self.change) }
    }
}

impl<S: fmt::Debug> fmt::Debug for ChangeHeaders<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeHeaders").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`ChangeHeaders`].
    pub struct ChangeHeadersFuture<F> {
        #[pin]
        inner: F,
        change: Arc<dyn Fn(&mut HeaderMap) + Send + Sync>,
    }
}

impl<F, B, E> Future for ChangeHeadersFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(context))?;
        (this.change)(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for ChangeHeadersFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeHeadersFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http::Request;
    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn headers(layer: ChangeHeaders) -> HeaderMap {
        let view = service_fn(async |_: Request<()>| {
            let response =
                Response::builder().header("vary", "Accept").header("cache-control", "max-age=90");
            Ok::<_, Infallible>(response.body(()).expect("it is a response"))
        });
        layer.layer(view).oneshot(Request::new(())).await.expect("it never fails").headers().clone()
    }

    #[tokio::test]
    async fn each_layer_changes_what_the_view_answered() {
        let minute = CacheControl::new().max_age(Duration::from_secs(60));
        assert_eq!(headers(cache_control(minute)).await["cache-control"], "max-age=60");
        assert_eq!(headers(vary_on_cookie()).await["vary"], "Accept, Cookie");
        assert_eq!(headers(vary_on_headers(["accept", "X-A"])).await["vary"], "Accept, X-A");
        assert!(
            headers(never_cache()).await["cache-control"]
                .to_str()
                .is_ok_and(|value| value.contains("no-store"))
        );
    }
}
