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
    answer::How,
    body::CachedBody,
    config::{ByView, Config, TellOuter},
    counts::Event,
    key::Keys,
    notice::Notice,
    outgoing::Status,
    policy::{Reuse, Why},
    serve::{self, Visit},
    shelf::Seen,
    stored::Page,
};

/// A service whose answers come from a cache where they may.
#[derive(Clone)]
pub struct CachedService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> CachedService<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The service inside that is ready; a copy takes its place.
    fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let copy = self.inner.clone();
        mem::replace(&mut self.inner, copy)
    }
}

impl<S: fmt::Debug> fmt::Debug for CachedService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Q, B> Service<Request<Q>> for CachedService<S>
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
    type Future = CachedFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let (notice, keys) = match self.config.admit(&parts, body.is_end_stream()) {
            Ok(admitted) => admitted,
            Err(why) => return self.bypass(parts, body, why),
        };
        let local = self.config.shelf.local;
        if local && let Some(response) = checked(&self.config, &keys, &parts, notice) {
            return CachedFuture { state: State::Ready { response: Some(response) } };
        }
        let seen = if local { self.look_now(&keys, &parts) } else { None };
        if let Some(seen) = &seen
            && let Some(response) = fresh(&self.config, seen, &parts, notice)
        {
            return CachedFuture { state: State::Ready { response: Some(response) } };
        }
        // Before anything is made anew; a page that was seen before has stamps that tell.
        let began = self.config.clock.unix_time();
        let visit = Visit {
            config: Arc::clone(&self.config),
            parts,
            notice,
            keys,
            began,
            unanswered: None,
        };
        let inner = self.take_ready();
        CachedFuture {
            state: State::Boxed { future: Box::pin(serve::serve(visit, inner, body, seen)) },
        }
    }
}

impl<S> CachedService<S> {
    fn look_now(&self, keys: &Keys, parts: &Parts) -> Option<Seen> {
        match now(self.config.shelf.look(keys, &self.config.policy, &parts.headers))? {
            Ok(seen) => Some(seen),
            Err(error) => Some(Seen::nothing(self.config.shelf.failed(&error))),
        }
    }

    fn bypass<Q, B>(
        &mut self,
        parts: Parts,
        body: Q,
        why: Why,
    ) -> CachedFuture<S::Future, B, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Send + 'static,
        B: Body + Send + 'static,
    {
        self.config.count(Event::Bypass(why));
        let config = Arc::clone(&self.config);
        let unsafe_method =
            ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&parts.method);
        if config.policy.is_shared() && unsafe_method {
            let inner = self.take_ready();
            return CachedFuture {
                state: State::Boxed { future: Box::pin(serve::change(config, inner, parts, body)) },
            };
        }
        let mark = Mark::of(&parts);
        let inner = self.inner.call(Request::from_parts(parts, body));
        CachedFuture { state: State::Pass { inner, config, why, mark } }
    }
}

/// A store of this process answers when it is first asked.
fn now<T>(look: impl Future<Output = T>) -> Option<T> {
    match pin!(look).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(seen) => Some(seen),
        Poll::Pending => None,
    }
}

/// The answer, where a fresh page is there that was not purged since it was last looked at.
fn checked<B: Body>(
    config: &Config,
    keys: &Keys,
    parts: &Parts,
    notice: Notice,
) -> Option<Response<CachedBody<B>>> {
    let record = now(config.shelf.glance(keys, &config.policy, &parts.headers))?.ok()??;
    let page = record.page()?;
    let age = config.age(page);
    if page.checked.holds(age) { fresh_page(config, page, age, false, parts, notice) } else { None }
}

/// The answer, where a fresh page is there.
pub(crate) fn fresh<B: Body>(
    config: &Config,
    seen: &Seen,
    parts: &Parts,
    notice: Notice,
) -> Option<Response<CachedBody<B>>> {
    let (page, soft) = seen.answer.page()?;
    let age = config.age(page);
    let answer = fresh_page(config, page, age, soft, parts, notice)?;
    page.checked.note(seen.purges, age);
    Some(answer)
}

fn fresh_page<B: Body>(
    config: &Config,
    page: &Page,
    age: Duration,
    soft: bool,
    parts: &Parts,
    notice: Notice,
) -> Option<Response<CachedBody<B>>> {
    match config.policy.reuse(&page.terms, age, soft, &parts.headers) {
        Reuse::Fresh(_) => {
            config.count(Event::Hit);
            Some(Mark::of(parts).put(config.answer(page, age, parts, notice, How::Stored)))
        }
        _ => None,
    }
}

/// Whether a layer further out wants to know that this one looks after the response. Most requests meet one layer only, and
/// a response's extensions are two allocations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(bool);

impl Mark {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self(parts.extensions.get::<TellOuter>().is_some())
    }

    pub(crate) fn put<B>(self, mut response: Response<B>) -> Response<B> {
        if self.0 {
            response.extensions_mut().insert(ByView);
        }
        response
    }
}

/// What is done to an answer that has nothing to do with the cache.
pub(crate) fn passed<B: Body>(
    config: &Config,
    response: Response<B>,
    why: Why,
    mark: Mark,
) -> Response<CachedBody<B>> {
    let (mut head, body) = response.into_parts();
    config.strip_targets(&mut head.headers);
    let status = Status::Forwarded { why, status: Some(head.status), stored: false, detail: None };
    config.report(&mut head.headers, &status);
    mark.put(Response::from_parts(head, CachedBody::through(body)))
}

pin_project! {
    /// The answer of a [`CachedService`]. Where a store of this process has the page, it is there at once, and nothing is
    /// allocated for the future.
    pub struct CachedFuture<F, B: Body, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B: Body, E> {
        Ready { response: Option<Response<CachedBody<B>>> },
        Pass { #[pin] inner: F, config: Arc<Config>, why: Why, mark: Mark },
        Boxed { future: Boxed<B, E> },
    }
}

type Boxed<B, E> = Pin<Box<dyn Future<Output = Result<Response<CachedBody<B>>, E>> + Send>>;

impl<F, B, E> Future for CachedFuture<F, B, E>
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
            StateProjection::Pass { inner, config, why, mark } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(passed(config, response, *why, *mark)))
            }
            StateProjection::Boxed { future } => future.as_mut().poll(context),
        }
    }
}

impl<F, B: Body, E> fmt::Debug for CachedFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedFuture").finish_non_exhaustive()
    }
}
