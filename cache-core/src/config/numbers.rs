//! Deserializing numbers in OPTIONS: those of at least 1, and times.

use std::{num::NonZero, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Unexpected},
};

/// Deserializes an integer of at least 1, for `#[serde(deserialize_with = "…")]`.
///
/// The error states that 1 is the minimum. An unsigned type alone would state 0, even if the store
/// rejects 0 later.
///
/// # Errors
///
/// Returns an error if the value is not an integer, is 0, or does not fit in `N`.
///
/// # Examples
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Shop {
///     #[serde(deserialize_with = "cache_core::config::at_least_one")]
///     shelves: usize,
/// }
///
/// let settings = serde_json::json!({"shelves": "many"});
/// let settings = settings.as_object().expect("a table");
/// let error = cache_core::config::from_settings::<Shop>("OPTIONS.", settings).unwrap_err();
/// assert!(error.to_string().contains("an integer of at least 1"));
/// ```
pub fn at_least_one<'de, D: Deserializer<'de>, N: TryFrom<u64>>(
    deserializer: D,
) -> Result<N, D::Error> {
    let number = NonZero::<u64>::deserialize(deserializer)?.get();
    N::try_from(number)
        .map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller integer"))
}

/// Deserializes a time in seconds, with fractions, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
///
/// Returns an error if the value is not a number, is negative, or does not fit in a [`Duration`].
///
/// # Examples
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Shop {
///     #[serde(deserialize_with = "cache_core::config::seconds")]
///     delivery: std::time::Duration,
/// }
///
/// let settings = serde_json::json!({"delivery": -1});
/// let settings = settings.as_object().expect("a table");
/// let error = cache_core::config::from_settings::<Shop>("OPTIONS.", settings).unwrap_err();
/// assert!(error.to_string().contains("a number of seconds"));
/// ```
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let number = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(number).map_err(|_| {
        D::Error::invalid_value(Unexpected::Float(number), &"a number of seconds of at least 0")
    })
}
