//! The wrapper that reports the operations of a store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::Deserialize;

use super::{Observer, Operation, Outcome, counts::Count, observer::NowCall, operation::Tally};
use crate::{
    Acquired, Ask, Cache, Clock, Error, ErrorKind, Lease, Leases, Result, Ttl, Value,
    forward_cache, tags, timer,
};

/// A store whose operations are reported as metrics and spans, and to the [`Trace`](super::Trace)
/// of the request that executes them. See the [module](super).
///
/// It belongs to one alias, and is the outermost wrapper of its store: what other wrappers add,
/// such as injected faults, is reported as well. The handle of the alias finds it by
/// [`downcast_ref`](trait@Cache#method.downcast_ref) and reports what it does itself: the values
/// that it produces and the time for which callers wait.
///
/// Whether an entry with tags is a hit is decided by the handle, which compares their records: it
/// counts such a lookup, as a miss if a tag was purged. Code that reads the store without a handle
/// does not count it. Reading the records is [`Operation::ReadTags`] and no lookup.
///
/// The first lookup of a verb such as `get_or_set` is a lookup. The one that comes with the lease
/// after a miss is part of [`Operation::Acquire`] and is not counted again.
#[derive(Clone, Debug)]
pub struct Observed {
    store: Arc<dyn Cache>,
    observer: Arc<Observer>,
}

/// OBSERVE: what is reported about the operations of an alias.
///
/// # Examples
///
/// ```
/// use cache_core::observe::ObserveOptions;
///
/// let mut options = ObserveOptions::default();
/// options.keys = true;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ObserveOptions {
    /// Whether spans contain the composed keys. `false` by default, because keys may be personal
    /// data and spans are often sent to other systems.
    pub keys: bool,
}

impl Observed {
    /// Wraps the store of an alias.
    #[must_use]
    pub fn new(alias: &str, store: Arc<dyn Cache>, options: ObserveOptions) -> Self {
        let observer = Observer::new(alias, store.name(), options, Clock::default());
        Self { store, observer: Arc::new(observer) }
    }

    /// Sets the clock by which entries of `fetch` become stale: that of the handle.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { observer: Arc::new(self.observer.with_clock(clock)), ..self }
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &ObserveOptions {
        self.observer.options()
    }

    /// Returns the store inside.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Cache> {
        &self.store
    }

    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// Looks a key up again, as part of acquiring a lease.
    pub(crate) async fn get_again(&self, key: &str) -> Result<Option<Value>> {
        let get = self.store.get(key);
        let tally = |value: &Option<Value>| tally_acquired(value.as_ref(), false);
        self.observer.observe(Operation::Acquire, &[key], get, tally).await
    }

    /// Reads the records of tags. These are no lookups of the application.
    pub(crate) async fn read_records(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let read = tags::read_entries(&*self.store, keys);
        let tally = |records: &Vec<Option<Value>>| {
            tally_many(records.iter().flatten().count(), records.len())
        };
        self.observer.observe(Operation::ReadTags, keys, read, tally).await
    }

    /// Looks the first key up, and reads the records of its tags, which are the others.
    #[cfg(feature = "fetch")]
    pub(crate) async fn get_with_records(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let read = self.store.get_many(keys);
        let tally = |found: &Vec<Option<Value>>| {
            self.observer.tally_lookup(found.first().and_then(Option::as_ref))
        };
        self.observer.observe(Operation::Get, &keys[..1], read, tally).await
    }

    /// Publishes what is not published at once: the counts of operations that did not wait, and the
    /// number and size of the entries.
    ///
    /// Call it before metrics are read, for example when Prometheus scrapes them;
    /// `Caches::publish_metrics` of the crate `cachette` does so for all aliases. Counts are also
    /// published by operations, at most once in a second, so without this call they are late and
    /// the last ones are missing. Entries are only counted here, because that may take time in
    /// proportion to their number; see [`Cache::stats`].
    ///
    /// # Errors
    ///
    /// Returns the error of [`Cache::stats`], and [`ErrorKind::Unavailable`] if that takes longer
    /// than two seconds. The counts are published nevertheless.
    pub async fn publish(&self) -> Result<()> {
        let stats = timer::timeout(STATS_LIMIT, self.store.stats()).await.unwrap_or_else(|| {
            let message = format!("no statistics within {STATS_LIMIT:?}");
            Err(Error::new(ErrorKind::Unavailable, message))
        });
        self.observer.publish(stats.as_ref().ok());
        stats.map(drop)
    }

    /// Looks a key up and reports more than its count.
    #[cold]
    fn report_get_now(&self, key: &str, call: NowCall) -> Option<Result<Option<Value>>> {
        let began_at = Instant::now();
        let result = self.store.get_now(key)?;
        self.count_lookup(call, &result);
        let tally = Tally::of(Operation::Get, 1, &result, |value| {
            self.observer.tally_lookup(value.as_ref())
        });
        self.observer.report_now(Operation::Get, key, began_at, call, &tally);
        Some(result)
    }

    #[inline]
    fn count_lookup(&self, call: NowCall, result: &Result<Option<Value>>) {
        let outcome = match result {
            Ok(value) => self.observer.lookup(value.as_ref()),
            Err(_) => Some(Outcome::Error),
        };
        if let Some(outcome) = outcome {
            self.observer.count(call, Count::of_lookup(outcome));
        }
    }

    fn count_set(&self, call: NowCall, result: &Result<()>) {
        let count = match result {
            Ok(()) => Count::SetOk,
            Err(error) => match Outcome::of_error(error.kind()) {
                Outcome::Rejected => Count::SetRejected,
                _ => Count::SetError,
            },
        };
        self.observer.count(call, count);
    }

    fn wrapped_leases(&self) -> &dyn Leases {
        self.store.leases().expect("`leases` returned this wrapper")
    }
}

