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
    answer::{How, respond},
    body::{CachedBody, Tee},
    conditional::{Precondition, of_not_modified, precondition},
    config::{ByView, CacheTags, Config, NoStore, TellOuter},
    counts::Event,
    fill::{Fill, Unfinished},
    flight::{Landing, Leader, Role},
    generation::Purge,
    key::{Keys, Name},
    notice::Notice,
    outgoing::{Status, to_store},
    policy::{BodyLength, Reuse, STRIPPED, Terms, Why, stated_length},
    service::{Mark, fresh, passed},
    shelf::{Answer, Seen},
    stored::{Page, Record},
};

/// A request, and where its answers lie.
pub(crate) struct Visit {
    pub(crate) config: Arc<Config>,
    pub(crate) parts: Parts,
    pub(crate) notice: Notice,
    pub(crate) keys: Keys,
    /// When it was looked up last.
    pub(crate) began: Duration,
    pub(crate) unanswered: Option<Unanswered>,
}

/// Counts a request that was not answered from the store when it is over, however it ends: as a miss, unless it turns out
/// to be the business of a layer further inside, whose hits are no misses of this one.
pub(crate) struct Unanswered {
    config: Arc<Config>,
    event: Event,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.config.count(self.event);
    }
}

type Answered<B> = Response<CachedBody<B>>;

/// Answers a request, from the store or by the service inside.
pub(crate) async fn serve<S, Q, B>(
    mut visit: Visit,
    inner: S,
    body: Q,
    seen: Option<Seen>,
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
    let mut seen = match seen {
        Some(seen) => seen,
        None => visit.look().await,
    };
    let config = Arc::clone(&visit.config);
    if let Some(answer) = visit.fresh(&seen) {
        return Ok(answer);
    }
    let why = match visit.reuse(&seen) {
        Reuse::WhileRevalidating => return Ok(visit.answer_meanwhile(inner, body, &seen)),
        Reuse::Fresh(_) => Why::Stale,
        Reuse::IfError(why) | Reuse::No(why) => why,
    };
    if config.policy.only_if_cached(&visit.parts.headers) {
        config.count(Event::Miss(why));
        return Ok(respond(StatusCode::GATEWAY_TIMEOUT, HeaderMap::new(), bytes::Bytes::new()));
    }
    // From a store that failed just now, nothing is waited for once more.
    if why == Why::StoreFailed
        || visit.parts.method == Method::HEAD
        || visit.parts.headers.contains_key(RANGE)
    {
        visit.miss(why);
        return visit.forward(inner, body, why).await;
    }
    let boarded = match config.policy.is_particular(&visit.parts.headers) {
        true => Boarded::Make(None),
        false => visit.board(&mut seen).await,
    };
    match boarded {
        Boarded::Answer(answer) => Ok(answer),
        Boarded::Make(leader) => {
            visit.miss(why);
            visit.make(inner, body, seen, leader, why).await
        }
    }
}

/// What comes of wanting a page that others may be making.
enum Boarded<B: Body> {
    Answer(Answered<B>),
    Make(Option<Leader>),
}

/// So often a request that waits in vain waits again.
const MOST_WAITS: usize = 4;

impl Visit {
    async fn look(&mut self) -> Seen {
        self.began = self.config.clock.unix_time();
        let (shelf, policy) = (&self.config.shelf, &self.config.policy);
        let look = async {
            shelf
                .look(&self.keys, policy, &self.parts.headers)
                .await
                .map_err(|error| shelf.failed(&error))
        };
        self.config.in_time(look).await.unwrap_or_else(Seen::nothing)
    }

    fn fresh<B: Body>(&self, seen: &Seen) -> Option<Answered<B>> {
        fresh(&self.config, seen, &self.parts, self.notice)
    }

    fn reuse(&self, seen: &Seen) -> Reuse {
        match (&seen.answer, seen.answer.page()) {
            (_, Some((page, soft))) => self.config.policy.reuse(
                &page.terms,
                self.config.age(page),
                soft,
                &self.parts.headers,
            ),
            (Answer::Miss(why), None) => Reuse::No(*why),
            (Answer::Page { .. }, None) => Reuse::No(Why::UriMiss),
        }
    }

    /// Whether what was seen may be served where making a fresh page fails.
    fn may_be_stale(&self, seen: &Seen) -> bool {
        matches!(self.reuse(seen), Reuse::IfError(_) | Reuse::WhileRevalidating)
    }

