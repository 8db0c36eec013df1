//! Generations in a store.

use std::{any::Any, time::Duration};

use futures_util::future::{join, join_all, try_join_all};

use super::{Generation, GenerationId, Purge, PurgeCounter, remember_purge};
use crate::{
    Cache, CacheHandle, Error, ErrorKind, Result, Ttl, Value, key::shown, observe::Observed,
};

/// The shortest time to live of a record. A hard purge leaves it, as no entry has the new
/// generation.
pub const DAY: Duration = Duration::from_secs(86_400);

/// The time to live of a record after a soft purge, if its previous one is unknown.
const STALE_TIME: Duration = Duration::from_secs(60 * 86_400);

/// The records of generations in the store of a handle. Their keys are composed.
///
/// Errors name the alias and the store, and are those of the store whatever `on_outage` says.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    cache: &'a CacheHandle,
}

/// A record that exists.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its generation.
    pub generation: Generation,
    /// Whether it was created just now, with the time to live that was asked for.
    pub is_new: bool,
}

impl<'a> Records<'a> {
    /// The records of this cache.
    #[must_use]
    pub fn of(cache: &'a CacheHandle) -> Self {
        Self { cache }
    }

    /// Reads generations, in the order of the keys: in one round trip, unless the store is in this
    /// process.
    ///
    /// # Errors
    ///
    /// Returns the error of the store.
    pub async fn read(&self, keys: &[&str]) -> Result<Vec<Option<Generation>>> {
        let found = match (self.store() as &dyn Any).downcast_ref::<Observed>() {
            Some(observed) => observed.read_records(keys).await,
            None => read_entries(self.store(), keys).await,
        };
        let found = found.map_err(|error| self.at(error))?;
        Ok(found.into_iter().map(|value| Generation::from_value(value?)).collect())
    }

    /// Reads records in one round trip, then creates those that are missing, all at the same time.
    ///
    /// # Errors
    ///
    /// Returns the error of the store.
    pub async fn read_or_create(&self, keys: &[(&str, Option<Duration>)]) -> Result<Vec<Record>> {
        let names: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
        let found = self.read(&names).await?;
        self.create_missing(keys, &found).await
    }

    /// Creates the records of which none was found, with these times to live.
    ///
    /// # Errors
    ///
    /// Returns the error of the store.
    pub async fn create_missing(
        &self,
        keys: &[(&str, Option<Duration>)],
        found: &[Option<Generation>],
    ) -> Result<Vec<Record>> {
        let records = keys.iter().zip(found).map(async |(&(key, ttl), found)| match *found {
            Some(generation) => Ok(Record { generation, is_new: false }),
            None => self.create(key, ttl).await,
        });
        try_join_all(records).await.map_err(|error| self.at(error))
    }

    async fn create(&self, key: &str, ttl: Option<Duration>) -> Result<Record> {
        let (store, new) = (self.store(), Generation::new());
        if store.add(key, new.to_value()?, ttl).await? {
            return Ok(Record { generation: new, is_new: true });
        }
        // Another caller was first.
        if let Some(generation) = store.get(key).await?.and_then(Generation::from_value) {
            return Ok(Record { generation, is_new: false });
        }
        // It cannot be decoded, or was lost at once. That is as good as a purge of unknown time.
        let now = self.cache.clock().unix_time();
        let generation = Generation::after_purge(None, Purge::Hard, now);
        store.set(key, generation.to_value()?, ttl).await?;
        PurgeCounter::of(key).count();
        Ok(Record { generation, is_new: true })
    }

    /// Makes records outlive entries with this time to live that are stored now.
    ///
    /// A failure is no error: a record that is lost only makes entries miss.
    pub async fn keep(&self, keys: &[&str], ttl: Option<Duration>) {
        let keep = keys.iter().map(async |key| {
            let store = self.store();
            let kept = match store.ttl(key).await? {
                None | Some(Ttl::Never) => true,
                Some(Ttl::Left(left)) => ttl.is_some_and(|ttl| left > ttl),
            };
            match kept {
                true => Ok(true),
                false => store.touch(key, record_ttl(ttl)).await,
            }
        });
        for kept in join_all(keep).await {
            if let Err(error) = kept {
                tracing::debug!(
                    cache = self.cache.alias(),
                    error = format_args!("{error:#}"),
                    "cannot prolong the record of a tag"
                );
            }
        }
    }

