//! A page that is being collected, until it is stored or rejected.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cache_core::Moment;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};

use crate::{
    counts::Event,
    date::UnixTime,
    generation::GenerationCheck,
    key::Keys,
    page_store::{Lookup, NewPage},
    policy::{CacheMeta, Reason},
    record::{Page, Record},
    settings::Settings,
    single_flight::{Leader, Outcome},
};

/// All that a page is made of but its body. Dropped, it is a page whose reader went away.
pub(crate) struct BodyCollector {
    page: Option<PendingPage>,
    collected: BytesMut,
    /// The first part alone: most bodies have no more, and then it is stored as it is.
    first: Bytes,
}

pub(crate) struct PendingPage {
    pub(crate) settings: Arc<Settings>,
    pub(crate) keys: Keys,
    pub(crate) lookup: Lookup,
    /// When the request was looked up.
    pub(crate) started_at: Duration,
    /// When the head of the response came, by both clocks: its age counts from then, however long the body takes.
    pub(crate) came: (Moment, UnixTime),
    /// What the request said.
    pub(crate) asked: HeaderMap,
    pub(crate) meta: CacheMeta,
    pub(crate) tags: Vec<String>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body's length, where it is known.
    pub(crate) length: Option<u64>,
    pub(crate) leader: Option<Leader>,
}

impl BodyCollector {
    pub(crate) fn new(page: PendingPage) -> Self {
        Self { page: Some(page), collected: BytesMut::new(), first: Bytes::new() }
    }

    /// # Errors
    /// Where it is too much.
    pub(crate) fn push(&mut self, data: &Bytes) -> Result<(), Reason> {
        let Some(page) = &self.page else { return Ok(()) };
        let length = self.length().saturating_add(data.len() as u64);
        if page.length.is_some_and(|stated| length > stated) {
            return Err(Reason::Length);
        }
        if length > page.settings.policy.body_limit() {
            return Err(Reason::TooLarge);
        }
        if self.length() == 0 {
            self.first = data.clone();
        } else {
            if self.collected.is_empty() {
                self.collected.extend_from_slice(&self.first);
            }
            self.collected.extend_from_slice(data);
        }
        Ok(())
    }

    /// Whether as much was collected as was announced.
    pub(crate) fn has_all(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.length == Some(self.length()))
    }

    fn length(&self) -> u64 {
        self.collected.len().max(self.first.len()) as u64
    }

    pub(crate) fn reject(mut self, reason: Reason) {
        if let Some(page) = self.page.take() {
            page.reject(reason);
        }
    }

    /// Stores the page, where its body is complete.
    pub(crate) async fn store(mut self) -> Result<(), Reason> {
        let length = self.length();
        let Some(page) = self.page.take() else { return Err(Reason::Incomplete) };
        if page.length.is_some_and(|stated| stated != length) {
            page.reject(Reason::Length);
            return Err(Reason::Length);
        }
        let body = if self.collected.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.collected.split().freeze()
        };
        page.store(body).await.map(drop)
    }
}

impl Drop for BodyCollector {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            page.reject(Reason::Incomplete);
        }
    }
}

impl PendingPage {
    /// A page that nobody else waits for in vain.
    pub(crate) fn reject(self, reason: Reason) {
        reject(&self.settings, self.leader, reason);
    }

    pub(crate) async fn store(self, body: Bytes) -> Result<Arc<Record>, Reason> {
        let Self {
            settings,
            keys,
            lookup,
            started_at,
            came: (born, stored),
            asked,
            meta,
            tags,
            status,
            mut headers,
            leader,
            ..
        } = self;
        let kept = meta.store_ttl().saturating_sub(settings.clock.now().since(born));
        if kept.is_zero() {
            return Err(reject(&settings, leader, Reason::Expired));
        }
        // RFC 9110, section 8.6: a 204 has none.
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        // Makes room for what each hit puts there.
        headers.insert(AGE, HeaderValue::from_static("0"));
        let vary = meta.vary.clone();
        let make = |stamps, union: Vec<_>| Page {
            preimage: keys.preimage.clone().into(),
            stamps,
            secondary_key: settings.policy.secondary_key(&union, &asked),
            meta,
            stored,
            born: settings.page_store.local.then_some(born),
            checked: GenerationCheck::default(),
            status,
            headers,
            body,
        };
        let place =
            NewPage { keys: &keys, lookup: &lookup, started_at, tags: &tags, vary: &vary, kept };
        match settings.in_time(settings.page_store.keep(&place, make)).await {
            Ok(record) => {
                settings.count(Event::Stored);
                if let Some(leader) = leader {
                    leader.complete(Outcome::Page(Arc::clone(&record)));
                }
                Ok(record)
            }
            Err(reason) => Err(reject(&settings, leader, reason)),
        }
    }
}

/// Counts reason a page is not stored. Those who wait for it make their own, unless it only broke off, or was purged meanwhile:
/// then one of them takes over.
fn reject(settings: &Settings, leader: Option<Leader>, reason: Reason) -> Reason {
    settings.count(Event::Rejected(reason));
    if let Some(leader) = leader
        && !matches!(reason, Reason::Incomplete | Reason::Purged)
    {
        leader.complete(Outcome::Uncacheable);
    }
    reason
}
