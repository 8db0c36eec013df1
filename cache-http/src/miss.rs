//! Requests for which the store has no fresh page, or has to wait.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::RANGE};
use http_body::Body;

use crate::{
    body::CachedBody,
    bounds::{InnerService, ResponseBody},
    context::RequestContext,
    counts::Event,
    page_store::Lookup,
    policy::{Reason, Reuse},
    record::Record,
    respond::{CachedResponse, PageSource, stored_response},
    settings::Leader,
    single_flight::{Joined, Outcome, Waited},
};

/// Serves a request from the store or with a response of the inner service. `lookup` is the result
/// of the lookup, if that did not have to wait.
pub(crate) async fn respond<S, Q, B>(
    mut context: RequestContext,
    inner: S,
    body: Q,
    lookup: Option<Lookup>,
) -> Result<CachedResponse<B>, S::Error>
where
    S: InnerService<Q, B>,
    Q: Send + 'static,
    B: ResponseBody,
{
    let mut lookup = match lookup {
        Some(lookup) => lookup,
        None => context.lookup().await,
    };
    if let Some(response) = context.fresh_response(&lookup) {
        return Ok(response);
    }
    let reason = match context.reuse(&lookup) {
        Reuse::StaleWhileRevalidate => {
            return Ok(context.stale_while_revalidate(inner, body, &lookup));
        }
        Reuse::Fresh(_) => Reason::Stale,
        Reuse::StaleIfError(reason) | Reuse::No(reason) => reason,
    };
    if context.settings.policy.only_if_cached(&context.parts.headers) {
        context.settings.count(Event::Miss(reason));
        return Ok(stored_response(StatusCode::GATEWAY_TIMEOUT, HeaderMap::new(), Bytes::new()));
    }
    // The request may have a response of its own. It shares a flight with no other request.
    if let Some(bypass) = context.count_unknown_cookies() {
        return if reason == Reason::StoreFailed || !context.may_produce_page() {
            context.forward(inner, body, bypass).await
        } else {
            context.fetch(inner, body, lookup, None, bypass).await
        };
    }
    // A store that has just failed is not accessed again for this request.
    if reason == Reason::StoreFailed || !context.may_produce_page() {
        context.count_miss(reason);
        return context.forward(inner, body, reason).await;
    }
    let flight = match context.settings.policy.forbids_storing(&context.parts.headers) {
        true => Flight::Fetch(None),
        false => context.join_flight(&mut lookup).await,
    };
    match flight {
        Flight::Response(response) => Ok(response),
        Flight::Fetch(leader) => {
            context.count_miss(reason);
            context.fetch(inner, body, lookup, leader, reason).await
        }
    }
}

/// What a request does after it has waited for others that produce the same page.
enum Flight<B: Body> {
    /// Return the response that another request has produced.
    Response(CachedResponse<B>),
    /// Call the inner service.
    Fetch(Option<Leader>),
}

/// The maximum number of flights that a request waits for.
const MAX_WAITS: usize = 4;

impl RequestContext {
    /// Whether the response to this request can be a whole page.
    fn may_produce_page(&self) -> bool {
        self.parts.method != Method::HEAD && !self.parts.headers.contains_key(RANGE)
    }

    /// Waits for a request that already produces the page, or becomes the one that does.
    async fn join_flight<B: Body>(&mut self, lookup: &mut Lookup) -> Flight<B> {
        let wait_deadline = self.settings.flights.wait_deadline();
        for _ in 0..MAX_WAITS {
            match self.settings.flights.join(&self.flight_key(lookup)) {
                Joined::Unshared => return Flight::Fetch(None),
                Joined::Leader(leader) => {
                    // The page may have been stored after the lookup and before the join, above all
                    // if the store is accessed over a network.
                    *lookup = self.lookup().await;
                    return match self.fresh_response(lookup) {
                        Some(response) => Flight::Response(response),
                        None => Flight::Fetch(Some(leader)),
                    };
                }
                Joined::Waiter(waiter) => match waiter.wait(wait_deadline).await {
                    Waited::Completed(Outcome::Shared(record)) => {
                        if let Some(response) = self.collapsed_response(&record) {
                            return Flight::Response(response);
                        }
                    }
                    // The waiters need not call the inner service to learn that it fails.
                    Waited::Completed(Outcome::Failed) if self.may_serve_stale(lookup) => {
                        return Flight::Response(self.stale_response(lookup));
                    }
                    Waited::Completed(Outcome::Unshareable) | Waited::TimedOut => {
                        return Flight::Fetch(None);
                    }
                    Waited::Completed(Outcome::Failed) | Waited::LeaderDropped => {}
                },
            }
            *lookup = self.lookup().await;
            if let Some(response) = self.fresh_response(lookup) {
                return Flight::Response(response);
            }
        }
        Flight::Fetch(None)
    }

    /// Creates a response from the page that another request has produced, if it also matches this
    /// request.
    fn collapsed_response<B: Body>(&self, record: &Record) -> Option<CachedResponse<B>> {
        let page = record.page().filter(|page| page.preimage == self.keys.preimage)?;
        let policy = &self.settings.policy;
        if !policy.matches(&page.secondary_key, &self.parts.headers) {
            return None;
        }
        let age = page.age(&self.settings.clock);
        match self.settings.reuse(page, age, false, &self.parts, self.flags) {
            Reuse::Fresh(_) => {
                self.settings.count(Event::Hit);
                Some(self.page_response(page, PageSource::Collapsed))
            }
            _ => None,
        }
    }

    /// Serves the stale page, and spawns a task that refreshes it, unless another request does so
    /// (RFC 5861, section 3).
    fn stale_while_revalidate<S, Q, B>(
        mut self,
        inner: S,
        body: Q,
        lookup: &Lookup,
    ) -> CachedResponse<B>
    where
        S: InnerService<Q, B>,
        Q: Send + 'static,
        B: ResponseBody,
    {
        let response = self.stale_response(lookup);
        // If the request itself forbids storing, its response would not refresh the page, and other
        // requests would not wait for that page for a while.
        let refreshes =
            self.may_produce_page() && !self.settings.policy.forbids_storing(&self.parts.headers);
        if refreshes
            && let Joined::Leader(leader) = self.settings.flights.join(&self.flight_key(lookup))
        {
            tokio::spawn(async move {
                // As in `join_flight`: another request may have stored the page meanwhile.
                let lookup = self.lookup().await;
                if matches!(self.reuse(&lookup), Reuse::Fresh(_)) {
                    return;
                }
                let fetched = self.fetch(inner, body, lookup, Some(leader), Reason::Stale).await;
                if let Ok(response) = fetched {
                    drain(response.into_body()).await;
                }
            });
        }
        response
    }
}

/// Reads a body to its end, which stores the page.
async fn drain<B: Body>(body: CachedBody<B>) {
    let mut body = pin!(body);
    while let Some(Ok(_)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {}
}
