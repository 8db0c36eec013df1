//! The generations of pages: those of tags, which the engine of cache-core has, and those of a URI
//! and of the whole cache.
//!
//! # Purges while pages are produced
//!
//! A page may contain what a purge was meant to remove if the purge happens after the page's
//! request was looked up and before the page is stored. Such a page must not be stored, or must not
//! be reachable. If the generation existed at the lookup, its number shows that. If it did not
//! exist, no page can be reached.
//!
//! A purge of a tag creates the generation then, with the time of the purge. The tags of a page are
//! known only after its response, so that time is compared with the time of the lookup, and the
//! clocks of the machines must agree.
//!
//! A purge of a URI must not leave an entry of its own behind: requests that change something would
//! fill the store. Therefore:
//!
//! - A purge first changes a *purge record*, which it shares with other URIs, then reads the
//!   generation, and replaces it if it exists. There are 64 purge records, however many purges.
//! - A page is stored by first creating the generations that do not exist, and then reading its
//!   purge record. If that has changed since the lookup, the page is not stored.
//!
//! A purge that does not find a generation has changed the record before the generation was
//! created, so the page is not stored. A purge that finds it replaces it, and the page, which is
//! stamped with the old number, is not reachable. This needs no clock. It holds if the store does
//! not evict the record within the time in which a page is produced. A page for which another URI's
//! purge has changed the record is not stored either, and the next request produces it again.
//!
//! In one process, [`Fill`] knows the purges of each generation. A store of this process needs no
//! purge records.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    CacheHandle, Error, ErrorKind, Purge, Result as StoreResult, Timeout,
    tags::{DAY, Fill, Generation, GenerationId, PurgeCounter, Record, Records, remember_purge},
};
use futures_util::future::{join, join_all};

use crate::{
    date::UnixTime,
    key::{StoreKey, purge_record},
};

/// The generations in a cache.
#[derive(Clone, Debug)]
pub(crate) struct GenerationStore {
    cache: CacheHandle,
    /// Whether the store is in this process.
    local: bool,
}

/// A generation that a new page is stamped with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The composed key.
    pub(crate) key: &'a str,
    pub(crate) before: Before,
    pub(crate) kind: Kind,
    /// The time to live of a generation that is created. `None` is forever.
    pub(crate) ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Purges of it change this record.
    Recorded(StoreKey),
    /// That of a tag, or of the prefix of a path.
    Tag,
}

/// What was known of a generation before the page was produced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// It was read, and present or absent.
    Read(Option<Generation>),
    /// It was not read. The tags of a page are known only after its response.
    Unknown,
}

/// A purge record, with its content if it has any.
pub(crate) type PurgeRecord = (StoreKey, Option<Generation>);

/// What is known about the production of a page when purges are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Production<'a> {
    /// When the request for the page was looked up.
    pub(crate) looked_up_at: UnixTime,
    /// The purge record that the lookup has read.
    pub(crate) record_before: PurgeRecord,
    /// The purge records after the generations of the page were created.
    pub(crate) records: &'a [PurgeRecord],
    pub(crate) fill: Option<&'a Fill>,
}

/// The time to live of a purge record, and of a generation that no page has: as long as it may take
/// to produce a page.
pub(crate) const FILL_TIME: Duration = Duration::from_secs(600);

impl Production<'_> {
    /// Whether a purge record has changed since the lookup, by its number if the lookup has read
    /// it, and by its time if not.
    fn is_recorded(&self, key: StoreKey) -> bool {
        let record = self.records.iter().find(|(record, _)| *record == key);
        let Some(record) = record.and_then(|(_, record)| *record) else { return false };
        let (key_before, before) = self.record_before;
        if key_before == key {
            return before.is_none_or(|before| before.stamp != record.stamp);
        }
        record.purged_at > self.looked_up_at
    }
}

impl GenerationStore {
    pub(crate) fn new(cache: CacheHandle, local: bool) -> Self {
        Self { cache, local }
    }

    /// Reads generations, in the order of their composed keys: in one round trip, unless the store
    /// is in this process.
    pub(crate) async fn read(&self, keys: &[&str]) -> StoreResult<Vec<Option<Generation>>> {
        self.records().read(keys).await
    }

    /// Reads the generation with this key, which is not composed.
    pub(crate) async fn read_named(&self, name: &str) -> StoreResult<Option<Generation>> {
        let found = self.cache.get::<Bytes>(name).await?;
        Ok(found.and_then(|bytes| Generation::from_bytes(&bytes)))
    }

