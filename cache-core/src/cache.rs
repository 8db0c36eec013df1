//! The contract between a store and the rest of cachette.

use std::{any::Any, fmt, time::Duration};

use async_trait::async_trait;

use crate::{Error, ErrorKind, Finding, Inspector, Leases, Result, Stats, Ttl, Value, key::shown};

/// A store of cache entries.
///
/// # Audience
///
/// This trait is the contract between implementations (stores and wrappers of stores) and the rest
/// of cachette. It is the minimum that a store must do: composed keys and resolved times go in,
/// values come out. Applications use a [`CacheHandle`](crate::CacheHandle), which adds types, key
/// prefixes, versions and default timeouts.
///
/// # Contract
///
/// The crate `cache-conformance` tests this contract.
///
/// **Keys** are composed: they contain the prefix and the version. A store accepts any string, or
/// rejects it with [`ErrorKind::InvalidKey`] before it reads or writes anything. It never returns
/// an entry of another key: if it normalizes, truncates or escapes keys, distinct keys stay
/// distinct.
///
/// **Values** are returned as they were stored: an integer as an integer, bytes unchanged, and an
/// [object](Value::Object) as the same object.
///
/// **Expiry.** `ttl` is the time to live, counted from the call. `None` means that the entry never
/// expires. Zero does not occur: the handle turns it into a delete. An expired entry is absent for
/// every operation, even while it takes up space: `get` misses it, `add` replaces it, and `touch`
/// does not revive it.
///
/// **Eviction.** A store may remove entries at any time, for example when it is full. A store with
/// MAX_ENTRIES and CULL_FREQUENCY keeps at most
/// [`entries_after_cull`](crate::entries_after_cull) of them when it culls.
///
/// **Atomicity.** `set`, `add`, `touch`, `incr`, `incr_or_set` and `delete` are each atomic with
/// respect to all other operations on the key, from this process and from others that share the
/// store. A reader sees the old value or the new one. `clear` and the `*_many` methods are atomic
/// for each key, not as a whole.
///
/// **Errors.** A miss is not an error. A store that cannot be reached returns
/// [`ErrorKind::Unavailable`] within seconds and never hangs. If a value is too large, the method
/// returns [`ErrorKind::TooLarge`]; `set` then leaves the key absent, so that no outdated value
/// remains, and `add` leaves an existing entry unchanged. If the store has no room, the method
/// returns [`ErrorKind::StorageFull`]. If the store finds its own data corrupt,
/// it logs that and reports a miss. A store need not name itself in its errors: the handle adds
/// [`name`](Self::name) and the alias.
///
/// **Cancel safety.** A future may be dropped at any await. The operation then has happened
/// completely or not at all, and later operations are not affected.
///
/// # Provided methods
///
/// A store is correct without overriding any of them. Override one to be faster, or, for
/// [`stats`](Self::stats), [`diagnose`](Self::diagnose) and
/// [`purge_expired`](Self::purge_expired), to report more.
///
/// # Wrappers
///
/// A wrapper is a store that contains another store, for example to count calls or to inject
/// faults. It must
///
/// - forward every method that it does not change, including the provided ones. A method that is
///   not forwarded falls back to its default implementation, which loses what the wrapped store
///   does better;
/// - return the wrapped store from [`inner`](Self::inner), so that operators reach it.
///
/// [`forward_cache!`](crate::forward_cache) writes both. `#[deny(clippy::missing_trait_methods)]`
/// on the `impl` reports methods that were forgotten.
///
/// # Examples
///
/// `examples/custom_backend.rs` in the repository is a complete store in 80 lines, and
/// `examples/counting_wrapper.rs` is a wrapper.
#[async_trait]
pub trait Cache: Any + fmt::Debug + Send + Sync {
    /// Returns the kind of store, such as `"locmem"`, for error messages and metrics.
    fn name(&self) -> &str;

    /// Returns the value stored under `key`, or `None` if the key is absent or expired.
    async fn get(&self, key: &str) -> Result<Option<Value>>;

    /// Stores a value and replaces an existing entry, including its time to live.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooLarge`] if the store does not accept a value of this size. The key
    /// is absent afterwards.
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()>;

    /// Stores a value if the key is absent or expired, and returns whether it was stored.
    ///
    /// If several callers add the same key at once, exactly one succeeds.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooLarge`] if the store does not accept a value of this size. If the
    /// key exists as well, `Ok(false)` is also correct.
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool>;

    /// Replaces the time to live of an entry.
    ///
    /// Returns `false` if the key is absent or expired.
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool>;

    /// Adds `delta` to an integer and returns the sum, or `None` if the key is absent or expired.
    ///
    /// The time to live is unchanged.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotAnInteger`] if the value is not a [`Value::Int`], and
    /// [`ErrorKind::Overflow`] if the sum does not fit in an `i64`. The entry is unchanged.
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>>;

    /// Removes an entry. Returns `false` if the key is absent or expired.
    async fn delete(&self, key: &str) -> Result<bool>;

