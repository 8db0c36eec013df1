//! Calling the inner service, and storing its response while it is sent.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, SET_COOKIE},
    request::Parts,
    response,
};
use http_body::Body;

use crate::{
    body::CachedBody,
    bounds::{InnerService, ResponseBody},
    cache_status::{CACHE_STATUS, CacheStatus},
    conditional::{Precondition, not_modified_headers, precondition},
    context::RequestContext,
    counts::Event,
    extensions::{HasOuterCache, OuterCache},
    flights::Outcome,
    page_store::Lookup,
    pending_page::BodyCollector,
    policy::{BodyLength, Reason, STRIPPED_REQUEST_HEADERS},
    relay::Relay,
    respond::{CachedResponse, pass_through, select_part, stored_response},
    response_headers::{remove_targeted, set_fixed_browser_ttl},
    settings::Leader,
    storable::is_from_inner_cache,
    tee::Tee,
};

impl RequestContext {
    /// Calls the inner service and stores nothing. If that fails, serves the page that was found,
    /// provided that it may be served stale.
    pub(crate) async fn forward<S, Q, B>(
        mut self,
        mut inner: S,
        body: Q,
        lookup: &Lookup,
        reason: Reason,
    ) -> Result<CachedResponse<B>, S::Error>
    where
        S: InnerService<Q, B>,
        B: Body,
    {
        let mut parts = self.parts.clone();
        parts.extensions.insert(HasOuterCache);
        let stale_if_error = self.may_serve_stale(lookup);
        let result = self.call(&mut inner, Request::from_parts(parts, body)).await;
        if stale_if_error && result.as_ref().is_none_or(is_failure) {
            return Ok(self.stale_response(lookup));
        }
        let Some(result) = result else { return Ok(self.origin_timeout_response(reason)) };
        let response = result?;
        let miss = self.miss.as_mut();
        if let Some(miss) = miss.filter(|_| is_from_inner_cache(response.extensions())) {
            miss.set_bypass(Reason::InnerCache);
        }
        let outer = OuterCache::of_request(&self.parts);
        Ok(pass_through(&self.settings, response, reason, outer))
    }

    /// Calls the inner service with a request for a range, which `self` does not have. If that
    /// fails, serves the whole page, if a request for it would be served from the store.
    pub(crate) async fn forward_range<S, Q, B>(
        mut self,
        mut inner: S,
        request: Request<Q>,
    ) -> Result<CachedResponse<B>, S::Error>
    where
        S: InnerService<Q, B>,
        B: Body,
    {
        let result = inner.call(request).await;
        if is_failure(&result) {
            let lookup = self.lookup().await;
            if let Some(response) = self.fresh_response(&lookup) {
                return Ok(response);
            }
            if self.may_serve_stale(&lookup) {
                return Ok(self.stale_response(&lookup));
            }
        }
        let outer = OuterCache::of_request(&self.parts);
        Ok(pass_through(&self.settings, result?, Reason::Range, outer))
    }

