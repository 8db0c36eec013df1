//! Verbs that produce missing values.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::Found;
use crate::{CacheHandle, Result, Timeout, Value};

/// Producing missing values.
impl CacheHandle {
    /// Returns the value stored under `key`. On a miss, calls `produce`, stores its result and
    /// returns it.
    ///
    /// As in Django,
    ///
    /// - a stored `None` is a hit;
    /// - if another caller stores a value while `produce` runs, that value is returned;
    /// - callers that miss concurrently each call their `produce`.
    ///
    /// An entry that cannot be decoded as a `T` is replaced.
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
    /// # async fn render() -> String { "<html>".into() }
    /// let page: String =
    ///     cache.get_or_set("page:/", Timeout::Default, async || render().await).await?;
    /// # assert_eq!(page, "<html>");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get) and [`add`](Self::add). If storing fails, the produced value is
    /// lost.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while `produce` runs, `produce` is dropped as well and nothing is
    /// stored.
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
        self.store_produced(key, produce().await, timeout.into()).await
    }

    /// Like [`get_or_set`](Self::get_or_set), for a `produce` that can fail.
    ///
    /// The outer result is that of the cache, the inner one that of `produce`. If `produce` fails,
    /// its error is returned unchanged and nothing is stored.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let parse = async |text: &str| text.parse::<u32>();
    ///
    /// let failed = cache.try_get_or_set("n", Timeout::Default, || parse("12x")).await?;
    /// assert!(failed.is_err());
    /// assert!(!cache.contains("n").await?);
    ///
    /// let number = cache.try_get_or_set("n", Timeout::Default, || parse("12")).await??;
    /// assert_eq!(number, 12);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get_or_set`](Self::get_or_set).
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
            Ok(fresh) => self.store_produced(key, fresh, timeout.into()).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Like [`get_or_set`](Self::get_or_set), but returns the value in an `Arc` like
    /// [`get_shared`](Self::get_shared).
    ///
    /// On a store in this process, a hit returns the object that was produced.
    ///
    /// # Errors
    ///
    /// Same as [`get_or_set`](Self::get_or_set).
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
        let other = self.find_shared(key).await?;
        self.resolve(key, other, fresh, value, timeout).await
    }

    /// Stores the produced value and returns it, or returns a value that another caller has stored
    /// meanwhile.
    async fn store_produced<T>(&self, key: &str, fresh: T, timeout: Timeout) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let value = self.encode(&fresh)?;
        if self.put_new(key, value.clone(), timeout).await? {
            return Ok(fresh);
        }
        let other = self.find(key).await?;
        self.resolve(key, other, fresh, value, timeout).await
    }

    /// Returns the value of the other caller, or replaces it if it is undecodable.
    async fn resolve<T>(
        &self,
        key: &str,
        other: Found<T>,
        fresh: T,
        value: Value,
        timeout: Timeout,
    ) -> Result<T> {
        match other {
            Found::Hit(other) => return Ok(other),
            Found::Undecodable => self.put(key, value, timeout).await?,
            Found::Miss => {}
        }
        Ok(fresh)
    }
}
