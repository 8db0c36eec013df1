//! How caches are configured.
//!
//! A configuration has an entry for each alias, with the names that
//! [Django's CACHES](https://docs.djangoproject.com/en/5.2/ref/settings/#caches) has, in upper or lower case. In TOML:
//!
//! ```toml
//! [default]
//! backend = "locmem"
//!
//! [pages]
//! backend = "locmem"
//! location = "pages"          # aliases that name the same LOCATION share a store
//! timeout = 60                # seconds
//! key_prefix = "shop"
//! version = 2
//! options = { max_entries = 10_000, max_bytes = 64_000_000 }
//!
//! [images]
//! backend = "filebased"
//! location = "/var/cache/shop"  # a relative path starts at the folder of this file
//!
//! [sessions]
//! backend = "memcached"
//! location = ["10.0.0.1:11211", "10.0.0.2:11211"]
//! options = { timeout = 0.3, when_dead = "miss" }
//!
//! [accounts]
//! backend = "redis"
//! location = ["redis://leader:6379", "redis://replica:6379"]  # the first is written to, the others are read from
//! key_prefix = "accounts"       # `clear` removes what begins with it
//! options = { db = 1, password = "…", socket_timeout = 0.2 }
//!
//! [fragments]
//! backend = "locmem"
//! location = "fragments"
//! timeout = "never"
//! ```
//!
//! A URL says the same in one line, in place of a table, in `CACHE_URL` for `default`, or in `CACHE_URL_<ALIAS>`:
//!
//! ```toml
//! default = "locmem://"
//! images = "file:///var/cache/shop"
//! sessions = "memcached://10.0.0.1:11211,10.0.0.2:11211?request_timeout=0.3"    # or memcached:///run/memcached.sock
//! accounts = "redis://user:password@host:6379/1?key_prefix=accounts"  # what is special in a password, percent-encoded
//! pages = "locmem://pages?timeout=60&key_prefix=shop&version=2&max_entries=10000"
//! ```
//!
//! A file that holds more than caches has them in a section `[caches]`: `[caches.default]`. The JSON of a Django
//! project's `CACHES` loads as it is.
//!
//! A section `[databases]` gives names to databases, for caches of the BACKEND `db`: each is a URL, or an entry of Django's
//! `DATABASES`. The one called `default` is meant where a cache names none.
//!
//! ```toml
//! [databases]
//! default = "postgres://shop:secret@db.example.org/shop"
//! replica = "postgres://shop:secret@replica.example.org/shop"
//!
//! [caches.default]
//! backend = "db"
//! location = "cache"          # the table
//! options = { read_database = "replica" }
//! ```
//!
//! | setting | | default |
//! |---|---|---|
//! | BACKEND | a store's name, `locmem`, or Django's, `django.core.cache.backends.locmem.LocMemCache` | |
//! | LOCATION | what it is depends on the store: a text or a list of them | none |
//! | TIMEOUT | seconds until an entry expires; `null` or `"never"`; 0 or less stores nothing | 300 |
//! | KEY_PREFIX | a text that stands before every key | empty |
//! | VERSION | a number or a text | 1 |
//! | KEY_FUNCTION | `default`, `hashed`, or one of your own by its name | `default` |
//! | OPTIONS | what else the store takes | none |
//! | KEY_CHECK | `warn`, `error` or `off`: what happens to keys that break [Django's rule](cache_core::KeyCheck) | `warn` |
//! | CODEC | `msgpack`, `json`, or with the feature `postcard`, `postcard` | `msgpack` |
//! | UNDECODABLE | `miss` or `error`: what happens to [entries that do not read](cache_core::Undecodable) | `miss` |
//!
//! In a URL, `backend://location?setting=value&…`, a setting that is not in this table is one of the store's OPTIONS.

mod databases;
mod nested;
pub(crate) mod source;
mod url;

use std::{fmt, time::Duration};

use cache_core::{Codec, KeyCheck, Result, Timeout, Undecodable, Version};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

pub(crate) use self::nested::NestedConfig;
pub use cache_core::config::{
    Backend, NestedStore, StoreConfig, invalid_setting, redact, redact_setting,
};

/// The configuration of one cache.
///
/// ```
/// use cachette::{Timeout, config::CacheConfig};
///
/// let pages = CacheConfig::new("locmem").location("pages").timeout(Timeout::Never).option("max_entries", 10_000);
/// ```
#[derive(Clone)]
pub struct CacheConfig {
    pub(crate) backend: Option<String>,
    pub(crate) location: Vec<String>,
    pub(crate) url: Option<String>,
    pub(crate) timeout: Timeout,
    pub(crate) key_prefix: String,
    pub(crate) version: Version,
    pub(crate) key_function: Option<String>,
    pub(crate) key_check: KeyCheck,
    pub(crate) codec: Codec,
    pub(crate) undecodable: Undecodable,
    pub(crate) options: Map<String, Json>,
}

impl CacheConfig {
    /// A cache on the store of this name, all else by default.
    #[must_use]
    pub fn new(backend: &str) -> Self {
        Self::from(Settings { backend: Some(backend.into()), ..Settings::default() })
    }

