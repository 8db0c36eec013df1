//! A page whose body is being collected, until it is stored or rejected.

use std::{mem, sync::Arc};

use bytes::Bytes;
use cache_core::{
    Moment,
    tags::{Fill, GenerationCheck},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};

use crate::{
    context::RequestContext,
    counts::Event,
    date::UnixTime,
    fill_budget::Reservation,
    flights::Outcome,
    key::Keys,
    page_store::{Lookup, NewPage},
    policy::{BodyLength, CacheMeta, Reason},
    record::{Page, Record},
    response_headers::add_etag,
    settings::{Leader, Settings},
};

/// Collects the body of a page.
///
/// If it is dropped before the page is stored, the page is rejected as incomplete.
pub(crate) struct BodyCollector {
    page: Option<PendingPage>,
    /// Shared with the frames that are passed on. Most bodies have only one, which is stored
    /// without a copy.
    chunks: Vec<Bytes>,
    length: u64,
    reservation: Arc<Reservation>,
}

/// What a chunk takes in memory beside its data.
const CHUNK_BYTES: u64 = 128;

/// Everything that a page consists of, except its body.
pub(crate) struct PendingPage {
    pub(crate) settings: Arc<Settings>,
    pub(crate) keys: Keys,
    pub(crate) lookup: Lookup,
    /// When the request was looked up.
    pub(crate) looked_up_at: UnixTime,
    /// When the head of the response was received, by both clocks. The age of the page counts from
    /// then, however long the body takes.
    pub(crate) received_at: (Moment, UnixTime),
    pub(crate) request_headers: HeaderMap,
    pub(crate) meta: CacheMeta,
    /// The keys of the generations of the page's tags.
    pub(crate) tags: Vec<String>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The length of the body, if it is known.
    pub(crate) length: Option<u64>,
    pub(crate) leader: Option<Leader>,
    /// Ends when the page is stored.
    pub(crate) fill: Option<Arc<Fill>>,
}

impl BodyCollector {
    /// Creates a collector of a body with memory from [`reserve`](RequestContext::reserve).
    pub(crate) fn new(page: PendingPage, reservation: Reservation) -> Self {
        let reservation = Arc::new(reservation);
        Self { page: Some(page), chunks: Vec::new(), length: 0, reservation }
    }

    pub(crate) fn reservation(&self) -> Arc<Reservation> {
        Arc::clone(&self.reservation)
    }

    /// Adds a chunk, unless the body is then longer than it may be.
    pub(crate) fn push(&mut self, data: &Bytes) -> Result<(), Reason> {
        let Some(page) = &self.page else { return Ok(()) };
        let length = self.length.saturating_add(data.len() as u64);
        if page.length.is_some_and(|expected| length > expected) {
            return Err(Reason::Length);
        }
        if length > page.settings.policy.body_limit() {
            return Err(Reason::TooLarge);
        }
        self.reservation.grow_to(length + (self.chunks.len() as u64 + 1) * CHUNK_BYTES)?;
        self.length = length;
        self.chunks.push(data.clone());
        Ok(())
    }

    /// Whether the body is as long as announced.
    pub(crate) fn is_complete(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.length == Some(self.length))
    }

    pub(crate) fn reject(mut self, reason: Reason) {
        if let Some(page) = self.page.take() {
            reject(&page.settings, page.leader, reason);
        }
    }

    /// Stores the page, unless its body is shorter than announced.
    pub(crate) async fn store(mut self) -> Result<(), Reason> {
        let length = self.length;
        let Some(page) = self.page.take() else { return Err(Reason::Incomplete) };
        if page.length.is_some_and(|expected| expected != length) {
            return Err(reject(&page.settings, page.leader, Reason::Length));
        }
        let body = match &mut *self.chunks {
            [only] => mem::take(only),
            chunks => chunks.concat().into(),
        };
        self.chunks.clear();
        page.store(body).await.map(drop)
    }
}

impl RequestContext {
    /// Reserves memory for a body, as far as its length is known.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::FillBytes`] if other bodies take too much memory.
    pub(crate) fn reserve(&self, length: BodyLength) -> Result<Reservation, Reason> {
        let reservation = self.settings.fill_budget.reservation();
        if let BodyLength::Known(length) = length {
            reservation.grow_to(length + CHUNK_BYTES)?;
        }
        Ok(reservation)
    }
}

impl Drop for BodyCollector {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            reject(&page.settings, page.leader, Reason::Incomplete);
        }
    }
}

impl PendingPage {
    /// Adds the generations of tags.
    pub(crate) fn add_tags(&mut self, generations: impl IntoIterator<Item = String>) {
        for generation in generations {
            if !self.tags.contains(&generation) {
                self.tags.push(generation);
            }
        }
    }

    /// Stores the page and completes the flight of the requests that wait for it.
    pub(crate) async fn store(self, body: Bytes) -> Result<Arc<Record>, Reason> {
        let Self {
            settings,
            keys,
            lookup,
            looked_up_at,
            received_at: (received_at, stored_at),
            request_headers,
            meta,
            tags,
            status,
            mut headers,
            leader,
            fill,
            ..
        } = self;
        let ttl = meta.store_ttl().saturating_sub(settings.clock.now().since(received_at));
        if ttl.is_zero() {
            return Err(reject(&settings, leader, Reason::Expired));
        }
        // A 204 has no Content-Length (RFC 9110, section 8.6).
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if status == StatusCode::OK {
            add_etag(&mut headers, &settings, &body);
        }
        // Each hit sets this header. It is present so that the map need not grow then.
        headers.insert(AGE, HeaderValue::from_static("0"));
        let vary = meta.vary.clone();
        let make = |stamps, names: Vec<_>| Page {
            preimage: Bytes::copy_from_slice(&keys.preimage),
            stamps,
            secondary_key: settings.policy.secondary_key(&names, &request_headers),
            meta,
            stored_at,
            received_at: settings.page_store.local.then_some(received_at),
            check: GenerationCheck::default(),
            status,
            headers,
            body,
        };
        let new = NewPage {
            keys: &keys,
            lookup: &lookup,
            looked_up_at,
            fill: fill.as_deref(),
            tags: &tags,
            vary: &vary,
            ttl,
            policy: &settings.policy,
            admission: &settings.admission,
        };
        match settings.with_store_timeout(settings.page_store.insert(&new, make)).await {
            Ok(record) => {
                settings.count(Event::Stored);
                match leader {
                    Some(leader) => leader.complete(Outcome::Shared(Arc::clone(&record))),
                    None => {
                        let key = lookup.flight_key(&keys, &settings.policy, &request_headers);
                        settings.flights.produced(&key);
                    }
                }
                Ok(record)
            }
            Err(reason) => Err(reject(&settings, leader, reason)),
        }
    }
}

/// Counts why a page is not stored.
///
/// One of the requests that wait for the page produces it. If its response cannot be stored either,
/// they produce their own, unless the reason does not concern the page itself.
fn reject(settings: &Settings, leader: Option<Leader>, reason: Reason) -> Reason {
    settings.count(Event::Rejected(reason));
    if let Some(leader) = leader {
        leader.complete(match reason {
            Reason::Incomplete | Reason::Purged | Reason::FillBytes => Outcome::Retry,
            _ => Outcome::Unshareable,
        });
    }
    reason
}
