//! The options of `fetch` that an alias can configure.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

use crate::config::{MAX_TIME, seconds};

/// FILL: the defaults of an alias for [`fetch`](crate::CacheHandle::fetch).
///
/// In a configuration, times are in seconds, and at most 2147483: 24 days and 20 hours. Shares are
/// numbers from 0 to 1.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::{FillOptions, Settings};
///
/// let fill = FillOptions { stale_for: Duration::from_secs(3600), ..FillOptions::default() };
/// let settings = Settings { fill, ..Settings::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FillOptions {
    /// For how long an entry is kept after it has become stale. Zero by default.
    ///
    /// A stale value is returned if its producer is slow or fails. It is returned for at most this
    /// long, by the clock of the store.
    #[serde(deserialize_with = "seconds")]
    pub stale_for: Duration,
    /// For how long a caller waits for a new value before it gets the stale one. 100 milliseconds
    /// by default.
    ///
    /// Zero returns the stale value at once: stale-while-revalidate.
    #[serde(deserialize_with = "seconds")]
    pub soft_timeout: Duration,
    /// For how long a caller waits for a missing value. 10 seconds by default; a configuration
    /// cannot set it to zero, with which each miss would be an error.
    ///
    /// The producer holds a [lease](crate::Leases) of the key for this time, but for at least 30
    /// seconds and at most 24 days and 20 hours. If its process is killed, other processes produce
    /// without storing until the lease has ended.
    #[serde(deserialize_with = "positive_seconds")]
    pub hard_timeout: Duration,
    /// The last share of the fresh time in which a hit starts a refresh. 0.1 by default, 0 is off.
    #[serde(deserialize_with = "share")]
    pub early: f64,
    /// The share of the time to live by which an entry may become stale earlier, at random. 0.1 by
    /// default.
    ///
    /// Entries that were stored at the same time are then not refreshed at the same time.
    #[serde(deserialize_with = "share")]
    pub jitter: f64,
    /// For how long nobody tries again after a refresh has failed, while there is a stale value. 1
    /// second by default.
    #[serde(deserialize_with = "seconds")]
    pub retry_after: Duration,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self {
            stale_for: Duration::ZERO,
            soft_timeout: Duration::from_millis(100),
            hard_timeout: Duration::from_secs(10),
            early: 0.1,
            jitter: 0.1,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Deserializes a time that is longer than zero.
fn positive_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = seconds(deserializer)?;
    if time.is_zero() {
        let expected =
            format!("a number of seconds of more than 0 and at most {}", MAX_TIME.as_secs());
        return Err(de::Error::invalid_value(Unexpected::Float(0.0), &&*expected));
    }
    Ok(time)
}

/// Deserializes a share of a whole.
fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_f64(Share)
}

struct Share;

impl Visitor<'_> for Share {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1")
    }

    fn visit_u64<E: de::Error>(self, share: u64) -> Result<f64, E> {
        match share {
            0 => Ok(0.0),
            1 => Ok(1.0),
            other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<f64, E> {
        let is_share = (0.0..=1.0).contains(&share);
        if is_share { Ok(share) } else { Err(E::invalid_value(Unexpected::Float(share), &self)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hard_timeout_is_longer_than_zero() {
        for zero in [json!(0), json!(0.0)] {
            let error = serde_json::from_value::<FillOptions>(json!({ "hard_timeout": zero }));
            let error = error.expect_err("each miss would time out").to_string();
            assert!(error.contains("more than 0"), "{error}");
        }
        let shortest = serde_json::from_value::<FillOptions>(json!({ "hard_timeout": 0.001 }));
        assert_eq!(shortest.expect("valid").hard_timeout, Duration::from_millis(1));
    }
}
