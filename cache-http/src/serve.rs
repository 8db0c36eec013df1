//! The way of a request that the store has no fresh page for.

use std::{future::poll_fn, sync::Arc, time::Duration};

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE,
        ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RANGE, SET_COOKIE,
    },
    request::Parts,
    response,
};
use http_body::Body;
use tower_service::Service;

use crate::{
    body::{CachedBody, Tee},
    conditional::{Precondition, of_not_modified, precondition},
    counts::Event,
    generation::Purge,
    key::{Keys, Name},
    outgoing::{Status, to_store},
    page_store::{Found, Lookup},
    pending_page::{BodyCollector, PendingPage},
    policy::{BodyLength, CacheMeta, Reason, Reuse, STRIPPED_REQUEST_HEADERS, content_length},
    record::{Page, Record},
    request_flags::RequestFlags,
    respond::{Source, respond},
    service::{Mark, fresh, passed},
    settings::{CacheTags, HasOuterCache, InnerCache, NoStore, Settings},
    single_flight::{Leader, Outcome, Role},
};

/// A request, and where its answers lie.
pub(crate) struct RequestContext {
    pub(crate) settings: Arc<Settings>,
    pub(crate) parts: Parts,
    pub(crate) flags: RequestFlags,
    pub(crate) keys: Keys,
    /// When it was looked up last.
    pub(crate) started_at: Duration,
    pub(crate) miss_counter: Option<CountOnDrop>,
}

/// Counts a request that was not answered from the store when it is over, however it ends: as a miss, unless it turns out
/// to be the business of a layer further inside, whose hits are no misses of this one.
pub(crate) struct CountOnDrop {
    settings: Arc<Settings>,
    event: Event,
}

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.settings.count(self.event);
    }
}

type Answered<B> = Response<CachedBody<B>>;

/// Answers a request, from the store or by the service inside.
pub(crate) async fn serve<S, Q, B>(
    mut context: RequestContext,
    inner: S,
    body: Q,
    lookup: Option<Lookup>,
) -> Result<Answered<B>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    let mut lookup = match lookup {
        Some(lookup) => lookup,
        None => context.look().await,
    };
    let settings = Arc::clone(&context.settings);
    if let Some(answer) = context.fresh(&lookup) {
        return Ok(answer);
    }
    let reason = match context.reuse(&lookup) {
        Reuse::StaleWhileRevalidate => return Ok(context.answer_meanwhile(inner, body, &lookup)),
        Reuse::Fresh(_) => Reason::Stale,
        Reuse::StaleIfError(reason) | Reuse::No(reason) => reason,
    };
    if settings.policy.only_if_cached(&context.parts.headers) {
        settings.count(Event::Miss(reason));
        return Ok(respond(StatusCode::GATEWAY_TIMEOUT, HeaderMap::new(), bytes::Bytes::new()));
    }
    // From a store that failed just now, nothing is waited for once more.
    if reason == Reason::StoreFailed
        || context.parts.method == Method::HEAD
        || context.parts.headers.contains_key(RANGE)
    {
        context.miss(reason);
        return context.forward(inner, body, reason).await;
    }
    let joined = match settings.policy.forbids_storing(&context.parts.headers) {
        true => Joined::Make(None),
        false => context.join(&mut lookup).await,
    };
    match joined {
        Joined::Found(answer) => Ok(answer),
        Joined::Make(leader) => {
            context.miss(reason);
            context.make(inner, body, lookup, leader, reason).await
        }
    }
}

/// What comes of wanting a page that others may be making.
enum Joined<B: Body> {
    Found(Answered<B>),
    Make(Option<Leader>),
}

/// So often a request that waits in vain waits again.
const MAX_WAITS: usize = 4;

impl RequestContext {
    async fn look(&mut self) -> Lookup {
        self.started_at = self.settings.clock.unix_time();
        let (page_store, policy) = (&self.settings.page_store, &self.settings.policy);
        let look = async {
            page_store
                .look(&self.keys, policy, &self.parts.headers)
                .await
                .map_err(|error| page_store.failed(&error))
        };
        self.settings.in_time(look).await.unwrap_or_else(Lookup::nothing)
    }