    /// Replaces generations, whether they exist or not.
    ///
    /// # Errors
    ///
    /// Returns the error of the store. Some of the generations may have been replaced.
    pub async fn purge(&self, keys: &[&str], purge: Purge, now: Duration) -> Result<()> {
        let _counted = Counted::begin(self, keys);
        let purged = match purge {
            Purge::Hard => self.replace(keys, now).await,
            Purge::Soft => self.make_stale(keys, now).await,
        };
        purged.map_err(|error| self.at(error))
    }

    /// Replaces a generation that lives forever, whether it exists or not.
    ///
    /// # Errors
    ///
    /// Returns the error of the store. The generation may have been replaced.
    pub(crate) async fn renew(&self, key: &str, now: Duration) -> Result<()> {
        let new = Generation::after_purge(None, Purge::Hard, now).to_value()?;
        self.store_all(&[(key, new)], None).await.map_err(|error| self.at(error))
    }

    async fn replace(&self, keys: &[&str], now: Duration) -> Result<()> {
        let new = || Generation::after_purge(None, Purge::Hard, now).to_value();
        let entries = keys.iter().map(|key| Ok((*key, new()?))).collect::<Result<Vec<_>>>()?;
        self.store_all(&entries, Some(DAY)).await
    }

    async fn make_stale(&self, keys: &[&str], now: Duration) -> Result<()> {
        let ttls = try_join_all(keys.iter().map(|key| self.store().ttl(key)));
        let (old, ttls) = join(self.read(keys), ttls).await;
        let replaced = keys.iter().zip(old?).zip(ttls?).map(async |((key, old), ttl)| {
            let new = Generation::after_purge(old, Purge::Soft, now);
            // The entries live on, and so must the record.
            let ttl = match ttl {
                Some(Ttl::Never) => None,
                Some(Ttl::Left(left)) => Some(left.max(DAY)),
                None => Some(STALE_TIME),
            };
            self.store_all(&[(*key, new.to_value()?)], ttl).await
        });
        try_join_all(replaced).await.map(drop)
    }

    /// Stores records, or returns an error.
    ///
    /// `set` does not report what a store has not stored: memcached with `when_dead = "miss"` hides
    /// that a server is away.
    async fn store_all(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Result<()> {
        let rejected = self.store().set_many(entries, ttl).await?;
        match rejected.first().and_then(|position| entries.get(*position)) {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!(
                    "the store has not stored the record {}: it is full, or its server is away",
                    shown(key)
                );
                Err(Error::new(ErrorKind::StorageFull, message))
            }
        }
    }

    /// The identity of a generation in this process.
    #[must_use]
    pub fn id(&self, key: &str) -> GenerationId {
        GenerationId::new(self.store(), key)
    }

    fn store(&self) -> &'a dyn Cache {
        &**self.cache.store()
    }

    fn at(&self, error: Error) -> Error {
        error.in_store(self.store().name()).in_cache(self.cache.alias())
    }
}

/// Reads entries in the order of the keys: in one round trip, unless the store is in this process.
pub(crate) async fn read_entries(store: &dyn Cache, keys: &[&str]) -> Result<Vec<Option<Value>>> {
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(value) = store.get_now(key) else { break };
        found.push(value?);
    }
    let rest = &keys[found.len()..];
    if !rest.is_empty() {
        found.extend(store.get_many(rest).await?);
    }
    Ok(found)
}

/// Returns the time to live of a record that outlives entries with this one.
pub(crate) fn record_ttl(entry: Option<Duration>) -> Option<Duration> {
    entry.map(|ttl| ttl.saturating_mul(2).max(DAY))
}

/// A purge that this process knows from its beginning, and counts when it ends or is dropped.
struct Counted<'a>(&'a [&'a str]);

impl<'a> Counted<'a> {
    fn begin(records: &Records<'_>, keys: &'a [&'a str]) -> Self {
        for key in keys {
            remember_purge(records.id(key));
        }
        Self(keys)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        for key in self.0 {
            PurgeCounter::of(key).count();
        }
    }
}
