//! Deserializing numbers in OPTIONS: those of at least 1, and times.

use std::{fmt, num::NonZero, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, Unexpected, Visitor},
};

use super::invalid_setting;

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

/// The longest time that an option can have: 24 days and 20 hours.
///
/// PostgreSQL and SQLite count milliseconds in 32 bits, and a time near [`Duration::MAX`] overflows
/// when it is added to the current time.
pub const MAX_TIME: Duration = Duration::from_secs(2_147_483);

/// Deserializes a time in seconds, with fractions, for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
///
/// Returns an error if the value is not a number, is negative, or is more than [`MAX_TIME`].
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
    deserializer.deserialize_f64(Seconds)
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&expected_time(Duration::ZERO))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        let time = Some(Duration::from_secs(seconds)).filter(|time| *time <= MAX_TIME);
        time.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(seconds), &self))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        match seconds.try_into() {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= MAX_TIME);
        time.ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}

/// Checks that a time is at least `min` and at most [`MAX_TIME`], for options that are set in code.
///
/// # Errors
///
/// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) with the setting and the time found.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::config::check_time;
///
/// let min = Duration::from_millis(1);
/// assert!(check_time("OPTIONS.timeout", Duration::from_secs(1), min).is_ok());
/// assert!(check_time("OPTIONS.timeout", Duration::ZERO, min).is_err());
/// assert!(check_time("OPTIONS.timeout", Duration::MAX, min).is_err());
/// ```
pub fn check_time(setting: &str, time: Duration, min: Duration) -> crate::Result<()> {
    if (min..=MAX_TIME).contains(&time) {
        return Ok(());
    }
    Err(invalid_setting(setting, &time.as_secs_f64().to_string(), &expected_time(min)))
}

fn expected_time(min: Duration) -> String {
    format!("a number of seconds from {} to {}", min.as_secs_f64(), MAX_TIME.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Result, config::from_settings};

    #[derive(Debug, Deserialize)]
    struct Shop {
        #[serde(deserialize_with = "seconds")]
        delivery: Duration,
    }

    fn delivery(seconds: Json) -> Result<Duration> {
        let settings = [("delivery".to_owned(), seconds)].into_iter().collect();
        from_settings::<Shop>("OPTIONS.", &settings).map(|shop| shop.delivery)
    }

    #[test]
    fn time_is_a_number() {
        for wrong in [json!("soon"), json!(true), json!(null), json!([1]), json!("nan"), json!(-1)]
        {
            let error = delivery(wrong).expect_err("no time").to_string();
            assert!(error.contains("OPTIONS.delivery: expected a number of seconds"), "{error}");
        }
    }

    #[test]
    fn time_is_limited_to_what_every_store_can_count() {
        assert_eq!(delivery(json!("2147483")).expect("the longest time"), MAX_TIME);
        for too_long in [json!(2_147_483.001), json!(1e19), json!("1e19"), json!(1e300)] {
            let error = delivery(too_long).expect_err("too long").to_string();
            assert!(error.contains("OPTIONS.delivery: "), "{error}");
            assert!(error.contains("from 0 to 2147483"), "{error}");
        }
    }
}