    fn fresh<B: Body>(&self, lookup: &Lookup) -> Option<Answered<B>> {
        fresh(&self.settings, lookup, &self.parts, self.flags)
    }

    fn reuse(&self, lookup: &Lookup) -> Reuse {
        match (&lookup.answer, lookup.answer.page()) {
            (_, Some((page, soft))) => self.settings.policy.reuse(
                &page.meta,
                self.settings.age(page),
                soft,
                &self.parts.headers,
            ),
            (Found::Miss(reason), None) => Reuse::No(*reason),
            (Found::Page { .. }, None) => Reuse::No(Reason::UriMiss),
        }
    }

    /// Whether what was lookup may be served where making a fresh page fails.
    fn may_be_stale(&self, lookup: &Lookup) -> bool {
        matches!(self.reuse(lookup), Reuse::StaleIfError(_) | Reuse::StaleWhileRevalidate)
    }

    /// Waits for those who make the page already, or becomes the one who does.
    async fn join<B: Body>(&mut self, lookup: &mut Lookup) -> Joined<B> {
        let wait_deadline = self.settings.flights.wait_deadline();
        for _ in 0..MAX_WAITS {
            match self.settings.flights.join(&self.flight(lookup)) {
                Role::Alone => return Joined::Make(None),
                Role::Lead(leader) => {
                    // The page may have been stored between the look and the boarding.
                    *lookup = self.look().await;
                    return match self.fresh(lookup) {
                        Some(answer) => Joined::Found(answer),
                        None => Joined::Make(Some(leader)),
                    };
                }
                Role::Follow(waiter) => match waiter.wait(wait_deadline).await {
                    Some(Outcome::Page(record)) => {
                        if let Some(answer) = self.collapsed(&record) {
                            return Joined::Found(answer);
                        }
                    }
                    // The origin need not hear from each of them that it fails.
                    Some(Outcome::Failed) if self.may_be_stale(lookup) => {
                        return Joined::Found(self.stale(lookup));
                    }
                    Some(Outcome::Uncacheable) | None => return Joined::Make(None),
                    Some(Outcome::Failed | Outcome::Pending) => {}
                },
            }
            *lookup = self.look().await;
            if let Some(answer) = self.fresh(lookup) {
                return Joined::Found(answer);
            }
        }
        Joined::Make(None)
    }

    /// What those share who may be given the same page.
    fn flight(&self, lookup: &Lookup) -> String {
        let secondary_key = self.settings.policy.secondary_key(&lookup.vary, &self.parts.headers);
        format!("{:?}{:?}", self.keys.variant(&secondary_key), lookup.purged())
    }

    /// What another request got, where this one may be given it too.
    fn collapsed<B: Body>(&self, record: &Record) -> Option<Answered<B>> {
        let page = record.page().filter(|page| page.preimage == self.keys.preimage)?;
        let policy = &self.settings.policy;
        if !policy.matches(&page.secondary_key, &self.parts.headers) {
            return None;
        }
        let age = self.settings.age(page);
        match policy.reuse(&page.meta, age, false, &self.parts.headers) {
            Reuse::Fresh(_) => {
                self.settings.count(Event::Hit);
                Some(self.marked(self.settings.answer(
                    page,
                    age,
                    &self.parts,
                    self.flags,
                    Source::Collapsed,
                )))
            }
            _ => None,
        }
    }

    /// A stale page now, and a fresh one made meanwhile, unless somebody makes it already.
    fn answer_meanwhile<S, Q, B>(mut self, inner: S, body: Q, lookup: &Lookup) -> Answered<B>
    where
        S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Send,
    {
        let answer = self.stale(lookup);
        let headers = &self.parts.headers;
        // One whose answer may not be kept is none to make it for: then nobody else would for a while.
        let makes = self.parts.method == Method::GET
            && !headers.contains_key(RANGE)
            && !self.settings.policy.forbids_storing(headers);
        if makes && let Role::Lead(leader) = self.settings.flights.join(&self.flight(lookup)) {
            tokio::spawn(async move {
                // As in `join`: another one may have stored it just before this one started_at.
                let lookup = self.look().await;
                if matches!(self.reuse(&lookup), Reuse::Fresh(_)) {
                    return;
                }
                if let Ok(response) =
                    self.make(inner, body, lookup, Some(leader), Reason::Stale).await
                {
                    drain(response.into_body()).await;
                }
            });
        }
        answer
    }

