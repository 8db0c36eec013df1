//! Values that are made when they are missing.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::Found;
use crate::{CacheHandle, Result, Timeout, Value};

impl CacheHandle {
    /// The value; on a miss, what `produce` makes, which is stored first.
    ///
    /// As in Django, a stored `None` is a hit; what somebody else stored while `produce` ran wins; and of many callers who
    /// miss at once, each runs its own `produce`. An entry that does not read as a `T` is replaced.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// # async fn render() -> String { "<html>".into() }
    /// let page: String = cache.get_or_set("page:/", Timeout::Default, async || render().await).await?;
    /// # assert_eq!(page, "<html>");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`add`](Self::add). Where storing fails, what was produced is lost.
    pub async fn get_or_set<T, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = T>,
    {
        if let Found::Hit(value) = self.find(key).await? {
            return Ok(value);
        }
        self.keep(key, produce().await, timeout.into()).await
    }

    /// As [`get_or_set`](Self::get_or_set), for a `produce` that can fail: the outer result is the cache's, the inner one is
    /// `produce`'s. Its error comes back as it is, and nothing is stored then.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let parsed = cache.try_get_or_set("number", Timeout::Default, async || "12x".parse::<u32>()).await?;
    /// assert!(parsed.is_err());
    /// assert!(!cache.contains("number").await?);
    ///
    /// let number = cache.try_get_or_set("number", Timeout::Default, async || "12".parse::<u32>()).await??;
    /// assert_eq!(number, 12);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get_or_set`](Self::get_or_set).
    pub async fn try_get_or_set<T, E, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<Result<T, E>>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Result<T, E>>,
    {
        if let Found::Hit(value) = self.find(key).await? {
            return Ok(Ok(value));
        }
        match produce().await {
            Ok(fresh) => self.keep(key, fresh, timeout.into()).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// As [`get_or_set`](Self::get_or_set), behind an `Arc` as by [`get_shared`](Self::get_shared): on a store in this
    /// process, a hit is the very object that was produced.
    ///
    /// # Errors
    /// As [`get_or_set`](Self::get_or_set).
    pub async fn get_or_set_shared<T, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = T>,
    {
        if let Found::Hit(object) = self.find_shared(key).await? {
            return Ok(object);
        }
        let fresh = Arc::new(produce().await);
        let (value, timeout) = (self.share(&fresh)?, timeout.into());
        if self.put_new(key, value.clone(), timeout).await? {
            return Ok(fresh);
        }
        let theirs = self.find_shared(key).await?;
        self.settle(key, theirs, fresh, value, timeout).await
    }

    /// Stores what was produced, unless somebody else stored something readable meanwhile: then answers that.
    async fn keep<T>(&self, key: &str, fresh: T, timeout: Timeout) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let value = self.encode(&fresh)?;
        if self.put_new(key, value.clone(), timeout).await? {
            return Ok(fresh);
        }
        let theirs = self.find(key).await?;
        self.settle(key, theirs, fresh, value, timeout).await
    }

    /// The key was taken: by something that reads, which wins, or by something that does not, which is replaced.
    async fn settle<T>(
        &self,
        key: &str,
        theirs: Found<T>,
        fresh: T,
        value: Value,
        timeout: Timeout,
    ) -> Result<T> {
        match theirs {
            Found::Hit(theirs) => return Ok(theirs),
            Found::Unreadable => self.put(key, value, timeout).await?,
            Found::Miss => {}
        }
        Ok(fresh)
    }
}
