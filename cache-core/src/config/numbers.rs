//! Numbers among the options: those that must not be zero, and times.

use std::{num::NonZero, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Unexpected},
};

/// For `#[serde(deserialize_with = "…")]` at an option that is a whole number of at least 1: what is none is told what it
/// should be, and not that 0 would do.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Shop {
///     #[serde(deserialize_with = "cache_core::config::at_least_one")]
///     shelves: usize,
/// }
///
/// let settings = serde_json::json!({"shelves": "many"});
/// let error = cache_core::config::from_settings::<Shop>("OPTIONS.", settings.as_object().expect("a table"));
/// let told = "OPTIONS.shelves: found \"many\", expected a whole number of at least 1";
/// assert_eq!(error.expect_err("it is no number").to_string(), told);
/// ```
///
/// # Errors
/// Where it is something else.
pub fn at_least_one<'de, D: Deserializer<'de>, N: TryFrom<u64>>(
    deserializer: D,
) -> Result<N, D::Error> {
    let number = NonZero::<u64>::deserialize(deserializer)?.get();
    N::try_from(number).map_err(|_| {
        D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller whole number")
    })
}

/// For `#[serde(deserialize_with = "…")]` at an option that is a time: seconds, and fractions of them.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Shop {
///     #[serde(deserialize_with = "cache_core::config::seconds")]
///     patience: std::time::Duration,
/// }
///
/// let settings = serde_json::json!({"patience": -1});
/// let error = cache_core::config::from_settings::<Shop>("OPTIONS.", settings.as_object().expect("a table"));
/// let told = "OPTIONS.patience: found -1, expected a number of seconds, 0 or more";
/// assert_eq!(error.expect_err("it is no time").to_string(), told);
/// ```
///
/// # Errors
/// Where it is no number, a negative one, or more than a [`Duration`] holds.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let number = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(number).map_err(|_| {
        D::Error::invalid_value(Unexpected::Float(number), &"a number of seconds, 0 or more")
    })
}