    fn stale<B: Body>(&self, lookup: &Lookup) -> Answered<B> {
        self.settings.count(Event::Stale);
        match lookup.answer.page() {
            Some((page, _)) => self.answer(page, Source::Stored),
            None => Response::default(),
        }
    }

    fn answer<B: Body>(&self, page: &Page, source: Source) -> Answered<B> {
        self.marked(self.settings.answer(
            page,
            self.settings.age(page),
            &self.parts,
            self.flags,
            source,
        ))
    }

    fn marked<B: Body>(&self, answer: Answered<B>) -> Answered<B> {
        Mark::from_request(&self.parts).put(answer)
    }

    fn miss(&mut self, reason: Reason) {
        self.miss_counter =
            Some(CountOnDrop { settings: Arc::clone(&self.settings), event: Event::Miss(reason) });
    }

    /// Counts reason a response is not stored.
    fn reject(&mut self, reason: Reason) {
        match &mut self.miss_counter {
            Some(miss_counter) if reason == Reason::InnerCache => {
                miss_counter.event = Event::Bypass(reason)
            }
            _ => self.settings.count(Event::Rejected(reason)),
        }
    }

    /// Asks the service inside, and stores nothing.
    async fn forward<S, Q, B>(
        self,
        mut inner: S,
        body: Q,
        reason: Reason,
    ) -> Result<Answered<B>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body,
    {
        let Self { settings, mut parts, mut miss_counter, .. } = self;
        let mark = Mark::from_request(&parts);
        parts.extensions.insert(HasOuterCache);
        let response = inner.call(Request::from_parts(parts, body)).await?;
        if let Some(miss_counter) =
            miss_counter.as_mut().filter(|_| is_from_inner_cache(response.extensions()))
        {
            miss_counter.event = Event::Bypass(Reason::InnerCache);
        }
        Ok(passed(&settings, response, reason, mark))
    }

    /// Asks the service inside, and stores what may be stored. The client's conditions are for its copy and not for the
    /// one to be stored, so the service does not see them.
    async fn make<S, Q, B>(
        self,
        mut inner: S,
        body: Q,
        lookup: Lookup,
        leader: Option<Leader>,
        reason: Reason,
    ) -> Result<Answered<B>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body + Send + 'static,
    {
        let mut parts = self.parts.clone();
        STRIPPED_REQUEST_HEADERS.iter().for_each(|name| drop(parts.headers.remove(name)));
        let validating = self.validate(&lookup, &mut parts.headers);
        parts.extensions.insert(HasOuterCache);
        let instead = self.may_be_stale(&lookup);
        let outcome = inner.call(Request::from_parts(parts, body)).await;
        if instead
            && outcome.as_ref().map_or(true, |response| Settings::is_error(response.status()))
        {
            if let Some(leader) = leader {
                leader.complete(Outcome::Failed);
            }
            return Ok(self.stale(&lookup));
        }
        let response = outcome?;
        if validating && response.status() == StatusCode::NOT_MODIFIED {
            let new = response.headers();
            let mut answer = self.freshen(lookup, leader, new.clone(), reason).await;
            // They are for whoever caused them, and for nobody else.
            for cookie in new.get_all(SET_COOKIE) {
                answer.headers_mut().append(SET_COOKIE, cookie.clone());
            }
            return Ok(answer);
        }
        Ok(self.keep(lookup, leader, response, reason).await)
    }