    /// Returns the remaining time to live, or `None` if the key is absent or expired.
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>>;

    /// Removes all entries of this store.
    ///
    /// Entries of other applications stay, if the store can tell them apart.
    async fn clear(&self) -> Result<()>;

    /// Like [`get`](Self::get), but returns `None` instead of waiting.
    ///
    /// Waiting means I/O, or a lock that may be held for long. `None` says nothing about the key:
    /// the caller then awaits `get`. The default implementation returns `None`.
    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let _ = key;
        None
    }

    /// Like [`set`](Self::set), but returns the value instead of waiting.
    ///
    /// `Ok` holds the result of the `set`, including its errors. The default implementation returns
    /// the value.
    ///
    /// # Errors
    ///
    /// Returns the value, unchanged, if the store would have to wait. Nothing was stored; the
    /// caller then awaits `set`.
    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let _ = (key, ttl);
        Err(value)
    }

    /// Returns whether the store accepts [`Value::Object`].
    ///
    /// Only a store in this process can. The default implementation returns `false`: such a store
    /// never receives an object.
    fn keeps_objects(&self) -> bool {
        false
    }

    /// Returns how many entries the store keeps before it evicts some, or `None` if that is
    /// unlimited or unknown.
    ///
    /// Callers that add entries for others, such as pages, add fewer of them to a small store. The
    /// default implementation returns `None`.
    fn max_entries(&self) -> Option<u64> {
        None
    }

    /// Returns the number of the server that holds the key, for a store that has several.
    ///
    /// Two keys with the same number can be read or not be read together. The handle remembers
    /// outages by this number, so that one failed server does not keep it from asking the others.
    /// The default implementation returns 0 for every key.
    fn server_of(&self, key: &str) -> usize {
        let _ = key;
        0
    }

    /// Returns whether the key exists.
    ///
    /// A store that evicts by use should not count this as a use. The default implementation calls
    /// [`get`](Self::get).
    async fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.get(key).await?.is_some())
    }

    /// Adds `delta` to an integer and returns the sum. If the key is absent or expired, stores
    /// `initial` with this time to live and returns it.
    ///
    /// The time to live of an entry that exists is unchanged. Of callers that find the key absent,
    /// one stores `initial` and the others add to it.
    ///
    /// The default implementation is correct, with one to two calls: [`incr`](Self::incr), then
    /// [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// Those of [`incr`](Self::incr) and [`add`](Self::add), and a temporary
    /// [`ErrorKind::Backend`] if other callers removed and stored the key in each of many attempts.
    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        const MAX_ATTEMPTS: usize = 30;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(sum) = self.incr(key, delta).await? {
                return Ok(sum);
            }
            if self.add(key, Value::Int(initial), ttl).await? {
                return Ok(initial);
            }
        }
        let message = format!("too many concurrent changes to the key {}", shown(key));
        Err(Error::new(ErrorKind::Backend, message).temporary(true))
    }

    /// Returns the value stored under `key` and replaces its time to live, or returns `None` if the
    /// key is absent or expired.
    ///
    /// Reading and extending need not be one step: if another caller replaces the entry meanwhile,
    /// either of the two entries may be returned, and the new one has either time to live. An
    /// expired entry is never revived.
    ///
    /// The default implementation calls [`touch`](Self::touch), then [`get`](Self::get).
    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        match self.touch(key, ttl).await? {
            true => self.get(key).await,
            false => Ok(None),
        }
    }

    /// Returns the values of several keys, in the order of the keys.
    ///
    /// `keys` is never empty and may contain a key more than once. The default implementation calls
    /// [`get`](Self::get) for each key.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// Stores several entries with one time to live, and returns the positions of rejected entries.
    ///
    /// An entry is rejected if it is too large ([`ErrorKind::TooLarge`]) or if there is no room for
    /// it ([`ErrorKind::StorageFull`]); that is not an error of the call. [`RejectedEntries`]
    /// collects them. `entries` is never empty. The default implementation is [`set_one_by_one`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::StorageFull`] if no entry was stored and there was no room for at least
    /// one of them. Returns another error if the store fails as a whole: any of the entries may
    /// then be stored.
    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        set_one_by_one(self, entries, ttl).await
    }

    /// Removes several entries and returns how many existed.
    ///
    /// `keys` is never empty. The default implementation calls [`delete`](Self::delete) for each
    /// key.
    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let mut removed = 0;
        for key in keys {
            removed += usize::from(self.delete(key).await?);
        }
        Ok(removed)
    }

    /// Returns statistics for operators.
    ///
    /// May take time in proportion to the number of entries. The default implementation returns
    /// empty statistics.
    async fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    /// Examines the store and its servers, and returns what an operator should know: limits that
    /// are reached, missing rights, wrong clocks, certificates that expire.
    ///
    /// Changes no entries, and may take seconds. A server that cannot be reached is a
    /// [`Finding`], so that the others are examined. What the store may not read, it leaves out.
    /// The default implementation returns no findings.
    ///
    /// # Errors
    ///
    /// Returns an error if nothing could be examined.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// Removes up to about `max` expired entries and returns how many it removed.
    ///
    /// Fewer than `max` means that no more are left. Correctness never depends on this method: it
    /// frees space. The default implementation returns `None`, which means that the store or its
    /// server removes expired entries by itself.
    async fn purge_expired(&self, max: u64) -> Result<Option<u64>> {
        let _ = max;
        Ok(None)
    }

    /// Closes connections and files.
    ///
    /// The store stays usable: the next call opens them again. The default implementation does
    /// nothing.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the leases of the store, or `None` if it has none.
    ///
    /// With leases, callers in all processes that share the store produce a value once, and a value
    /// that was produced before a write never replaces it. Without them, that holds within one
    /// process only. See [`Leases`]. A wrapper that changes keys or values, or counts calls, must
    /// not forward this method: see [Wrappers](Leases#wrappers).
    ///
    /// The result does not change while the store exists. The default implementation returns
    /// `None`.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// Returns the inspector of the store, or `None` if it has none.
    ///
    /// It lists keys and finds the place of an entry. A wrapper that changes keys must not forward
    /// this method.
    ///
    /// The result does not change while the store exists. The default implementation returns
    /// `None`: the store cannot list its keys.
    fn inspector(&self) -> Option<&dyn Inspector> {
        None
    }

    /// Returns the store that this one wraps, or `None` if it wraps none.
    ///
    /// [`downcast_ref`](trait.Cache.html#method.downcast_ref) follows it, so that operators reach a
    /// store through its wrappers. Use the result only to inspect or administer a store: calls that
    /// change entries must go through the outermost wrapper.
    fn inner(&self) -> Option<&dyn Cache> {
        None
    }
}

