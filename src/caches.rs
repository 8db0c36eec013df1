//! The configured caches of an application.

#[cfg(feature = "fetch")]
use std::time::{Duration, Instant};
use std::{collections::BTreeMap, fmt, ops::Index, path::Path, sync::Arc};

use cache_core::{CacheHandle, Error, ErrorKind, Result, config::did_you_mean, observe::Observed};
use futures_util::future::join_all;

use crate::CachesBuilder;

/// For how long [`Caches::close_all`] waits for producers, for all caches together.
#[cfg(feature = "fetch")]
const TASK_LIMIT: Duration = Duration::from_secs(5);

/// The configured caches of an application, by alias.
///
/// The counterpart of Django's `django.core.cache.caches`, as a value that the application owns.
///
/// Clones are cheap and hold the same caches. Aliases whose configuration names the same store
/// share its entries. Two separately built `Caches` share no store in memory.
///
/// # Examples
///
/// ```
/// # async fn run() -> cachette::Result<()> {
/// use cachette::{Caches, ErrorKind};
///
/// let caches = Caches::from_json(r#"{
///     "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
///     "pages": {"BACKEND": "locmem", "LOCATION": "pages", "TIMEOUT": 60}
/// }"#).await?;
///
/// let pages = caches.get("pages")?;
/// assert_eq!(caches["pages"].alias(), "pages");
/// assert_eq!(caches.get("pagse").unwrap_err().kind(), ErrorKind::Config);
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Caches {
    handles: Arc<BTreeMap<String, CacheHandle>>,
}

impl Caches {
    /// Returns a builder, which combines several sources of configuration and registers stores,
    /// wrappers and key functions.
    pub fn builder() -> CachesBuilder {
        CachesBuilder::new()
    }

    /// Opens the caches that a `.toml` or `.json` file configures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid. The message names the file,
    /// the alias, the setting, the value found and the values allowed.
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().file(path).build().await
    }

    /// Opens the caches that TOML text configures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid.
    #[cfg(feature = "toml")]
    pub async fn from_toml(text: &str) -> Result<Self> {
        Self::builder().toml(text).build().await
    }

    /// Opens the caches that JSON text configures, such as a dump of Django's `CACHES`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid.
    pub async fn from_json(text: &str) -> Result<Self> {
        Self::builder().json(text).build().await
    }

    /// Opens one cache, `default`, that a URL such as `locmem://pages?timeout=60` configures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid.
    pub async fn from_url(url: &str) -> Result<Self> {
        Self::builder().url("default", url).build().await
    }

    /// Opens the caches that environment variables configure.
    ///
    /// `CACHE_URL` is the URL of `default`. `CACHE_URL_<ALIAS>` is the URL of another alias, in
    /// lower case. To combine the environment with a file, use [`CachesBuilder::env`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid.
    pub async fn from_env() -> Result<Self> {
        Self::builder().env().build().await
    }

    pub(crate) fn new(handles: BTreeMap<String, CacheHandle>) -> Self {
        Self { handles: Arc::new(handles) }
    }

    /// Returns the cache with this alias.
    ///
    /// `caches["default"]` is a shorter form that panics if the alias is not configured.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the alias is not configured. The message lists the
    /// configured aliases.
    pub fn get(&self, alias: &str) -> Result<CacheHandle> {
        self.handles.get(alias).cloned().ok_or_else(|| self.unknown_alias(alias))
    }

    /// Returns the aliases in alphabetical order.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.handles.keys().map(String::as_str)
    }

    /// Returns the caches in the order of their aliases.
    pub fn iter(&self) -> impl Iterator<Item = &CacheHandle> {
        self.handles.values()
    }

    /// Closes each store once, which releases its connections and files. The caches stay usable.
    ///
    /// First waits up to 5 seconds for the producers of `fetch` that still run, and then drops
    /// them. Call it when the application serves no more requests.
    ///
    /// # Errors
    ///
    /// Returns the first error of a store. The other stores are closed nevertheless.
    pub async fn close_all(&self) -> Result<()> {
        #[cfg(feature = "fetch")]
        self.finish_tasks().await;
        let mut result = Ok(());
        for cache in self.stores() {
            result = result.and(cache.close().await);
        }
        result
    }

    /// Publishes the metrics of observed caches that are not published at once: the counts of
    /// operations in memory, and the number and size of the entries.
    ///
    /// Call it before metrics are read, for example when Prometheus scrapes them. All stores are
    /// asked at the same time, so it takes at most two seconds. See [`Observed::publish`].
    ///
    /// # Errors
    ///
    /// Returns the first error of a store. The metrics of the others are published nevertheless.
    pub async fn publish_metrics(&self) -> Result<()> {
        let observed = self.iter().filter_map(|cache| cache.store().downcast_ref::<Observed>());
        // At the same time, or a scrape would fail in an outage of several stores.
        join_all(observed.map(Observed::publish)).await.into_iter().collect()
    }

    #[cfg(feature = "fetch")]
    async fn finish_tasks(&self) {
        let deadline = Instant::now() + TASK_LIMIT;
        for cache in self.iter() {
            let limit = deadline.saturating_duration_since(Instant::now());
            let dropped = cache.finish_tasks(limit).await;
            if dropped > 0 {
                tracing::warn!(cache = cache.alias(), dropped, "dropped producers that still ran");
            }
        }
    }

    /// One cache for each store, in the order of their aliases.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &CacheHandle> {
        let mut seen = Vec::new();
        self.iter().filter(move |cache| {
            // Each alias has its own `Observed`.
            let store = match cache.store().downcast_ref::<Observed>() {
                Some(observed) => observed.store(),
                None => cache.store(),
            };
            let store = Arc::as_ptr(store).cast::<()>().addr();
            let is_new = !seen.contains(&store);
            seen.push(store);
            is_new
        })
    }

    fn unknown_alias(&self, alias: &str) -> Error {
        let aliases = quoted(self.aliases());
        let hint = did_you_mean(alias, self.aliases());
        let message = format!("unknown cache {alias:?}; configured caches: {aliases}{hint}");
        Error::new(ErrorKind::Config, message)
    }
}

/// Lists names for a message: `"a", "b"`, or `none`.
pub(crate) fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl Index<&str> for Caches {
    type Output = CacheHandle;

    /// # Panics
    ///
    /// Panics if the alias is not configured.
    fn index(&self, alias: &str) -> &CacheHandle {
        self.handles.get(alias).unwrap_or_else(|| panic!("{}", self.unknown_alias(alias)))
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.handles.iter()).finish()
    }
}
