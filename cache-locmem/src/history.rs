//! How often keys were used, for longer than their entries are stored.

/// The number of keys in a bucket.
const WAYS: usize = 4;

/// The largest number of uses that is remembered.
const MAX: u8 = 15;

/// A number of uses, which halves with each epoch.
///
/// It is stored with its epoch in four bits each and halved when it is read, so no pass over all
/// numbers is necessary. A number that is not read for sixteen epochs is halved too seldom, which
/// only makes one decision of the policy worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses(u8);

impl Uses {
    /// Returns the number of uses in this epoch.
    pub(crate) fn count(self, epoch: u8) -> u8 {
        let age = epoch.wrapping_sub(self.0 >> 4) & 0xf;
        (self.0 & MAX) >> age.min(4)
    }

    /// Adds uses in this epoch.
    #[must_use]
    pub(crate) fn plus(self, uses: u8, epoch: u8) -> Self {
        Self::new(self.count(epoch).saturating_add(uses), epoch)
    }

    fn new(count: u8, epoch: u8) -> Self {
        Self(epoch << 4 | count.min(MAX))
    }
}

/// The uses of evicted keys.
///
/// A key takes two bytes. Two keys can be confused, which only makes one decision of the policy
/// worse.
#[derive(Debug, Default)]
pub(crate) struct History {
    buckets: Vec<[Record; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    tag: u8,
    /// Zero if the place is free.
    uses: Uses,
}

impl History {
    /// Returns the uses of a key.
    pub(crate) fn get(&self, hash: u64, epoch: u8) -> Uses {
        let bucket = self.buckets.get(self.position(hash)).into_iter().flatten();
        let found = bucket.copied().find(|record| record.is_of(hash, epoch));
        found.map_or(Uses::default(), |record| record.uses)
    }

    /// Sets the uses of a key. Grows the table to at least half as many places as there are
    /// `entries`.
    pub(crate) fn set(&mut self, hash: u64, uses: Uses, epoch: u8, entries: usize) {
        self.grow(entries);
        let position = self.position(hash);
        let bucket = &mut self.buckets[position];
        let rank = |record: &&mut Record| match record.is_of(hash, epoch) {
            true => (0, 0),
            false => (1, record.uses.count(epoch)),
        };
        let Some(place) = bucket.iter_mut().min_by_key(rank) else { return };
        if place.is_of(hash, epoch) || place.uses.count(epoch) <= uses.count(epoch) {
            *place = Record { tag: tag(hash), uses };
        }
    }

    /// Makes a place for each entry at first, and twice as many places whenever the entries are
    /// more than two for each. The two buckets that replace one start with the same records.
    fn grow(&mut self, entries: usize) {
        if self.buckets.is_empty() {
            self.buckets = vec![Default::default(); entries.div_ceil(WAYS).max(1)];
        }
        while self.buckets.len() * WAYS * 2 < entries {
            self.buckets = self.buckets.iter().flat_map(|&bucket| [bucket, bucket]).collect();
        }
    }

    /// Maps the low 32 bits of the hash to a bucket, in order. Bucket `n` becomes the buckets `2n`
    /// and `2n + 1` if their number doubles.
    fn position(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.buckets.len() as u64) >> 32) as usize
    }
}

impl Record {
    fn is_of(self, hash: u64, epoch: u8) -> bool {
        self.tag == tag(hash) && self.uses.count(epoch) > 0
    }
}

/// Uses bits that choose neither the bucket nor the shard.
fn tag(hash: u64) -> u8 {
    (hash >> 48) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash with this tag in the bucket at this share of the table, in units of 1 / 256.
    fn hash(tag: u8, bucket: u8) -> u64 {
        u64::from(tag) << 48 | u64::from(bucket) << 24
    }

    fn uses(count: u8) -> Uses {
        Uses::new(count, 0)
    }

    fn count(history: &History, hash: u64) -> u8 {
        history.get(hash, 0).count(0)
    }

    #[test]
    fn uses_are_counted_up_to_fifteen_and_halve_with_each_epoch() {
        let uses = Uses::default().plus(3, 14).plus(9, 14);
        let halved = [14, 15, 16, 17, 18, 19].map(|epoch| uses.count(epoch));
        assert_eq!(halved, [12, 6, 3, 1, 0, 0]);
        assert_eq!(uses.plus(9, 14).count(14), 15);
        assert_eq!(Uses::default().plus(1, 255).count(255), 1);
    }

    #[test]
    fn key_has_the_uses_that_were_set_last() {
        let mut history = History::default();
        assert_eq!(count(&history, hash(1, 0)), 0, "the table is empty");
        history.set(hash(1, 0), uses(5), 0, 100);
        history.set(hash(1, 0), uses(4), 0, 100);
        assert_eq!(count(&history, hash(1, 0)), 4);
        assert_eq!(count(&history, hash(2, 0)), 0, "another key of the bucket");
        assert_eq!(count(&history, hash(1, 128)), 0, "a key of another bucket");
    }

    #[test]
    fn key_in_a_full_bucket_replaces_only_one_that_was_used_less() {
        let mut history = History::default();
        (1..=4).for_each(|tag| history.set(hash(tag, 0), uses(1 + tag), 0, 4));
        history.set(hash(5, 0), uses(3), 0, 4);
        history.set(hash(6, 0), uses(1), 0, 4);
        let counts = [1, 2, 3, 4, 5, 6].map(|tag| count(&history, hash(tag, 0)));
        assert_eq!(counts, [0, 3, 4, 5, 3, 0]);
    }

    #[test]
    fn growing_keeps_all_keys() {
        let mut history = History::default();
        (0..8).for_each(|number| history.set(hash(number, 32 * number), uses(7), 0, 32));
        history.set(hash(100, 255), uses(1), 0, 1000);
        assert_eq!(history.buckets.len(), 128);
        assert!((0..8).all(|number| count(&history, hash(number, 32 * number)) == 7));
    }
}
