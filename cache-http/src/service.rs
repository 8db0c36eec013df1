//! The service that the layer makes, and its future.

use std::{
    fmt, mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    body::CachedBody,
    counts::Event,
    key::Keys,
    outgoing::Status,
    page_store::Lookup,
    policy::{Reason, Reuse},
    record::Page,
    request_flags::RequestFlags,
    respond::Source,
    serve::{self, RequestContext},
    settings::{HasOuterCache, InnerCache, Settings},
};

/// A service whose answers come from a cache where they may.
#[derive(Clone)]
pub struct HttpCache<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> HttpCache<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service and drops the cache.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Takes the inner service, which is ready, and leaves a clone in its place.
    fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let copy = self.inner.clone();
        mem::replace(&mut self.inner, copy)
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Q, B> Service<Request<Q>> for HttpCache<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<CachedBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let (flags, keys) = match self.settings.admit(&parts, body.is_end_stream()) {
            Ok(admitted) => admitted,
            Err(reason) => return self.bypass(parts, body, reason),
        };
        let local = self.settings.page_store.local;
        if local && let Some(response) = checked(&self.settings, &keys, &parts, flags) {
            return ResponseFuture { state: State::Ready { response: Some(response) } };
        }
        let lookup = if local { self.look_now(&keys, &parts) } else { None };
        if let Some(lookup) = &lookup
            && let Some(response) = fresh(&self.settings, lookup, &parts, flags)
        {
            return ResponseFuture { state: State::Ready { response: Some(response) } };
        }
        // Before anything is made anew; a page that was lookup before has stamps that tell.
        let started_at = self.settings.clock.unix_time();
        let context = RequestContext {
            settings: Arc::clone(&self.settings),
            parts,
            flags,
            keys,
            started_at,
            miss_counter: None,
        };
        let inner = self.take_ready();
        ResponseFuture {
            state: State::Boxed { future: Box::pin(serve::serve(context, inner, body, lookup)) },
        }
    }
}

impl<S> HttpCache<S> {
    fn look_now(&self, keys: &Keys, parts: &Parts) -> Option<Lookup> {
        match now(self.settings.page_store.look(keys, &self.settings.policy, &parts.headers))? {
            Ok(lookup) => Some(lookup),
            Err(error) => Some(Lookup::nothing(self.settings.page_store.failed(&error))),
        }
    }

    fn bypass<Q, B>(
        &mut self,
        parts: Parts,
        body: Q,
        reason: Reason,
    ) -> ResponseFuture<S::Future, B, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Send + 'static,
        B: Body + Send + 'static,
    {
        self.settings.count(Event::Bypass(reason));
        let settings = Arc::clone(&self.settings);
        let unsafe_method =
            ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&parts.method);
        if settings.policy.is_shared() && unsafe_method {
            let inner = self.take_ready();
            return ResponseFuture {
                state: State::Boxed {
                    future: Box::pin(serve::change(settings, inner, parts, body)),
                },
            };
        }
        let mark = Mark::from_request(&parts);
        let inner = self.inner.call(Request::from_parts(parts, body));
        ResponseFuture { state: State::Pass { inner, settings, reason, mark } }
    }
}

/// A store of this process answers when it is first asked.
fn now<T>(look: impl Future<Output = T>) -> Option<T> {
    match pin!(look).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(lookup) => Some(lookup),
        Poll::Pending => None,
    }
}

/// The answer, where a fresh page is there that was not purged since it was last looked at.
fn checked<B: Body>(
    settings: &Settings,
    keys: &Keys,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<Response<CachedBody<B>>> {
    let record = now(settings.page_store.find(keys, &settings.policy, &parts.headers))?.ok()??;
    let page = record.page()?;
    let age = settings.age(page);
    if page.checked.holds(age) {
        fresh_page(settings, page, age, false, parts, flags)
    } else {
        None
    }
}

/// The answer, where a fresh page is there.
pub(crate) fn fresh<B: Body>(
    settings: &Settings,
    lookup: &Lookup,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<Response<CachedBody<B>>> {
    let (page, soft) = lookup.answer.page()?;
    let age = settings.age(page);
    let answer = fresh_page(settings, page, age, soft, parts, flags)?;
    page.checked.note(lookup.purges, age);
    Some(answer)
}

fn fresh_page<B: Body>(
    settings: &Settings,
    page: &Page,
    age: Duration,
    soft: bool,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<Response<CachedBody<B>>> {
    match settings.policy.reuse(&page.meta, age, soft, &parts.headers) {
        Reuse::Fresh(_) => {
            settings.count(Event::Hit);
            Some(Mark::from_request(parts).put(settings.answer(
                page,
                age,
                parts,
                flags,
                Source::Stored,
            )))
        }
        _ => None,
    }
}

/// Whether a layer further out wants to know that this one looks after the response. Most requests meet one layer only, and
/// a response's extensions are two allocations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(bool);

impl Mark {
    pub(crate) fn from_request(parts: &Parts) -> Self {
        Self(parts.extensions.get::<HasOuterCache>().is_some())
    }

    pub(crate) fn put<B>(self, mut response: Response<B>) -> Response<B> {
        if self.0 {
            response.extensions_mut().insert(InnerCache);
        }
        response
    }
}

/// What is done to an answer that has nothing to do with the cache.
pub(crate) fn passed<B: Body>(
    settings: &Settings,
    response: Response<B>,
    reason: Reason,
    mark: Mark,
) -> Response<CachedBody<B>> {
    let (mut head, body) = response.into_parts();
    settings.strip_targets(&mut head.headers);
    let status =
        Status::Forwarded { reason, status: Some(head.status), stored: false, detail: None };
    settings.report(&mut head.headers, &status);
    mark.put(Response::from_parts(head, CachedBody::through(body)))
}

pin_project! {
    /// The answer of a [`HttpCache`]. Where a store of this process has the page, it is there at once, and nothing is
    /// allocated for the future.
    pub struct ResponseFuture<F, B: Body, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B: Body, E> {
        Ready { response: Option<Response<CachedBody<B>>> },
        Pass { #[pin] inner: F, settings: Arc<Settings>, reason: Reason, mark: Mark },
        Boxed { future: Boxed<B, E> },
    }
}

type Boxed<B, E> = Pin<Box<dyn Future<Output = Result<Response<CachedBody<B>>, E>> + Send>>;

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<CachedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Ready { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProjection::Pass { inner, settings, reason, mark } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(passed(settings, response, *reason, *mark)))
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
