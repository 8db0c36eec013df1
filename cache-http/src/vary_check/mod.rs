//! A check for development: which request headers change a page that does not vary on them.

mod probe;
mod rendering;
mod template;

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, Method, Request, Response, request::Parts, response};
use http_body::Body;
use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use self::{
    probe::{Probe, probes},
    rendering::{Baseline, Rendering, render},
};
use crate::{
    bounds::{InnerService, ResponseBody},
    extensions::NoStore,
    policy::{BodyLength, CacheMeta},
    settings::Settings,
    storable::is_from_inner_cache,
};

/// Layer that applies [`VaryCheck`], which reports request headers that change a page although the
/// page does not vary on them.
///
/// Such a page is served to the wrong visitors, for example in the wrong language. A cache cannot
/// notice that; this check can, by requesting pages several times. It is for tests and for
/// development: put it around the handlers, inside of all cache layers.
///
/// For each `GET` whose response the cache layer would store, the inner service is called
///
/// - twice more with the same request, to learn which parts of the page change by themselves, such
///   as nonces and times,
/// - once or twice for each header of the request, with another value and without the header, and
///   for each cookie,
/// - a few times with headers on which pages often depend: `Accept`, `Accept-Language`, `Origin`,
///   `User-Agent`, `HX-Request`, `X-Forwarded-Host`, `X-Forwarded-Proto` and `X-Requested-With`.
///
/// A different status, stored header or body is reported, unless the page varies on that header or
/// cookie, or the [key function](crate::HttpCacheLayer::key_function) distinguishes the requests.
/// Each header is reported once for each path: as a warning of `tracing`, and in
/// [`findings`](Self::findings).
///
/// The response to the request itself is passed on unchanged, after the check. Clones share their
/// findings.
///
/// # Limits
///
/// - A cookie is found only if the request has it, and a language or media type only if a probe
///   asks for it. Send the requests that your application treats specially.
/// - A difference right next to a part that changes by itself is not found.
/// - A handler that has effects, such as counting visits, has them for each call.
///
/// # Performance
///
/// A page costs 15 calls of the inner service and more, one after another, each with its body in
/// memory. Never use the layer in production.
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
/// use cache_http::HttpCacheLayer;
/// use http::{HeaderMap, Request};
/// use tower::ServiceExt;
///
/// async fn greeting(headers: HeaderMap) -> &'static str {
///     match headers.get("accept-language") {
///         Some(languages) if languages.as_bytes().starts_with(b"de") => "Guten Tag",
///         _ => "Good day",
///     }
/// }
///
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// let site = HttpCacheLayer::new(&cache);
/// let check = site.vary_check();
/// let app = Router::new().route("/", get(greeting)).layer(check.clone()).layer(site);
///
/// app.oneshot(Request::get("/").header("host", "shop.org").body(Body::empty())?).await?;
/// let finding = &check.findings()[0];
/// assert_eq!((&*finding.path, finding.header.as_str()), ("/", "accept-language"));
/// # Ok(()) }
/// ```
///
/// A test of an application that is correct ends with `assert_eq!(check.findings(), [])`.
#[derive(Clone)]
pub struct VaryCheckLayer {
    check: Check,
}

/// A request header that changes a page although the page does not vary on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaryFinding {
    /// The path of the page.
    pub path: String,
    /// The header of the request.
    pub header: HeaderName,
    /// The name of the cookie, if the header is `Cookie`.
    pub cookie: Option<String>,
    /// What the header changes.
    pub difference: VaryDifference,
}

/// The part of a page that a request header changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaryDifference {
    /// The status.
    Status,
    /// This response header.
    Header(HeaderName),
    /// The body.
    Body,
}

impl fmt::Display for VaryDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Body => f.write_str("body"),
        }
    }
}

impl VaryCheckLayer {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { check: Check { settings, ignored: Arc::new([]), findings: Arc::default() } }
    }

    /// Sets headers that are not checked.
    #[must_use]
    pub fn ignore_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.check.ignored = names.into_iter().collect();
        self
    }

    /// Returns what was found so far, in this layer and its clones.
    #[must_use]
    pub fn findings(&self) -> Vec<VaryFinding> {
        self.check.findings.lock().clone()
    }
}

impl fmt::Debug for VaryCheckLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaryCheckLayer").field("findings", &self.findings()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for VaryCheckLayer {
    type Service = VaryCheck<S>;

    fn layer(&self, inner: S) -> VaryCheck<S> {
        VaryCheck { inner, check: self.check.clone() }
    }
}

/// Middleware that reports request headers that change a page although the page does not vary on
/// them.
///
/// Created by [`VaryCheckLayer`].
#[derive(Clone)]
pub struct VaryCheck<S> {
    inner: S,
    check: Check,
}

impl<S: fmt::Debug> fmt::Debug for VaryCheck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaryCheck").field("inner", &self.inner).finish_non_exhaustive()
    }
}

