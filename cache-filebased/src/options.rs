//! What can be set about the store.

use std::time::Duration;

use cache_core::{Result, config};
use serde::Deserialize;

/// The OPTIONS of a filebased cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileBasedOptions {
    /// How many entries there may be. At least 1; Django's default is 300. See [the crate's page](crate) for how closely
    /// it is kept to.
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: usize,
    /// What part of the entries goes when there are too many: `1 / cull_frequency`. 3 as in Django; 0 empties the store.
    pub cull_frequency: usize,
    /// How long a change waits for another process that is changing something in the same shard, in seconds. 5 by
    /// default: only a process that was stopped, or a disk that stalls, takes so long.
    #[serde(deserialize_with = "config::seconds")]
    pub lock_timeout: Duration,
}

impl Default for FileBasedOptions {
    fn default() -> Self {
        Self { max_entries: 300, cull_frequency: 3, lock_timeout: Duration::from_secs(5) }
    }
}

impl FileBasedOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entries == 0 {
            return Err(config::invalid_setting(
                "OPTIONS.max_entries",
                "0",
                "a whole number of at least 1",
            ));
        }
        Ok(())
    }

    /// How many of `entries` a cull removes: none where they are not too many, else a part of them, and no fewer than
    /// are too many.
    pub(crate) fn victims(&self, entries: usize) -> usize {
        if entries <= self.max_entries {
            return 0;
        }
        let part = entries.checked_div(self.cull_frequency).unwrap_or(entries);
        part.max(entries - self.max_entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn victims(max_entries: usize, cull_frequency: usize, entries: usize) -> usize {
        FileBasedOptions { max_entries, cull_frequency, ..FileBasedOptions::default() }
            .victims(entries)
    }

    #[test]
    fn zero_entries_are_a_mistake_that_is_named() {
        let none = FileBasedOptions { max_entries: 0, ..FileBasedOptions::default() };
        let message = none.check().expect_err("zero is not allowed").to_string();
        assert_eq!(message, "OPTIONS.max_entries: found 0, expected a whole number of at least 1");
    }

    #[test]
    fn a_store_that_is_just_full_loses_nothing() {
        assert_eq!(victims(300, 3, 300), 0);
        assert_eq!(victims(300, 0, 300), 0);
    }

    #[test]
    fn a_store_that_is_too_full_loses_its_part() {
        assert_eq!(victims(299, 3, 300), 100);
        assert_eq!(victims(299, 0, 300), 300);
        assert_eq!(victims(299, 1, 300), 300);
    }

    #[test]
    fn whatever_the_part_as_many_go_as_are_too_many() {
        assert_eq!(victims(300, 3, 3000), 2700);
        assert_eq!(victims(300, 1_000_000, 301), 1);
    }
}