impl dyn Cache {
    /// Returns this store, or a store that it wraps, as a `C`.
    ///
    /// Checks the store itself first and then follows [`inner`](Cache::inner), from the outermost
    /// wrapper inwards. Use it for operations that only one kind of store has, such as creating a
    /// table.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use cache_core::Cache;
    /// use cache_locmem::LocMemCache;
    ///
    /// let store: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    /// let locmem: Option<&LocMemCache> = store.downcast_ref();
    /// assert_eq!(locmem.map(LocMemCache::entries), Some(0));
    /// ```
    #[must_use]
    pub fn downcast_ref<C: Cache>(&self) -> Option<&C> {
        self.layers().find_map(|store| (store as &dyn Any).downcast_ref())
    }

    /// Returns the store inside all wrappers, or this store if it wraps none.
    #[must_use]
    pub fn innermost(&self) -> &dyn Cache {
        self.layers().last().unwrap_or(self)
    }

    /// Returns this store and the stores that it wraps, from the outermost inwards.
    fn layers(&self) -> impl Iterator<Item = &dyn Cache> {
        std::iter::successors(Some(self), |store| store.inner())
    }
}

/// Stores entries one after the other: the default implementation of [`Cache::set_many`].
///
/// A store that sends entries in one request can call it when the request was rejected, to find out
/// which entry is too large.
///
/// # Errors
///
/// See [`Cache::set_many`].
pub async fn set_one_by_one<C: Cache + ?Sized>(
    store: &C,
    entries: &[(&str, Value)],
    ttl: Option<Duration>,
) -> Result<Vec<usize>> {
    let mut rejected = RejectedEntries::default();
    for (position, (key, value)) in entries.iter().enumerate() {
        rejected.record(position, store.set(key, value.clone(), ttl).await)?;
    }
    rejected.into_positions(entries.len())
}

/// The entries that a [`Cache::set_many`] did not store.
#[derive(Debug, Default)]
pub struct RejectedEntries {
    positions: Vec<usize>,
    /// The first error of an entry for which there was no room.
    full: Option<Error>,
}

impl RejectedEntries {
    /// Records the outcome of storing the entry at this position.
    ///
    /// # Errors
    ///
    /// Returns the error if it concerns the call and not only this entry.
    pub fn record(&mut self, position: usize, outcome: Result<()>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        match error.kind() {
            ErrorKind::TooLarge => {}
            ErrorKind::StorageFull => {
                self.full.get_or_insert(error);
            }
            _ => return Err(error),
        }
        self.reject(position);
        Ok(())
    }

    /// Records that the entry at this position was rejected.
    pub fn reject(&mut self, position: usize) {
        self.positions.push(position);
    }

    /// Returns the positions of the entries, in ascending order. `count` is the number of all
    /// entries.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::StorageFull`] if all were rejected and there was no room for at least
    /// one of them.
    pub fn into_positions(mut self, count: usize) -> Result<Vec<usize>> {
        self.positions.sort_unstable();
        match self.full {
            Some(full) if self.positions.len() == count => return Err(full),
            Some(full) => {
                let error: &(dyn std::error::Error + 'static) = &full;
                tracing::warn!(
                    error,
                    rejected = self.positions.len(),
                    "some entries were not stored"
                );
            }
            None => {}
        }
        Ok(self.positions)
    }
}
