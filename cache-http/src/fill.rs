//! A page that is being collected, until it is stored or refused.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cache_core::Moment;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};

use crate::{
    config::Config,
    counts::Event,
    date::UnixTime,
    flight::{Landing, Leader},
    generation::Checked,
    key::Keys,
    policy::{Terms, Why},
    shelf::{Place, Seen},
    stored::{Page, Record},
};

/// All that a page is made of but its body. Dropped, it is a page whose reader went away.
pub(crate) struct Fill {
    page: Option<Unfinished>,
    collected: BytesMut,
    /// The first part alone: most bodies have no more, and then it is stored as it is.
    first: Bytes,
}

pub(crate) struct Unfinished {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Keys,
    pub(crate) seen: Seen,
    /// When the request was looked up.
    pub(crate) began: Duration,
    /// When the head of the response came, by both clocks: its age counts from then, however long the body takes.
    pub(crate) came: (Moment, UnixTime),
    /// What the request said.
    pub(crate) asked: HeaderMap,
    pub(crate) terms: Terms,
    pub(crate) tags: Vec<String>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body's length, where it is known.
    pub(crate) length: Option<u64>,
    pub(crate) leader: Option<Leader>,
}

impl Fill {
    pub(crate) fn new(page: Unfinished) -> Self {
        Self { page: Some(page), collected: BytesMut::new(), first: Bytes::new() }
    }

    /// # Errors
    /// Where it is too much.
    pub(crate) fn push(&mut self, data: &Bytes) -> Result<(), Why> {
        let Some(page) = &self.page else { return Ok(()) };
        let length = self.length().saturating_add(data.len() as u64);
        if page.length.is_some_and(|stated| length > stated) {
            return Err(Why::Length);
        }
        if length > page.config.policy.body_limit() {
            return Err(Why::TooLarge);
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

    pub(crate) fn refuse(mut self, why: Why) {
        if let Some(page) = self.page.take() {
            page.refuse(why);
        }
    }

    /// Stores the page, where its body is complete.
    pub(crate) async fn store(mut self) -> Result<(), Why> {
        let length = self.length();
        let Some(page) = self.page.take() else { return Err(Why::Incomplete) };
        if page.length.is_some_and(|stated| stated != length) {
            page.refuse(Why::Length);
            return Err(Why::Length);
        }
        let body = if self.collected.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.collected.split().freeze()
        };
        page.store(body).await.map(drop)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            page.refuse(Why::Incomplete);
        }
    }
}

impl Unfinished {
    /// A page that nobody else waits for in vain.
    pub(crate) fn refuse(self, why: Why) {
        refuse(&self.config, self.leader, why);
    }

    pub(crate) async fn store(self, body: Bytes) -> Result<Arc<Record>, Why> {
        let Self {
            config,
            keys,
            seen,
            began,
            came: (born, stored),
            asked,
            terms,
            tags,
            status,
            mut headers,
            leader,
            ..
        } = self;
        let kept = terms.kept().saturating_sub(config.clock.now().since(born));
        if kept.is_zero() {
            return Err(refuse(&config, leader, Why::Expired));
        }
        // RFC 9110, section 8.6: a 204 has none.
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        // Makes room for what each hit puts there.
        headers.insert(AGE, HeaderValue::from_static("0"));
        let vary = terms.vary.clone();
        let make = |stamps, union: Vec<_>| Page {
            material: keys.material.clone().into(),
            stamps,
            dimensions: config.policy.dimensions(&union, &asked),
            terms,
            stored,
            born: config.shelf.local.then_some(born),
            checked: Checked::default(),
            status,
            headers,
            body,
        };
        let place = Place { keys: &keys, seen: &seen, began, tags: &tags, vary: &vary, kept };
        match config.in_time(config.shelf.keep(&place, make)).await {
            Ok(record) => {
                config.count(Event::Stored);
                if let Some(leader) = leader {
                    leader.land(Landing::Page(Arc::clone(&record)));
                }
                Ok(record)
            }
            Err(why) => Err(refuse(&config, leader, why)),
        }
    }
}

/// Counts why a page is not stored. Those who wait for it make their own, unless it only broke off, or was purged meanwhile:
/// then one of them takes over.
fn refuse(config: &Config, leader: Option<Leader>, why: Why) -> Why {
    config.count(Event::Refused(why));
    if let Some(leader) = leader
        && !matches!(why, Why::Incomplete | Why::Purged)
    {
        leader.land(Landing::Uncacheable);
    }
    why
}
