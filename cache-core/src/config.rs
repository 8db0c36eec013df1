//! The configuration of a store, as its BACKEND receives it, and errors about it.
//!
//! To make a store configurable, write a struct for its OPTIONS and a [`Backend`], usually as a
//! function:
//!
//! ```
//! # use cache_core::{Cache, Result, config::StoreConfig};
//! # use cache_locmem::LocMemCache as ShelfCache;
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct ShelfOptions {
//!     shelves: usize,
//! }
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
mod similar;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use self::lenient::from_settings_among;
pub use self::{
    lenient::{from_settings, shown_value},
    nested::{NestedStore, OpenNested},
    numbers::{MAX_TIME, at_least_one, check_time, seconds},
    redact::{is_secret, redact, redact_setting},
    shared::SharedStores,
    similar::did_you_mean,
};
use crate::{Cache, Clock, Error, ErrorKind, Result};

/// Creates the stores of one BACKEND.
///
/// Any `async fn(StoreConfig) -> Result<impl Cache>` implements it. One value serves all aliases of
/// a configuration, so it can return the same store for several aliases; see [`SharedStores`].
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Creates the store of an alias.
    ///
    /// Should not connect to a server: a service should start while its cache is unavailable.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid.
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

/// The configuration of the store of one alias.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The alias, for messages.
    pub alias: String,
    /// LOCATION as it was written: empty, one string or several.
    ///
    /// If the alias is configured by a URL, the part between `://` and `?`, percent-decoded.
    pub location: Vec<String>,
    /// The URL up to `?` as it was written, if the alias is configured by one.
    ///
    /// For stores whose LOCATION is the address of a server and may contain a user and a password.
    /// Split it before you percent-decode the parts.
    pub url: Option<String>,
    /// The file of the configuration, if it was read from one.
    pub file: Option<PathBuf>,
    /// The URLs of the configured databases, by name.
    pub databases: Arc<BTreeMap<String, String>>,
    /// The clock by which entries expire.
    pub clock: Clock,
    /// The common start of all keys of the alias: KEY_PREFIX and a colon.
    ///
    /// `None` if the alias has a custom KEY_FUNCTION. For stores that have to tell the entries of
    /// the alias from others.
    pub common_key_prefix: Option<String>,
    /// The settings of the alias that its URL may contain beside OPTIONS, to suggest one for an
    /// unknown option.
    pub url_settings: &'static [&'static str],
    /// Opens stores that are configured inside OPTIONS. See [`open_nested`](Self::open_nested).
    pub nested: Option<Arc<dyn OpenNested>>,
    options: Map<String, Json>,
}

impl StoreConfig {
    /// Creates the configuration of a store without LOCATION.
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
            url_settings: &[],
            nested: None,
            options,
        }
    }

    /// Returns the directory of the configuration file, to which relative paths refer.
    ///
    /// `None` if the configuration was not read from a file.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    /// Deserializes OPTIONS.
    ///
    /// Put `#[serde(default, deny_unknown_fields)]` on the struct: a missing or null option then
    /// has its default, and an unknown option is an error. Use lower-case names in the struct; the
    /// configuration may use upper or lower case. Numbers and booleans may be written as strings,
    /// as in a URL.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] with the option, the value found and the value expected.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        let given = self.options.iter().filter(|(_, value)| !value.is_null());
        let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        from_settings_among("OPTIONS.", &given, self.url_settings)
    }

    /// Opens a store that is configured inside OPTIONS, for a store that consists of others.
    ///
    /// `option` is the name of the option, for errors. The nested store has a BACKEND, a LOCATION
    /// and OPTIONS of its own, and the alias, the clock, the databases and the file of this
    /// configuration. Wrappers of the builder apply to the outer store only.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the nested configuration is invalid, or if this
    /// configuration does not come from a registry of BACKENDs. Returns the errors of the nested
    /// BACKEND.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use cache_core::{Cache, Result, config::{NestedStore, StoreConfig}};
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct MirrorOptions {
    ///     store: NestedStore,
    /// }
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
            None => Err(Error::new(
                ErrorKind::Config,
                "this configuration has no registry of BACKENDs; build it with `Caches`",
            )),
        };
        let place = format!("OPTIONS.{option}");
        opened.map_err(|error| error.within(&place).with_setting(&place))
    }

    /// Returns LOCATION, for a store that accepts at most one.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if LOCATION is a list of several.
    pub fn one_location(&self) -> Result<Option<&str>> {
        match &*self.location {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            many => {
                Err(invalid_setting("LOCATION", &format!("a list of {}", many.len()), "one string"))
            }
        }
    }
}

/// Shows the names of options and databases but not their values, and no secrets.
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

/// Creates an [`ErrorKind::Config`] error about a setting, without secrets.
///
/// Callers add the alias and the file with [`Error::in_cache`] and [`Error::within`].
///
/// # Examples
///
/// ```
/// use cache_core::config::invalid_setting;
///
/// let error = invalid_setting("OPTIONS.shelves", "0", "an integer of at least 1");
/// let message = "OPTIONS.shelves: expected an integer of at least 1, found 0";
/// assert_eq!(error.to_string(), message);
/// ```
#[must_use]
pub fn invalid_setting(setting: &str, found: &str, expected: &str) -> Error {
    let message = redact(&format!("{setting}: expected {expected}, found {found}"));
    Error::new(ErrorKind::Config, message).with_setting(setting)
}
