//! Objects that a store in this process hands back as they are.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::Found;
use crate::{CacheHandle, Object, Result, Timeout, Value, codec};

impl CacheHandle {
    /// The value behind an `Arc`, or `None` on a miss. A store in this process that was given the object by
    /// [`set_shared`](Self::set_shared) hands back that very object: nothing is decoded or copied. Anything else is decoded
    /// as by [`get`](Self::get).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
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
    /// As [`get`](Self::get).
    pub async fn get_shared<T>(&self, key: &str) -> Result<Option<Arc<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        Ok(self.find_shared(key).await?.hit())
    }

    /// Stores an object: as it is in a store of this process, encoded elsewhere. An integer is stored as an integer.
    ///
    /// A store that is bounded by bytes sees only what lies directly in the `Arc`; see
    /// [`set_shared_owning`](Self::set_shared_owning).
    ///
    /// # Errors
    /// As [`set`](Self::set).
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

    /// As [`set_shared`](Self::set_shared), of an object that owns so many bytes beyond those that lie directly in its
    /// `Arc`, such as the content of its strings and vectors. They count where a store is bounded by bytes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let page = Arc::new("word ".repeat(10_000));
    /// cache.set_shared_owning("page", &page, page.capacity(), Timeout::Default).await?;
    /// assert!(cache.stats().await?.bytes.is_some_and(|bytes| bytes > 50_000));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
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
        self.put(key, value, timeout.into()).await
    }

    pub(super) async fn find_shared<T>(&self, key: &str) -> Result<Found<Arc<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let key = self.key(key)?;
        let answer = match self.inner().get_now(&key) {
            Some(answer) => answer,
            None => self.inner().get(&key).await,
        };
        let Some(value) = answer.map_err(|error| self.at(error))? else { return Ok(Found::Miss) };
        let value = match value {
            Value::Object(object) => match object.downcast() {
                Ok(object) => return Ok(Found::Hit(object)),
                Err(object) => Value::Object(object),
            },
            encoded => encoded,
        };
        Ok(match self.read(&key, value)? {
            Found::Hit(value) => Found::Hit(Arc::new(value)),
            Found::Unreadable => Found::Unreadable,
            Found::Miss => Found::Miss,
        })
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
