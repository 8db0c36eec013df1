//! Settings of an alias, apart from its store.

use serde::Deserialize;

use crate::{Codec, KeyCheck, KeyFunction, Timeout, Version};

/// The settings of a [`CacheHandle`](crate::CacheHandle): the part of a cache's configuration that
/// does not concern its store.
///
/// The names in upper case are those of
/// [Django's CACHES](https://docs.djangoproject.com/en/5.2/ref/settings/#caches).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::Settings;
///
/// let settings = Settings {
///     timeout: Duration::from_secs(60).into(),
///     key_prefix: "shop".into(),
///     ..Settings::default()
/// };
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// TIMEOUT: the time to live of entries that are stored with [`Timeout::Default`].
    ///
    /// `Timeout::Default` here means Django's default of 300 seconds.
    pub timeout: Timeout,
    /// KEY_PREFIX, which separates applications that share a store. Empty by default.
    pub key_prefix: String,
    /// VERSION, 1 by default.
    pub version: Version,
    /// KEY_FUNCTION.
    pub key_function: KeyFunction,
    /// What to do with keys that break Django's rule for keys.
    pub key_check: KeyCheck,
    /// How values are encoded.
    pub codec: Codec,
    /// Codecs whose entries are decoded in addition to those of `codec`, MessagePack and JSON.
    ///
    /// Needed only to read old entries after `codec` was changed from postcard to another one.
    pub also_decode: Vec<Codec>,
    /// What to do with entries that cannot be decoded as the requested type.
    pub undecodable: Undecodable,
}

/// What to do with an entry that cannot be decoded as the requested type.
///
/// Reasons are a type that changed with a deployment, bytes of another application, or corruption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecodable {
    /// Treat the entry as a miss, log it and count it. The application then produces the value
    /// again.
    #[default]
    Miss,
    /// Return [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    Error,
}