// The bounds are those of `InnerService` and `ResponseBody`, spelled out because they are public.
impl<S, Q, B> Service<Request<Q>> for VaryCheck<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body + Default + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let is_checked = request.method() == Method::GET
            && request.body().is_end_stream()
            && request.extensions().get::<IsProbe>().is_none();
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone.clone());
        if !is_checked {
            return Box::pin(inner.call(request));
        }
        let check = self.check.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let original = inner.call(Request::from_parts(parts.clone(), body)).await?;
            let (head, body) = original.into_parts();
            if let Some(meta) = check.would_store(&parts, &head, &body) {
                check.run(clone, &parts, &meta).await;
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

/// Extension of the requests that a check makes, which are not checked themselves.
#[derive(Clone, Copy)]
struct IsProbe;

/// The number of times that a difference must be seen again. A page may change at any moment for
/// other reasons.
const CONFIRMATIONS: usize = 5;
/// The maximum number of findings.
const MAX_FINDINGS: usize = 1000;

#[derive(Clone)]
struct Check {
    settings: Arc<Settings>,
    ignored: Arc<[HeaderName]>,
    findings: Arc<Mutex<Vec<VaryFinding>>>,
}

impl Check {
    /// Returns what the page varies on and to whom it is served, if it would be stored.
    fn would_store<B: Body>(
        &self,
        parts: &Parts,
        head: &response::Parts,
        body: &B,
    ) -> Option<CacheMeta> {
        self.settings.check_request(parts, true).ok()?;
        if is_from_inner_cache(&head.extensions) || head.extensions.get::<NoStore>().is_some() {
            return None;
        }
        let (policy, now) = (&self.settings.policy, self.settings.clock.unix_time());
        let length = body.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Known);
        policy.check_response(&parts.headers, head.status, &head.headers, length, now).ok()
    }

    async fn run<S, Q, B>(&self, inner: S, parts: &Parts, meta: &CacheMeta)
    where
        S: InnerService<Q, B> + Clone,
        Q: Default,
        B: ResponseBody,
    {
        let mut renderer = Renderer { check: self, inner, parts };
        let Some(first) = renderer.again().await else { return };
        let mut baseline = Baseline::new(first);
        renderer.learn(&mut baseline).await;
        for probe in probes(&self.settings, parts, meta, &self.ignored) {
            if self.is_known(parts, &probe) {
                continue;
            }
            if let Some(difference) = renderer.compare(&mut baseline, &probe).await {
                self.report(parts, probe, difference);
            }
        }
    }

    fn is_known(&self, parts: &Parts, probe: &Probe) -> bool {
        self.findings.lock().iter().any(|finding| {
            finding.path == parts.uri.path()
                && finding.header == probe.header
                && finding.cookie == probe.cookie
        })
    }

    fn report(&self, parts: &Parts, probe: Probe, difference: VaryDifference) {
        let Probe { header, cookie, .. } = probe;
        let finding = VaryFinding { path: parts.uri.path().to_owned(), header, cookie, difference };
        let mut findings = self.findings.lock();
        // A concurrent request may have found the same.
        if findings.contains(&finding) || findings.len() >= MAX_FINDINGS {
            return;
        }
        tracing::warn!(
            cache = self.settings.page_store.cache().alias(),
            path = finding.path,
            header = %finding.header,
            cookie = finding.cookie,
            differs = %finding.difference,
            "a request header changes a page that does not vary on it: add it to `Vary`, or make \
             the response `private`",
        );
        findings.push(finding);
    }
}

/// Calls the inner service for the check of one page.
struct Renderer<'a, S> {
    check: &'a Check,
    inner: S,
    parts: &'a Parts,
}

impl<S> Renderer<'_, S> {
    async fn render<Q, B>(&mut self, headers: &HeaderMap) -> Option<Rendering>
    where
        S: InnerService<Q, B> + Clone,
        Q: Default,
        B: ResponseBody,
    {
        let policy = &self.check.settings.policy;
        render(self.inner.clone(), self.parts.clone(), headers.clone(), policy).await
    }

    /// Sends the same request again.
    async fn again<Q, B>(&mut self) -> Option<Rendering>
    where
        S: InnerService<Q, B> + Clone,
        Q: Default,
        B: ResponseBody,
    {
        self.render(&self.parts.headers).await
    }

    async fn learn<Q, B>(&mut self, baseline: &mut Baseline)
    where
        S: InnerService<Q, B> + Clone,
        Q: Default,
        B: ResponseBody,
    {
        if let Some(rendering) = self.again().await {
            baseline.learn(&rendering);
        }
    }

    /// How the response to a probe differs each time from all responses to the request.
    async fn compare<Q, B>(
        &mut self,
        baseline: &mut Baseline,
        probe: &Probe,
    ) -> Option<VaryDifference>
    where
        S: InnerService<Q, B> + Clone,
        Q: Default,
        B: ResponseBody,
    {
        let mut difference = baseline.difference(&self.render(&probe.headers).await?)?;
        for _ in 0..CONFIRMATIONS {
            self.learn(baseline).await;
            difference = baseline.difference(&self.render(&probe.headers).await?)?;
        }
        Some(difference)
    }
}
