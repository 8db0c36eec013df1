//! The store: an implementation of [`Cache`] over locked shards.

use std::{fmt, thread, time::Duration};

use cache_core::{
    Cache, Clock, Error, Finding, Inspector, Leases, Result, Stats, Ttl, Value, async_trait,
};
use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::{
    LocMemOptions, Policy,
    policy::Bounds,
    shard::{Expiration, IncrOutcome, Limits, Removed, Shard, hash_of, weight},
};

/// A store in the memory of this process. See the [crate documentation](crate).
pub struct LocMemCache {
    shards: Box<[Padded]>,
    hasher: RandomState,
    clock: Clock,
    options: LocMemOptions,
    limits: Limits,
}

/// Keeps the locks of two shards from sharing a cache line.
#[repr(align(128))]
struct Padded(RwLock<Shard>);

impl LocMemCache {
    /// Creates an empty store.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if a limit is zero.
    pub fn new(options: LocMemOptions) -> Result<Self> {
        Self::with_clock(options, Clock::system())
    }

    /// Creates an empty store whose entries expire by `clock`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if a limit is zero.
    pub fn with_clock(options: LocMemOptions, clock: Clock) -> Result<Self> {
        options.check()?;
        Ok(Self::build(options, clock))
    }

    fn build(options: LocMemOptions, clock: Clock) -> Self {
        let shards = options.shards(thread::available_parallelism().map_or(1, Into::into));
        let bounds = Bounds {
            entries: options.max_entries / shards,
            bytes: options.byte_limit().map_or(usize::MAX, |bytes| bytes / shards),
        };
        let limits = Limits {
            bounds,
            after_cull: bounds.after_cull(options.cull_frequency),
            policy: options.policy,
            strict: shards == 1 && options.policy == Policy::Lru,
        };
        let hasher = RandomState::default();
        let shard = || Padded(RwLock::new(Shard::new(limits, clock.clone(), hasher.clone())));
        Self { shards: (0..shards).map(|_| shard()).collect(), hasher, clock, options, limits }
    }

    /// Returns the options that the store was created with.
    #[must_use]
    pub fn options(&self) -> LocMemOptions {
        self.options
    }

    /// Returns the number of entries, including expired ones that were not removed yet.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().len()).sum()
    }

    /// Returns the size of all entries in bytes, as [`LocMemOptions::max_bytes`] counts it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().bytes()).sum()
    }

    /// Runs `operation` on the shard of a key. Drops what it removed after releasing the lock.
    pub(crate) fn with_shard<T>(
        &self,
        key: &str,
        operation: impl FnOnce(&mut Shard, u64, &mut Removed) -> T,
    ) -> T {
        let hash = self.hash(key);
        let mut removed = Removed::default();
        operation(&mut self.shard(hash).write(), hash, &mut removed)
    }

    /// Uses bits of the hash that the table in the shard does not use: that uses the lowest and the
    /// highest ones.
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        let position = (hash >> 32) as usize & (self.shards.len() - 1);
        &self.shards[position].0
    }

    /// Rejects an entry that does not fit even into an empty shard.
    pub(crate) fn check_size(&self, key: &str, value: &Value) -> Result<()> {
        let (weight, limit) = (weight(key, value.size()), self.limits.bounds.bytes);
        if weight <= limit {
            return Ok(());
        }
        Err(Error::too_large(key, weight, limit).in_store(self.name()))
    }

    /// Stores an entry. If it is rejected, the old entry is removed, because it is out of date.
    fn store(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        if let Err(error) = self.check_size(key, &value) {
            self.with_shard(key, |shard, hash, removed| shard.delete(hash, key, removed));
            return Err(error);
        }
        let expiration = self.expiration(ttl);
        self.with_shard(key, |shard, hash, removed| {
            shard.set(hash, key, value, expiration, removed);
        });
        Ok(())
    }

    pub(crate) fn expiration(&self, ttl: Option<Duration>) -> Option<Expiration> {
        ttl.map(|ttl| Expiration::new(self.clock.now(), ttl))
    }

    /// Returns the sum of an increment, if there was an entry.
    fn sum(&self, key: &str, delta: i64, outcome: IncrOutcome) -> Result<Option<i64>> {
        let error = match outcome {
            IncrOutcome::Value(value) => return Ok(Some(value)),
            IncrOutcome::Missing => return Ok(None),
            IncrOutcome::Overflow(number) => Error::overflow(key, number, delta),
            IncrOutcome::NotAnInteger => Error::not_an_integer(key),
        };
        Err(error.in_store(self.name()))
    }

    /// Returns the value of a live entry.
    ///
    /// Only a hit in strict order moves its entry and needs an exclusive lock. Others share it.
    fn lookup(&self, key: &str) -> Option<Value> {
        let hash = self.hash(key);
        let lock = self.shard(hash);
        let mut expired = false;
        let value = if self.limits.strict {
            lock.write().get(hash, key, &mut expired)
        } else {
            lock.read().get_shared(hash, key, &mut expired)
        };
        if expired {
            self.with_shard(key, |shard, hash, removed| {
                shard.remove_if_expired(hash, key, removed);
            });
        }
        value
    }

    fn exists(&self, key: &str) -> bool {
        let hash = self.hash(key);
        self.shard(hash).read().contains(hash, key)
    }

    fn hash(&self, key: &str) -> u64 {
        hash_of(key.as_bytes(), &self.hasher)
    }
}

