//! The configuration of caches.
//!
//! A configuration has an entry for each alias, with the settings of
//! [Django's CACHES](https://docs.djangoproject.com/en/5.2/ref/settings/#caches), in upper or lower
//! case. In TOML:
//!
//! ```toml
//! [default]
//! backend = "locmem"
//!
//! [pages]
//! backend = "locmem"
//! location = "pages"          # aliases with the same LOCATION share a store
//! timeout = 60                # seconds
//! key_prefix = "shop"
//! version = 2
//! options = { max_entries = 10_000, max_bytes = 64_000_000 }
//!
//! [images]
//! backend = "filebased"
//! location = "/var/cache/shop"  # relative to the directory of this file
//!
//! [sessions]
//! backend = "memcached"
//! location = ["10.0.0.1:11211", "10.0.0.2:11211"]
//! options = { timeout = 0.3, when_dead = "miss" }
//!
//! [accounts]
//! backend = "redis"
//! location = ["redis://leader:6379", "redis://replica:6379"]  # the first gets the writes
//! key_prefix = "accounts"       # `clear` deletes the keys with this prefix
//! options = { db = 1, password = "…", socket_timeout = 0.2 }
//!
//! [fragments]
//! backend = "locmem"
//! location = "fragments"
//! timeout = "never"
//! ```
//!
//! A URL configures a cache in one line. It can replace a table, or be the value of `CACHE_URL` for
//! `default` or of `CACHE_URL_<ALIAS>`:
//!
//! ```toml
//! default = "locmem://"
//! images = "file:///var/cache/shop"
//! # Or a Unix socket: memcached:///run/memcached.sock
//! sessions = "memcached://10.0.0.1:11211,10.0.0.2:11211?request_timeout=0.3"
//! # Percent-encode special characters in the password.
//! accounts = "redis://user:password@host:6379/1?key_prefix=accounts"
//! pages = "locmem://pages?timeout=60&key_prefix=shop&version=2&max_entries=10000"
//! ```
//!
//! A file that contains more than caches has them in a section `[caches]`: `[caches.default]`.
//!
//! # Django
//!
//! The `CACHES` of a Django project, dumped as JSON, load unchanged: those of Django's own classes,
//! including the former `MemcachedCache`, and those of django-redis, django-valkey,
//! django-redis-cache, django-pylibmc and django-prometheus. Options that have no effect here are
//! named in a warning. Of django-redis, `DefaultClient` and `SentinelClient` are supported, and
//! `IGNORE_EXCEPTIONS` becomes `ON_OUTAGE`. Keys are the same as in Django, but of the values only
//! integers can be read by both; see the crates of the stores.
//!
//! # Databases
//!
//! A section `[databases]` names the databases for caches with the BACKEND `db`. Each is a URL, or
//! an entry of Django's `DATABASES`. A cache that names no database uses `default`.
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
//! | setting | value | default |
//! |---|---|---|
//! | BACKEND | the name of a store, `locmem`, or of Django's class, `django.core.cache.backends.locmem.LocMemCache` | |
//! | LOCATION | a string or a list of strings; its meaning depends on the store | none |
//! | TIMEOUT | seconds until an entry expires; `null` or `"never"`; 0 or less stores nothing | 300 |
//! | KEY_PREFIX | a string that starts every key | empty |
//! | VERSION | an integer or a string | 1 |
//! | KEY_FUNCTION | `default`, `hashed`, or the name of a registered function | `default` |
//! | OPTIONS | the options of the store; aliases with the same LOCATION share a store, and what they state must agree | none |
//! | KEY_CHECK | `warn`, `error` or `off`: what to do with keys that break [Django's rule](cache_core::KeyCheck) | `warn` |
//! | CODEC | `msgpack`, `json`, or `postcard` with the feature of that name | `msgpack` |
//! | ALSO_DECODE | a list of codecs whose entries are decoded in addition to those of CODEC, `msgpack` and `json` | none |
//! | UNDECODABLE | `miss` or `error`: what to do with [undecodable entries](cache_core::Undecodable) | `miss` |
//! | `ON_OUTAGE` | `produce`, `error` or `miss`: what to do [while the store is unavailable](cache_core::OnOutage) | `produce` |
//! | PATIENCE | seconds for which callers of `get_or_set` [wait for the one that produces](cache_core::Settings::patience), at most 2147483; 0: no caller waits | 5 |
//! | SHARE | `store` or `process`: where [leases](cache_core::Share) are kept | `store` |
//! | CLEAR | `store` or `generation`: whether `clear` clears the store, or [the entries of the KEY_PREFIX by a number in the keys](cache_core::Clear) | `store` |
//! | OBSERVE | `true` or `false`: whether operations are [reported](crate::observe); `{ keys = true }` adds keys to spans | that of [`CachesBuilder::observe`](crate::CachesBuilder::observe) |
//! | FILL | a table of the defaults of `fetch`: `stale_for`, `soft_timeout`, `hard_timeout` and `retry_after` in seconds, at most 2147483 each and `hard_timeout` more than 0, `early` and `jitter` as numbers from 0 to 1; see [`FillOptions`] | `{ stale_for = 0, soft_timeout = 0.1, hard_timeout = 10, early = 0.1, jitter = 0.1, retry_after = 1 }` |
//! | TAGS | a table with `skew`: the seconds by which [the clocks of processes may differ](TagOptions::skew), at most 2147483 | `{ skew = 1 }` |
//!
//! In a URL, `backend://location?setting=value&…`, every setting that is not in this table belongs
//! to OPTIONS. A URL cannot set FILL and TAGS.

