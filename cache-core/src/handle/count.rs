//! Counters, and versions counted up and down.

use std::time::Duration;

use crate::{CacheHandle, Error, ErrorKind, Result, Ttl, Version, key::shown};

impl CacheHandle {
    /// Adds to an integer and answers the sum. Atomic in every store, and the entry's timeout stays as it is.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, ErrorKind, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// cache.add("visits", &0, Timeout::Never).await?;
    /// assert_eq!(cache.incr("visits", 1).await?, 1);
    /// assert_eq!(cache.incr("no such counter", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the key is absent or expired, [`ErrorKind::NotAnInteger`] where it holds something
    /// else, [`ErrorKind::Overflow`] where the sum does not fit an `i64`; nothing is changed then.
    pub async fn incr(&self, key: &str, delta: i64) -> Result<i64> {
        let composed = self.key(key)?;
        let sum = self.inner().incr(&composed, delta).await.map_err(|error| self.at(error))?;
        sum.ok_or_else(|| self.not_found(&composed))
    }

    /// Subtracts from an integer: [`incr`](Self::incr) by `-delta`.
    ///
    /// # Errors
    /// As [`incr`](Self::incr).
    pub async fn decr(&self, key: &str, delta: i64) -> Result<i64> {
        let Some(delta) = delta.checked_neg() else {
            return Err(
                self.at(Error::new(ErrorKind::Overflow, format!("cannot subtract {delta}")))
            );
        };
        self.incr(key, delta).await
    }

    /// Moves an entry from this handle's version to the one `delta` further, and answers that version. The entry keeps
    /// its timeout, and replaces what the key held at the other version.
    ///
    /// Not atomic: somebody may see the entry at both versions, and a value set at this version meanwhile may get lost.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the key is absent or expired, [`ErrorKind::NotAnInteger`] where the version is a name,
    /// [`ErrorKind::Overflow`] where there is no such version.
    pub async fn incr_version(&self, key: &str, delta: i64) -> Result<i64> {
        let target = self.version_after(delta)?;
        let from = self.key(key)?;
        let to = self.version(target).key(key)?;
        let Some(value) = self.inner().get(&from).await.map_err(|error| self.at(error))? else {
            return Err(self.not_found(&from));
        };
        if *from == *to {
            return Ok(target);
        }
        let moved = async {
            let ttl = match self.inner().ttl(&from).await? {
                None | Some(Ttl::Left(Duration::ZERO)) => return Ok(false),
                Some(ttl) => ttl,
            };
            self.inner().set(&to, value, ttl.into()).await?;
            self.inner().delete(&from).await?;
            Ok(true)
        };
        match moved.await {
            Ok(true) => Ok(target),
            Ok(false) => Err(self.not_found(&from)),
            Err(error) => Err(self.at(error)),
        }
    }

    /// Moves an entry to the version `delta` back: [`incr_version`](Self::incr_version) by `-delta`.
    ///
    /// # Errors
    /// As [`incr_version`](Self::incr_version).
    pub async fn decr_version(&self, key: &str, delta: i64) -> Result<i64> {
        let Some(delta) = delta.checked_neg() else {
            return Err(self
                .at(Error::new(ErrorKind::Overflow, format!("cannot go back {delta} versions"))));
        };
        self.incr_version(key, delta).await
    }

    fn version_after(&self, delta: i64) -> Result<i64> {
        let problem = match self.current_version() {
            Version::Number(number) => match number.checked_add(delta) {
                Some(target) => return Ok(target),
                None => Error::new(
                    ErrorKind::Overflow,
                    format!("there is no version {number} + {delta}"),
                ),
            },
            Version::Name(name) => Error::new(
                ErrorKind::NotAnInteger,
                format!("the version {name:?} is a name, not a number to count on"),
            ),
        };
        Err(self.at(problem))
    }

    fn not_found(&self, composed: &str) -> Error {
        self.at(Error::new(
            ErrorKind::NotFound,
            format!("the key {} is not there", shown(composed)),
        ))
    }
}
