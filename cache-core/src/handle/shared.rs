//! Verbs on shared objects, which a store in this process returns without decoding.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{Found, NoHit};
use crate::{CacheHandle, Object, Result, Timeout, Value, codec};

/// Sharing objects.
impl CacheHandle {
    /// Returns the value in an `Arc`, or `None` on a miss.
    ///
    /// A store in this process returns the object that was stored with
    /// [`set_shared`](Self::set_shared), without decoding or copying. Other values are decoded as
    /// in [`get`](Self::get).
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
    /// let page = Arc::new(vec!["a", "long", "page"].join(" "));
    /// cache.set_shared("page", &page, Timeout::Default).await?;
    ///
    /// let same = cache.get_shared::<String>("page").await?.expect("it was just stored");
    /// assert!(Arc::ptr_eq(&page, &same));
    /// assert_eq!(cache.get::<String>("page").await?.as_deref(), Some("a long page"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub async fn get_shared<T>(&self, key: &str) -> Result<Option<Arc<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let found = match self.shared_hit_now(key) {
            Ok(object) => return Ok(Some(object)),
            Err(no_hit) => self.decode_found(self.find(no_hit).await, codec::decode_shared),
        };
        Ok(self.unless_outage(found, || Found::Miss)?.hit())
    }

    /// Stores an object: without encoding in a store of this process, encoded in others.
    ///
    /// An integer is stored as an integer. A store that is bounded by bytes counts only what is
    /// directly in the `Arc`; use [`set_shared_owning`](Self::set_shared_owning) if the object owns
    /// more.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub async fn set_shared<T>(
        &self,
        key: &str,
        object: &Arc<T>,
        timeout: impl Into<Timeout>,
    ) -> Result<()>
    where
        T: Serialize + Send + Sync + 'static,
    {
        self.set_shared_owning(key, object, 0, timeout).await
    }

    /// Like [`set_shared`](Self::set_shared), for an object that owns bytes outside its `Arc`.
    ///
    /// `owned_bytes` are the contents of its strings and vectors, for example. Stores that are
    /// bounded by bytes count them.
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
    /// let page = Arc::new("word ".repeat(10_000));
    /// cache.set_shared_owning("page", &page, page.capacity(), Timeout::Default).await?;
    /// assert!(cache.stats().await?.bytes.is_some_and(|bytes| bytes > 50_000));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub async fn set_shared_owning<T>(
        &self,
        key: &str,
        object: &Arc<T>,
        owned_bytes: usize,
        timeout: impl Into<Timeout>,
    ) -> Result<()>
    where
        T: Serialize + Send + Sync + 'static,
    {
        let value = match self.share(object)? {
            Value::Object(object) => Value::Object(object.owning(owned_bytes)),
            encoded => encoded,
        };
        let timeout = timeout.into();
        match self.put_short_now(key, value, timeout) {
            Ok(stored) => stored,
            Err(not_stored) => self.put_later(key, not_stored, timeout).await,
        }
    }

    /// Like [`hit_now`](Self::hit_now), but returns an object of this process as it is.
    #[inline]
    pub(super) fn shared_hit_now<'a, T>(&'a self, key: &'a str) -> Result<Arc<T>, NoHit<'a>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let value = match self.look_up_now(key)? {
            Value::Object(object) => match object.downcast_plain() {
                Ok(object) => return Ok(object),
                Err(object) => Value::Object(object),
            },
            encoded => encoded,
        };
        let value = self.if_fresh_now(key, value)?;
        codec::decode_shared(value, &self.view.codecs)
            .map_err(|error| NoHit::Ended(self.undecodable(&self.composed_again(key), error)))
    }

    pub(super) fn share<T: Serialize + Send + Sync + 'static>(
        &self,
        object: &Arc<T>,
    ) -> Result<Value> {
        if !self.inner().keeps_objects() {
            return self.encode(&**object);
        }
        Ok(match codec::as_int(&**object) {
            Some(number) => Value::Int(number),
            None => Value::Object(Object::new(Arc::clone(object))),
        })
    }
}
