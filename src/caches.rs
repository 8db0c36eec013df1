//! The caches of an application, by their aliases.

use std::{collections::BTreeMap, fmt, ops::Index, path::Path, sync::Arc};

use cache_core::{CacheHandle, Error, ErrorKind, Result};

use crate::CachesBuilder;

/// The caches of an application: what Django has as `django.core.cache.caches`, as a value that the application owns.
///
/// Cloning it is cheap, and all clones hold the same caches. Aliases whose configuration names the same store share its
/// entries, within one such value.
///
/// ```
/// # async fn run() -> cachette::Result<()> {
/// use cachette::Caches;
///
/// let caches = Caches::from_json(r#"{
///     "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
///     "pages": {"BACKEND": "locmem", "LOCATION": "pages", "TIMEOUT": 60}
/// }"#).await?;
///
/// let pages = caches.get("pages")?;
/// assert_eq!(caches["pages"].alias(), "pages");
/// assert_eq!(caches.get("pagse").unwrap_err().to_string(),
///     r#"there is no cache "pagse"; there are "default" and "pages""#);
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Caches {
    handles: Arc<BTreeMap<String, CacheHandle>>,
}

impl Caches {
    /// For more than one source of configuration, and for stores and key functions of your own.
    pub fn builder() -> CachesBuilder {
        CachesBuilder::new()
    }

    /// Reads a file, `.toml` or `.json` by its extension.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names the file, the alias and the setting, what was found and what would be right.
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().file(path).build().await
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    #[cfg(feature = "toml")]
    pub async fn from_toml(text: &str) -> Result<Self> {
        Self::builder().toml(text).build().await
    }

    /// Reads JSON: what Django's `CACHES` looks like when it is dumped.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub async fn from_json(text: &str) -> Result<Self> {
        Self::builder().json(text).build().await
    }

    /// One cache, `default`, from a URL such as `locmem://pages?timeout=60`.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub async fn from_url(url: &str) -> Result<Self> {
        Self::builder().url("default", url).build().await
    }

    /// Reads the environment: a URL for `default` in `CACHE_URL`, and for other aliases in `CACHE_URL_<ALIAS>`, which
    /// gives an alias in lower case. See [`CachesBuilder::env`] for the environment beside a file.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub async fn from_env() -> Result<Self> {
        Self::builder().env().build().await
    }

    pub(crate) fn new(handles: BTreeMap<String, CacheHandle>) -> Self {
        Self { handles: Arc::new(handles) }
    }

    /// The cache of this alias. `caches["default"]` does the same, but panics where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names the aliases there are.
    pub fn get(&self, alias: &str) -> Result<CacheHandle> {
        self.handles.get(alias).cloned().ok_or_else(|| self.no_such(alias))
    }

    /// The aliases, in alphabetical order.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.handles.keys().map(String::as_str)
    }

    /// The caches, in the order of their aliases.
    pub fn iter(&self) -> impl Iterator<Item = &CacheHandle> {
        self.handles.values()
    }

    /// Closes each store once: connections and files are let go. The caches stay usable.
    ///
    /// # Errors
    /// The first error met; the other stores are closed all the same.
    pub async fn close_all(&self) -> Result<()> {
        let mut outcome = Ok(());
        for cache in self.stores() {
            outcome = outcome.and(cache.close().await);
        }
        outcome
    }

    /// One cache for each store, in the order of their aliases.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &CacheHandle> {
        let mut seen = Vec::new();
        self.iter().filter(move |cache| {
            let store = Arc::as_ptr(cache.store()).cast::<()>().addr();
            let is_new = !seen.contains(&store);
            seen.push(store);
            is_new
        })
    }

    fn no_such(&self, alias: &str) -> Error {
        let message = format!("there is no cache {alias:?}; there {}", listed(self.aliases()));
        Error::new(ErrorKind::Config, message)
    }
}

/// `is "a"`, `are "a" and "b"`, `are none`.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    match &*names {
        [] => "are none".into(),
        [one] => format!("is {one}"),
        [others @ .., last] => format!("are {} and {last}", others.join(", ")),
    }
}

impl Index<&str> for Caches {
    type Output = CacheHandle;

    /// # Panics
    /// Where there is no such alias.
    fn index(&self, alias: &str) -> &CacheHandle {
        self.handles.get(alias).unwrap_or_else(|| panic!("{}", self.no_such(alias)))
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.handles.iter()).finish()
    }
}