mod databases;
mod nested;
pub(crate) mod source;
mod url;

use std::{fmt, time::Duration};

use cache_core::{
    Clear, Codec, Error, ErrorKind, FillOptions, KeyCheck, OnOutage, Result, Share, TagOptions,
    Timeout, Undecodable, Version, config::shown_value, observe::ObserveOptions,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value as Json};

pub(crate) use self::nested::NestedConfig;
use crate::{django::Class, mistakes::remove};
pub use cache_core::config::{
    Backend, NestedStore, StoreConfig, invalid_setting, redact, redact_setting,
};

/// The configuration of one cache.
///
/// # Examples
///
/// ```
/// use cachette::{Timeout, config::CacheConfig};
///
/// let pages = CacheConfig::new("locmem")
///     .location("pages")
///     .timeout(Timeout::Never)
///     .option("max_entries", 10_000);
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
    pub(crate) also_decode: Vec<Codec>,
    pub(crate) undecodable: Undecodable,
    pub(crate) on_outage: Option<OnOutage>,
    pub(crate) patience: Option<Duration>,
    pub(crate) share: Share,
    pub(crate) fill: FillOptions,
    pub(crate) tags: TagOptions,
    pub(crate) clear: Clear,
    pub(crate) observe: Option<Observe>,
    pub(crate) options: Map<String, Json>,
    /// What the author of the configuration should know, to be logged when the cache is opened.
    pub(crate) warnings: Vec<String>,
}

impl CacheConfig {
    /// Creates a configuration with this BACKEND and the default settings.
    #[must_use]
    pub fn new(backend: &str) -> Self {
        Self::from(Settings { backend: Some(backend.into()), ..Settings::default() })
    }

    /// Adds a LOCATION.
    #[must_use]
    pub fn location(mut self, location: &str) -> Self {
        self.location.push(location.into());
        self
    }

    /// Sets TIMEOUT.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets KEY_PREFIX.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets VERSION.
    #[must_use]
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets KEY_FUNCTION to the function with this name.
    #[must_use]
    pub fn key_function(mut self, name: &str) -> Self {
        self.key_function = Some(name.into());
        self
    }

    /// Sets KEY_CHECK.
    #[must_use]
    pub fn key_check(mut self, check: KeyCheck) -> Self {
        self.key_check = check;
        self
    }

    /// Sets CODEC.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Adds a codec to ALSO_DECODE.
    #[must_use]
    pub fn also_decode(mut self, codec: Codec) -> Self {
        self.also_decode.push(codec);
        self
    }

    /// Sets UNDECODABLE.
    #[must_use]
    pub fn undecodable(mut self, undecodable: Undecodable) -> Self {
        self.undecodable = undecodable;
        self
    }

