//! Updating a value from what it was.

use std::{mem, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    described::Verdict,
    leases::{Acquisition, Wanted},
    pauses::Pauses,
};
use crate::{CacheHandle, Error, ErrorKind, Result, Timeout, Value, codec, key::shown, meta::Meta};

/// How long a lease is held. `change` does not wait for anything, so only a process that dies needs
/// as long.
const HOLD: Duration = Duration::from_secs(5);

/// How long an update tries, longer than a process that died holds its lease.
const LIMIT: Duration = Duration::from_secs(10);

impl CacheHandle {
    /// Replaces a value by what `change` makes of it, and returns the new value.
    ///
    /// No update is lost: the new value is stored only if nothing was stored or deleted under the
    /// key since `change` got the old one. Otherwise `change` is called again with what is stored
    /// then, so it may be called several times and should only compute. It gets `None` if the key
    /// is absent or expired, or if the entry cannot be decoded as a `T`.
    ///
    /// An entry keeps its [tags](Self::set_with). A timeout of zero deletes it. To count, use
    /// [`incr_or_set`](Self::incr_or_set).
    ///
    /// A producer of [`get_or_set`](Self::get_or_set) or `fetch` may update its own key. Like any
    /// write, this keeps the value that it then returns from being stored. The update of another
    /// caller waits for a producer that runs.
    ///
    /// # Guarantees
    ///
    /// Updates hold a [lease](crate::Leases) of the key. With a store that has leases, this orders
    /// them with all writes of all processes. With a store that has none, updates of all processes
    /// exclude each other, and a write of another process during an update may be lost. With
    /// [`Share::Process`](crate::Share::Process), all of this holds within this process only. On
    /// Redis, an entry that was replaced by one with the same bytes counts as unchanged.
    ///
    /// The limits of [locks](Self::lock) hold here as well: a cache may lose an entry with all its
    /// updates at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let add_tea = |cart: Option<Vec<String>>| {
    ///     let mut cart = cart.unwrap_or_default();
    ///     cart.push("tea".into());
    ///     cart
    /// };
    /// let cart = cache.update("cart:7", Timeout::Default, add_tea).await?;
    /// assert_eq!(cart, ["tea"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a temporary [`ErrorKind::Backend`] if other callers changed or held the key for 10
    /// seconds; nothing was stored. Returns [`ErrorKind::Encode`] and [`ErrorKind::TooLarge`] like
    /// [`set`](Self::set). While the store is unavailable and the alias has `on_outage = "miss"`,
    /// returns what `change` makes of `None`. See [Errors](CacheHandle#errors) for the others.
    ///
    /// # Performance
    ///
    /// Two round trips if no other caller changes the key at the same time. Three more for an entry
    /// with tags, whose records are read, and given a longer time to live if they need one.
    pub async fn update<T>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if self.must_learn() && !self.learned().await? {
            return Ok(change(None));
        }
        let key: Arc<str> = Arc::from(&*self.key(key)?);
        let timeout = timeout.into();
        let end = self.view.clock.now() + LIMIT;
        let mut pauses = Pauses::new();
        let mut is_recursive = self.is_produced_here(&key);
        loop {
            // A producer that updates its own key would wait for the lease that it holds.
            let acquired = match mem::take(&mut is_recursive) {
                true => self.acquire_from_producer(&key).await,
                false => self.acquire(&key, Wanted::Any, HOLD).await,
            };
            let Acquisition { value, lease } = match acquired {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.hide_outage(self.at(error))?;
                    return Ok(change(None));
                }
            };
            if let Some(lease) = lease {
                let (new, value) = match self.changed(&key, value, &mut change).await {
                    Ok(changed) => changed,
                    Err(error) => {
                        // If this fails as well, the lease ends by time.
                        let _ = self.release_lease(lease, Duration::ZERO).await;
                        // The records of tags are a part of the entry.
                        self.hide_outage(error)?;
                        return Ok(change(None));
                    }
                };
                if codec::has_tags(&value) {
                    self.keep_tags_of(&value, timeout).await;
                }
                let filled = self.fill_lease(lease, value, timeout).await;
                if self.unless_outage(filled, || true)? {
                    self.view.epochs.end([&*key]);
                    return Ok(new);
                }
            }
            if self.view.clock.has_passed(end) {
                let message = format!("too many concurrent changes to the key {}", shown(&key));
                return Err(self.at(Error::new(ErrorKind::Backend, message).temporary(true)));
            }
            pauses.pause(&self.view.clock, end).await;
        }
    }

    /// Like [`acquire`](Self::acquire), after the lease of the producer that calls has ended.
    async fn acquire_from_producer(&self, key: &Arc<str>) -> Result<Acquisition> {
        self.end_held_lease(key).await?;
        self.acquire(key, Wanted::Any, HOLD).await
    }

    /// Returns the new value, also encoded.
    async fn changed<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        mut old: Option<Value>,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<(T, Value)> {
        let mut tags = Box::default();
        if let Some(value) = &old
            && codec::has_meta(value)
        {
            match self.judge(value).await? {
                Verdict::Fresh => {
                    let meta = codec::meta(value).ok().flatten();
                    tags = meta.map(|meta| meta.into_owned().tags).unwrap_or_default();
                }
                Verdict::Stale | Verdict::Purged => old = None,
            }
        }
        let old = match old {
            Some(value) => self.decode(key, value)?.hit(),
            None => None,
        };
        let new = change(old);
        let mut value = self.encode(&new)?;
        if !tags.is_empty() {
            // The new value depends on the old one, so what purges that must purge it.
            let meta = Meta { tags, ..Meta::default() };
            value = codec::describe(value, meta).map_err(|error| self.at(error))?;
        }
        Ok((new, value))
    }
}
