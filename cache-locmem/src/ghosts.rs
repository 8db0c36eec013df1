//! Which keys were evicted of late, by fingerprint.

/// How many ghosts share a bucket.
const WAYS: usize = 4;

/// Fingerprints of keys that have left, each with the time when it left. Eight bytes for each, in a table of fixed size: where a
/// bucket is full, its oldest ghost is forgotten.
///
/// Two keys may have one fingerprint, and the time starts anew after 2^32 ticks: both only make a guess of the policy's worse.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// None, or a power of two.
    buckets: Vec<[Ghost; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ghost {
    /// Zero in a place that is free.
    fingerprint: u32,
    left: u32,
}

impl Ghosts {
    /// Remembers a key that leaves now, in a table for at least so many ghosts.
    pub(crate) fn remember(&mut self, hash: u64, now: u32, places: usize) {
        if self.buckets.len() * WAYS < places {
            self.grow(places, now);
        }
        self.put(Ghost { fingerprint: fingerprint(hash), left: now }, now);
    }

    /// How long ago a key left, which is forgotten with the answer.
    pub(crate) fn recall(&mut self, hash: u64, now: u32) -> Option<u32> {
        let fingerprint = fingerprint(hash);
        let ghost =
            self.bucket(fingerprint)?.iter_mut().find(|ghost| ghost.fingerprint == fingerprint)?;
        let left = ghost.left;
        *ghost = Ghost::default();
        Some(now.wrapping_sub(left))
    }

    fn put(&mut self, ghost: Ghost, now: u32) {
        let age = |place: &&mut Ghost| match place.fingerprint {
            0 => (1, 0),
            _ => (0, now.wrapping_sub(place.left)),
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

    fn grow(&mut self, places: usize, now: u32) {
        let larger = vec![[Ghost::default(); WAYS]; places.div_ceil(WAYS).next_power_of_two()];
        let former = std::mem::replace(&mut self.buckets, larger);
        for ghost in former.into_iter().flatten().filter(|ghost| ghost.fingerprint != 0) {
            self.put(ghost, now);
        }
    }
}

/// Of the bits by which no shard is chosen.
fn fingerprint(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_is_recalled_once_with_its_age() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.recall(7, 0), None, "there was never any");
        ghosts.remember(7, 10, 100);
        assert_eq!(ghosts.recall(8, 15), None);
        assert_eq!(ghosts.recall(7, 15), Some(5));
        assert_eq!(ghosts.recall(7, 15), None);
    }

    #[test]
    fn of_a_full_bucket_the_oldest_is_forgotten_also_when_the_time_starts_anew() {
        let mut ghosts = Ghosts::default();
        let start = u32::MAX - 1;
        for key in 0..5 {
            ghosts.remember(key << 8, start.wrapping_add(key as u32), 4);
        }
        let now = start.wrapping_add(5);
        let ages = [0, 1, 2, 3, 4].map(|key: u64| ghosts.recall(key << 8, now));
        assert_eq!(ages, [None, Some(4), Some(3), Some(2), Some(1)]);
    }

    #[test]
    fn a_table_that_grows_forgets_nothing() {
        let mut ghosts = Ghosts::default();
        let key = |number: u32| u64::from(number) * 0x9e37_79b9;
        for number in 1..=64 {
            ghosts.remember(key(number), number, 16 * number as usize);
        }
        let recalled =
            (1..=64).filter(|&number| ghosts.recall(key(number), 64) == Some(64 - number)).count();
        assert_eq!(recalled, 64);
    }
}