    /// Sets `ON_OUTAGE`.
    #[must_use]
    pub fn on_outage(mut self, on_outage: OnOutage) -> Self {
        self.on_outage = Some(on_outage);
        self
    }

    /// Sets PATIENCE.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Sets SHARE.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// Sets FILL.
    #[must_use]
    pub fn fill(mut self, fill: FillOptions) -> Self {
        self.fill = fill;
        self
    }

    /// Sets TAGS.
    #[must_use]
    pub fn tags(mut self, tags: TagOptions) -> Self {
        self.tags = tags;
        self
    }

    /// Sets CLEAR.
    #[must_use]
    pub fn clear(mut self, clear: Clear) -> Self {
        self.clear = clear;
        self
    }

    /// Sets OBSERVE to `true`, with these options.
    #[must_use]
    pub fn observe(mut self, options: ObserveOptions) -> Self {
        self.observe = Some(Observe::On(options));
        self
    }

    /// Sets one of the OPTIONS.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Reads a table of settings.
    pub(crate) fn read(settings: &Map<String, Json>) -> Result<Self> {
        let mut settings = settings.clone();
        let mut warnings = Vec::new();
        for name in LOWER_CASE_WINS {
            if let Some(value) = settings.get(name).cloned() {
                settings.retain(|other, ignored| {
                    let is_ignored = other != name && other.eq_ignore_ascii_case(name);
                    if is_ignored && *ignored != value {
                        warnings.push(overridden(other, ignored, name, &value));
                    }
                    !is_ignored
                });
            }
        }
        let settings: Settings = cache_core::config::from_settings("", &settings)?;
        let mut config = Self::from(settings);
        config.warnings.splice(0..0, warnings);
        Ok(config)
    }

    /// Translates the settings of a class of Django.
    pub(crate) fn translate(mut self, class: Class) -> Result<Self> {
        let translation = class.translate(self.location, self.options)?;
        self.warnings.extend(translation.warnings);
        let (location, options) = (translation.location, translation.options);
        Ok(Self { location, options, on_outage: self.on_outage.or(translation.on_outage), ..self })
    }

    /// Removes a setting that can be wrong although it was read. Returns `false` if there is none.
    pub(crate) fn remove(&mut self, setting: &str) -> bool {
        let setting = setting.to_ascii_lowercase();
        if let Some(option) = setting.strip_prefix("options.") {
            return remove(&mut self.options, option);
        }
        if setting.starts_with("location") {
            return self.url.take().is_some() | !std::mem::take(&mut self.location).is_empty();
        }
        setting == "key_function" && self.key_function.take().is_some()
    }

    /// Reads a URL.
    pub(crate) fn read_url(text: &str) -> Result<Self> {
        let config = Self::read(&url::settings(text)?)?;
        Ok(Self { url: Some(url::address(text).into()), ..config })
    }
}

/// The settings of an alias' entry, and the address if it is a URL.
pub(crate) fn entry_settings(entry: &Json) -> Result<(Map<String, Json>, Option<String>)> {
    match entry {
        Json::String(text) => Ok((url::settings(text)?, Some(url::address(text).into()))),
        Json::Object(settings) => Ok((settings.clone(), None)),
        other => Err(not_a_store(other)),
    }
}

/// Shows the names of the OPTIONS only, and no passwords.
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

/// The settings of a table. Each may be missing or null.
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
    also_decode: CodecList,
    undecodable: Option<Undecodable>,
    on_outage: Option<OnOutage>,
    patience: Option<Patience>,
    share: Option<Share>,
    fill: Option<FillOptions>,
    tags: Option<TagOptions>,
    clear: Option<Clear>,
    observe: Option<Observe>,
    /// Django also accepts these two outside OPTIONS, and prefers them there.
    max_entries: Option<Json>,
    cull_frequency: Option<Json>,
    /// The inverse of KEY_FUNCTION in django-redis, for its search by pattern.
    reverse_key_function: Option<Json>,
}

/// The settings for which Django also accepts the lower-case name, and prefers it.
const LOWER_CASE_WINS: [&str; 3] = ["timeout", "max_entries", "cull_frequency"];