impl Default for LocMemCache {
    /// Creates a store with Django's limits: 300 entries, and a cull of a third if it is full.
    fn default() -> Self {
        Self::build(LocMemOptions::default(), Clock::system())
    }
}

impl fmt::Debug for LocMemCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocMemCache")
            .field("options", &self.options)
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for LocMemCache {
    fn name(&self) -> &str {
        "locmem"
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        Some(Ok(self.lookup(key)))
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        Ok(self.store(key, value, ttl))
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.lookup(key))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.store(key, value, ttl)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        if let Err(error) = self.check_size(key, &value) {
            return if self.exists(key) { Ok(false) } else { Err(error) };
        }
        let expiration = self.expiration(ttl);
        Ok(self.with_shard(key, |shard, hash, removed| {
            shard.add(hash, key, value, expiration, removed)
        }))
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        Ok(self.with_shard(key, |shard, hash, _| shard.touch(hash, key, ttl)))
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let outcome = self.with_shard(key, |shard, hash, _| shard.incr(hash, key, delta));
        self.sum(key, delta, outcome)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.with_shard(key, |shard, hash, removed| shard.delete(hash, key, removed)))
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let hash = self.hash(key);
        Ok(self.shard(hash).read().ttl(hash, key))
    }

    async fn clear(&self) -> Result<()> {
        for shard in &self.shards {
            let removed = shard.0.write().take();
            drop(removed);
        }
        Ok(())
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        self.check_size(key, &Value::Int(initial))?;
        let expiration = self.expiration(ttl);
        let outcome = self.with_shard(key, |shard, hash, removed| {
            shard.incr_or_set(hash, key, delta, initial, expiration, removed)
        });
        Ok(self.sum(key, delta, outcome)?.unwrap_or(initial))
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        Ok(self
            .with_shard(key, |shard, hash, removed| shard.get_and_touch(hash, key, ttl, removed)))
    }

    fn keeps_objects(&self) -> bool {
        true
    }

    fn max_entries(&self) -> Option<u64> {
        Some(self.options.max_entries as u64)
    }

    fn server_of(&self, _: &str) -> usize {
        0
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.exists(key))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        Ok(keys.iter().map(|key| self.lookup(key)).collect())
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let mut rejected = Vec::new();
        for (position, (key, value)) in entries.iter().enumerate() {
            if self.store(key, value.clone(), ttl).is_err() {
                rejected.push(position);
            }
        }
        Ok(rejected)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let delete = |key: &&&str| {
            self.with_shard(key, |shard, hash, removed| shard.delete(hash, key, removed))
        };
        Ok(keys.iter().filter(delete).count())
    }

    /// Checks every entry for expiry, one shard after the other.
    async fn stats(&self) -> Result<Stats> {
        let expired: usize = self.shards.iter().map(|shard| shard.0.read().expired()).sum();
        Ok(Stats {
            entries: Some(self.entries() as u64),
            expired: Some(expired as u64),
            bytes: Some(self.bytes() as u64),
            evictions: Some(self.shards.iter().map(|shard| shard.0.read().evictions()).sum()),
            expirations: Some(self.shards.iter().map(|shard| shard.0.read().expirations()).sum()),
            ..Stats::default()
        })
    }

    /// Returns no findings: all limits are options.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    async fn purge_expired(&self, limit: u64) -> Result<Option<u64>> {
        /// Small enough that no other call waits long for the lock.
        const BATCH: u64 = 512;
        let mut purged = 0;
        for shard in &self.shards {
            while purged < limit {
                let batch = BATCH.min(limit - purged);
                let mut removed = Removed::default();
                let removed_count = shard.0.write().purge(batch, &mut removed);
                purged += removed_count;
                if removed_count < batch {
                    break;
                }
            }
        }
        Ok(Some(purged))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        None
    }

    fn inner(&self) -> Option<&dyn Cache> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use cache_core::ManualClock;

    use super::*;

    const POLICIES: [Policy; 2] = [Policy::Lru, Policy::S3Fifo];
    const SHARDED: usize = 20_000;

    /// A store with one entry, which expires after a second.
    fn store(policy: Policy, max_entries: usize, clock: Clock) -> LocMemCache {
        let options = LocMemOptions::default().max_entries(max_entries).policy(policy);
        let store = LocMemCache::with_clock(options, clock).expect("valid options");
        store.store("key", Value::Int(1), Some(Duration::from_secs(1))).expect("it fits");
        store
    }

    /// Looks the key up while another hit shares the lock of its shard.
    fn lookup_beside_a_hit(store: &Arc<LocMemCache>) -> Option<Value> {
        let _other_hit = store.shard(store.hash("key")).read();
        let (sender, receiver) = mpsc::channel();
        let store = Arc::clone(store);
        thread::spawn(move || sender.send(store.lookup("key")));
        receiver.recv_timeout(Duration::from_secs(60)).expect("it does not wait")
    }

    #[test]
    fn hit_shares_the_lock_unless_the_order_is_strict() {
        for (policy, max_entries) in
            [(Policy::Lru, SHARDED), (Policy::S3Fifo, SHARDED), (Policy::S3Fifo, 300)]
        {
            let store = Arc::new(store(policy, max_entries, ManualClock::new().clock()));
            let found = lookup_beside_a_hit(&store);
            assert_eq!(found, Some(Value::Int(1)), "{policy:?}, {max_entries} entries");
        }
    }

    #[test]
    fn entry_that_was_hit_is_not_evicted_next_in_a_sharded_store() {
        for policy in POLICIES {
            let store = store(policy, SHARDED, ManualClock::new().clock());
            // S3-FIFO counts two uses until an entry leaves the small queue.
            (0..2).for_each(|_| drop(store.lookup("key")));
            let mut number = 0;
            let is_culled =
                |store: &LocMemCache| store.shard(store.hash("key")).read().evictions() > 0;
            while !is_culled(&store) {
                store.store(&number.to_string(), Value::Int(0), None).expect("it fits");
                number += 1;
            }
            assert!(store.exists("key"), "{policy:?}");
        }
    }

    #[test]
    fn expired_entry_is_removed_by_a_hit_of_any_policy() {
        for (policy, max_entries) in
            POLICIES.into_iter().flat_map(|policy| [(policy, SHARDED), (policy, 300)])
        {
            let time = ManualClock::new();
            let store = store(policy, max_entries, time.clock());
            time.advance(Duration::from_secs(2));
            assert_eq!(store.lookup("key"), None);
            assert_eq!(store.entries(), 0, "{policy:?}, {max_entries} entries");
        }
    }
}