    /// Calls the inner service, and stores the response if that is allowed.
    ///
    /// The conditions of the request concern the copy of the client, not the one in the store.
    /// The inner service does not receive them, except from a request with an unknown cookie, whose
    /// response is rarely stored.
    pub(crate) async fn fetch<S, Q, B>(
        mut self,
        mut inner: S,
        body: Q,
        lookup: Lookup,
        leader: Option<Leader>,
        reason: Reason,
    ) -> Result<CachedResponse<B>, S::Error>
    where
        S: InnerService<Q, B>,
        B: ResponseBody,
    {
        let mut parts = self.parts.clone();
        if !self.flags.public_pages_only {
            STRIPPED_REQUEST_HEADERS.iter().for_each(|name| drop(parts.headers.remove(name)));
        }
        // HEAD is answered from the response to a GET, see `select_part`.
        parts.method = Method::GET;
        let conditional = self.add_conditions(&lookup, &mut parts.headers);
        parts.extensions.insert(HasOuterCache);
        let stale_if_error = self.may_serve_stale(&lookup);
        self.start_fill();
        let result = self.call(&mut inner, Request::from_parts(parts, body)).await;
        let failed = result.as_ref().is_none_or(is_failure);
        if failed && stale_if_error {
            complete_failed(leader);
            return Ok(self.stale_response(&lookup));
        }
        let response = match result {
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                complete_failed(leader);
                return Err(error);
            }
            None => {
                complete_failed(leader);
                return Ok(self.origin_timeout_response(reason));
            }
        };
        if conditional && response.status() == StatusCode::NOT_MODIFIED {
            let new = response.headers();
            if !self.is_about(&lookup, new) {
                return Ok(self.reject_validation(&lookup).await);
            }
            let stores_cookies = self.settings.policy.stores_cookies();
            let mut refreshed = self.refresh(lookup, leader, new.clone(), reason).await;
            // Cookies that are not stored are for the client that caused them.
            for cookie in new.get_all(SET_COOKIE).iter().filter(|_| !stores_cookies) {
                refreshed.headers_mut().append(SET_COOKIE, cookie.clone());
            }
            return Ok(refreshed);
        }
        Ok(self.send_and_store(lookup, leader, response, reason).await)
    }

    /// Calls the inner service. The result is `None` if it does not respond in time.
    async fn call<S, Q, B>(
        &self,
        inner: &mut S,
        request: Request<Q>,
    ) -> Option<Result<Response<B>, S::Error>>
    where
        S: InnerService<Q, B>,
    {
        let call = inner.call(request);
        match self.settings.origin_timeout {
            Some(timeout) => tokio::time::timeout(timeout, call).await.ok(),
            None => Some(call.await),
        }
    }

    fn origin_timeout_response<B: Body>(&self, reason: Reason) -> CachedResponse<B> {
        self.settings.count(Event::Rejected(Reason::OriginTimeout));
        self.error_response(StatusCode::GATEWAY_TIMEOUT, reason, Reason::OriginTimeout)
    }

    /// Creates a response of the cache itself to a request that missed because of `reason`.
    pub(crate) fn error_response<B: Body>(
        &self,
        status: StatusCode,
        reason: Reason,
        detail: Reason,
    ) -> CachedResponse<B> {
        let cache_status =
            CacheStatus::Forwarded { reason, status: None, stored: false, detail: Some(detail) };
        let mut headers = HeaderMap::new();
        cache_status.append_to(&mut headers, self.settings.cache_status.as_deref());
        self.notify_outer(stored_response(status, headers, Bytes::new()))
    }

    /// Passes on a response whose body is stored while it is sent, if it may be stored.
    async fn send_and_store<B: ResponseBody>(
        mut self,
        lookup: Lookup,
        leader: Option<Leader>,
        response: Response<B>,
        reason: Reason,
    ) -> CachedResponse<B> {
        let (mut head, body) = response.into_parts();
        let length = body.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Known);
        let (outcome, body) = match self.accept_page(&head, length) {
            Err(rejection) => {
                self.count_rejected(rejection);
                if let Some(leader) = leader {
                    leader.complete(self.rejected_outcome(rejection, head.status));
                }
                (Some(Err(rejection)), CachedBody::pass_through(body))
            }
            Ok((meta, reservation)) => {
                let page = self.pending_page(lookup, leader, &mut head, meta, length);
                let mut tee = Tee::new(body, BodyCollector::new(page, reservation));
                poll_fn(|context| tee.poll_available(context)).await;
                (tee.outcome, CachedBody::relay(Relay::new(tee, &self.settings.abandoned_fills)))
            }
        };
        remove_targeted(&mut head.headers, &self.settings.policy);
        if !matches!(outcome, Some(Err(_))) {
            let now = || self.settings.clock.unix_time();
            let browser_ttl = self.settings.browser_ttl;
            set_fixed_browser_ttl(&mut head.headers, browser_ttl, Duration::ZERO, now);
        }
        let cache_status = CacheStatus::Forwarded {
            reason,
            status: Some(head.status),
            stored: outcome == Some(Ok(())),
            detail: outcome.and_then(Result::err),
        };
        // If the body is collected, the task continues without a reader.
        if let Some(not_modified) = self.not_modified(&head, &cache_status) {
            return not_modified;
        }
        cache_status.append_to(&mut head.headers, self.settings.cache_status.as_deref());
        self.notify_outer(select_part(&self.parts, head, body))
    }

    /// What a rejected response means to the requests that wait for it.
    fn rejected_outcome<T>(&self, rejection: Reason, status: StatusCode) -> Outcome<T> {
        // The response to a request with an unknown cookie predicts nothing about others.
        if self.flags.public_pages_only || rejection == Reason::FillBytes {
            return Outcome::Retry;
        }
        match is_error(status) {
            true => Outcome::Failed,
            false => Outcome::Unshareable,
        }
    }

    /// Creates a 304, if the client already has the response of the inner service.
    fn not_modified<B: Body>(
        &self,
        head: &response::Parts,
        cache_status: &CacheStatus,
    ) -> Option<CachedResponse<B>> {
        let Parts { method, headers, .. } = &self.parts;
        let conditional =
            headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE);
        if !conditional
            || head.status != StatusCode::OK
            || precondition(method, headers, &head.headers) != Precondition::NotModified
        {
            return None;
        }
        let mut not_modified = not_modified_headers(&head.headers);
        // Keeps the report of a cache further inside, such as that of a view.
        for status in head.headers.get_all(CACHE_STATUS) {
            not_modified.append(CACHE_STATUS, status.clone());
        }
        cache_status.append_to(&mut not_modified, self.settings.cache_status.as_deref());
        let response = stored_response(StatusCode::NOT_MODIFIED, not_modified, Bytes::new());
        Some(self.notify_outer(response))
    }
}

fn complete_failed(leader: Option<Leader>) {
    if let Some(leader) = leader {
        leader.complete(Outcome::Failed);
    }
}

/// Whether a stale page is served instead of this result (RFC 5861, section 4).
fn is_failure<B, E>(result: &Result<Response<B>, E>) -> bool {
    result.as_ref().map_or(true, |response| is_error(response.status()))
}

fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
