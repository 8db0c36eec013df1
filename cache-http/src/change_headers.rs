//! Middleware that changes the headers of every response.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use cache_http::{CacheControl, cache_control, never_cache, vary_on_cookie};
//!
//! let minute = CacheControl::new().public().max_age(Duration::from_secs(60));
//! let app: Router = Router::new()
//!     .route("/news", get(async || "news").layer(cache_control(minute)))
//!     .route("/account", get(async || "your account").layer(never_cache()))
//!     .route("/basket", get(async || "your basket").layer(vary_on_cookie()));
//! ```

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

use crate::{
    cache_control::CacheControl,
    patch::{add_never_cache_headers, patch_cache_control, patch_vary_headers},
};

/// Returns a layer that adds directives to the `Cache-Control` of each response, as Django's
/// decorator `cache_control` does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, routing::get};
/// use cache_http::{CacheControl, cache_control};
///
/// let minute = CacheControl::new().public().max_age(Duration::from_secs(60));
/// let app: Router =
///     Router::new().route("/news", get(async || "news").layer(cache_control(minute)));
/// ```
#[must_use]
pub fn cache_control(directives: CacheControl) -> ChangeHeadersLayer {
    ChangeHeadersLayer::new(move |headers| patch_cache_control(headers, &directives))
}

/// Returns a layer that forbids every cache to store the responses.
///
/// Applies [`add_never_cache_headers`] to each response.
#[must_use]
pub fn never_cache() -> ChangeHeadersLayer {
    ChangeHeadersLayer::new(add_never_cache_headers)
}

/// Returns a layer that adds names to the `Vary` of each response.
#[must_use]
pub fn vary_on_headers<const N: usize>(names: [&'static str; N]) -> ChangeHeadersLayer {
    ChangeHeadersLayer::new(move |headers| patch_vary_headers(headers, names))
}

/// Returns a layer that adds `Cookie` to the `Vary` of each response.
#[must_use]
pub fn vary_on_cookie() -> ChangeHeadersLayer {
    vary_on_headers(["Cookie"])
}

type Change = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Layer that applies [`ChangeHeaders`], which changes the headers of each response.
#[derive(Clone)]
pub struct ChangeHeadersLayer {
    change: Change,
}

impl ChangeHeadersLayer {
    /// Creates a layer that calls `change` with the headers of each response.
    pub fn new(change: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self { change: Arc::new(change) }
    }
}

impl<S> Layer<S> for ChangeHeadersLayer {
    type Service = ChangeHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChangeHeaders { inner, change: Arc::clone(&self.change) }
    }
}

impl fmt::Debug for ChangeHeadersLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeHeadersLayer").finish_non_exhaustive()
    }
}

/// Middleware that changes the headers of each response.
///
/// Created by [`ChangeHeadersLayer`].
#[derive(Clone)]
pub struct ChangeHeaders<S> {
    inner: S,
    change: Change,
}

impl<S> ChangeHeaders<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service and drops the middleware.
    pub fn into_inner(self) -> S {
        self.inner
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
    /// Response future of [`ChangeHeaders`].
    pub struct ChangeHeadersFuture<F> {
        #[pin]
        inner: F,
        change: Change,
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

    async fn headers(layer: ChangeHeadersLayer) -> HeaderMap {
        let view = service_fn(async |_: Request<()>| {
            let response =
                Response::builder().header("vary", "Accept").header("cache-control", "max-age=90");
            Ok::<_, Infallible>(response.body(()).expect("valid response"))
        });
        layer.layer(view).oneshot(Request::new(())).await.expect("infallible").headers().clone()
    }

    #[tokio::test]
    async fn each_layer_changes_the_headers_of_the_response() {
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
