//! Ghost entries: fingerprints of recently evicted keys.

/// The number of ghosts in a bucket.
const WAYS: usize = 4;

/// Fingerprints of evicted keys, each with the time of its eviction.
///
/// A ghost takes eight bytes. If a bucket is full, its oldest ghost is replaced. Time is counted by
/// the caller, in any unit.
///
/// Two keys can have the same fingerprint, and the time overflows after 2^32 ticks. Either only
/// makes one decision of the policy worse.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Empty, or a power of two of them.
    buckets: Vec<[Ghost; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ghost {
    /// Zero if the place is free.
    fingerprint: u32,
    evicted_at: u32,
}

impl Ghosts {
    /// Adds a key that is evicted `now`, and grows the table to at least `capacity` ghosts.
    pub(crate) fn insert(&mut self, hash: u64, now: u32, capacity: usize) {
        if self.buckets.len() * WAYS < capacity {
            self.grow(capacity, now);
        }
        self.put(Ghost { fingerprint: fingerprint(hash), evicted_at: now }, now);
    }

    /// Removes a key and returns how long ago it was evicted.
    pub(crate) fn take(&mut self, hash: u64, now: u32) -> Option<u32> {
        let fingerprint = fingerprint(hash);
        let ghost =
            self.bucket(fingerprint)?.iter_mut().find(|ghost| ghost.fingerprint == fingerprint)?;
        let evicted_at = ghost.evicted_at;
        *ghost = Ghost::default();
        Some(now.wrapping_sub(evicted_at))
    }

    fn put(&mut self, ghost: Ghost, now: u32) {
        let age = |place: &&mut Ghost| match place.fingerprint {
            0 => (1, 0),
            _ => (0, now.wrapping_sub(place.evicted_at)),
        };
        let Some(bucket) = self.bucket(ghost.fingerprint) else { return };
        if let Some(place) = bucket.iter_mut().max_by_key(age) {
            *place = ghost;
        }
    }

    fn bucket(&mut self, fingerprint: u32) -> Option<&mut [Ghost; WAYS]> {
        let position = fingerprint as usize & self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(position)
    }

    fn grow(&mut self, capacity: usize, now: u32) {
        let buckets = vec![[Ghost::default(); WAYS]; capacity.div_ceil(WAYS).next_power_of_two()];
        let old = std::mem::replace(&mut self.buckets, buckets);
        for ghost in old.into_iter().flatten().filter(|ghost| ghost.fingerprint != 0) {
            self.put(ghost, now);
        }
    }
}

/// Uses the low bits of the hash. The shard is chosen by the high ones.
fn fingerprint(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ghost_is_returned_once_with_its_age() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.take(7, 0), None, "the table is empty");
        ghosts.insert(7, 10, 100);
        assert_eq!(ghosts.take(8, 15), None);
        assert_eq!(ghosts.take(7, 15), Some(5));
        assert_eq!(ghosts.take(7, 15), None);
    }

    #[test]
    fn full_bucket_replaces_its_oldest_ghost_across_counter_overflow() {
        let mut ghosts = Ghosts::default();
        let start = u32::MAX - 1;
        for key in 0..5 {
            ghosts.insert(key << 8, start.wrapping_add(key as u32), 4);
        }
        let now = start.wrapping_add(5);
        let ages = [0, 1, 2, 3, 4].map(|key: u64| ghosts.take(key << 8, now));
        assert_eq!(ages, [None, Some(4), Some(3), Some(2), Some(1)]);
    }

    #[test]
    fn growing_keeps_all_ghosts() {
        let mut ghosts = Ghosts::default();
        let key = |number: u32| u64::from(number) * 0x9e37_79b9;
        for number in 1..=64 {
            ghosts.insert(key(number), number, 16 * number as usize);
        }
        let taken =
            (1..=64).filter(|&number| ghosts.take(key(number), 64) == Some(64 - number)).count();
        assert_eq!(taken, 64);
    }
}