    /// Waits for those who make the page already, or becomes the one who does.
    async fn board<B: Body>(&mut self, seen: &mut Seen) -> Boarded<B> {
        let patience = self.config.flights.patience();
        for _ in 0..MOST_WAITS {
            match self.config.flights.board(&self.flight(seen)) {
                Role::Alone => return Boarded::Make(None),
                Role::Lead(leader) => {
                    // The page may have been stored between the look and the boarding.
                    *seen = self.look().await;
                    return match self.fresh(seen) {
                        Some(answer) => Boarded::Answer(answer),
                        None => Boarded::Make(Some(leader)),
                    };
                }
                Role::Follow(follower) => match follower.wait(patience).await {
                    Some(Landing::Page(record)) => {
                        if let Some(answer) = self.collapsed(&record) {
                            return Boarded::Answer(answer);
                        }
                    }
                    // The origin need not hear from each of them that it fails.
                    Some(Landing::Failed) if self.may_be_stale(seen) => {
                        return Boarded::Answer(self.stale(seen));
                    }
                    Some(Landing::Uncacheable) | None => return Boarded::Make(None),
                    Some(Landing::Failed | Landing::Aloft) => {}
                },
            }
            *seen = self.look().await;
            if let Some(answer) = self.fresh(seen) {
                return Boarded::Answer(answer);
            }
        }
        Boarded::Make(None)
    }

    /// What those share who may be given the same page.
    fn flight(&self, seen: &Seen) -> String {
        let dimensions = self.config.policy.dimensions(&seen.vary, &self.parts.headers);
        format!("{:?}{:?}", self.keys.variant(&dimensions), seen.purged())
    }

    /// What another request got, where this one may be given it too.
    fn collapsed<B: Body>(&self, record: &Record) -> Option<Answered<B>> {
        let page = record.page().filter(|page| page.material == self.keys.material)?;
        let policy = &self.config.policy;
        if !policy.matches(&page.dimensions, &self.parts.headers) {
            return None;
        }
        let age = self.config.age(page);
        match policy.reuse(&page.terms, age, false, &self.parts.headers) {
            Reuse::Fresh(_) => {
                self.config.count(Event::Hit);
                Some(self.marked(self.config.answer(
                    page,
                    age,
                    &self.parts,
                    self.notice,
                    How::Collapsed,
                )))
            }
            _ => None,
        }
    }

    /// A stale page now, and a fresh one made meanwhile, unless somebody makes it already.
    fn answer_meanwhile<S, Q, B>(mut self, inner: S, body: Q, seen: &Seen) -> Answered<B>
    where
        S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Send,
    {
        let answer = self.stale(seen);
        let headers = &self.parts.headers;
        // One whose answer may not be kept is none to make it for: then nobody else would for a while.
        let makes = self.parts.method == Method::GET
            && !headers.contains_key(RANGE)
            && !self.config.policy.is_particular(headers);
        if makes && let Role::Lead(leader) = self.config.flights.board(&self.flight(seen)) {
            tokio::spawn(async move {
                // As in `board`: another one may have stored it just before this one began.
                let seen = self.look().await;
                if matches!(self.reuse(&seen), Reuse::Fresh(_)) {
                    return;
                }
                if let Ok(response) = self.make(inner, body, seen, Some(leader), Why::Stale).await {
                    drain(response.into_body()).await;
                }
            });
        }
        answer
    }

    fn stale<B: Body>(&self, seen: &Seen) -> Answered<B> {
        self.config.count(Event::Stale);
        match seen.answer.page() {
            Some((page, _)) => self.answer(page, How::Stored),
            None => Response::default(),
        }
    }

    fn answer<B: Body>(&self, page: &Page, how: How) -> Answered<B> {
        self.marked(self.config.answer(page, self.config.age(page), &self.parts, self.notice, how))
    }

    fn marked<B: Body>(&self, answer: Answered<B>) -> Answered<B> {
        Mark::of(&self.parts).put(answer)
    }

    fn miss(&mut self, why: Why) {
        self.unanswered =
            Some(Unanswered { config: Arc::clone(&self.config), event: Event::Miss(why) });
    }

    /// Counts why a response is not stored.
    fn refuse(&mut self, why: Why) {
        match &mut self.unanswered {
            Some(unanswered) if why == Why::ByView => unanswered.event = Event::Bypass(why),
            _ => self.config.count(Event::Refused(why)),
        }
    }

