//! How often pages were requested lately.

/// Counts the uses of keys in a fixed amount of memory.
///
/// A hash chooses a bucket. An entry of a bucket holds the next bits of the hash, a count, and
/// whether the key was admitted. The entries are ordered by their last use. A new key replaces the
/// least recently used one that was used once; each entry that it passes over loses a use. So a
/// flood of keys that are used once replaces only keys like itself.
///
/// Two keys share an entry if 34 bits of their hashes are equal. That only makes a count too large.
#[derive(Debug)]
pub(crate) struct UseCounts {
    buckets: Box<[Bucket]>,
}

/// What is known about a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// The number of uses, up to 255.
    pub(crate) count: u8,
    /// Whether the key was admitted, or found in the store.
    pub(crate) admitted: bool,
}

/// The most recently used entry comes first, and free entries, which are zero, come last.
type Bucket = [Entry; WAYS];

/// 23 bits of the hash, a bit of admission, and 8 bits of the count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry(u32);

const WAYS: usize = 8;
/// The number of buckets, a power of two. A table takes 64 KiB. At 700 new keys a second, it
/// remembers a key that was used once for more than 20 seconds.
const BUCKETS: usize = 2048;

impl UseCounts {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS].into() }
    }

    /// What is known about a key.
    pub(crate) fn get(&self, hash: u64) -> Uses {
        let (bucket, new) = locate(hash);
        let entry = self.buckets[bucket].iter().find(|entry| entry.is_of_same_key(new));
        entry.map_or(Uses::default(), |entry| entry.uses())
    }

    /// Counts a use of a key.
    pub(crate) fn record(&mut self, hash: u64) {
        let (bucket, new) = locate(hash);
        let bucket = &mut self.buckets[bucket];
        if let Some(position) = bucket.iter().position(|entry| entry.is_of_same_key(new)) {
            bucket[..=position].rotate_right(1);
            bucket[0].increment();
            return;
        }
        let mut victim = WAYS - 1;
        while victim > 0 && bucket[victim].uses().count > 1 {
            bucket[victim].decrement();
            victim -= 1;
        }
        if bucket[victim].uses().count > 1 {
            victim = WAYS - 1;
        }
        bucket[..=victim].rotate_right(1);
        bucket[0] = new;
    }

    /// Notes that a key was admitted, if it is known.
    pub(crate) fn set_admitted(&mut self, hash: u64) {
        let (bucket, new) = locate(hash);
        let mut entries = self.buckets[bucket].iter_mut();
        if let Some(entry) = entries.find(|entry| entry.is_of_same_key(new)) {
            entry.0 |= Entry::ADMITTED;
        }
    }
}

/// The bucket of a key, and an entry with one use of it.
fn locate(hash: u64) -> (usize, Entry) {
    let bucket = hash as usize % BUCKETS;
    (bucket, Entry((hash >> 32) as u32 & Entry::KEY | 1))
}

impl Entry {
    const KEY: u32 = !0 << 9;
    const ADMITTED: u32 = 1 << 8;

    /// Whether both entries are of the same key. No free entry is.
    fn is_of_same_key(self, other: Self) -> bool {
        self.0 & Self::KEY == other.0 & Self::KEY && self.0 != 0
    }

    fn uses(self) -> Uses {
        Uses { count: self.0 as u8, admitted: self.0 & Self::ADMITTED != 0 }
    }

    fn increment(&mut self) {
        self.0 += u32::from(self.uses().count < u8::MAX);
    }

    /// Must not be called for the last use.
    fn decrement(&mut self) {
        self.0 -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn count(counts: &UseCounts, hash: u64) -> u8 {
        counts.get(hash).count
    }

    /// Different keys of one bucket.
    fn hash(key: u64) -> u64 {
        (key << 41) | 5
    }

    #[test]
    fn uses_are_counted_up_to_255() {
        let mut counts = UseCounts::new();
        assert_eq!(counts.get(7), Uses::default());
        for expected in (1..=255).chain([255]) {
            counts.record(7);
            assert_eq!(count(&counts, 7), expected);
        }
        assert_eq!(count(&counts, 7 | 1 << 63), 0);
    }

    #[test]
    fn admission_is_remembered_with_the_count() {
        let mut counts = UseCounts::new();
        counts.set_admitted(7);
        assert_eq!(counts.get(7), Uses::default());
        counts.record(7);
        counts.set_admitted(7);
        counts.record(7);
        assert_eq!(counts.get(7), Uses { count: 2, admitted: true });
    }

    #[test]
    fn new_key_replaces_the_least_recently_used_of_those_used_once() {
        let mut counts = UseCounts::new();
        for key in [1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10] {
            counts.record(hash(key));
        }
        let known: Vec<u64> = (1..=10).filter(|key| count(&counts, hash(*key)) > 0).collect();
        assert_eq!(known, [2, 4, 5, 6, 7, 8, 9, 10], "1 came first, then 3");
        assert_eq!(count(&counts, hash(2)), 2, "passed over once");
    }

    #[test]
    fn bucket_of_frequent_keys_accepts_a_new_one() {
        let mut counts = UseCounts::new();
        for key in (0..8).flat_map(|key| [key; 5]).chain([8]) {
            counts.record(hash(key));
        }
        assert_eq!(count(&counts, hash(8)), 1);
        assert_eq!(count(&counts, hash(0)), 0, "the least recently used key was replaced");
    }

    #[test]
    fn flood_of_keys_used_once_does_not_replace_frequent_keys() {
        let (mut counts, hasher) = (UseCounts::new(), RandomState::new());
        let frequent: Vec<u64> = (0..100).map(|key| hasher.hash_one(("frequent", key))).collect();
        for round in 0..60 {
            frequent.iter().for_each(|hash| counts.record(*hash));
            for key in 0..700 {
                counts.record(hasher.hash_one(("flood", round, key)));
            }
        }
        assert!(frequent.iter().all(|hash| count(&counts, *hash) > 30));
    }
}
