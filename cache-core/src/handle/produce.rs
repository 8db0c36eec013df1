//! Values that are made when they are missing.

use serde::{Serialize, de::DeserializeOwned};

use super::Found;
use crate::{CacheHandle, Error, Result, Timeout};

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
        match self.find(key).await? {
            Found::Hit(value) => Ok(value),
            missed => self.keep(key, timeout.into(), produce().await, missed).await,
        }
    }

    /// As [`get_or_set`](Self::get_or_set), for a `produce` that can fail. Its error comes back as it is, and nothing is
    /// stored then.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Error, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// #[derive(Debug)]
    /// enum Oops {
    ///     NotANumber,
    ///     Cache(Error),
    /// }
    ///
    /// impl From<Error> for Oops {
    ///     fn from(error: Error) -> Self {
    ///         Self::Cache(error)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Oops> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let parse = async || "12x".parse::<u32>().map_err(|_| Oops::NotANumber);
    /// let answer = cache.try_get_or_set("number", Timeout::Default, parse).await;
    /// assert!(matches!(answer, Err(Oops::NotANumber)));
    /// assert!(!cache.contains("number").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `produce`'s own, and as [`get_or_set`](Self::get_or_set).
    pub async fn try_get_or_set<T, E, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + 'static,
        E: From<Error>,
        F: Future<Output = Result<T, E>>,
    {
        match self.find(key).await? {
            Found::Hit(value) => Ok(value),
            missed => Ok(self.keep(key, timeout.into(), produce().await?, missed).await?),
        }
    }

    /// Stores what was produced, unless somebody else stored something readable meanwhile: then answers that.
    async fn keep<T>(&self, key: &str, timeout: Timeout, fresh: T, missed: Found<T>) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if matches!(missed, Found::Unreadable) {
            self.set(key, &fresh, timeout).await?;
            return Ok(fresh);
        }
        if self.add(key, &fresh, timeout).await? {
            return Ok(fresh);
        }
        Ok(self.get(key).await?.unwrap_or(fresh))
    }
}