    /// Asks whether a page of the store is still right, in a shared cache.
    fn validate(&self, lookup: &Lookup, headers: &mut HeaderMap) -> bool {
        let Some((page, _)) = lookup.answer.page().filter(|_| self.settings.policy.is_shared())
        else {
            return false;
        };
        let mut asked = false;
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = page.headers.get(&validator) {
                headers.insert(condition, value.clone());
                asked = true;
            }
        }
        asked
    }

    fn decide(&self, head: &response::Parts, length: BodyLength) -> Result<CacheMeta, Reason> {
        if is_from_inner_cache(&head.extensions) {
            return Err(Reason::InnerCache);
        }
        if head.extensions.get::<NoStore>().is_some() {
            return Err(Reason::OptOut);
        }
        let now = self.settings.clock.unix_time();
        self.settings.policy.store(&self.parts.headers, head.status, &head.headers, length, now)
    }

    /// Passes a response on, with a copy for the store if that may have it.
    async fn keep<B>(
        mut self,
        lookup: Lookup,
        leader: Option<Leader>,
        response: Response<B>,
        reason: Reason,
    ) -> Answered<B>
    where
        B: Body + Send + 'static,
    {
        let (mut head, body) = response.into_parts();
        let length = body.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Known);
        // Of what is not stored, nothing is lost with the body of a response that the client has already.
        let (outcome, all_there, body) = match self.decide(&head, length) {
            Err(rejection) => {
                self.reject(rejection);
                if let Some(leader) = leader {
                    leader.complete(Outcome::Uncacheable);
                }
                (Some(Err(rejection)), true, CachedBody::through(body))
            }
            Ok(meta) => {
                let page = self.pending_page(lookup, leader, &mut head, meta, length);
                let mut tee = Box::new(Tee::new(body, BodyCollector::new(page)));
                poll_fn(|context| tee.poll_gather(context)).await;
                (tee.outcome, tee.is_over(), CachedBody::tee(tee))
            }
        };
        self.settings.strip_targets(&mut head.headers);
        if !matches!(outcome, Some(Err(_))) {
            let now = || self.settings.clock.unix_time();
            self.settings.announce_for_browser(&mut head.headers, Duration::ZERO, now);
        }
        let detail = outcome.and_then(Result::err);
        let status = Status::Forwarded {
            reason,
            status: Some(head.status),
            stored: outcome == Some(Ok(())),
            detail,
        };
        if all_there && let Some(short) = self.not_modified(&head, &status) {
            return short;
        }
        self.settings.report(&mut head.headers, &status);
        self.marked(Response::from_parts(head, body))
    }

    fn pending_page(
        &self,
        lookup: Lookup,
        leader: Option<Leader>,
        head: &mut response::Parts,
        meta: CacheMeta,
        length: BodyLength,
    ) -> PendingPage {
        let settings = Arc::clone(&self.settings);
        let came = (settings.clock.now(), settings.clock.unix_time());
        settings.announce(&mut head.headers, &meta, came.1);
        let mut headers = to_store(&head.headers);
        settings.strip_targets(&mut headers);
        let length = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::Unknown => content_length(&head.headers).ok().flatten(),
        };
        PendingPage {
            tags: self.tags(head.extensions.get()),
            keys: self.keys.clone(),
            started_at: self.started_at,
            came,
            asked: self.parts.headers.clone(),
            status: head.status,
            settings,
            lookup,
            meta,
            headers,
            length,
            leader,
        }
    }

    fn tags(&self, added: Option<&CacheTags>) -> Vec<String> {
        let added = added.map(|tags| &*tags.0).unwrap_or_default();
        let mut tags: Vec<String> = self.settings.tags.iter().chain(added).cloned().collect();
        tags.sort_unstable();
        tags.dedup();
        tags.iter()
            .map(|tag| self.settings.key_builder.generation_of_tag(tag).to_string())
            .collect()
    }

    /// 304 for a client that has what the service just made.
    fn not_modified<B: Body>(
        &self,
        head: &response::Parts,
        status: &Status,
    ) -> Option<Answered<B>> {
        let Parts { method, headers, .. } = &self.parts;
        let asks = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE);
        if !asks
            || head.status != StatusCode::OK
            || precondition(method, headers, &head.headers) != Precondition::NotModified
        {
            return None;
        }
        let mut short = of_not_modified(&head.headers);
        // What a cache further inside told of itself, such as a view's own.
        for told in head.headers.get_all("cache-status") {
            short.append("cache-status", told.clone());
        }
        self.settings.report(&mut short, status);
        Some(self.marked(respond(StatusCode::NOT_MODIFIED, short, bytes::Bytes::new())))
    }

    /// The origin says that the stored page is still right: it lives anew, with what the origin says of it now.
    async fn freshen<B: Body>(
        self,
        lookup: Lookup,
        leader: Option<Leader>,
        new: HeaderMap,
        reason: Reason,
    ) -> Answered<B> {
        let Some((page, _)) = lookup.answer.page() else { return Response::default() };
        let now = self.settings.clock.unix_time();
        let headers = freshened(page, &new, now);
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.headers) = (page.status, headers);
        let body = page.body.clone();
        let length = BodyLength::Known(body.len() as u64);
        let mut fallback =
            Page { headers: to_store(&head.headers), stored: now, born: None, ..page.clone() };
        fallback.meta.age = Duration::ZERO;
        self.settings.strip_targets(&mut fallback.headers);
        let kept = Source::Validated { reason, stored: true };
        let once = Source::Validated { reason, stored: false };
        let meta = match self.decide(&head, length) {
            Ok(meta) => meta,
            Err(rejection) => {
                self.settings.count(Event::Rejected(rejection));
                if let Some(leader) = leader {
                    leader.complete(Outcome::Uncacheable);
                }
                return self.answer(&fallback, once);
            }
        };
        let pending_page = self.pending_page(lookup, leader, &mut head, meta, length);
        let stored = pending_page.store(body).await.ok();
        match stored.as_deref().and_then(Record::page) {
            Some(page) => self.answer(page, kept),
            None => self.answer(&fallback, once),
        }
    }
}

