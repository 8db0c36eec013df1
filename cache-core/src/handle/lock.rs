//! Locks.

use std::{sync::Arc, time::Duration};

use super::{leases::HeldLease, pauses::Pauses};
use crate::{CacheHandle, Result};

/// Locks and updates.
impl CacheHandle {
    /// Returns a lock with this name, which is not held yet.
    ///
    /// A lock keeps work from being done twice, such as a report that every server would create at
    /// the same hour. Callers of all processes exclude each other if they use the same store and
    /// KEY_PREFIX, whatever their VERSION. A lock has nothing to do with the entry of the same
    /// name.
    ///
    /// # What a lock does not guarantee
    ///
    /// A lock in a cache saves work. It does not protect data: two callers can hold it at the same
    /// time if
    ///
    /// - the work takes longer than the lock is held, or the process is suspended meanwhile;
    /// - the store loses the lock: by [`clear`](Self::clear), by eviction, by a restart, or by a
    ///   failover to a server that has not received it yet;
    /// - the store is memcached, the lock is held for more than ten minutes, and another caller
    ///   wants to hold it for a shorter time;
    /// - the store is one of files or of a database, and the clocks of the machines differ by more
    ///   than the time for which the lock is held.
    ///
    /// If that must not happen, let the database that is written to decide, for example by a
    /// constraint or a row that is locked.
    ///
    /// With a store without [leases](crate::Leases), a lock excludes callers of other processes by
    /// an entry that is added to the store. With [`Share::Process`](crate::Share::Process), it
    /// excludes callers of this process only. The dummy store grants every lock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Result, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # async fn create_report() {}
    /// if let Some(guard) = cache.lock("report").hold(Duration::from_secs(30)).await? {
    ///     create_report().await;
    ///     guard.release().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn lock(&self, name: &str) -> Lock {
        let key = self.view.composer.record(&format!("lock:{name}")).into();
        Lock { cache: self.clone(), key, wait: Duration::ZERO }
    }
}

/// A lock that can be held, from [`CacheHandle::lock`].
#[derive(Clone, Debug)]
#[must_use = "a lock is not held until `hold` returns a guard"]
pub struct Lock {
    cache: CacheHandle,
    key: Arc<str>,
    wait: Duration,
}

impl Lock {
    /// Sets how long [`hold`](Self::hold) waits for another holder. The default is not to wait.
    ///
    /// The store is asked again after a few milliseconds at first, and ten times a second later.
    /// Callers do not queue: the one that asks first after the release gets the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Result, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let lock = cache.lock("report").wait(Duration::from_millis(50));
    /// let first = lock.hold(Duration::from_secs(30)).await?;
    /// assert!(first.is_some());
    /// let second = lock.hold(Duration::from_secs(30)).await?;
    /// assert!(second.is_none(), "the first one was still held after 50 ms");
    /// # Ok(()) }
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Holds the lock, or returns `None` if another caller holds it.
    ///
    /// The lock ends when the guard is released, and at the latest after `hold`, so that a process
    /// that dies does not keep it. Nothing extends it: choose a time that the work never takes.
    /// `hold` is rounded up to the resolution of the store, one second in memcached.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store cannot be
    /// reached. If the alias has `on_outage = "miss"`, returns `None` instead. See
    /// [Errors](CacheHandle#errors) for the others.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock may be held by nobody until the time of `hold` has
    /// passed.
    ///
    /// # Performance
    ///
    /// One round trip for each attempt, and one for the release.
    pub async fn hold(&self, hold: Duration) -> Result<Option<LockGuard>> {
        let cache = &self.cache;
        let end = cache.view.clock.now() + self.wait;
        let mut pauses = Pauses::new();
        loop {
            let acquired = cache.acquire_lock(&self.key, hold).await;
            if let Some(lease) = cache.unless_outage(acquired, || None)? {
                return Ok(Some(LockGuard { cache: cache.clone(), lease }));
            }
            if cache.view.clock.has_passed(end) {
                return Ok(None);
            }
            pauses.pause(&cache.view.clock, end).await;
        }
    }
}

/// A lock that is held, from [`Lock::hold`].
///
/// Call [`release`](Self::release) when the work is done. If the guard is dropped instead, the next
/// caller of this process that uses the same [`CacheHandle`], a clone or a handle derived from it
/// gets the lock, but callers of other processes wait until its time ends.
#[derive(Debug)]
#[must_use = "if the guard is dropped, other processes wait until the time of the lock ends"]
pub struct LockGuard {
    cache: CacheHandle,
    lease: HeldLease,
}

impl LockGuard {
    /// Releases the lock for all callers.
    ///
    /// Does nothing if its time has ended, even if another caller holds the lock by now.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors). The lock then ends by time.
    pub async fn release(self) -> Result<()> {
        let released = self.cache.release_lease(self.lease, Duration::ZERO).await;
        self.cache.unless_outage(released, || ())
    }
}
