//! The leases of a shard.

use std::time::Duration;

use cache_core::Moment;
use hashbrown::{HashTable, hash_table::Entry};

use crate::key::Key;

/// The leases that are held, by key. There are as many as producers that run at once, so the table
/// is usually empty.
#[derive(Debug, Default)]
pub(crate) struct LeaseTable {
    leases: HashTable<Held>,
    /// The table is searched for expired leases when it has this many.
    sweep_at: usize,
}

#[derive(Debug)]
struct Held {
    hash: u64,
    key: Key,
    number: u64,
    until: Moment,
}

/// Small tables are not searched.
const MIN_SWEEP: usize = 32;

impl LeaseTable {
    /// Grants the lease with this number for the time of `hold`, unless one of the key is held.
    pub(crate) fn grant(
        &mut self,
        hash: u64,
        key: &str,
        number: u64,
        now: Moment,
        hold: Duration,
    ) -> bool {
        self.sweep(now);
        let until = now + hold;
        match self.leases.entry(hash, is_of(hash, key), |held| held.hash) {
            Entry::Occupied(mut occupied) => {
                let held = occupied.get_mut();
                let has_ended = held.until <= now;
                if has_ended {
                    (held.number, held.until) = (number, until);
                }
                has_ended
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Held { hash, key: key.into(), number, until });
                true
            }
        }
    }

    /// Ends the lease of a key. Costs one comparison if no leases are held.
    #[inline]
    pub(crate) fn end(&mut self, hash: u64, key: &str) {
        if !self.leases.is_empty() {
            self.remove(hash, key);
        }
    }

    /// Ends the lease with this number, and returns whether it was still valid.
    pub(crate) fn redeem(&mut self, hash: u64, key: &str, number: u64, now: Moment) -> bool {
        let is_valid = self.find(hash, key, number, now).is_some();
        if is_valid {
            self.remove(hash, key);
        }
        is_valid
    }

    /// Ends the lease with this number after `keep`, if it is still valid.
    pub(crate) fn keep(&mut self, hash: u64, key: &str, number: u64, now: Moment, keep: Duration) {
        if keep.is_zero() {
            self.redeem(hash, key, number, now);
        } else if let Some(held) = self.find(hash, key, number, now) {
            held.until = now + keep;
        }
    }

    fn find(&mut self, hash: u64, key: &str, number: u64, now: Moment) -> Option<&mut Held> {
        let held = self.leases.find_mut(hash, is_of(hash, key))?;
        (held.number == number && held.until > now).then_some(held)
    }

    #[cold]
    fn remove(&mut self, hash: u64, key: &str) {
        if let Ok(occupied) = self.leases.find_entry(hash, is_of(hash, key)) {
            occupied.remove();
        }
    }

    /// Removes the leases whose holders have neither filled nor released them. Runs so rarely that
    /// a lease costs constant time.
    fn sweep(&mut self, now: Moment) {
        if self.leases.len() >= self.sweep_at.max(MIN_SWEEP) {
            self.leases.retain(|held| held.until > now);
            self.sweep_at = 2 * self.leases.len();
        }
    }
}

fn is_of(hash: u64, key: &str) -> impl Fn(&Held) -> bool {
    move |held| held.hash == hash && held.key.as_bytes() == key.as_bytes()
}

#[cfg(test)]
mod tests {
    use cache_core::ManualClock;

    use super::*;

    #[test]
    fn expired_leases_do_not_accumulate() {
        let time = ManualClock::new();
        let mut table = LeaseTable::default();
        for number in 0..10_000 {
            assert!(table.grant(
                number,
                "k",
                number,
                time.clock().now(),
                Duration::from_millis(20)
            ));
            time.advance(Duration::from_millis(1));
            assert!(table.leases.len() <= 64, "{} leases", table.leases.len());
        }
    }

    #[test]
    fn keys_with_one_hash_have_their_own_leases() {
        let now = ManualClock::new().clock().now();
        let mut table = LeaseTable::default();
        for (number, key) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(table.grant(7, key, number as u64, now, Duration::from_secs(1)));
        }
        table.end(7, "b");
        assert!(table.redeem(7, "a", 0, now));
        assert!(!table.redeem(7, "b", 1, now));
        assert!(table.redeem(7, "c", 2, now));
    }
}
