//! The options of the store.

use cache_core::{Result, config};
use serde::Deserialize;

use crate::{MaxBytes, Policy};

/// The OPTIONS of a locmem cache.
///
/// # Examples
///
/// ```
/// use cache_locmem::{LocMemOptions, Policy};
///
/// let options = LocMemOptions::default()
///     .max_entries(10_000)
///     .max_bytes(64 << 20)
///     .policy(Policy::S3Fifo);
/// assert_eq!(options.cull_frequency, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LocMemOptions {
    /// The maximum number of entries, at least 1. The default is Django's, 300.
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: usize,
    /// The fraction of the store that is culled when it is full: `1 / cull_frequency`. The default
    /// is Django's, 3; 0 clears the store.
    ///
    /// A cull leaves [`entries_after_cull`](cache_core::entries_after_cull) entries or fewer, and
    /// the same fraction of `max_bytes`. A call removes at most 512 entries; later calls that add
    /// an entry remove the rest.
    pub cull_frequency: usize,
    /// The maximum size of all entries in bytes. The default is 64 MiB, or 16 KiB for each of
    /// `max_entries` if that is more; `"unlimited"` removes the limit.
    ///
    /// The memory of the process is larger, because allocators round sizes up and keep what was
    /// freed, and because tables grow by doubling: plan for twice this size.
    ///
    /// The size of an entry is the size of its value, of its key if that is longer than 38 bytes,
    /// and 130 to 180 bytes of overhead, which include a shorter key. The size of an object is that
    /// of the data directly inside its `Arc`, plus the size passed to
    /// [`set_shared_owning`](cache_core::CacheHandle::set_shared_owning).
    ///
    /// If the store has several shards, an entry can be as large as one shard's part of the limit,
    /// which is 16 MiB or more.
    pub max_bytes: MaxBytes,
    /// Which entries to evict when the store is full: `"lru"`, the default, or `"s3-fifo"`.
    pub policy: Policy,
}

impl Default for LocMemOptions {
    fn default() -> Self {
        Self {
            max_entries: 300,
            cull_frequency: 3,
            max_bytes: MaxBytes::Default,
            policy: Policy::Lru,
        }
    }
}

impl LocMemOptions {
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

    /// Sets the maximum size of all entries in bytes. `None` removes the limit.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: impl Into<MaxBytes>) -> Self {
        self.max_bytes = max_bytes.into();
        self
    }

    /// Sets which entries are evicted when the store is full.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
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
        if self.max_bytes == MaxBytes::Bytes(0) {
            return Err(config::invalid_setting("OPTIONS.max_bytes", "0", MaxBytes::EXPECTED));
        }
        Ok(())
    }

    /// The maximum size of all entries in bytes, if it is limited.
    pub(crate) fn byte_limit(&self) -> Option<usize> {
        self.max_bytes.limit(self.max_entries)
    }

    /// The number of shards for these limits, which is a power of two.
    pub(crate) fn shards(&self, parallelism: usize) -> usize {
        if self.max_entries < MIN_ENTRIES_TO_SHARD {
            return 1;
        }
        let by_entries = self.max_entries / MIN_ENTRIES_PER_SHARD;
        let by_bytes = self.byte_limit().map_or(usize::MAX, |bytes| bytes / MIN_BYTES_PER_SHARD);
        let for_contention =
            parallelism.saturating_mul(SHARDS_PER_CORE).next_power_of_two().min(MAX_SHARDS);
        let allowed = by_entries.min(by_bytes).max(1);
        for_contention.min(1 << allowed.ilog2())
    }
}

/// With fewer entries than this, the store is a single shard in strict LRU order.
const MIN_ENTRIES_TO_SHARD: usize = 2 * MIN_ENTRIES_PER_SHARD;
/// With fewer entries than this, an uneven distribution of the hashes fills one shard long before
/// the others, and entries are evicted while other shards have free space.
const MIN_ENTRIES_PER_SHARD: usize = 8192;
const MIN_BYTES_PER_SHARD: usize = 16 << 20;
/// Enough that two threads rarely contend for a lock, even if a few keys get most of the requests.
const SHARDS_PER_CORE: usize = 16;
const MAX_SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(max_entries: usize, max_bytes: Option<usize>) -> usize {
        LocMemOptions::default().max_entries(max_entries).max_bytes(max_bytes).shards(2)
    }

    #[test]
    fn small_store_has_one_shard_and_large_store_sixteen_per_core() {
        assert_eq!(shards(300, None), 1);
        assert_eq!(shards(16_383, None), 1);
        assert_eq!(shards(16_384, None), 2);
        assert_eq!(shards(1_000_000, None), 32);
    }

    #[test]
    fn each_shard_gets_at_least_16_mib_of_max_bytes() {
        assert_eq!(shards(1_000_000, Some(1 << 20)), 1);
        assert_eq!(shards(1_000_000, Some(100 << 20)), 4);
    }

    #[test]
    fn default_limit_in_bytes_does_not_change_the_shards() {
        for max_entries in [300, 16_383, 16_384, 100_000, 1_000_000, usize::MAX] {
            let options = LocMemOptions::default().max_entries(max_entries);
            let unlimited = options.max_bytes(None);
            assert_eq!(options.shards(64), unlimited.shards(64), "{max_entries}");
        }
    }

    #[test]
    fn limits_of_zero_are_rejected_by_name() {
        for (options, setting) in [
            (LocMemOptions::default().max_entries(0), "OPTIONS.max_entries"),
            (LocMemOptions::default().max_bytes(0), "OPTIONS.max_bytes"),
        ] {
            let message = options.check().expect_err("zero is invalid").to_string();
            assert!(message.contains(setting) && message.contains("found 0"), "{message}");
        }
    }
}
