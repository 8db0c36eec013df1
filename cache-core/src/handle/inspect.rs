//! Listing keys and inspecting an entry, for operators.

use std::{fmt, time::Duration};

use serde::de::DeserializeOwned;

use crate::{
    CacheHandle, KeyPages, ListedKey, Location, Result, Ttl, Value,
    codec::{self, Codecs, Layout},
    meta::{Tag, Times},
    tags::Generation,
};

/// Listing keys and inspecting entries, for operators.
impl CacheHandle {
    /// Lists the keys of this handle's KEY_PREFIX and VERSION that begin with `prefix`.
    ///
    /// Returns `None` if the store cannot list its keys, or if the handle has a custom key
    /// function, whose keys cannot be told from others. Records of cachette itself, such as locks,
    /// are not listed.
    ///
    /// A key that the function [`Hashed`](crate::KeyFunction::Hashed) has replaced is listed as its
    /// digest, which is not a key for other methods.
    ///
    /// # Performance
    ///
    /// For operators, not for applications: most stores look at all of their keys. See
    /// [`Inspector::keys`](crate::Inspector::keys) for the cost and the consistency.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cache_core::{CacheHandle, Result};
    /// # async fn print(cache: &CacheHandle) -> Result<()> {
    /// let mut keys = cache.keys("user:").expect("the store lists its keys");
    /// while let Some(page) = keys.next_page().await? {
    ///     page.iter().for_each(|listed| println!("{}", listed.key));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Option<Keys<'_>> {
        self.view.composer.listed_head()?;
        self.inner().inspector()?;
        Some(Keys { cache: self, prefix: prefix.into(), begun: None })
    }

    /// Reads an entry with all that is known about it, or what is known about an absent key.
    ///
    /// Unlike [`get`](Self::get), it also returns an entry that is stale or cannot be decoded.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors). An outage is an error, whatever the alias is configured to
    /// do.
    ///
    /// # Performance
    ///
    /// Takes several round trips.
    pub async fn inspect(&self, key: &str) -> Result<Inspection> {
        if self.must_learn() {
            self.learn().await?;
        }
        self.inspect_key(&self.key(key)?, true).await
    }

    /// Like [`inspect`](Self::inspect), but takes a composed key, of any prefix and version.
    ///
    /// The [state](InspectedTag::state) of tags is `None` if the key does not have the KEY_PREFIX
    /// of this handle.
    ///
    /// # Errors
    ///
    /// Those of [`inspect`](Self::inspect).
    pub async fn inspect_composed(&self, composed: &str) -> Result<Inspection> {
        self.inspect_key(composed, self.view.composer.may_have_composed(composed)).await
    }

    async fn inspect_key(&self, composed: &str, is_own: bool) -> Result<Inspection> {
        let at = |error| self.at(error);
        let location = match self.inner().inspector() {
            Some(inspector) => {
                let side = self.view.composer.lease_side(composed);
                Some(inspector.locate(composed, &side).await.map_err(at)?)
            }
            None => None,
        };
        let value = self.inner().get(composed).await.map_err(at)?;
        let ttl = self.inner().ttl(composed).await.map_err(at)?;
        let entry = match value.zip(ttl) {
            Some((value, ttl)) => Some(self.inspected(value, ttl, is_own).await?),
            None => None,
        };
        Ok(Inspection { composed_key: composed.into(), location, entry })
    }

    async fn inspected(&self, value: Value, ttl: Ttl, is_own: bool) -> Result<InspectedEntry> {
        let layout = codec::layout(&value);
        let Layout { format, codec, meta } = layout.unwrap_or_else(|_| Layout::damaged());
        let now = self.view.clock.unix_time();
        Ok(InspectedEntry {
            ttl,
            format,
            codec,
            freshness: meta.times.map(|times| Freshness::new(times, now)),
            tags: self.inspected_tags(&meta.tags, is_own).await?,
            value,
            codecs: self.view.codecs.clone(),
        })
    }

    async fn inspected_tags(&self, tags: &[Tag], is_own: bool) -> Result<Vec<InspectedTag>> {
        let names: Vec<&str> = tags.iter().map(|tag| &*tag.name).collect();
        let states: Vec<Option<TagState>> = match is_own {
            _ if tags.is_empty() => Vec::new(),
            false => vec![None; tags.len()],
            true => {
                let records = self.read_tags(&names).await?.into_iter();
                tags.iter().zip(records).map(|(tag, now)| Some(TagState::of(tag, now))).collect()
            }
        };
        let names = names.into_iter().map(str::to_owned);
        Ok(names.zip(states).map(|(name, state)| InspectedTag { name, state }).collect())
    }
}

/// The pages of [`CacheHandle::keys`].
pub struct Keys<'a> {
    cache: &'a CacheHandle,
    prefix: String,
    /// `None` before the first page.
    begun: Option<Begun<'a>>,
}

