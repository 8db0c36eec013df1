//! The options of tags that an alias can configure.

use std::time::Duration;

use serde::Deserialize;

use crate::config::seconds;

/// TAGS: how an alias treats [tags](crate::CacheHandle::purge_tags).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::{Settings, TagOptions};
///
/// let tags = TagOptions { skew: Duration::from_secs(5) };
/// let settings = Settings { tags, ..Settings::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagOptions {
    /// By how much the clocks of the processes that use the store may differ. 1 second by default,
    /// and at most 24 days and 20 hours in a configuration.
    ///
    /// Only tags that a [producer adds](crate::Fill::tag) depend on clocks. Its value is not stored
    /// if such a tag was purged after the producer had begun, or up to this long before. With too
    /// small a value, a purge by a process whose clock is behind is lost. Too large a value costs
    /// productions: after a purge, values with the tag are not stored for this long.
    #[serde(deserialize_with = "seconds")]
    pub skew: Duration,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self { skew: Duration::from_secs(1) }
    }
}
