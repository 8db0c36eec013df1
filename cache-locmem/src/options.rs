//! What can be set about the store.

use cache_core::{Result, config};
use serde::Deserialize;

use crate::Policy;

/// The OPTIONS of a locmem cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocMemOptions {
    /// How many entries there may be. At least 1; Django's default is 300.
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: usize,
    /// What part of the entries goes when there is no room: `1 / cull_frequency`. 3 as in Django; 0 empties the store. Up to
    /// 512 go at once, and the rest with the next entries that come.
    pub cull_frequency: usize,
    /// How many bytes the entries may take: values, keys of more than 38 bytes, and 130 to 180 bytes for each entry, which
    /// hold a shorter key. Of an object, what lies directly in its `Arc`, and what
    /// [`set_shared_owning`](cache_core::CacheHandle::set_shared_owning) was told. No bound by default. With shards, one entry may take a shard's share, which is 16 MiB or more.
    pub max_bytes: Option<usize>,
    /// Which entries go when there is no room: `"lru"`, the default, or `"s3-fifo"`.
    pub policy: Policy,
}

impl Default for LocMemOptions {
    fn default() -> Self {
        Self { max_entries: 300, cull_frequency: 3, max_bytes: None, policy: Policy::Lru }
    }
}

impl LocMemOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entries == 0 {
            return Err(config::invalid_setting(
                "OPTIONS.max_entries",
                "0",
                "a whole number of at least 1",
            ));
        }
        if self.max_bytes == Some(0) {
            return Err(config::invalid_setting(
                "OPTIONS.max_bytes",
                "0",
                "a whole number of at least 1, or no such option",
            ));
        }
        Ok(())
    }

    /// How many shards carry these bounds: a power of two.
    pub(crate) fn shards(&self, parallelism: usize) -> usize {
        if self.max_entries < STRICT_BELOW {
            return 1;
        }
        let by_entries = self.max_entries / ENTRIES_A_SHARD;
        let by_bytes = self.max_bytes.map_or(usize::MAX, |bytes| bytes / BYTES_A_SHARD);
        let wanted = parallelism.saturating_mul(SHARDS_A_CORE).next_power_of_two().min(MOST_SHARDS);
        let allowed = by_entries.min(by_bytes).max(1);
        wanted.min(1 << allowed.ilog2())
    }
}

/// Below so many entries, one list in strict order.
const STRICT_BELOW: usize = 2 * ENTRIES_A_SHARD;
/// So many that chance fills no shard much before the others.
const ENTRIES_A_SHARD: usize = 8192;
const BYTES_A_SHARD: usize = 16 << 20;
/// So that two threads seldom want the same lock, though a few keys get most of the requests.
const SHARDS_A_CORE: usize = 16;
const MOST_SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(max_entries: usize, max_bytes: Option<usize>) -> usize {
        LocMemOptions { max_entries, max_bytes, ..LocMemOptions::default() }.shards(2)
    }

    #[test]
    fn a_small_store_has_one_shard_and_a_large_one_sixteen_for_each_core() {
        assert_eq!(shards(300, None), 1);
        assert_eq!(shards(16_383, None), 1);
        assert_eq!(shards(16_384, None), 2);
        assert_eq!(shards(1_000_000, None), 32);
    }

    #[test]
    fn a_bound_in_bytes_leaves_each_shard_16_mib_or_makes_one() {
        assert_eq!(shards(1_000_000, Some(1 << 20)), 1);
        assert_eq!(shards(1_000_000, Some(100 << 20)), 4);
    }

    #[test]
    fn zero_entries_or_bytes_are_a_mistake_that_is_named() {
        let none = LocMemOptions { max_entries: 0, ..LocMemOptions::default() };
        let message = none.check().expect_err("zero is not allowed").to_string();
        assert_eq!(message, "OPTIONS.max_entries: found 0, expected a whole number of at least 1");
        assert!(LocMemOptions { max_bytes: Some(0), ..LocMemOptions::default() }.check().is_err());
    }
}
