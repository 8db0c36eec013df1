//! The option `max_bytes`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The maximum size of all entries of a store.
///
/// # Examples
///
/// ```
/// use cache_locmem::{LocMemOptions, MaxBytes};
///
/// let options = LocMemOptions::default();
/// assert_eq!(options.max_bytes.limit(options.max_entries), Some(64 << 20));
/// assert_eq!(MaxBytes::Default.limit(50_000), Some(50_000 * (16 << 10)));
/// assert_eq!(MaxBytes::Unlimited.limit(300), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxBytes {
    /// `"default"`: 64 MiB, or 16 KiB for each of `max_entries` if that is more.
    ///
    /// A number of entries bounds the memory only if entries are small. With this limit, Django's
    /// 300 entries cannot take gigabytes, and entries of up to 16 KiB on average are limited by
    /// their number alone, as in Django.
    #[default]
    Default,
    /// `"unlimited"`: only the number of entries is limited.
    Unlimited,
    /// A number of bytes, at least 1.
    Bytes(usize),
}

const MIN_DEFAULT: usize = 64 << 20;
const DEFAULT_PER_ENTRY: usize = 16 << 10;

impl MaxBytes {
    pub(crate) const EXPECTED: &str = "an integer of at least 1, \"default\" or \"unlimited\"";

    /// Returns the limit of a store of `max_entries` in bytes, or `None` if there is none.
    #[must_use]
    pub fn limit(self, max_entries: usize) -> Option<usize> {
        match self {
            Self::Default => Some(max_entries.saturating_mul(DEFAULT_PER_ENTRY).max(MIN_DEFAULT)),
            Self::Unlimited => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

impl From<usize> for MaxBytes {
    fn from(bytes: usize) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Option<usize>> for MaxBytes {
    /// `None` means [`MaxBytes::Unlimited`].
    fn from(bytes: Option<usize>) -> Self {
        bytes.map_or(Self::Unlimited, Self::Bytes)
    }
}

impl<'de> Deserialize<'de> for MaxBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = MaxBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MaxBytes::EXPECTED)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MaxBytes, E> {
                let bytes = usize::try_from(number).ok().filter(|bytes| *bytes > 0);
                let invalid = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
                bytes.map(MaxBytes::Bytes).ok_or_else(invalid)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<MaxBytes, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                u64::try_from(number).map_err(invalid).and_then(|number| self.visit_u64(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxBytes, E> {
                match text {
                    "default" => Ok(MaxBytes::Default),
                    "unlimited" => Ok(MaxBytes::Unlimited),
                    // The options in a URL are texts.
                    _ => match text.parse() {
                        Ok(number) => self.visit_u64(number),
                        Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                    },
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use cache_core::config::from_settings;
    use serde_json::json;

    use super::*;
    use crate::LocMemOptions;

    fn configured(max_bytes: serde_json::Value) -> cache_core::Result<MaxBytes> {
        let settings = [("max_bytes".to_owned(), max_bytes)].into_iter().collect();
        from_settings::<LocMemOptions>("OPTIONS.", &settings).map(|options| options.max_bytes)
    }

    #[test]
    fn limit_is_configured_as_a_number_a_text_or_a_word() {
        for (value, expected) in [
            (json!(7), MaxBytes::Bytes(7)),
            (json!("7"), MaxBytes::Bytes(7)),
            (json!("default"), MaxBytes::Default),
            (json!("unlimited"), MaxBytes::Unlimited),
        ] {
            assert_eq!(configured(value.clone()).ok(), Some(expected), "{value}");
        }
    }

    #[test]
    fn invalid_limit_is_rejected_with_the_values_allowed() {
        for (value, found) in [
            (json!(0), "found 0"),
            (json!(-1), "found -1"),
            (json!("many"), "found \"many\""),
            (json!(true), "found true"),
        ] {
            let message = configured(value).expect_err("an invalid value").to_string();
            for part in ["OPTIONS.max_bytes", found, MaxBytes::EXPECTED] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