/// The parameters of a URL's query that do not belong to OPTIONS.
pub(crate) const ALIAS_SETTINGS: [&str; 14] = [
    "timeout",
    "key_prefix",
    "version",
    "key_function",
    "key_check",
    "codec",
    "also_decode",
    "undecodable",
    "on_outage",
    "patience",
    "share",
    "clear",
    "observe",
    "location",
];

impl From<Settings> for CacheConfig {
    fn from(settings: Settings) -> Self {
        let mut options = settings.options.unwrap_or_default();
        let mut warnings = Vec::new();
        for (name, value) in
            [("max_entries", settings.max_entries), ("cull_frequency", settings.cull_frequency)]
        {
            if let Some(value) = value {
                options.retain(|other, ignored| {
                    let is_ignored = other.eq_ignore_ascii_case(name);
                    if is_ignored && *ignored != value {
                        let other = format!("OPTIONS.{other}");
                        warnings.push(overridden(&other, ignored, name, &value));
                    }
                    !is_ignored
                });
                options.insert(name.into(), value);
            }
        }
        if settings.reverse_key_function.is_some() {
            warnings.push("REVERSE_KEY_FUNCTION has no effect".into());
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
            also_decode: settings.also_decode.0,
            undecodable: settings.undecodable.unwrap_or_default(),
            on_outage: settings.on_outage,
            patience: settings.patience.map(|Patience(patience)| patience),
            share: settings.share.unwrap_or_default(),
            fill: settings.fill.unwrap_or_default(),
            tags: settings.tags.unwrap_or_default(),
            clear: settings.clear.unwrap_or_default(),
            observe: settings.observe,
            options,
            warnings,
        }
    }
}

/// The warning about a setting that another one replaces, as in Django.
fn overridden(ignored: &str, found: &Json, by: &str, value: &Json) -> String {
    let (found, value) = (shown_value(ignored, found), shown_value(by, value));
    format!("{ignored} = {found} is ignored, because {by} = {value} is set as well")
}

/// The error for a value that configures no store.
fn not_a_store(found: &Json) -> Error {
    let found = shown_value("", found);
    let expected = "a table of settings or a URL such as \"locmem://name\"";
    Error::new(ErrorKind::Config, format!("expected {expected}, found {found}"))
}

/// The value of PATIENCE.
#[derive(Deserialize)]
struct Patience(#[serde(deserialize_with = "cache_core::config::seconds")] Duration);

/// The value of OBSERVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observe {
    Off,
    On(ObserveOptions),
}

impl From<bool> for Observe {
    fn from(is_on: bool) -> Self {
        if is_on { Self::On(ObserveOptions::default()) } else { Self::Off }
    }
}

impl<'de> Deserialize<'de> for Observe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObserveVisitor)
    }
}

struct ObserveVisitor;

impl<'de> Visitor<'de> for ObserveVisitor {
    type Value = Observe;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a table such as { keys = true }")
    }

    fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Observe, E> {
        Ok(is_on.into())
    }

    /// In a URL.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Observe, E> {
        match text {
            "true" | "True" | "1" => Ok(true.into()),
            "false" | "False" | "0" => Ok(false.into()),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, options: A) -> Result<Observe, A::Error> {
        ObserveOptions::deserialize(MapAccessDeserializer::new(options)).map(Observe::On)
    }
}

/// The value of TIMEOUT.
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
        f.write_str("a number of seconds, null or \"never\"")
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

/// The value of LOCATION.
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
        f.write_str("a string or a list of strings")
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

/// The value of ALSO_DECODE.
#[derive(Default)]
struct CodecList(Vec<Codec>);

impl<'de> Deserialize<'de> for CodecList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CodecListVisitor).map(Self)
    }
}

struct CodecListVisitor;

impl<'de> Visitor<'de> for CodecListVisitor {
    type Value = Vec<Codec>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of codecs")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<Codec>, E> {
        Ok(Vec::new())
    }

    /// In a URL, the list is separated by commas.
    fn visit_str<E: de::Error>(self, names: &str) -> Result<Vec<Codec>, E> {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| Codec::deserialize(name.into_deserializer())).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Codec>, A::Error> {
        let mut codecs = Vec::new();
        while let Some(codec) = list.next_element()? {
            codecs.push(codec);
        }
        Ok(codecs)
    }
}