    /// LOCATION. Called again, it adds to the list.
    #[must_use]
    pub fn location(mut self, location: &str) -> Self {
        self.location.push(location.into());
        self
    }

    /// TIMEOUT.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// KEY_PREFIX.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// VERSION.
    #[must_use]
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }

    /// KEY_FUNCTION, by its name.
    #[must_use]
    pub fn key_function(mut self, name: &str) -> Self {
        self.key_function = Some(name.into());
        self
    }

    /// KEY_CHECK.
    #[must_use]
    pub fn key_check(mut self, check: KeyCheck) -> Self {
        self.key_check = check;
        self
    }

    /// CODEC.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// UNDECODABLE.
    #[must_use]
    pub fn undecodable(mut self, undecodable: Undecodable) -> Self {
        self.undecodable = undecodable;
        self
    }

    /// One of OPTIONS.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Reads the settings of a table.
    pub(crate) fn read(settings: &Map<String, Json>) -> Result<Self> {
        let mut settings = settings.clone();
        for name in LOWER_CASE_WINS {
            if settings.contains_key(name) {
                settings.retain(|other, _| other == name || !other.eq_ignore_ascii_case(name));
            }
        }
        cache_core::config::from_settings::<Settings>("", &settings).map(Self::from)
    }

    /// Reads the settings of a URL.
    pub(crate) fn read_url(text: &str) -> Result<Self> {
        let config = Self::read(&url::settings(text)?)?;
        Ok(Self { url: Some(url::address(text).into()), ..config })
    }
}

/// Shows no OPTIONS but their names, and no passwords.
impl fmt::Debug for CacheConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location: Vec<String> =
            self.location.iter().map(|location| redact_setting(location)).collect();
        f.debug_struct("CacheConfig")
            .field("backend", &self.backend.as_deref().map(redact_setting))
            .field("location", &location)
            .field("timeout", &self.timeout)
            .field("key_prefix", &self.key_prefix)
            .field("version", &self.version)
            .field("key_function", &self.key_function)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The settings as they are written: any may be missing or null.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    backend: Option<String>,
    location: Option<Location>,
    timeout: Seconds,
    key_prefix: Option<String>,
    version: Option<Version>,
    key_function: Option<String>,
    options: Option<Map<String, Json>>,
    key_check: Option<KeyCheck>,
    codec: Option<Codec>,
    undecodable: Option<Undecodable>,
    /// Django still takes these two here, and prefers them to OPTIONS.
    max_entries: Option<Json>,
    cull_frequency: Option<Json>,
}

/// Settings that Django takes in lower case as well, and then prefers.
const LOWER_CASE_WINS: [&str; 3] = ["timeout", "max_entries", "cull_frequency"];

/// The names in [`Settings`]: what of a URL's query does not go to OPTIONS.
const ALIAS_SETTINGS: [&str; 8] = [
    "timeout",
    "key_prefix",
    "version",
    "key_function",
    "key_check",
    "codec",
    "undecodable",
    "location",
];

impl From<Settings> for CacheConfig {
    fn from(settings: Settings) -> Self {
        let mut options = settings.options.unwrap_or_default();
        for (name, value) in
            [("max_entries", settings.max_entries), ("cull_frequency", settings.cull_frequency)]
        {
            if let Some(value) = value {
                options.retain(|other, _| !other.eq_ignore_ascii_case(name));
                options.insert(name.into(), value);
            }
        }
        Self {
            backend: settings.backend,
            location: settings.location.unwrap_or_default().0,
            url: None,
            timeout: settings.timeout.0,
            key_prefix: settings.key_prefix.unwrap_or_default(),
            version: settings.version.unwrap_or_default(),
            key_function: settings.key_function,
            key_check: settings.key_check.unwrap_or_default(),
            codec: settings.codec.unwrap_or_default(),
            undecodable: settings.undecodable.unwrap_or_default(),
            options,
        }
    }
}

/// TIMEOUT as it is written.
#[derive(Default)]
struct Seconds(Timeout);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor).map(Self)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Timeout;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or null or \"never\" for entries that do not expire")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Timeout, E> {
        Ok(Timeout::Never)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timeout, E> {
        Ok(Timeout::secs(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timeout, E> {
        Ok(Timeout::secs(seconds.try_into().unwrap_or(0)))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timeout, E> {
        if seconds < 0.0 && seconds.is_finite() {
            return Ok(Timeout::EXPIRED);
        }
        let duration = Duration::try_from_secs_f64(seconds);
        duration
            .map(Timeout::After)
            .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeout, E> {
        let text = text.trim();
        if ["never", "none", "null"].contains(&&*text.to_ascii_lowercase()) {
            return Ok(Timeout::Never);
        }
        match text.parse() {
            Ok(seconds) => self.visit_f64(seconds),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// LOCATION as it is written.
#[derive(Default)]
struct Location(Vec<String>);

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LocationVisitor).map(Self)
    }
}

struct LocationVisitor;

impl<'de> Visitor<'de> for LocationVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, location: &str) -> Result<Vec<String>, E> {
        Ok(if location.is_empty() { Vec::new() } else { vec![location.into()] })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut locations = Vec::new();
        while let Some(location) = list.next_element()? {
            locations.push(location);
        }
        Ok(locations)
    }
}
