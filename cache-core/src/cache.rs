//! The contract between a store and the rest of the house.

use std::{any::Any, fmt, time::Duration};

use async_trait::async_trait;

use crate::{ErrorKind, Result, Stats, Ttl, Value};

/// A store of entries, as its author implements it. Applications hold a [`CacheHandle`](crate::CacheHandle).
///
/// # Contract
///
/// *Keys* arrive composed: prefix and version are in them. A store takes any text, or refuses what it can't take with
/// [`ErrorKind::InvalidKey`] before it reads or writes anything. It never serves an entry under another key.
///
/// *Values* come back as they were given: an integer as an integer, bytes byte for byte, an object as that object.
///
/// *Expiry*: `ttl` counts from the call; `None` means never, and zero does not occur. An expired entry is absent in every
/// respect, even while it takes up space: `get` misses it, `add` replaces it, `touch` does not revive it.
///
/// *Atomicity*: each of `set`, `add`, `touch`, `incr` and `delete` happens at once or not at all, whoever else is at work on
/// the key, in this process or another one that shares the store. A reader sees the old value or the new one. The
/// `*_many` methods and `clear` are atomic for each key only.
///
/// *Errors*: a miss is not one. A store that cannot be reached is [`ErrorKind::Unavailable`], within seconds. A value
/// that is too large is [`ErrorKind::TooLarge`], and then the key holds nothing; but `add` leaves what is there. Stored
/// bytes that the store itself finds broken are a miss, logged and counted.
///
/// *Cancellation*: a future may be dropped at any await. Then the operation happened or it did not, and the next one is
/// not disturbed.
///
/// The crate `cache-conformance` tests all this.
///
/// # Provided methods
///
/// Overriding one makes it faster and changes nothing else.
///
/// # Wrappers
///
/// A wrapper is a store that contains another one. It must forward every method that it does not
/// change, or it loses what the wrapped store does better, and it must return the wrapped store from
/// [`inner`](Self::inner). [`forward_cache!`](crate::forward_cache) writes both.
///
/// # Examples
///
/// `examples/custom_backend.rs` is a whole store in under 80 lines, `examples/counting_wrapper.rs` a
/// wrapper.
#[async_trait]
pub trait Cache: Any + fmt::Debug + Send + Sync {
    /// The kind of store, for error texts and metrics: `"locmem"`.
    fn name(&self) -> &str;

    /// The value, or `None` where the key is absent or expired.
    async fn get(&self, key: &str) -> Result<Option<Value>>;

    /// Stores the value, whatever was there.
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()>;

    /// Stores the value if the key is absent or expired, and says whether it did. Of many who try at once, one succeeds.
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool>;

    /// Gives an entry a new time to live, and says whether there was one.
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool>;

    /// Adds to an integer, keeps its time to live, and answers the sum; `None` where the key is absent or expired.
    ///
    /// # Errors
    /// [`ErrorKind::NotAnInteger`] where the entry is none, [`ErrorKind::Overflow`] where the sum does not fit: both leave the
    /// entry as it is.
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>>;

    /// Removes the entry, and says whether there was one.
    async fn delete(&self, key: &str) -> Result<bool>;

    /// How long the entry will still live; `None` where the key is absent or expired.
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>>;

    /// Removes every entry of this store, and nothing that the store can tell belongs to somebody else.
    async fn clear(&self) -> Result<()>;

    /// The answer of [`get`](Self::get), where it takes no waiting: neither for another machine, nor for a disk, nor for a
    /// lock that is held for long. `None` says nothing about the key: the caller then awaits `get`.
    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let _ = key;
        None
    }

    /// Does what [`set`](Self::set) does, where it takes no waiting, as in [`get_now`](Self::get_now).
    ///
    /// # Errors
    /// The value as it was, where it would take waiting: nothing was stored then, and the caller awaits `set`. What `set`
    /// itself answers, its errors among it, is the `Ok`.
    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let _ = (key, ttl);
        Err(value)
    }

    /// Whether the store lives in this process and takes [`Value::Object`]. Others are never given one.
    fn keeps_objects(&self) -> bool {
        false
    }

    /// Whether the key is there. A store that notes uses should not count it as one.
    async fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.get(key).await?.is_some())
    }

    /// The values of many keys, in the order of the keys. Never called with none.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// Stores many entries with one time to live, and answers the positions of those that were refused. Never called with
    /// none.
    ///
    /// # Errors
    /// Where the store failed as a whole; any of the entries may then be stored. An entry that is refused for itself
    /// ([`ErrorKind::TooLarge`]) is no error here.
    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        set_one_by_one(self, entries, ttl).await
    }

    /// Removes many entries, and answers how many there were. Never called with none.
    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let mut removed = 0;
        for key in keys {
            removed += usize::from(self.delete(key).await?);
        }
        Ok(removed)
    }

    /// How full the store is, for an operator. It may take time in proportion to the entries.
    ///
    /// Unless a store overrides it, nothing is known.
    async fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    /// Removes about `most` entries that have expired and still take up room, and answers how many there were: fewer than
    /// `most` where none is left. No cache needs it to answer right; it is for an operator who wants the room.
    ///
    /// Unless a store overrides it, `None`: expired entries are removed by the store or its server alone.
    async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        let _ = most;
        Ok(None)
    }

    /// Lets go of connections and files. The store stays usable: the next call opens them again.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the store that this one wraps, or `None` if it wraps none.
    ///
    /// [`downcast_ref`](trait.Cache.html#method.downcast_ref) follows it, so that operators reach a
    /// store through its wrappers. Use the result to inspect or administer a store only: whatever
    /// changes entries must go through the outermost wrapper.
    fn inner(&self) -> Option<&dyn Cache> {
        None
    }
}

impl dyn Cache {
    /// Returns this store, or a store that it wraps, as a `C`.
    ///
    /// Checks the store itself first, then what [`inner`](Cache::inner) returns, from the outermost
    /// wrapper inwards. For what only one kind of store can do, such as creating a table.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use cache_core::Cache;
    /// use cache_locmem::LocMemCache;
    ///
    /// let store: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    /// let in_memory: Option<&LocMemCache> = store.downcast_ref();
    /// assert_eq!(in_memory.map(LocMemCache::entries), Some(0));
    /// ```
    #[must_use]
    pub fn downcast_ref<C: Cache>(&self) -> Option<&C> {
        self.layers().find_map(|store| (store as &dyn Any).downcast_ref())
    }

    /// Returns the store inside all wrappers, or the store itself if it wraps none.
    #[must_use]
    pub fn innermost(&self) -> &dyn Cache {
        self.layers().last().unwrap_or(self)
    }

    /// Returns the store and the stores that it wraps, from the outermost inwards.
    fn layers(&self) -> impl Iterator<Item = &dyn Cache> {
        std::iter::successors(Some(self), |store| store.inner())
    }
}

/// What [`Cache::set_many`] does where a store knows no better: also for one that does, when it has to find out which of
/// the entries is refused.
///
/// # Errors
/// As [`Cache::set_many`].
pub async fn set_one_by_one<C: Cache + ?Sized>(
    store: &C,
    entries: &[(&str, Value)],
    ttl: Option<Duration>,
) -> Result<Vec<usize>> {
    let mut refused = Vec::new();
    for (position, (key, value)) in entries.iter().enumerate() {
        match store.set(key, value.clone(), ttl).await {
            Err(error) if error.kind() == ErrorKind::TooLarge => refused.push(position),
            result => result?,
        }
    }
    Ok(refused)
}
