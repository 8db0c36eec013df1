//! The store: shards behind locks, as an implementation of [`Cache`].

use std::{fmt, hash::BuildHasher, thread, time::Duration};

use cache_core::{Cache, Clock, Error, Result, Stats, Ttl, Value, async_trait};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::{
    LocMemOptions,
    policy::Bounds,
    shard::{Counted, Limits, Removed, Shard, Term, weight},
};

/// A store in this process's memory. See the [crate's page](crate) for what it does.
pub struct LocMemCache {
    shards: Box<[Padded]>,
    hasher: RandomState,
    clock: Clock,
    options: LocMemOptions,
    limits: Limits,
}

/// Keeps the locks of two shards from sharing a cache line.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl LocMemCache {
    /// An empty store.
    ///
    /// # Errors
    /// [`Config`](cache_core::ErrorKind::Config) where a bound is zero.
    pub fn new(options: LocMemOptions) -> Result<Self> {
        Self::with_clock(options, Clock::system())
    }

    /// An empty store whose entries expire by the clock given.
    ///
    /// # Errors
    /// [`Config`](cache_core::ErrorKind::Config) where a bound is zero.
    pub fn with_clock(options: LocMemOptions, clock: Clock) -> Result<Self> {
        options.check()?;
        Ok(Self::build(options, clock))
    }

    fn build(options: LocMemOptions, clock: Clock) -> Self {
        let shards = options.shards(thread::available_parallelism().map_or(1, Into::into));
        let bounds = Bounds {
            entries: options.max_entries / shards,
            bytes: options.max_bytes.map_or(usize::MAX, |bytes| bytes / shards),
        };
        let limits = Limits {
            bounds,
            after_cull: bounds.after_cull(options.cull_frequency),
            policy: options.policy,
            strict: shards == 1,
        };
        let hasher = RandomState::default();
        let shard = || Padded(Mutex::new(Shard::new(limits, clock.clone(), hasher.clone())));
        Self { shards: (0..shards).map(|_| shard()).collect(), hasher, clock, options, limits }
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> LocMemOptions {
        self.options
    }

    /// How many entries it holds, those included that expired and were not met since.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// How many bytes its entries take, as [`LocMemOptions::max_bytes`] counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().bytes()).sum()
    }

    /// Runs `operation` on the key's shard. What leaves the shard is dropped when its lock is released.
    fn at<T>(&self, key: &str, operation: impl FnOnce(&mut Shard, u64, &mut Removed) -> T) -> T {
        let hash = self.hash(key);
        let mut removed = Removed::default();
        operation(&mut self.shard(hash).lock(), hash, &mut removed)
    }

    /// The table in a shard goes by the lowest and the highest bits of the hash; so this goes by others.
    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        let position = (hash >> 32) as usize & (self.shards.len() - 1);
        &self.shards[position].0
    }

    /// Refuses an entry that would not fit even into an empty shard.
    fn refuse_giant(&self, key: &str, value: &Value) -> Result<()> {
        let (weight, most) = (weight(key, value.size()), self.limits.bounds.bytes);
        if weight <= most {
            return Ok(());
        }
        Err(Error::too_large(key, weight, most).in_store(self.name()))
    }

    /// A value that is refused leaves no older one behind.
    fn store(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        if let Err(refused) = self.refuse_giant(key, &value) {
            self.at(key, |shard, hash, removed| shard.delete(hash, key, removed));
            return Err(refused);
        }
        get_ready_to_share(&value);
        let term = self.term(ttl);
        self.at(key, |shard, hash, removed| shard.set(hash, key, value, term, removed));
        Ok(())
    }

    fn term(&self, ttl: Option<Duration>) -> Option<Term> {
        ttl.map(|ttl| Term::starting(self.clock.now(), ttl))
    }

    fn look_up(&self, key: &str) -> Option<Value> {
        let hash = self.hash(key);
        let mut expired = false;
        let value = self.shard(hash).lock().get(hash, key, &mut expired);
        if expired {
            self.at(key, |shard, hash, removed| shard.remove_if_expired(hash, key, removed));
        }
        value
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key.as_bytes())
    }
}

impl Default for LocMemCache {
    /// A store with Django's bounds: 300 entries, and a third of them culled when it is full.
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

/// Lest a hit allocate: bytes made from a vector do so when they are cloned the first time.
fn get_ready_to_share(value: &Value) {
    if let Value::Bytes(bytes) = value {
        drop(bytes.clone());
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for LocMemCache {
    fn name(&self) -> &str {
        "locmem"
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        Some(Ok(self.look_up(key)))
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        Ok(self.store(key, value, ttl))
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.look_up(key))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.store(key, value, ttl)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        if let Err(refused) = self.refuse_giant(key, &value) {
            let taken = self.at(key, |shard, hash, _| shard.contains(hash, key));
            return if taken { Ok(false) } else { Err(refused) };
        }
        get_ready_to_share(&value);
        let term = self.term(ttl);
        Ok(self.at(key, |shard, hash, removed| shard.add(hash, key, value, term, removed)))
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        Ok(self.at(key, |shard, hash, _| shard.touch(hash, key, ttl)))
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let problem = match self.at(key, |shard, hash, _| shard.incr(hash, key, delta)) {
            Counted::Sum(sum) => return Ok(Some(sum)),
            Counted::Missing => return Ok(None),
            Counted::Overflow(number) => Error::overflow(key, number, delta),
            Counted::NotAnInteger => Error::not_an_integer(key),
        };
        Err(problem.in_store(self.name()))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.at(key, |shard, hash, removed| shard.delete(hash, key, removed)))
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Ok(self.at(key, |shard, hash, _| shard.ttl(hash, key)))
    }

    async fn clear(&self) -> Result<()> {
        for shard in &self.shards {
            let removed = shard.0.lock().take();
            drop(removed);
        }
        Ok(())
    }

    fn keeps_objects(&self) -> bool {
        true
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.at(key, |shard, hash, _| shard.contains(hash, key)))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        Ok(keys.iter().map(|key| self.look_up(key)).collect())
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let mut refused = Vec::new();
        for (position, (key, value)) in entries.iter().enumerate() {
            if self.store(key, value.clone(), ttl).is_err() {
                refused.push(position);
            }
        }
        Ok(refused)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let delete =
            |key: &&&str| self.at(key, |shard, hash, removed| shard.delete(hash, key, removed));
        Ok(keys.iter().filter(delete).count())
    }

    /// Looks at every entry, shard by shard.
    async fn stats(&self) -> Result<Stats> {
        let expired: usize = self.shards.iter().map(|shard| shard.0.lock().expired()).sum();
        Ok(Stats {
            entries: Some(self.entries() as u64),
            expired: Some(expired as u64),
            bytes: Some(self.bytes() as u64),
            ..Stats::default()
        })
    }

    async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        /// Few enough that nobody waits long for the lock.
        const STRETCH: u64 = 512;
        let mut purged = 0;
        for shard in &self.shards {
            while purged < most {
                let stretch = STRETCH.min(most - purged);
                let mut removed = Removed::default();
                let gone = shard.0.lock().purge(stretch, &mut removed);
                purged += gone;
                if gone < stretch {
                    break;
                }
            }
        }
        Ok(Some(purged))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