    /// Reads the generations of a new page, and creates those that are missing.
    ///
    /// Reads all of them in one round trip, and creates the missing ones at the same time.
    pub(crate) async fn read_or_create(
        &self,
        wanted: &[Wanted<'_>],
        looked_up_at: UnixTime,
    ) -> StoreResult<Vec<Record>> {
        let keys: Vec<_> = wanted.iter().map(|wanted| (wanted.key, wanted.ttl)).collect();
        let records = self.records().read_or_create(&keys).await?;
        let keep = wanted
            .iter()
            .zip(&records)
            .map(|(wanted, record)| self.keep_recorded(wanted, record.generation, looked_up_at));
        join_all(keep).await.into_iter().collect::<StoreResult<()>>()?;
        Ok(records)
    }

    /// A purge of a URI leaves its generation for a short time. If a page is stamped with it, it
    /// must live longer.
    async fn keep_recorded(
        &self,
        wanted: &Wanted<'_>,
        current: Generation,
        looked_up_at: UnixTime,
    ) -> StoreResult<()> {
        let is_new = !current.purged_at.is_zero()
            && current.purged_at.saturating_add(FILL_TIME) >= looked_up_at;
        if is_new && matches!(wanted.kind, Kind::Recorded(_)) && wanted.ttl.is_some() {
            self.cache.store().touch(wanted.key, wanted.ttl).await?;
        }
        Ok(())
    }

    /// Makes the generations of tags outlive a page with this time to live, while `other` runs.
    pub(crate) async fn keep_tags<T>(
        &self,
        wanted: &[Wanted<'_>],
        records: &[Record],
        ttl: Duration,
        other: impl Future<Output = T>,
    ) -> T {
        let tags = wanted.iter().zip(records);
        let tags: Vec<&str> = tags
            .filter(|(wanted, record)| matches!(wanted.kind, Kind::Tag) && !record.is_new)
            .map(|(wanted, _)| wanted.key)
            .collect();
        join(self.records().keep(&tags, Some(ttl)), other).await.1
    }

    /// The keys of the purge records that show whether a generation was purged while a page was
    /// produced. They must be read after [`read_or_create`](Self::read_or_create).
    pub(crate) fn purge_records(&self, wanted: &[Wanted<'_>]) -> Vec<StoreKey> {
        let mut records: Vec<StoreKey> = Vec::new();
        if self.local {
            return records;
        }
        for wanted in wanted {
            if let (Kind::Recorded(record), Before::Read(None) | Before::Unknown) =
                (wanted.kind, wanted.before)
                && !records.contains(&record)
            {
                records.push(record);
            }
        }
        records
    }

    /// Whether a generation was purged while a page was produced.
    pub(crate) fn is_purged(
        &self,
        wanted: &Wanted<'_>,
        current: Generation,
        production: Production<'_>,
    ) -> bool {
        match wanted.before {
            Before::Read(Some(before)) => current.stamp != before.stamp,
            // It was created and purged since.
            Before::Read(None) if !current.purged_at.is_zero() => true,
            Before::Read(None) | Before::Unknown => {
                let id = self.records().id(wanted.key);
                current.purged_at > production.looked_up_at
                    || production.fill.is_some_and(|fill| fill.is_purged(id))
                    || matches!(wanted.kind, Kind::Recorded(key) if production.is_recorded(key))
            }
        }
    }

    /// Replaces the generation of a URI if it exists, or that of the whole cache, which is kept
    /// forever. The key is not composed.
    ///
    /// After a hard purge, no page has the new one. It then only concerns pages that are being
    /// produced.
    pub(crate) async fn purge(
        &self,
        name: &str,
        purge: Purge,
        keep_forever: bool,
        now: UnixTime,
    ) -> StoreResult<()> {
        remember_purge(self.id(name));
        let old = if self.local {
            self.read_named(name).await?
        } else {
            self.record_purge(name, now).await?
        };
        if old.is_none() && (self.local || !keep_forever) {
            return Ok(());
        }
        let new = Generation::after_purge(old, purge, now);
        let timeout = if keep_forever {
            Timeout::Never
        } else if purge == Purge::Soft {
            Timeout::After(DAY * 60)
        } else {
            Timeout::After(FILL_TIME)
        };
        self.store(name, new, timeout).await?;
        PurgeCounter::of(name).count();
        Ok(())
    }

    /// Stores a generation, or returns an error. `set` does not report what a store has not stored.
    async fn store(&self, name: &str, new: Generation, timeout: Timeout) -> StoreResult<()> {
        let rejected = self.cache.set_many([(name, new)], timeout).await?;
        if rejected.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the store has not stored the record {:?}: it is full, or its server is away",
            self.cache.composed_key(name)
        );
        let error = Error::new(ErrorKind::StorageFull, message);
        Err(error.in_store(self.cache.store().name()).in_cache(self.cache.alias()))
    }

    /// Changes the purge record of a generation, and returns the generation as it was afterwards.
    async fn record_purge(&self, name: &str, now: UnixTime) -> StoreResult<Option<Generation>> {
        let record = purge_record(name);
        let changed = Generation::after_purge(None, Purge::Hard, now);
        let changed = self.store(&record, changed, Timeout::After(FILL_TIME));
        let (changed, generation) = tokio::join!(changed, self.read_named(name));
        changed?;
        // A generation that was read before the record was changed exists and is replaced. If there
        // was none, it may have been created before that.
        match generation? {
            Some(generation) => Ok(Some(generation)),
            None => self.read_named(name).await,
        }
    }

    /// Replaces the generation of a tag or of a prefix. The key is composed.
    pub(crate) async fn purge_tag(
        &self,
        key: &str,
        purge: Purge,
        now: UnixTime,
    ) -> StoreResult<()> {
        self.records().purge(&[key], purge, now).await
    }

    /// The identity of the generation with this key, which is not composed.
    pub(crate) fn id(&self, name: &str) -> GenerationId {
        self.records().id(&self.cache.composed_key(name))
    }

    fn records(&self) -> Records<'_> {
        Records::of(&self.cache)
    }
}
