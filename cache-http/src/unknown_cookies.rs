//! The names of cookies because of which requests bypass the cache.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::RwLock;

/// The maximum number of names. Clients choose them, so they are limited.
const MAX_NAMES: usize = 64;
/// The maximum length of a name in bytes. Longer names are cut off.
const MAX_LENGTH: usize = 64;

/// Counts bypasses by the name of the cookie.
#[derive(Debug, Default)]
pub(crate) struct UnknownCookies {
    counts: RwLock<HashMap<Box<[u8]>, AtomicU64>>,
}

impl UnknownCookies {
    /// Counts a bypass because of the cookie `name`. The first one of each name is logged.
    ///
    /// Names that exceed the limit are neither logged nor counted.
    pub(crate) fn count(&self, alias: &str, name: &[u8]) {
        let name = &name[..name.len().min(MAX_LENGTH)];
        if let Some(count) = self.counts.read().get(name) {
            count.fetch_add(1, Relaxed);
            return;
        }
        let mut counts = self.counts.write();
        if let Some(count) = counts.get(name) {
            count.fetch_add(1, Relaxed);
        } else if counts.len() < MAX_NAMES {
            counts.insert(name.into(), AtomicU64::new(1));
            drop(counts);
            tracing::info!(
                cache = alias,
                cookie = ?String::from_utf8_lossy(name),
                "requests with this cookie bypass the cache: list it in `ignore_cookies` or \
                 `vary_on_cookies` if it does not identify a visitor",
            );
        }
    }

    /// The names and their numbers, the most frequent first.
    pub(crate) fn read(&self) -> Vec<(String, u64)> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut all: Vec<_> = self
            .counts
            .read()
            .iter()
            .map(|(name, count)| (text(name), count.load(Relaxed)))
            .collect();
        all.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bypasses_are_counted_by_name_with_the_most_frequent_first() {
        let cookies = UnknownCookies::default();
        for name in ["b", "a", "c", "c"] {
            cookies.count("default", name.as_bytes());
        }
        assert_eq!(cookies.read(), [("c".into(), 2), ("a".into(), 1), ("b".into(), 1)]);
    }

    #[test]
    fn number_and_length_of_names_are_limited() {
        let cookies = UnknownCookies::default();
        cookies.count("default", &[b'x'; 10_000]);
        for number in 0..1000 {
            cookies.count("default", format!("{number}").as_bytes());
        }
        let names = cookies.read();
        assert_eq!(names.len(), MAX_NAMES);
        assert!(names.iter().all(|(name, count)| name.len() <= MAX_LENGTH && *count == 1));
    }
}
