//! Verbs on one entry.

use serde::{Serialize, de::DeserializeOwned};

use super::{Found, leases::Written};
use crate::{CacheHandle, Result, Timeout, Ttl, Value, codec, timeout::Lifetime};

/// Reading and writing one entry.
impl CacheHandle {
    /// Returns the value stored under `key`, or `None` on a miss.
    ///
    /// An entry that cannot be decoded as a `T` is a miss, which is logged and counted in
    /// [`undecodable_seen`](Self::undecodable_seen).
    ///
    /// Request an `Option<T>` to tell a stored `None`, which is returned as `Some(None)`, from a
    /// miss. Codecs do not support an `Option` directly inside another one: `Some(None)` is decoded
    /// as `None`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Decode`](crate::ErrorKind::Decode) instead of a miss if the alias has
    /// `undecodable = "error"`. See [Errors](CacheHandle#errors) for the others.
    pub async fn get<T: DeserializeOwned + 'static>(&self, key: &str) -> Result<Option<T>> {
        let found = match self.hit_now(key) {
            Ok(value) => return Ok(Some(value)),
            Err(no_hit) => self.decode_found(self.find(no_hit).await, codec::decode),
        };
        Ok(self.unless_outage(found, || Found::Miss)?.hit())
    }

    /// Stores a value and replaces an existing entry.
    ///
    /// An integer that fits in an `i64` is stored as one, so that [`incr`](Self::incr) works on it.
    /// A timeout of zero deletes the entry.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the value cannot be encoded, and
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) if the store does not accept its size;
    /// the key is absent after the latter. See [Errors](CacheHandle#errors) for the others.
    pub async fn set<T>(&self, key: &str, value: &T, timeout: impl Into<Timeout>) -> Result<()>
    where
        T: Serialize + ?Sized,
    {
        let (value, timeout) = (self.encode(value)?, timeout.into());
        match self.put_short_now(key, value, timeout) {
            Ok(stored) => stored,
            Err(not_stored) => self.put_later(key, not_stored, timeout).await,
        }
    }

    /// Stores a value if the key is absent or expired, and returns whether it was stored.
    ///
    /// If several callers add the same key at once, exactly one succeeds, in every store. With a
    /// timeout of zero, returns the same but stores nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the value cannot be encoded, and
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) if the store does not accept its size.
    /// See [Errors](CacheHandle#errors) for the others.
    pub async fn add<T>(&self, key: &str, value: &T, timeout: impl Into<Timeout>) -> Result<bool>
    where
        T: Serialize + ?Sized,
    {
        let value = self.encode(value)?;
        if self.must_learn() && !self.learned().await? {
            return Ok(false);
        }
        self.put_new(&self.key(key)?, value, timeout.into()).await
    }

    /// Sets a new timeout for an entry. Returns `false` if the key is absent or expired.
    ///
    /// [`Timeout::Default`] is the default of the alias, not the previous timeout of the entry. A
    /// timeout of zero deletes the entry.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn touch(&self, key: &str, timeout: impl Into<Timeout>) -> Result<bool> {
        if self.must_learn() && !self.learned().await? {
            return Ok(false);
        }
        let key = self.key(key)?;
        let touched = match self.lifetime(timeout.into()) {
            Lifetime::Expired => {
                let write = self.write(Written::Key(&key));
                if write.must_begin() {
                    write.begin().await;
                }
                self.inner().delete(&key).await
            }
            Lifetime::For(ttl) => self.inner().touch(&key, Some(ttl)).await,
            Lifetime::Forever => self.inner().touch(&key, None).await,
        };
        self.unless_outage(touched, || false)
    }

    /// Returns the value stored under `key` and sets a new timeout for it, or returns `None` on a
    /// miss.
    ///
    /// Like [`get`](Self::get) and [`touch`](Self::touch), in one round trip to the store; on MySQL
    /// two. It is for entries that live as long as they are used, such as sessions.
    ///
    /// [`Timeout::Default`] is the default of the alias, not the previous timeout of the entry. A
    /// timeout of zero deletes the entry. An entry that cannot be decoded as a `T` gets the timeout
    /// and is a miss.
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
    /// const SESSION: Duration = Duration::from_secs(30 * 60);
    ///
    /// cache.set("session:7", "ada", SESSION).await?;
    /// let user: Option<String> = cache.get_and_touch("session:7", SESSION).await?;
    /// assert_eq!(user.as_deref(), Some("ada"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get) and [`touch`](Self::touch).
    pub async fn get_and_touch<T: DeserializeOwned + 'static>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
    ) -> Result<Option<T>> {
        if self.must_learn() && !self.learned().await? {
            return Ok(None);
        }
        let key = self.key(key)?;
        let store = self.inner();
        let found = match self.lifetime(timeout.into()) {
            Lifetime::Expired => self.take(&key).await,
            Lifetime::For(ttl) => store.get_and_touch(&key, Some(ttl)).await,
            Lifetime::Forever => store.get_and_touch(&key, None).await,
        };
        let Some(value) = self.unless_outage(found, || None)? else { return Ok(None) };
        let found = match self.if_fresh(key, value) {
            Ok(entry) => Ok(Found::Hit(entry)),
            Err(no_hit) => self.find(no_hit).await,
        };
        let found = self.decode_found(found, codec::decode);
        Ok(self.unless_outage(found, || Found::Miss)?.hit())
    }

    /// Returns the remaining time to live of an entry, or `None` on a miss.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        if self.must_learn() && !self.learned().await? {
            return Ok(None);
        }
        let key = self.key(key)?;
        self.unless_outage(self.inner().ttl(&key).await, || None)
    }

    /// Removes an entry. Returns `false` if the key is absent or expired.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn delete(&self, key: &str) -> Result<bool> {
        if self.must_learn() && !self.learned().await? {
            return Ok(false);
        }
        let key = self.key(key)?;
        let write = self.write(Written::Key(&key));
        if write.must_begin() {
            write.begin().await;
        }
        self.unless_outage(self.inner().delete(&key).await, || false)
    }

    /// Returns whether the key exists, whatever the type of its value.
    ///
    /// Does not count as a use of the entry for eviction.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn contains(&self, key: &str) -> Result<bool> {
        if self.must_learn() && !self.learned().await? {
            return Ok(false);
        }
        let key = self.key(key)?;
        self.unless_outage(self.inner().contains(&key).await, || false)
    }

    /// Returns the value of a composed key and removes the entry.
    async fn take(&self, key: &str) -> Result<Option<Value>> {
        let mut write = self.write(Written::Key(key));
        if write.must_begin() {
            write.begin().await;
        }
        let found = self.inner().get(key).await?;
        match found {
            Some(_) => {
                self.inner().delete(key).await?;
            }
            None => write.wrote_nothing(),
        }
        Ok(found)
    }
}
