//! The options of the store.

use std::time::Duration;

use cache_core::{Result, config, entries_after_cull};
use serde::Deserialize;

/// The OPTIONS of a filebased cache.
///
/// # Examples
///
/// ```
/// use cache_filebased::FileBasedOptions;
///
/// let options = FileBasedOptions::default().max_entries(10_000);
/// assert_eq!(options.cull_frequency, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FileBasedOptions {
    /// The maximum number of entries, at least 1. The default is Django's, 300.
    ///
    /// The store may exceed it for a moment: see [Culling](crate#culling).
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: usize,
    /// The fraction of the store that is culled when it is full: `1 / cull_frequency`. The default
    /// is Django's, 3; 0 clears the store.
    ///
    /// A cull leaves [`entries_after_cull`](cache_core::entries_after_cull) entries or fewer.
    pub cull_frequency: usize,
    /// How long a write waits for another process that is writing to the same shard, in seconds.
    /// The default is 5.
    ///
    /// Only a process that was stopped or a disk that stalls holds the lock for so long.
    #[serde(deserialize_with = "config::seconds")]
    pub lock_timeout: Duration,
}

impl Default for FileBasedOptions {
    fn default() -> Self {
        Self { max_entries: 300, cull_frequency: 3, lock_timeout: Duration::from_secs(5) }
    }
}

impl FileBasedOptions {
    /// Sets the maximum number of entries.
    #[must_use]
    pub fn max_entries(mut self, max_entries: usize) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// Sets the fraction of the store that is culled when it is full: `1 / cull_frequency`.
    #[must_use]
    pub fn cull_frequency(mut self, cull_frequency: usize) -> Self {
        self.cull_frequency = cull_frequency;
        self
    }

    /// Sets how long a write waits for another process that is writing to the same shard.
    #[must_use]
    pub fn lock_timeout(mut self, lock_timeout: Duration) -> Self {
        self.lock_timeout = lock_timeout;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entries == 0 {
            return Err(config::invalid_setting(
                "OPTIONS.max_entries",
                "0",
                "an integer of at least 1",
            ));
        }
        config::check_time("OPTIONS.lock_timeout", self.lock_timeout, Duration::ZERO)
    }

    /// Returns how many of `entries` a cull has to remove, or 0 if no cull is due.
    pub(crate) fn excess(&self, entries: usize) -> usize {
        if entries <= self.max_entries {
            return 0;
        }
        let left = entries_after_cull(self.max_entries as u64, self.cull_frequency as u64);
        entries - left as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(max_entries: usize, cull_frequency: usize, entries: usize) -> usize {
        FileBasedOptions::default()
            .max_entries(max_entries)
            .cull_frequency(cull_frequency)
            .excess(entries)
    }

    #[test]
    fn max_entries_of_zero_is_rejected_by_name() {
        let options = FileBasedOptions::default().max_entries(0);
        let message = options.check().expect_err("zero is not allowed").to_string();
        assert!(message.contains("OPTIONS.max_entries: "), "{message}");
        assert!(message.contains("found 0"), "{message}");
    }

    #[test]
    fn time_that_no_clock_can_count_is_rejected_when_it_is_set_in_code() {
        let options = FileBasedOptions::default().lock_timeout(Duration::MAX);
        let message = options.check().expect_err("too long").to_string();
        assert!(message.contains("OPTIONS.lock_timeout: "), "{message}");
    }

    #[test]
    fn no_cull_is_due_at_max_entries() {
        assert_eq!(excess(300, 3, 300), 0);
        assert_eq!(excess(300, 0, 300), 0);
    }

    #[test]
    fn cull_leaves_the_fraction_of_max_entries() {
        assert_eq!(excess(300, 3, 301), 101);
        assert_eq!(excess(300, 3, 1000), 800);
        assert_eq!(excess(300, 0, 301), 301);
        assert_eq!(excess(300, 1, 301), 301);
    }

    #[test]
    fn cull_leaves_max_entries_if_the_fraction_is_less_than_an_entry() {
        assert_eq!(excess(300, 1_000_000, 301), 1);
        assert_eq!(excess(300, 1_000_000, 3000), 2700);
    }
}