/// How long the statistics of a store may take. A scrape of Prometheus ends after 10 seconds.
const STATS_LIMIT: Duration = Duration::from_secs(2);

/// An `acquire` is in order if it returned the value, or a lease.
fn tally_acquired(value: Option<&Value>, has_lease: bool) -> Tally {
    let size = value.map(Value::size);
    Tally { size, ..Tally::one(Outcome::ok_if(value.is_some() || has_lease)) }
}

/// Counts `ok` keys, and the others of `all` as rejected.
fn tally_many(ok: usize, all: usize) -> Tally {
    Tally { ok, rejected: all.saturating_sub(ok), ..Tally::default() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Observed {
    forward_cache!(
        self.store,
        except get, get_now, get_many, get_and_touch, contains, ttl, set, set_now, set_many, add,
        touch, incr, incr_or_set, delete, delete_many, clear, purge_expired, leases
    );

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let call = NowCall::begin();
        if !call.is_only_counted() {
            return self.report_get_now(key, call);
        }
        let found = self.store.get_now(key);
        // After `None`, the caller awaits `get`, which is reported.
        if let Some(result) = &found {
            self.count_lookup(call, result);
        }
        found
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let call = NowCall::begin();
        if call.is_only_counted() {
            let result = self.store.set_now(key, value, ttl)?;
            self.count_set(call, &result);
            return Ok(result);
        }
        let (began_at, size) = (Instant::now(), value.size());
        let result = self.store.set_now(key, value, ttl)?;
        self.count_set(call, &result);
        let tally = Tally::of(Operation::Set, 1, &result, |()| Tally::one(Outcome::Ok));
        let tally = Tally { size: Some(size), ..tally };
        self.observer.report_now(Operation::Set, key, began_at, call, &tally);
        Ok(result)
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let get = self.store.get(key);
        let tally = |value: &Option<Value>| self.observer.tally_lookup(value.as_ref());
        self.observer.observe(Operation::Get, &[key], get, tally).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let tally = |values: &Vec<Option<Value>>| {
            let mut tally = Tally::default();
            for value in values {
                tally.add_lookup(self.observer.lookup(value.as_ref()));
            }
            let sizes = values.iter().flatten().map(Value::size);
            Tally { size: (tally.misses < values.len()).then(|| sizes.sum()), ..tally }
        };
        let get_many = self.store.get_many(keys);
        self.observer.observe(Operation::GetMany, keys, get_many, tally).await
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        let get = self.store.get_and_touch(key, ttl);
        let tally = |value: &Option<Value>| self.observer.tally_lookup(value.as_ref());
        self.observer.observe(Operation::GetAndTouch, &[key], get, tally).await
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let tally =
            |is_present: &bool| Tally::one(if *is_present { Outcome::Hit } else { Outcome::Miss });
        let contains = self.store.contains(key);
        self.observer.observe(Operation::Contains, &[key], contains, tally).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let tally = |ttl: &Option<Ttl>| Tally::one(Outcome::ok_if(ttl.is_some()));
        self.observer.observe(Operation::Ttl, &[key], self.store.ttl(key), tally).await
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let size = Some(value.size());
        let tally = |(): &()| Tally { size, ..Tally::one(Outcome::Ok) };
        let set = self.store.set(key, value, ttl);
        self.observer.observe(Operation::Set, &[key], set, tally).await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let tally = |rejected: &Vec<usize>| {
            let size = entries.iter().map(|(_, value)| value.size()).sum();
            let stored = entries.len().saturating_sub(rejected.len());
            Tally { size: Some(size), ..tally_many(stored, entries.len()) }
        };
        let set_many = self.store.set_many(entries, ttl);
        self.observer.observe(Operation::SetMany, &keys, set_many, tally).await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let size = Some(value.size());
        let tally = |is_added: &bool| Tally { size, ..Tally::one(Outcome::ok_if(*is_added)) };
        let add = self.store.add(key, value, ttl);
        self.observer.observe(Operation::Add, &[key], add, tally).await
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let tally = |is_touched: &bool| Tally::one(Outcome::ok_if(*is_touched));
        let touch = self.store.touch(key, ttl);
        self.observer.observe(Operation::Touch, &[key], touch, tally).await
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let tally = |sum: &Option<i64>| Tally::one(Outcome::ok_if(sum.is_some()));
        let incr = self.store.incr(key, delta);
        self.observer.observe(Operation::Incr, &[key], incr, tally).await
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        let tally = |_: &i64| Tally::one(Outcome::Ok);
        let incr = self.store.incr_or_set(key, delta, initial, ttl);
        self.observer.observe(Operation::IncrOrSet, &[key], incr, tally).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let tally = |is_removed: &bool| Tally::one(Outcome::ok_if(*is_removed));
        self.observer.observe(Operation::Delete, &[key], self.store.delete(key), tally).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let tally = |removed: &usize| tally_many(*removed, keys.len());
        let delete_many = self.store.delete_many(keys);
        self.observer.observe(Operation::DeleteMany, keys, delete_many, tally).await
    }

    async fn clear(&self) -> Result<()> {
        let tally = |(): &()| Tally::one(Outcome::Ok);
        self.observer.observe(Operation::Clear, &[], self.store.clear(), tally).await
    }

    async fn purge_expired(&self, max: u64) -> Result<Option<u64>> {
        let tally = |_: &Option<u64>| Tally::one(Outcome::Ok);
        let purge = self.store.purge_expired(max);
        self.observer.observe(Operation::PurgeExpired, &[], purge, tally).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.store.leases().map(|_| self as &dyn Leases)
    }
}

#[async_trait]
impl Leases for Observed {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let tally =
            |acquired: &Acquired| tally_acquired(acquired.value.as_ref(), acquired.lease.is_some());
        let acquire = self.wrapped_leases().acquire(key, ask, hold);
        self.observer.observe(Operation::Acquire, &[key], acquire, tally).await
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let size = Some(value.size());
        let tally = |is_stored: &bool| Tally { size, ..Tally::one(Outcome::ok_if(*is_stored)) };
        let fill = self.wrapped_leases().fill(key, lease, value, ttl);
        self.observer.observe(Operation::Fill, &[key], fill, tally).await
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let tally = |(): &()| Tally::one(Outcome::Ok);
        let release = self.wrapped_leases().release(key, lease, keep);
        self.observer.observe(Operation::Release, &[key], release, tally).await
    }

    async fn revoke(&self, key: &str, side: &str) -> Result<()> {
        let tally = |(): &()| Tally::one(Outcome::Ok);
        let revoke = self.wrapped_leases().revoke(key, side);
        self.observer.observe(Operation::Revoke, &[key], revoke, tally).await
    }
}
