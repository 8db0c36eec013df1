//! Requesting pages so that they are stored before visitors ask for them.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use http_body::Body;
use tokio::task::{JoinError, JoinSet};
use tower_service::Service;

use crate::{
    bounds::{InnerService, ResponseBody},
    context::RequestContext,
    extensions::IsWarmUp,
    policy::Reuse,
    settings::Settings,
};

/// Requests pages so that they are stored before visitors ask for them, for example after a
/// deployment or a purge.
///
/// Created by [`HttpCacheLayer::warm_up`](crate::HttpCacheLayer::warm_up). `Sitemap`, of the
/// feature `sitemap`, parses the URIs of a site.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, routing::get};
/// use cache_http::{HttpCacheLayer, never_cache};
/// use http::header::ACCEPT_ENCODING;
///
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// let site = HttpCacheLayer::new(&cache).hosts(["shop.org"]);
/// let app: Router = Router::new()
///     .route("/", get(async || "the front page"))
///     .route("/account", get(async || "your account").layer(never_cache()))
///     .layer(site.clone());
///
/// let uris = ["/".parse()?, "https://shop.org/account".parse()?];
/// let report = site
///     .warm_up()
///     .concurrency(4)
///     .header(ACCEPT_ENCODING, "gzip, br".parse()?)
///     .run::<Body, _, _>(app, uris)
///     .await;
/// assert_eq!((report.stored, report.not_stored, report.failed), (1, 1, 0));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct WarmUp {
    settings: Arc<Settings>,
    concurrency: usize,
    headers: HeaderMap,
}

/// How many pages a [`WarmUp`] has requested, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmUpReport {
    /// The pages that were requested and are stored now.
    pub stored: u64,
    /// The pages that were stored and fresh already. They were not requested.
    pub already_stored: u64,
    /// The responses that were not stored, such as those with `private` or with status 404.
    pub not_stored: u64,
    /// The URIs without a host, errors of the service or of a response body, panics, and responses
    /// with a status of 500 or above.
    pub failed: u64,
}

/// The default number of pages that are requested at the same time.
const CONCURRENCY: usize = 4;

impl WarmUp {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, concurrency: CONCURRENCY, headers: HeaderMap::new() }
    }

    /// Sets how many pages are requested at the same time. The default is 4, the minimum 1.
    #[must_use]
    pub fn concurrency(mut self, pages: usize) -> Self {
        self.concurrency = pages.max(1);
        self
    }

    /// Adds a header to each request, such as the `Accept-Encoding` of browsers if pages vary on
    /// it.
    ///
    /// To store several variants, run once for each.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Requests each page that is not stored from `service`, which has the cache layer in it.
    ///
    /// A request has the form that HTTP/1.1 clients use: a path, with the host of the URI in
    /// `Host`. A URI without a host gets the first of the layer's
    /// [`hosts`](crate::HttpCacheLayer::hosts). The scheme of the URI is not used, but that of the
    /// [layer](crate::HttpCacheLayer::scheme).
    ///
    /// `Q` is the type of request bodies. It must be given if the service accepts several, as
    /// axum's `Router` does.
    ///
    /// Pages are stored regardless of [`min_uses`](crate::HttpCacheLayer::min_uses) and of the
    /// limit of [new pages](crate::HttpCacheLayer::new_page_limit).
    ///
    /// The report concerns the pages of the layer that this value is from. A page that a layer
    /// further inside handles, such as one of [`cache_page`](crate::cache_page), is stored there
    /// and counts as not stored.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further pages are requested, and the current requests are
    /// cancelled.
    ///
    /// # Panics
    ///
    /// Panics if it is not called within a tokio runtime.
    pub async fn run<Q, S, B>(
        &self,
        service: S,
        uris: impl IntoIterator<Item = Uri>,
    ) -> WarmUpReport
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Default + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Send,
    {
        let (mut report, mut pages) = (WarmUpReport::default(), JoinSet::new());
        for uri in uris {
            if pages.len() >= self.concurrency
                && let Some(outcome) = pages.join_next().await
            {
                report.count(&outcome);
            }
            pages.spawn(self.clone().request(service.clone(), uri));
        }
        while let Some(outcome) = pages.join_next().await {
            report.count(&outcome);
        }
        report
    }

    async fn request<S, Q, B>(self, service: S, uri: Uri) -> Outcome
    where
        S: InnerService<Q, B>,
        Q: Default + Send,
        B: ResponseBody,
    {
        let Some(parts) = self.parts(&uri) else {
            tracing::warn!(%uri, "cannot request this page: the URI has no host");
            return Outcome::Failed;
        };
        if self.is_stored(&parts).await {
            return Outcome::AlreadyStored;
        }
        if !succeeds(service, Request::from_parts(parts.clone(), Q::default())).await {
            tracing::warn!(%uri, "cannot store this page: the request failed");
            Outcome::Failed
        } else if self.is_stored(&parts).await {
            Outcome::Stored
        } else {
            tracing::debug!(%uri, "this page is not stored");
            Outcome::NotStored
        }
    }

    /// Creates a request as the client of a visitor sends it, except for its body.
    fn parts(&self, uri: &Uri) -> Option<Parts> {
        let authority = uri.authority().map(Authority::as_str);
        let exact = |host: &&String| !host.starts_with('.');
        let of_layer = || self.settings.key_builder.hosts.iter().find(exact);
        let host = authority.or_else(|| of_layer().map(String::as_str))?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let request = Request::get(path).header(HOST, host).body(()).ok()?;
        let mut parts = request.into_parts().0;
        parts.headers.extend(self.headers.clone());
        parts.extensions.insert(IsWarmUp);
        Some(parts)
    }

    async fn is_stored(&self, parts: &Parts) -> bool {
        let Ok((flags, keys)) = self.settings.check_request(parts, true) else { return false };
        let mut context = RequestContext::new(&self.settings, parts.clone(), flags, keys);
        let lookup = context.lookup().await;
        matches!(context.reuse(&lookup), Reuse::Fresh(_))
    }
}

/// Reads the response to its end, which stores the page.
async fn succeeds<S, Q, B>(mut service: S, request: Request<Q>) -> bool
where
    S: InnerService<Q, B>,
    B: ResponseBody,
{
    if poll_fn(|context| service.poll_ready(context)).await.is_err() {
        return false;
    }
    let Ok(response) = service.call(request).await else { return false };
    let is_error = response.status().is_server_error();
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if frame.is_err() {
            return false;
        }
    }
    !is_error
}

/// The result of requesting one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stored,
    AlreadyStored,
    NotStored,
    Failed,
}

impl WarmUpReport {
    /// Counts a page. An error means that the service has panicked.
    fn count(&mut self, outcome: &Result<Outcome, JoinError>) {
        *match outcome {
            Ok(Outcome::Stored) => &mut self.stored,
            Ok(Outcome::AlreadyStored) => &mut self.already_stored,
            Ok(Outcome::NotStored) => &mut self.not_stored,
            Ok(Outcome::Failed) | Err(_) => &mut self.failed,
        } += 1;
    }
}

impl fmt::Debug for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUp")
            .field("concurrency", &self.concurrency)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
