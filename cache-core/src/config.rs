//! What a BACKEND gets to see of a configuration, and how it tells what is wrong with it.
//!
//! An author of a store writes a plain struct for the OPTIONS and a [`Backend`], most often as a closure:
//!
//! ```
//! # use cache_core::{Cache, Result, config::StoreConfig};
//! # use cache_locmem::{LocMemCache as ShelfCache, LocMemOptions as Unused};
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct ShelfOptions { shelves: usize }
//!
//! async fn open_shelf(config: StoreConfig) -> Result<ShelfCache> {
//!     let options: ShelfOptions = config.options()?;
//!     # let _ = options.shelves;
//!     Ok(ShelfCache::default())
//! }
//! # fn is_backend(_: impl cache_core::config::Backend) {}
//! # is_backend(open_shelf);
//! ```

mod lenient;
mod nested;
mod numbers;
mod redact;
mod shared;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

pub use self::{
    lenient::from_settings,
    nested::{NestedStore, OpenNested},
    numbers::{at_least_one, seconds},
    redact::{is_secret, redact, redact_setting},
    shared::SharedStores,
};
use crate::{Cache, Clock, Error, ErrorKind, Result};

/// Makes the stores of one BACKEND. One value of it serves all aliases of a configuration, so it can have some of them
/// share a store.
///
/// Any `async fn(StoreConfig) -> Result<impl Cache>` is one.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Makes the store for an alias, or says what is wrong with its configuration. It need not be reachable yet: a
    /// service should start while its cache is away.
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>>;
}

#[async_trait]
impl<O, F, C> Backend for O
where
    O: Fn(StoreConfig) -> F + Send + Sync + 'static,
    F: Future<Output = Result<C>> + Send,
    C: Cache,
{
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(self(config.clone()).await?))
    }
}

/// What the configuration says of one alias's store.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The alias, for messages.
    pub alias: String,
    /// LOCATION: none, one, or a list, as they were written. Of a URL, what stands between `://` and `?`, with percent
    /// signs decoded.
    pub location: Vec<String>,
    /// The URL up to its `?`, as it was written, where the alias is configured by one: for a store whose LOCATION is
    /// the address of a server, with a user and a password in it perhaps. It is to be taken apart before it is decoded.
    pub url: Option<String>,
    /// The configuration's file, where it came from one.
    pub file: Option<PathBuf>,
    /// The URLs of the configuration's databases, by their names.
    pub databases: Arc<BTreeMap<String, String>>,
    /// What entries shall expire by.
    pub clock: Clock,
    /// What every key of the alias begins with, where that is known: KEY_PREFIX and a colon. It is not, with a KEY_FUNCTION of
    /// one's own. For a store that has to tell the alias's entries from others.
    pub common_key_prefix: Option<String>,
    /// Opens the stores that OPTIONS configure within this one. See [`open_nested`](Self::open_nested).
    pub nested: Option<Arc<dyn OpenNested>>,
    options: Map<String, Json>,
}

impl StoreConfig {
    /// The configuration of a store without LOCATION.
    #[must_use]
    pub fn new(alias: &str, options: Map<String, Json>) -> Self {
        Self {
            alias: alias.into(),
            location: Vec::new(),
            url: None,
            file: None,
            databases: Arc::default(),
            clock: Clock::default(),
            common_key_prefix: None,
            nested: None,
            options,
        }
    }

    /// The folder of the configuration's file, where it came from one: relative paths start there.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    /// OPTIONS as the store's own struct. Put `#[serde(default, deny_unknown_fields)]` on it: an option that is missing
    /// or null then has its default, and one that is unknown is an error. The names in the struct are lower-case, however they
    /// were written in the configuration, and numbers and truth values may come as text, as they do from a URL.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names the option, what was found and what would be right.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        let given = self.options.iter().filter(|(_, value)| !value.is_null());
        from_settings(
            "OPTIONS.",
            &given.map(|(name, value)| (name.clone(), value.clone())).collect(),
        )
    }

    /// Opens a store that one of the OPTIONS configures, for a store that is made of others.
    ///
    /// `option` is the option's name, for errors. The nested store gets the alias, the clock, the
    /// databases and the file of this configuration, and has a BACKEND, a LOCATION and OPTIONS of
    /// its own. Aliases' wrappers do not apply to it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the nested configuration is wrong, or if this configuration
    /// was not made by a registry of BACKENDs. Returns what opening the store returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use cache_core::{Cache, Result, config::{NestedStore, StoreConfig}};
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct MirrorOptions { store: NestedStore }
    ///
    /// // `options = { store = { backend = "locmem" } }`
    /// async fn open_mirror(config: StoreConfig) -> Result<Arc<dyn Cache>> {
    ///     let options: MirrorOptions = config.options()?;
    ///     config.open_nested("store", &options.store).await
    /// }
    /// # fn is_backend(_: impl cache_core::config::Backend) {}
    /// # is_backend(open_mirror);
    /// ```
    pub async fn open_nested(&self, option: &str, nested: &NestedStore) -> Result<Arc<dyn Cache>> {
        let opened = match &self.nested {
            Some(registry) => registry.open_nested(self, nested).await,
            None => Err(Error::new(ErrorKind::Config, "no BACKEND can be opened here")),
        };
        opened.map_err(|error| error.within(&format!("OPTIONS.{option}")))
    }

    /// LOCATION, for a store that takes one at most.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where there are several.
    pub fn one_location(&self) -> Result<Option<&str>> {
        match &*self.location {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            many => {
                Err(invalid_setting("LOCATION", &format!("a list of {}", many.len()), "one text"))
            }
        }
    }
}

/// Shows the names of the options and not what they are set to.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location: Vec<String> =
            self.location.iter().map(|location| redact_setting(location)).collect();
        f.debug_struct("StoreConfig")
            .field("alias", &self.alias)
            .field("location", &location)
            .field("url", &self.url.as_deref().map(redact_setting))
            .field("file", &self.file)
            .field("databases", &self.databases.keys().collect::<Vec<_>>())
            .field("clock", &self.clock)
            .field("common_key_prefix", &self.common_key_prefix)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// The error for a setting that can't be meant: [`ErrorKind::Config`]. Whoever knows the file and the alias puts them
/// before it.
///
/// ```
/// let error = cache_core::config::invalid_setting("OPTIONS.shelves", "0", "a whole number of at least 1");
/// assert_eq!(error.to_string(), "OPTIONS.shelves: found 0, expected a whole number of at least 1");
/// ```
#[must_use]
pub fn invalid_setting(setting: &str, found: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Config, redact(&format!("{setting}: found {found}, expected {expected}")))
}
