//! Keys whose last results could not be shared, such as pages of one user.
//!
//! One such result may be an exception. After a second one in a row, no request waits for another
//! one with the same key for 10 seconds: the requests would be served one after the other.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The keys whose last results could not be shared.
pub(crate) struct UnsharedKeys<K>(Mutex<HashMap<K, Unshared>>);

struct Unshared {
    /// How many results in a row.
    results: u32,
    /// Until when no caller waits, if there were enough of them.
    until: Instant,
}

impl Unshared {
    fn is_certain(&self) -> bool {
        self.results >= CERTAIN
    }
}

/// How many results in a row must be unshareable until no caller waits.
const CERTAIN: u32 = 2;
/// How long no caller waits for a key after its results could not be shared.
const UNSHARED_FOR: Duration = Duration::from_secs(10);
/// The maximum number of keys that are remembered.
const MAX_UNSHARED: usize = 4096;

impl<K: Clone + Eq + Hash> UnsharedKeys<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether no caller waits for `key` now.
    pub(crate) fn is_alone(&self, key: &K) -> bool {
        let is_alone = |key: &Unshared| key.is_certain() && Instant::now() < key.until;
        self.0.lock().get(key).is_some_and(is_alone)
    }

    /// Whether the last results for `key` could not be shared, however long ago.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.lock().get(key).is_some_and(Unshared::is_certain)
    }

    /// Records that a result for `key` cannot be shared.
    pub(crate) fn add(&self, key: &K) {
        let mut keys = self.0.lock();
        if keys.len() >= MAX_UNSHARED && !keys.contains_key(key) {
            keys.clear();
        }
        let until = Instant::now() + UNSHARED_FOR;
        let unshared = keys.entry(key.clone()).or_insert(Unshared { results: 0, until });
        unshared.results = unshared.results.saturating_add(1);
        unshared.until = until;
    }

    /// Records that a result for `key` can be shared.
    pub(crate) fn remove(&self, key: &K) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn unshareable_results_in_a_row_make_callers_not_wait_for_a_while() {
        let keys = UnsharedKeys::new();
        keys.add(&"k");
        assert!(!keys.is_alone(&"k"), "one may be an exception");
        keys.add(&"k");
        assert!(keys.is_alone(&"k"));
        tokio::time::advance(UNSHARED_FOR).await;
        assert!(!keys.is_alone(&"k") && keys.contains(&"k"));
        keys.add(&"k");
        assert!(keys.is_alone(&"k"), "one more result is enough");
    }

    #[tokio::test]
    async fn result_that_can_be_shared_makes_callers_wait_again() {
        let keys = UnsharedKeys::new();
        keys.add(&"k");
        keys.add(&"k");
        keys.remove(&"k");
        assert!(!keys.contains(&"k"));
        keys.add(&"k");
        assert!(!keys.is_alone(&"k"));
    }

    #[tokio::test]
    async fn number_of_keys_is_limited() {
        let keys = UnsharedKeys::new();
        for key in 0..3 * MAX_UNSHARED {
            keys.add(&key);
        }
        assert!(keys.0.lock().len() <= MAX_UNSHARED);
    }
}
