//! The split of the capacity between the small and the main queue of S3-FIFO.
//!
//! No fixed share suits all traffic. On the traces of the bench `hit_ratio`, a tenth for the small
//! queue was up to 1.8 points below `quick_cache` on loops over slightly more keys than fit,
//! because every place in the small queue would be a hit in the main one. A twentieth was within
//! half a point there, but 15 points below LRU if each key is read a few times shortly after it was
//! added. Adapting the share took the mean share of Belady's optimum from 0.836 to 0.847. Steps of
//! a quarter and of four times the size gave the same within 0.002. The initial share matters more,
//! because a short trace ends before the share has moved far: with a hundredth, the mean was 0.004
//! better than with a twentieth.

use crate::policy::Bounds;

/// The share of the small queue.
///
/// It starts at a hundredth and moves between a hundredth and nine tenths, in steps of one entry
/// plus a 4096th of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    /// In units of 1 / [`SCALE`].
    small: usize,
}

const SCALE: usize = 1 << 16;
const MIN: usize = SCALE / 100;
const MAX: usize = SCALE / 10 * 9;
/// The smallest step. It is small enough that noise hardly moves the share of a large store.
const MIN_STEP: usize = SCALE / 4096;

impl Balance {
    pub(crate) const fn new() -> Self {
        Self { small: MIN }
    }

    /// Grows the small queue of a store of `entries` by a step.
    pub(crate) fn grow_small(&mut self, entries: usize) {
        self.small = (self.small + step(entries)).min(MAX);
    }

    /// Grows the main queue of a store of `entries` by a step.
    pub(crate) fn grow_main(&mut self, entries: usize) {
        self.small = self.small.saturating_sub(step(entries)).max(MIN);
    }

    /// Returns the bounds of the small queue, which are at least 1, and of the main queue.
    pub(crate) fn split(self, total: Bounds) -> (Bounds, Bounds) {
        let small = Bounds {
            entries: self.small_share(total.entries),
            bytes: self.small_share(total.bytes),
        };
        let main =
            Bounds { entries: total.entries - small.entries, bytes: total.bytes - small.bytes };
        (small, main)
    }

    /// Multiplies in two steps, because a bound can be `usize::MAX`.
    fn small_share(self, bound: usize) -> usize {
        let share = bound / SCALE * self.small + bound % SCALE * self.small / SCALE;
        share.max(1)
    }
}

fn step(entries: usize) -> usize {
    MIN_STEP + SCALE / entries.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Bounds = Bounds { entries: 1000, bytes: usize::MAX };

    fn small(balance: Balance) -> usize {
        balance.split(TOTAL).0.entries
    }

    #[test]
    fn small_queue_starts_with_a_hundredth_and_main_queue_has_the_rest() {
        let (small, main) = Balance::new().split(TOTAL);
        assert_eq!((small.entries, main.entries), (9, 991));
        assert_eq!(small.bytes + main.bytes, usize::MAX);
        assert_eq!(usize::MAX / small.bytes, 100);
    }

    #[test]
    fn step_is_an_entry_plus_a_fraction_of_a_large_store() {
        let mut balance = Balance::new();
        balance.grow_small(1000);
        assert_eq!(small(balance), 11);
        balance.grow_main(1_000_000);
        assert_eq!(small(balance), 10);
    }

    #[test]
    fn shares_stay_between_a_hundredth_and_nine_tenths() {
        let mut balance = Balance::new();
        (0..100).for_each(|_| balance.grow_main(20));
        assert_eq!(small(balance), 9);
        (0..100).for_each(|_| balance.grow_small(20));
        assert_eq!(small(balance), 899);
        assert_eq!(balance.split(Bounds { entries: 1, bytes: 1 }).0.entries, 1);
    }
}