    /// Asks the service inside, and stores nothing.
    async fn forward<S, Q, B>(
        self,
        mut inner: S,
        body: Q,
        why: Why,
    ) -> Result<Answered<B>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body,
    {
        let Self { config, mut parts, mut unanswered, .. } = self;
        let mark = Mark::of(&parts);
        parts.extensions.insert(TellOuter);
        let response = inner.call(Request::from_parts(parts, body)).await?;
        if let Some(unanswered) = unanswered.as_mut().filter(|_| is_by_view(response.extensions()))
        {
            unanswered.event = Event::Bypass(Why::ByView);
        }
        Ok(passed(&config, response, why, mark))
    }

    /// Asks the service inside, and stores what may be stored. The client's conditions are for its copy and not for the
    /// one to be stored, so the service does not see them.
    async fn make<S, Q, B>(
        self,
        mut inner: S,
        body: Q,
        seen: Seen,
        leader: Option<Leader>,
        why: Why,
    ) -> Result<Answered<B>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body + Send + 'static,
    {
        let mut parts = self.parts.clone();
        STRIPPED.iter().for_each(|name| drop(parts.headers.remove(name)));
        let validating = self.validate(&seen, &mut parts.headers);
        parts.extensions.insert(TellOuter);
        let instead = self.may_be_stale(&seen);
        let outcome = inner.call(Request::from_parts(parts, body)).await;
        if instead && outcome.as_ref().map_or(true, |response| Config::is_error(response.status()))
        {
            if let Some(leader) = leader {
                leader.land(Landing::Failed);
            }
            return Ok(self.stale(&seen));
        }
        let response = outcome?;
        if validating && response.status() == StatusCode::NOT_MODIFIED {
            let new = response.headers();
            let mut answer = self.freshen(seen, leader, new.clone(), why).await;
            // They are for whoever caused them, and for nobody else.
            for cookie in new.get_all(SET_COOKIE) {
                answer.headers_mut().append(SET_COOKIE, cookie.clone());
            }
            return Ok(answer);
        }
        Ok(self.keep(seen, leader, response, why).await)
    }

