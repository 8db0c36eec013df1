//! Counters and counted versions.

use std::time::Duration;

use super::{described::Verdict, leases::Written};
use crate::{
    CacheHandle, Error, ErrorKind, Result, Timeout, Ttl, Version, key::shown, timeout::Lifetime,
};

/// Counting.
impl CacheHandle {
    /// Adds `delta` to an integer and returns the sum.
    ///
    /// Atomic in every store. The timeout of the entry is unchanged.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, ErrorKind, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// cache.add("visits", &0, Timeout::Never).await?;
    /// assert_eq!(cache.incr("visits", 1).await?, 1);
    /// assert_eq!(cache.incr("no such counter", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the key is absent or expired, [`ErrorKind::NotAnInteger`]
    /// if the value is not an integer, and [`ErrorKind::Overflow`] if the sum does not fit in an
    /// `i64`. Nothing is changed. See [Errors](CacheHandle#errors) for the others.
    pub async fn incr(&self, key: &str, delta: i64) -> Result<i64> {
        if self.must_learn() && !self.learned().await? {
            return Err(self.not_found(&self.key(key)?));
        }
        let composed = self.key(key)?;
        let mut write = self.write(Written::Key(&composed));
        if write.must_begin() {
            write.begin().await;
        }
        let sum = self.inner().incr(&composed, delta).await;
        if let Ok(None) = sum {
            write.wrote_nothing();
        }
        let sum = self.unless_outage(sum, || None)?;
        sum.ok_or_else(|| self.not_found(&composed))
    }

    /// Adds `delta` to an integer and returns the sum. If the key is absent or expired, stores
    /// `initial` with this timeout and returns it.
    ///
    /// `initial` is the value after the first call: to count calls, pass 1 for both numbers. Later
    /// calls do not extend the timeout, so the count of a window ends with the window.
    ///
    /// Atomic in every store: whatever callers and expiry do at the same time, no count is lost,
    /// and one call of each window returns `initial`. With a timeout of zero, nothing is stored on
    /// absence.
    ///
    /// While the store is unavailable, returns `initial` if the alias has `on_outage = "miss"`. A
    /// rate limiter then lets every call pass.
    ///
    /// # Performance
    ///
    /// One round trip. MySQL needs two for the first call of a window, and memcached needs more if
    /// `initial` is negative or `delta` is above 2^32.
    ///
    /// # Examples
    ///
    /// A rate limiter: at most 100 calls for each client and minute.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Result, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let calls = cache.incr_or_set("calls:203.0.113.9", 1, 1, Duration::from_secs(60)).await?;
    /// assert_eq!(calls, 1);
    /// let may_pass = calls <= 100;
    /// # assert!(may_pass);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotAnInteger`] if the value is not an integer, and
    /// [`ErrorKind::Overflow`] if the sum does not fit in an `i64`. Nothing is changed. See
    /// [Errors](CacheHandle#errors) for the others.
    pub async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        timeout: impl Into<Timeout>,
    ) -> Result<i64> {
        if self.must_learn() && !self.learned().await? {
            return Ok(initial);
        }
        let composed = self.key(key)?;
        let write = self.write(Written::Key(&composed));
        if write.must_begin() {
            write.begin().await;
        }
        let store = self.inner();
        let ttl = match self.lifetime(timeout.into()) {
            Lifetime::Expired => {
                let sum = store.incr(&composed, delta).await;
                return self.unless_outage(sum.map(|sum| sum.unwrap_or(initial)), || initial);
            }
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        self.unless_outage(store.incr_or_set(&composed, delta, initial, ttl).await, || initial)
    }

    /// Subtracts `delta` from an integer and returns the difference.
    ///
    /// Memcached counters stop at zero; see the documentation of that store.
    ///
    /// # Errors
    ///
    /// Same as [`incr`](Self::incr), and [`ErrorKind::Overflow`] if `delta` is
    /// [`i64::MIN`].
    pub async fn decr(&self, key: &str, delta: i64) -> Result<i64> {
        let Some(delta) = delta.checked_neg() else {
            return Err(
                self.at(Error::new(ErrorKind::Overflow, format!("cannot subtract {delta}")))
            );
        };
        self.incr(key, delta).await
    }

    /// Moves an entry from the version of this handle to the version plus `delta`, and returns the
    /// new version.
    ///
    /// The entry keeps its timeout and replaces an entry at the new version.
    ///
    /// Not atomic: other callers may see the entry at both versions, and a value that is set at the
    /// old version meanwhile may be lost.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the key is absent or expired,
    /// [`ErrorKind::NotAnInteger`] if the version is a name, and [`ErrorKind::Overflow`] if the new
    /// version does not fit in an `i64`. See [Errors](CacheHandle#errors) for the others.
    pub async fn incr_version(&self, key: &str, delta: i64) -> Result<i64> {
        let target = self.version_after(delta)?;
        if self.must_learn() && !self.learned().await? {
            return Err(self.not_found(&self.key(key)?));
        }
        let generation = self.key_generation();
        let from = self.key_in(generation, key)?;
        let to = self.version(target).key_in(generation, key)?;
        let Some(value) = self.unless_outage(self.inner().get(&from).await, || None)? else {
            return Err(self.not_found(&from));
        };
        // It moves whatever is stored, also if a tag was purged.
        self.report_lookup(&from, &value, Some(Verdict::Fresh));
        if *from == *to {
            return Ok(target);
        }
        let keys = [&*from, &*to];
        let mut write = self.write(Written::Keys(&keys));
        if write.must_begin() {
            write.begin().await;
        }
        let [from, to] = keys;
        let moved = async {
            let ttl = match self.inner().ttl(from).await? {
                None | Some(Ttl::Left(Duration::ZERO)) => {
                    write.wrote_nothing();
                    return Ok(false);
                }
                Some(ttl) => ttl,
            };
            self.inner().set(to, value, ttl.into()).await?;
            self.inner().delete(from).await?;
            Ok(true)
        };
        match self.unless_outage(moved.await, || false)? {
            true => Ok(target),
            false => Err(self.not_found(from)),
        }
    }

    /// Moves an entry to the version minus `delta`; see [`incr_version`](Self::incr_version).
    ///
    /// # Errors
    ///
    /// Same as [`incr_version`](Self::incr_version), and [`ErrorKind::Overflow`] if
    /// `delta` is [`i64::MIN`].
    pub async fn decr_version(&self, key: &str, delta: i64) -> Result<i64> {
        let Some(delta) = delta.checked_neg() else {
            return Err(self.at(Error::new(
                ErrorKind::Overflow,
                format!("cannot subtract {delta} from a version"),
            )));
        };
        self.incr_version(key, delta).await
    }

    fn version_after(&self, delta: i64) -> Result<i64> {
        let problem = match self.current_version() {
            Version::Number(number) => match number.checked_add(delta) {
                Some(target) => return Ok(target),
                None => Error::new(
                    ErrorKind::Overflow,
                    format!("the version {number} plus {delta} overflows a 64-bit integer"),
                ),
            },
            Version::Name(name) => Error::new(
                ErrorKind::NotAnInteger,
                format!("the version {name:?} is a name and cannot be counted"),
            ),
        };
        Err(self.at(problem))
    }

    fn not_found(&self, composed: &str) -> Error {
        self.at(Error::new(
            ErrorKind::NotFound,
            format!("the key {} does not exist", shown(composed)),
        ))
    }
}