struct Begun<'a> {
    /// What all composed keys of the handle begin with.
    head: String,
    pages: Box<dyn KeyPages + 'a>,
}

impl<'a> Keys<'a> {
    /// Returns the next keys, as callers know them, possibly none, or `None` at the end.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors). The listing cannot be continued after an error.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        if self.begun.is_none() {
            if self.cache.must_learn() {
                self.cache.learn().await?;
            }
            self.begun = self.begin();
        }
        let Some(begun) = &mut self.begun else { return Ok(None) };
        let page = begun.pages.next_page().await.map_err(|error| self.cache.at(error))?;
        Ok(page.map(|page| page.into_iter().filter_map(|listed| begun.callers(listed)).collect()))
    }

    fn begin(&self) -> Option<Begun<'a>> {
        let cache = self.cache;
        let head = match cache.key_generation() {
            None => cache.view.composer.listed_head()?,
            Some(number) => cache.view.composer.in_generation(number).listed_head()?,
        };
        let pages = cache.inner().inspector()?.keys(&format!("{head}{}", self.prefix));
        Some(Begun { head, pages })
    }
}

impl Begun<'_> {
    fn callers(&self, ListedKey { mut key, state }: ListedKey) -> Option<ListedKey> {
        key.strip_prefix(&*self.head)?;
        key.drain(..self.head.len());
        Some(ListedKey { key, state })
    }
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What is known about a key, by [`CacheHandle::inspect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The key that the store receives.
    pub composed_key: String,
    /// Where the entry lies, or would lie. `None` if the store cannot tell.
    pub location: Option<Location>,
    /// The entry, or `None` if the key is absent or expired.
    pub entry: Option<InspectedEntry>,
}

/// An entry with what it records besides its value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InspectedEntry {
    /// The remaining time to live.
    pub ttl: Ttl,
    /// The version of the format, or `None` for an integer that the store keeps as one, and for an
    /// entry of another program.
    pub format: Option<u8>,
    /// How the value is encoded: `"integer"`, `"bytes"`, `"text"`, `"msgpack"`, `"json"`,
    /// `"postcard"`, or `"object"` for one that is kept in memory as it is; otherwise `"foreign"`
    /// for an entry of another program, `"unknown"` for a codec of another release, and
    /// `"damaged"`.
    pub codec: &'static str,
    /// When the entry becomes stale, if it records that.
    pub freshness: Option<Freshness>,
    /// The tags that the entry records.
    pub tags: Vec<InspectedTag>,
    value: Value,
    codecs: Codecs,
}

impl InspectedEntry {
    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Decode`](crate::ErrorKind::Decode) if the value cannot be decoded as a
    /// `T`.
    pub fn decode<T: DeserializeOwned + 'static>(&self) -> Result<T> {
        codec::decode(self.value.clone(), &self.codecs)
    }

    /// Returns the value as the store returned it, with its header.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// A tag that an entry records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedTag {
    /// The name.
    pub name: String,
    /// Whether the tag was purged since the entry read it, or `None` for an entry of another
    /// KEY_PREFIX.
    pub state: Option<TagState>,
}

/// What became of a tag since an entry read it.
///
/// `get` misses an entry unless all of its tags are current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagState {
    /// The tag was not purged.
    Current,
    /// The tag was [purged softly](crate::Purge::Soft): the entry is stale.
    PurgedSoft,
    /// The tag was [purged](crate::Purge::Hard): the entry is missing.
    PurgedHard,
    /// The store has lost the record of the tag, which another one may have replaced: the entry is
    /// missing.
    Lost,
}

impl TagState {
    fn of(tag: &Tag, now: Option<Generation>) -> Self {
        let Some(Generation { stamp, purged_at }) = now else { return Self::Lost };
        match [stamp.hard, stamp.soft].map(u64::to_be_bytes) {
            [hard, soft] if hard == tag.hard && soft == tag.soft => Self::Current,
            [hard, _] if hard == tag.hard => Self::PurgedSoft,
            // No purge has created this record.
            _ if purged_at.is_zero() => Self::Lost,
            _ => Self::PurgedHard,
        }
    }
}

/// When an entry becomes stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How long ago the entry was stored.
    pub age: Duration,
    /// For how long it is fresh, from when it was stored. `None`: it does not become stale.
    pub fresh: Option<Duration>,
}

impl Freshness {
    fn new(times: Times, now: Duration) -> Self {
        Self {
            age: now.saturating_sub(Duration::from_millis(times.born)),
            fresh: times.fresh.map(Duration::from_millis),
        }
    }

    /// Returns whether the entry is stale.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.fresh.is_some_and(|fresh| self.age >= fresh)
    }
}