fn is_from_inner_cache(response: &Extensions) -> bool {
    response.get::<InnerCache>().is_some()
}

/// A stored page's headers, with those of a 304 in their place (RFC 9111, section 3.2).
fn freshened(page: &Page, new: &HeaderMap, now: Duration) -> HeaderMap {
    const OF_THE_BODY: [HeaderName; 4] =
        [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE];
    let mut headers = page.headers.clone();
    headers.insert(DATE, crate::date::write(now));
    for name in new.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name.clone(), HeaderValue::clone(value));
        }
    }
    headers
}

async fn drain<B: Body>(body: CachedBody<B>) {
    let mut body = std::pin::pin!(body);
    while let Some(Ok(_)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {}
}

/// Passes on a request that changes something, and forgets what it may have changed, if it succeeds (RFC 9111, section
/// 4.4).
pub(crate) async fn change<S, Q, B>(
    settings: Arc<Settings>,
    mut inner: S,
    parts: Parts,
    body: Q,
) -> Result<Answered<B>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    let (asked, mark) = (parts.clone(), Mark::from_request(&parts));
    let response = inner.call(Request::from_parts(parts, body)).await?;
    if response.status().is_success() || response.status().is_redirection() {
        for key in changed(&settings, &asked, response.headers()) {
            let purge = settings.page_store.purge(&key, Purge::Hard, settings.clock.unix_time());
            // Logged; the change is made all the same.
            let _ = settings
                .in_time(async { purge.await.map_err(|error| settings.page_store.failed(&error)) })
                .await;
        }
    }
    Ok(passed(&settings, response, Reason::Method, mark))
}

fn changed(settings: &Settings, asked: &Parts, headers: &HeaderMap) -> Vec<Name> {
    let references = [LOCATION, CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok());
    let uris = references.filter_map(|reference| reference.parse::<Uri>().ok());
    let absolute = uris.filter(|uri| uri.path().starts_with('/'));
    let target = settings.key_builder.target(asked);
    target
        .into_iter()
        .chain(absolute.filter_map(|uri| settings.key_builder.neighbour(asked, &uri)))
        .collect()
}