    /// Asks whether a page of the store is still right, in a shared cache.
    fn validate(&self, seen: &Seen, headers: &mut HeaderMap) -> bool {
        let Some((page, _)) = seen.answer.page().filter(|_| self.config.policy.is_shared()) else {
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

    fn decide(&self, head: &response::Parts, length: BodyLength) -> Result<Terms, Why> {
        if is_by_view(&head.extensions) {
            return Err(Why::ByView);
        }
        if head.extensions.get::<NoStore>().is_some() {
            return Err(Why::OptOut);
        }
        let now = self.config.clock.unix_time();
        self.config.policy.store(&self.parts.headers, head.status, &head.headers, length, now)
    }

    /// Passes a response on, with a copy for the store if that may have it.
    async fn keep<B>(
        mut self,
        seen: Seen,
        leader: Option<Leader>,
        response: Response<B>,
        why: Why,
    ) -> Answered<B>
    where
        B: Body + Send + 'static,
    {
        let (mut head, body) = response.into_parts();
        let length = body.size_hint().exact().map_or(BodyLength::Unknown, BodyLength::Known);
        // Of what is not stored, nothing is lost with the body of a response that the client has already.
        let (outcome, all_there, body) = match self.decide(&head, length) {
            Err(refusal) => {
                self.refuse(refusal);
                if let Some(leader) = leader {
                    leader.land(Landing::Uncacheable);
                }
                (Some(Err(refusal)), true, CachedBody::through(body))
            }
            Ok(terms) => {
                let page = self.unfinished(seen, leader, &mut head, terms, length);
                let mut tee = Box::new(Tee::new(body, Fill::new(page)));
                poll_fn(|context| tee.poll_gather(context)).await;
                (tee.outcome, tee.is_over(), CachedBody::tee(tee))
            }
        };
        self.config.strip_targets(&mut head.headers);
        if !matches!(outcome, Some(Err(_))) {
            let now = || self.config.clock.unix_time();
            self.config.announce_for_browser(&mut head.headers, Duration::ZERO, now);
        }
        let detail = outcome.and_then(Result::err);
        let status = Status::Forwarded {
            why,
            status: Some(head.status),
            stored: outcome == Some(Ok(())),
            detail,
        };
        if all_there && let Some(short) = self.not_modified(&head, &status) {
            return short;
        }
        self.config.report(&mut head.headers, &status);
        self.marked(Response::from_parts(head, body))
    }

    fn unfinished(
        &self,
        seen: Seen,
        leader: Option<Leader>,
        head: &mut response::Parts,
        terms: Terms,
        length: BodyLength,
    ) -> Unfinished {
        let config = Arc::clone(&self.config);
        let came = (config.clock.now(), config.clock.unix_time());
        config.announce(&mut head.headers, &terms, came.1);
        let mut headers = to_store(&head.headers);
        config.strip_targets(&mut headers);
        let length = match length {
            BodyLength::Known(length) => Some(length),
            BodyLength::Unknown => stated_length(&head.headers).ok().flatten(),
        };
        Unfinished {
            tags: self.tags(head.extensions.get()),
            keys: self.keys.clone(),
            began: self.began,
            came,
            asked: self.parts.headers.clone(),
            status: head.status,
            config,
            seen,
            terms,
            headers,
            length,
            leader,
        }
    }

    fn tags(&self, added: Option<&CacheTags>) -> Vec<String> {
        let added = added.map(|tags| &*tags.0).unwrap_or_default();
        let mut tags: Vec<String> = self.config.tags.iter().chain(added).cloned().collect();
        tags.sort_unstable();
        tags.dedup();
        tags.iter().map(|tag| self.config.keying.generation_of_tag(tag).to_string()).collect()
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
        self.config.report(&mut short, status);
        Some(self.marked(respond(StatusCode::NOT_MODIFIED, short, bytes::Bytes::new())))
    }

    /// The origin says that the stored page is still right: it lives anew, with what the origin says of it now.
    async fn freshen<B: Body>(
        self,
        seen: Seen,
        leader: Option<Leader>,
        new: HeaderMap,
        why: Why,
    ) -> Answered<B> {
        let Some((page, _)) = seen.answer.page() else { return Response::default() };
        let now = self.config.clock.unix_time();
        let headers = freshened(page, &new, now);
        let (mut head, ()) = Response::new(()).into_parts();
        (head.status, head.headers) = (page.status, headers);
        let body = page.body.clone();
        let length = BodyLength::Known(body.len() as u64);
        let mut fallback =
            Page { headers: to_store(&head.headers), stored: now, born: None, ..page.clone() };
        fallback.terms.age = Duration::ZERO;
        self.config.strip_targets(&mut fallback.headers);
        let kept = How::Validated { why, stored: true };
        let once = How::Validated { why, stored: false };
        let terms = match self.decide(&head, length) {
            Ok(terms) => terms,
            Err(refusal) => {
                self.config.count(Event::Refused(refusal));
                if let Some(leader) = leader {
                    leader.land(Landing::Uncacheable);
                }
                return self.answer(&fallback, once);
            }
        };
        let unfinished = self.unfinished(seen, leader, &mut head, terms, length);
        let stored = unfinished.store(body).await.ok();
        match stored.as_deref().and_then(Record::page) {
            Some(page) => self.answer(page, kept),
            None => self.answer(&fallback, once),
        }
    }
}

fn is_by_view(response: &Extensions) -> bool {
    response.get::<ByView>().is_some()
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
    config: Arc<Config>,
    mut inner: S,
    parts: Parts,
    body: Q,
) -> Result<Answered<B>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    let (asked, mark) = (parts.clone(), Mark::of(&parts));
    let response = inner.call(Request::from_parts(parts, body)).await?;
    if response.status().is_success() || response.status().is_redirection() {
        for key in changed(&config, &asked, response.headers()) {
            let purge = config.shelf.purge(&key, Purge::Hard, config.clock.unix_time());
            // Logged; the change is made all the same.
            let _ = config
                .in_time(async { purge.await.map_err(|error| config.shelf.failed(&error)) })
                .await;
        }
    }
    Ok(passed(&config, response, Why::Method, mark))
}

fn changed(config: &Config, asked: &Parts, headers: &HeaderMap) -> Vec<Name> {
    let references = [LOCATION, CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok());
    let uris = references.filter_map(|reference| reference.parse::<Uri>().ok());
    let absolute = uris.filter(|uri| uri.path().starts_with('/'));
    let target = config.keying.target(asked);
    target
        .into_iter()
        .chain(absolute.filter_map(|uri| config.keying.neighbour(asked, &uri)))
        .collect()
}
