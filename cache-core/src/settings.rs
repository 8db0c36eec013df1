//! What an alias is configured with, apart from its store.

use serde::Deserialize;

use crate::{Codec, KeyCheck, KeyFunction, Timeout, Version};

/// The part of a cache's configuration that concerns its [`CacheHandle`](crate::CacheHandle) and not its store.
///
/// ```
/// use std::time::Duration;
/// use cache_core::Settings;
///
/// let settings = Settings { timeout: Duration::from_secs(60).into(), key_prefix: "shop".into(), ..Settings::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// TIMEOUT: how long entries live unless told otherwise. [`Timeout::Default`] is Django's 300 seconds.
    pub timeout: Timeout,
    /// KEY_PREFIX, for applications that share a store.
    pub key_prefix: String,
    /// VERSION; 1 unless set.
    pub version: Version,
    /// KEY_FUNCTION.
    pub key_function: KeyFunction,
    /// What happens to keys that break Django's rule.
    pub key_check: KeyCheck,
    /// How values are written.
    pub codec: Codec,
    /// What happens to entries that do not read as the type asked for.
    pub undecodable: Undecodable,
}

/// What happens when an entry does not read as the type asked for: a struct that changed with a deploy, another
/// application's bytes, corruption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecodable {
    /// It is a miss, counted and logged: the value will be made anew.
    #[default]
    Miss,
    /// It is [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    Error,
}
