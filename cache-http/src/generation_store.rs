//! Generations in a store: reading them in batches, creating missing ones, and purging.
//!
//! # Purges while pages are produced
//!
//! A page may contain what a purge was meant to remove if the purge happens after the page's
//! request was looked up and before the page is stored. Such a page must not be stored, or must not
//! be reachable. If the generation existed at the lookup, its number shows that. If it did not
//! exist, no page can be reached and the purge must not leave an entry of its own behind: requests
//! that change something would fill the store. Therefore:
//!
//! - A purge first changes a *purge record*, which it shares with other generations, then reads the
//!   generation, and replaces it if it exists. There are 64 purge records, however many purges.
//! - A page is stored by first creating the generations that do not exist, and then reading their
//!   purge records. If one has changed since the lookup, the page is not stored.
//!
//! A purge that does not find a generation has changed the record before the generation was
//! created, so the page is not stored. A purge that finds it replaces it, and the page, which is
//! stamped with the old number, is not reachable. This needs no clock. It holds if the store does
//! not evict the record within the time in which a page is produced.
//!
//! A page for which another URI's purge has changed the record is not stored either, and the next
//! request produces it again. The tags of a page are known only after its response. If one has no
//! generation, the time of the last purge in its record is compared with the time of the lookup, so
//! the clocks of the machines must agree.
//!
//! In one process, [`Fill`] knows the purges of each generation. A store of this process needs no
//! purge records.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{CacheHandle, Result as StoreResult, Timeout};
use futures_util::future::try_join_all;

use crate::{
    date::UnixTime,
    fill::{Fill, GenerationId, remember_purge},
    generation::{Generation, Purge, PurgeCounter},
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
    pub(crate) key: &'a str,
    pub(crate) before: Before,
    /// The timeout of a generation that is created.
    pub(crate) timeout: Timeout,
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

const DAY: Duration = Duration::from_secs(86_400);
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

    /// Reads generations, in the order of the keys: in one round trip, unless the store is in this
    /// process.
    pub(crate) async fn read(&self, keys: &[&str]) -> StoreResult<Vec<Option<Generation>>> {
        if self.local {
            let mut generations = Vec::with_capacity(keys.len());
            for key in keys {
                generations.push(self.read_one(key).await?);
            }
            return Ok(generations);
        }
        let found = self.cache.get_many::<Bytes, _>(keys.iter().copied()).await?;
        Ok(keys.iter().map(|key| Generation::from_bytes(found.get(key)?)).collect())
    }

    async fn read_one(&self, key: &str) -> StoreResult<Option<Generation>> {
        Ok(self.cache.get_shared(key).await?.map(|generation: Arc<Generation>| *generation))
    }

    /// Reads the generations of a new page, and creates those that are missing.
    ///
    /// Reads all of them in one round trip, and creates the missing ones at the same time.
    pub(crate) async fn read_or_create(
        &self,
        wanted: &[Wanted<'_>],
        looked_up_at: UnixTime,
    ) -> StoreResult<Vec<Generation>> {
        let keys: Vec<&str> = wanted.iter().map(|wanted| wanted.key).collect();
        let current = self.read(&keys).await?;
        let complete = wanted.iter().zip(current).map(async |(wanted, current)| match current {
            Some(current) => self.keep(wanted, current, looked_up_at).await,
            None => self.create(wanted).await,
        });
        try_join_all(complete).await
    }

    async fn create(&self, wanted: &Wanted<'_>) -> StoreResult<Generation> {
        let new = Generation::new();
        if !self.local && self.cache.add(wanted.key, &new, wanted.timeout).await? {
            return Ok(new);
        }
        // Another process may have been first, or an undecodable entry is replaced.
        let created = self.cache.get_or_set_shared(wanted.key, wanted.timeout, async || new).await;
        created.map(|created| *created)
    }

    /// A purge leaves a generation for a short time. If a page is stamped with it, it must live
    /// longer.
    async fn keep(
        &self,
        wanted: &Wanted<'_>,
        current: Generation,
        looked_up_at: UnixTime,
    ) -> StoreResult<Generation> {
        let is_new = !current.purged_at.is_zero()
            && current.purged_at.saturating_add(FILL_TIME) >= looked_up_at;
        if is_new && wanted.timeout != Timeout::Never {
            self.cache.touch(wanted.key, wanted.timeout).await?;
        }
        Ok(current)
    }

    /// The keys of the purge records that show whether a generation was purged while a page was
    /// produced. They must be read after [`read_or_create`](Self::read_or_create).
    pub(crate) fn purge_records(&self, wanted: &[Wanted<'_>]) -> Vec<StoreKey> {
        let mut records: Vec<StoreKey> = Vec::new();
        if self.local {
            return records;
        }
        for wanted in wanted.iter().filter(|wanted| !matches!(wanted.before, Before::Read(Some(_))))
        {
            let record = purge_record(wanted.key);
            if !records.contains(&record) {
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
                current.purged_at > production.looked_up_at
                    || production.fill.is_some_and(|fill| fill.is_purged(self.id(wanted.key)))
                    || production.is_recorded(purge_record(wanted.key))
            }
        }
    }

    /// Replaces a generation, if it exists or is kept forever.
    ///
    /// After a hard purge, no page has the new one. It then only concerns pages that are being
    /// produced.
    pub(crate) async fn purge(
        &self,
        key: &str,
        purge: Purge,
        keep_forever: bool,
        now: UnixTime,
    ) -> StoreResult<()> {
        remember_purge(self.id(key));
        let old = if self.local {
            self.read_one(key).await?
        } else {
            self.record_purge(key, now).await?
        };
        if old.is_none() && (self.local || !keep_forever) {
            return Ok(());
        }
        let new = Arc::new(Generation::after_purge(old, purge, now));
        let timeout = if keep_forever {
            Timeout::Never
        } else if purge == Purge::Soft {
            Timeout::After(DAY * 60)
        } else {
            Timeout::After(FILL_TIME)
        };
        self.cache.set_shared(key, &new, timeout).await?;
        PurgeCounter::of(key).count();
        Ok(())
    }

    /// Changes the purge record of a generation, and returns the generation as it was afterwards.
    async fn record_purge(&self, key: &str, now: UnixTime) -> StoreResult<Option<Generation>> {
        let record = purge_record(key);
        let changed = Arc::new(Generation::after_purge(None, Purge::Hard, now));
        let changed = self.cache.set_shared(&record, &changed, FILL_TIME);
        let (changed, generation) = tokio::join!(changed, self.read_one(key));
        changed?;
        // A generation that was read before the record was changed exists and is replaced. If there
        // was none, it may have been created before that.
        match generation? {
            Some(generation) => Ok(Some(generation)),
            None => self.read_one(key).await,
        }
    }

    pub(crate) fn id(&self, key: &str) -> GenerationId {
        GenerationId::new(&**self.cache.store(), &self.cache.composed_key(key))
    }
}
