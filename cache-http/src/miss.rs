//! Requests for which the store has no fresh page, or has to wait.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::RANGE};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    bounds::{InnerService, ResponseBody},
    context::RequestContext,
    counts::Event,
    date::UnixTime,
    fill_task::FillTask,
    flights::{Joined, Outcome, Waited},
    page_store::Lookup,
    policy::{Reason, Reuse},
    range::first_byte,
    record::{Page, Record},
    respond::{CachedResponse, PageSource, stored_response},
    settings::Leader,
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
        if context.is_refresh_due(&lookup) && !context.is_unshared(&lookup) {
            context.refresh_in_background(inner, body, &lookup);
        }
        return Ok(response);
    }
    context.record_use(&lookup);
    let reason = match context.reuse(&lookup) {
        // If no refresh can be stored, the page would be served until the end of its window.
        Reuse::StaleWhileRevalidate if !context.is_unshared(&lookup) => {
            let response = context.stale_response(&lookup);
            context.refresh_in_background(inner, body, &lookup);
            return Ok(response);
        }
        Reuse::Fresh(_) | Reuse::StaleWhileRevalidate => Reason::Stale,
        Reuse::StaleIfError(reason) | Reuse::No(reason) => reason,
    };
    if context.settings.policy.only_if_cached(&context.parts.headers) {
        context.settings.count(Event::Miss(reason));
        return Ok(stored_response(StatusCode::GATEWAY_TIMEOUT, HeaderMap::new(), Bytes::new()));
    }
    // The request may have a response of its own. It shares a flight with no other request.
    if let Some(bypass) = context.count_unknown_cookies() {
        return if reason == Reason::StoreFailed || !context.wants_whole_page() {
            context.forward(inner, body, &lookup, bypass).await
        } else {
            context.fetch(inner, body, lookup, None, bypass).await
        };
    }
    // A store that has just failed is not accessed again for this request.
    if reason == Reason::StoreFailed || !context.may_fill(&lookup) {
        context.count_miss(reason);
        return context.forward(inner, body, &lookup, reason).await;
    }
    let alone = context.settings.policy.forbids_storing(&context.parts.headers)
        || context.requires_validation(&lookup);
    let flight = match alone {
        true => Flight::Fetch(None),
        false => context.join_flight(&mut lookup, reason).await,
    };
    match flight {
        Flight::Response(response) => Ok(response),
        // Nobody waits for the page, or it cannot be stored: only a GET is worth all of it.
        Flight::Fetch(None) if !context.wants_whole_page() => {
            context.count_miss(reason);
            context.forward(inner, body, &lookup, reason).await
        }
        Flight::Fetch(None) => {
            context.count_miss(reason);
            context.fetch(inner, body, lookup, None, reason).await
        }
        // Others may wait for the page, so it does not depend on this client.
        Flight::Fetch(leader) => {
            context.count_miss(reason);
            let stale = context.stale_after_timeout(&lookup);
            let abandoned_fills = Arc::clone(&context.settings.abandoned_fills);
            let fetch = context.fetch(inner, body, lookup, leader, reason);
            let mut fill = FillTask::spawn(&abandoned_fills, fetch);
            let Some((limit, context, lookup)) = stale else { return fill.await };
            let in_time = tokio::time::timeout(limit, &mut fill).await;
            in_time.unwrap_or_else(|_elapsed| {
                fill.detach();
                Ok(context.stale_response(&lookup))
            })
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

/// What a request does with the page that it has waited for.
enum Collapse<B: Body> {
    /// Return this response.
    Response(CachedResponse<B>),
    /// Call the inner service: waiting again would not give a better page.
    Alone,
    /// Join the flight of the page that matches this request.
    Join,
}

/// The maximum number of flights that a request waits for.
const MAX_WAITS: usize = 4;
/// How many flights in a row must fail until the requests that have waited for them fail as well.
/// The cause of a single failure may lie in the request that has led the flight.
const MAX_FAILURES: usize = 2;

impl RequestContext {
    /// Whether the response to this request is a whole page.
    fn wants_whole_page(&self) -> bool {
        self.parts.method != Method::HEAD && !self.parts.headers.contains_key(RANGE)
    }

    /// Whether the whole page is fetched for this request, which may be for a part of it.
    ///
    /// A range that begins after the limit of bodies cannot be one of a page that is stored. If
    /// the inner service gets the request without the range, its response must be read from the
    /// start, so other ranges than those near the start are passed on, unless there is a page.
    fn may_fill(&self, lookup: &Lookup) -> bool {
        let limit = self.settings.policy.body_limit();
        !self.parts.headers.contains_key(RANGE)
            || lookup.found.page().is_some()
            || first_byte(&self.parts.headers).is_some_and(|first| first < limit)
    }

    /// Until when the request waits for others.
    fn wait_deadline(&self, lookup: &Lookup) -> Instant {
        let deadline = self.settings.flights.wait_deadline();
        match self.settings.soft_timeout {
            Some(limit) if self.may_serve_stale(lookup) => deadline.min(Instant::now() + limit),
            _ => deadline,
        }
    }

    /// What serves the stale page, if there is one, while the fresh one is still being produced:
    /// the time after which it does, and copies of the request and of the page.
    fn stale_after_timeout(&self, lookup: &Lookup) -> Option<(Duration, Self, Lookup)> {
        let limit = self.settings.soft_timeout.filter(|_| self.may_serve_stale(lookup))?;
        let (parts, keys) = (self.parts.clone(), self.keys.clone());
        Some((limit, Self::new(&self.settings, parts, self.flags, keys), lookup.clone()))
    }

    /// Creates the response to a request that has waited for others while the inner service failed.
    fn origin_failed_response<B: Body>(&self, reason: Reason) -> CachedResponse<B> {
        self.settings.count(Event::Miss(Reason::OriginFailed));
        self.error_response(StatusCode::SERVICE_UNAVAILABLE, reason, Reason::OriginFailed)
    }

    /// Whether the page that was found must be validated for each request.
    fn requires_validation(&self, lookup: &Lookup) -> bool {
        let policy = &self.settings.policy;
        lookup.found.page().is_some_and(|(page, _)| policy.requires_validation(&page.headers))
    }

    /// Waits for a request that already produces the page, or becomes the one that does.
    async fn join_flight<B: Body>(&mut self, lookup: &mut Lookup, reason: Reason) -> Flight<B> {
        let wait_deadline = self.wait_deadline(lookup);
        let mut failures = 0;
        for _ in 0..MAX_WAITS {
            let joined_at = self.settings.clock.unix_time();
            match self.settings.flights.join(&self.flight_key(lookup)) {
                Joined::Unshared => return Flight::Fetch(None),
                Joined::Leader(leader) => return self.lead(leader, lookup).await,
                Joined::Waiter(waiter) => match waiter.wait(wait_deadline).await {
                    Waited::Completed(Outcome::Shared(record)) => {
                        match self.collapse(&record, joined_at).await {
                            Collapse::Response(response) => return Flight::Response(response),
                            Collapse::Alone => {
                                // The page that was just stored has the newest validators.
                                *lookup = self.lookup().await;
                                return Flight::Fetch(None);
                            }
                            Collapse::Join => {}
                        }
                    }
                    // The waiters need not call the inner service to learn that it fails or hangs.
                    Waited::Completed(Outcome::Failed) | Waited::TimedOut
                        if self.may_serve_stale(lookup) =>
                    {
                        return Flight::Response(self.stale_response(lookup));
                    }
                    Waited::Completed(Outcome::Failed) => {
                        failures += 1;
                        if failures == MAX_FAILURES {
                            return Flight::Response(self.origin_failed_response(reason));
                        }
                    }
                    Waited::TimedOut => return Flight::Fetch(None),
                    Waited::Leader(leader) => return self.lead(leader, lookup).await,
                    Waited::Completed(Outcome::Unshareable | Outcome::Retry) => {}
                },
            }
            *lookup = self.lookup().await;
            if let Some(response) = self.fresh_response(lookup) {
                return Flight::Response(response);
            }
        }
        Flight::Fetch(None)
    }

    /// Looks up the page before it is produced: it may have been stored after the last lookup and
    /// before this request became the leader, above all if the store is accessed over a network.
    async fn lead<B: Body>(&mut self, leader: Leader, lookup: &mut Lookup) -> Flight<B> {
        self.start_fill();
        *lookup = self.lookup().await;
        match self.fresh_response(lookup) {
            Some(response) => {
                leader.complete(Outcome::Retry);
                Flight::Response(response)
            }
            None => Flight::Fetch(Some(leader)),
        }
    }

    /// Creates a response from the page that another request has produced, if it also matches this
    /// request.
    ///
    /// A page that is not fresh, not even on arrival, is shared with the requests that waited when
    /// it was received: the origin has produced it after they arrived. If one of them waited again,
    /// they would be served one after another.
    async fn collapse<B: Body>(&self, record: &Record, joined_at: UnixTime) -> Collapse<B> {
        let page = record.page().filter(|page| *page.preimage == *self.keys.preimage);
        let (policy, headers) = (&self.settings.policy, &self.parts.headers);
        let Some(page) = page.filter(|page| policy.matches(&page.secondary_key, headers)) else {
            return Collapse::Join;
        };
        // The key of the flight distinguishes purges of the URI, but not of tags, which are known
        // only now: the page may be from before a purge that this request came after.
        if self.is_purged_by_tag(page).await {
            return Collapse::Join;
        }
        let age = page.age(&self.settings.clock);
        let usable = match self.settings.reuse(page, age, false, &self.parts, self.flags) {
            Reuse::Fresh(_) => true,
            _ => {
                page.stored_at >= joined_at
                    && !policy.requires_fresher(headers, age, Duration::ZERO)
                    && !policy.requires_validation(&page.headers)
            }
        };
        if !usable {
            return Collapse::Alone;
        }
        self.settings.count(Event::Hit);
        Collapse::Response(self.page_response(page, PageSource::Collapsed))
    }

    /// Whether a tag of a page was purged since it was stored. If the store fails, that is assumed.
    async fn is_purged_by_tag(&self, page: &Page) -> bool {
        let page_store = &self.settings.page_store;
        let read = async {
            page_store.is_purged_by_tag(page).await.map_err(|error| page_store.failed(&error))
        };
        self.settings.with_store_timeout(read).await.unwrap_or(true)
    }

    /// Spawns a task that refreshes the page, unless another request does so (RFC 5861, section 3).
    fn refresh_in_background<S, Q, B>(mut self, inner: S, body: Q, lookup: &Lookup)
    where
        S: InnerService<Q, B>,
        Q: Send + 'static,
        B: ResponseBody,
    {
        // If the request itself forbids storing, its response would not refresh the page, and other
        // requests would not wait for that page for a while.
        if !self.settings.policy.forbids_storing(&self.parts.headers)
            && let Joined::Leader(leader) = self.settings.flights.join(&self.flight_key(lookup))
        {
            let abandoned_fills = Arc::clone(&self.settings.abandoned_fills);
            let refresh = async move {
                // As in `lead`: another request may have stored the page meanwhile.
                self.start_fill();
                let lookup = self.lookup().await;
                if matches!(self.reuse(&lookup), Reuse::Fresh(_)) && !self.is_refresh_due(&lookup) {
                    leader.complete(Outcome::Retry);
                    return;
                }
                drop(self.fetch(inner, body, lookup, Some(leader), Reason::Stale).await);
            };
            FillTask::spawn(&abandoned_fills, refresh).detach();
        }
    }
}
