//! How the room is divided between what is new and what has proven itself.

use crate::policy::Bounds;

/// The small queue's part of the bounds. It starts with a twentieth, and goes where room is missed: an entry and a 4096th of
/// the store at a time, between a hundredth and nine tenths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    /// Of [`PARTS`].
    small: usize,
}

/// A whole.
const PARTS: usize = 1 << 16;
const FIRST: usize = PARTS / 20;
const LEAST: usize = PARTS / 100;
const MOST: usize = PARTS / 10 * 9;
/// The smallest step: so small that chance moves little in a large store.
const STEP: usize = PARTS / 4096;

impl Balance {
    pub(crate) const fn new() -> Self {
        Self { small: FIRST }
    }

    /// Gives the small queue more of a store of so many entries.
    pub(crate) fn favour_small(&mut self, entries: usize) {
        self.small = (self.small + step(entries)).min(MOST);
    }

    /// Gives the main queue more of a store of so many entries.
    pub(crate) fn favour_main(&mut self, entries: usize) {
        self.small = self.small.saturating_sub(step(entries)).max(LEAST);
    }

    /// What the small queue may hold, which is something, and what is left for the main one.
    pub(crate) fn divide(self, whole: Bounds) -> (Bounds, Bounds) {
        let small =
            Bounds { entries: self.small_part(whole.entries), bytes: self.small_part(whole.bytes) };
        let main =
            Bounds { entries: whole.entries - small.entries, bytes: whole.bytes - small.bytes };
        (small, main)
    }

    /// In two steps, as a bound may be the largest number there is.
    fn small_part(self, bound: usize) -> usize {
        let part = bound / PARTS * self.small + bound % PARTS * self.small / PARTS;
        part.max(1)
    }
}

fn step(entries: usize) -> usize {
    STEP + PARTS / entries.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Bounds = Bounds { entries: 1000, bytes: usize::MAX };

    fn small(balance: Balance) -> usize {
        balance.divide(WHOLE).0.entries
    }

    #[test]
    fn the_small_queue_starts_with_a_twentieth_and_the_main_one_has_the_rest() {
        let (small, main) = Balance::new().divide(WHOLE);
        assert_eq!((small.entries, main.entries), (49, 951));
        assert_eq!(small.bytes + main.bytes, usize::MAX);
        assert_eq!(usize::MAX / small.bytes, 20);
    }

    #[test]
    fn a_step_takes_an_entry_and_a_part_of_a_large_store() {
        let mut balance = Balance::new();
        balance.favour_small(1000);
        assert_eq!(small(balance), 51);
        balance.favour_main(1_000_000);
        assert_eq!(small(balance), 50);
    }

    #[test]
    fn neither_queue_takes_all() {
        let mut balance = Balance::new();
        (0..100).for_each(|_| balance.favour_main(20));
        assert_eq!(small(balance), 9);
        (0..100).for_each(|_| balance.favour_small(20));
        assert_eq!(small(balance), 899);
        assert_eq!(balance.divide(Bounds { entries: 1, bytes: 1 }).0.entries, 1);
    }
}
