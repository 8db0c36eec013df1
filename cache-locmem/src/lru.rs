//! Least recently used: entries in the order of their use, exactly or approximately.
//!
//! In strict order, each use moves an item to the front. Otherwise a use only marks the item, as in
//! CLOCK: a marked item moves to the front when it would be evicted. Such uses need no exclusive
//! lock, and most of them write nothing.

use crate::slab::{Frequency, PolicyState, Queue, Slab};

/// The order of eviction.
#[derive(Debug)]
pub(crate) struct Lru {
    queue: Queue,
    /// Whether every use moves an item to the front.
    strict: bool,
}

impl Lru {
    pub(crate) const fn new(strict: bool) -> Self {
        Self { queue: Queue::new(), strict }
    }

    pub(crate) fn insert<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        *slab.state_mut(slot) = PolicyState::default();
        self.queue.push(slab, slot);
    }

    pub(crate) fn record_use<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        if self.strict {
            self.move_to_front(slab, slot);
        } else {
            Self::mark(slab, slot);
        }
    }

    /// Records a use in an order that is not strict.
    #[inline]
    pub(crate) fn mark<T>(slab: &Slab<T>, slot: u32) {
        slab.state(slot).frequency.increment(1);
    }

    fn move_to_front<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        if self.queue.newest() != Some(slot) {
            self.queue.move_to_front(slab, slot);
        }
    }

    pub(crate) fn unlink<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        self.queue.unlink(slab, slot);
    }

    /// Returns the item to evict next. Each marked item, which is moved to the front instead,
    /// decrements `reinsertions`. At 0, the oldest item is returned even if it is marked.
    pub(crate) fn victim<T>(
        &mut self,
        slab: &mut Slab<T>,
        reinsertions: &mut usize,
    ) -> Option<u32> {
        loop {
            let oldest = self.queue.oldest()?;
            if slab.state(oldest).frequency.get() == 0 || *reinsertions == 0 {
                return Some(oldest);
            }
            *reinsertions -= 1;
            slab.state_mut(oldest).frequency = Frequency::default();
            self.move_to_front(slab, oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(strict: bool) -> (Lru, Slab<u32>, [u32; 8]) {
        let (mut lru, mut slab) = (Lru::new(strict), Slab::new());
        let slots = [0, 1, 2, 3, 4, 5, 6, 7].map(|item| slab.insert(item));
        slots.iter().for_each(|&slot| lru.insert(&mut slab, slot));
        (lru, slab, slots)
    }

    #[test]
    fn strict_order_moves_every_used_item_to_the_front() {
        let (mut lru, mut slab, slots) = filled(true);
        for item in [6, 0, 0] {
            lru.record_use(&mut slab, slots[item]);
        }
        assert_eq!(lru.queue.items(&slab), [0, 6, 7, 5, 4, 3, 2, 1]);
        assert_eq!(lru.victim(&mut slab, &mut 0), Some(slots[1]));
    }

    #[test]
    fn use_in_approximate_order_marks_the_item_and_moves_nothing() {
        let (mut lru, mut slab, slots) = filled(false);
        lru.record_use(&mut slab, slots[0]);
        assert_eq!(lru.queue.items(&slab), [7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(lru.victim(&mut slab, &mut 10), Some(slots[1]));
    }

    #[test]
    fn marked_item_is_moved_when_it_would_be_evicted() {
        let (mut lru, mut slab, slots) = filled(false);
        for item in [0, 0, 1, 3] {
            Lru::mark(&slab, slots[item]);
        }
        let mut reinsertions = 10;
        assert_eq!(lru.victim(&mut slab, &mut reinsertions), Some(slots[2]));
        assert_eq!(lru.queue.items(&slab), [1, 0, 7, 6, 5, 4, 3, 2]);
        assert_eq!(reinsertions, 8);
        lru.unlink(&mut slab, slots[2]);
        assert_eq!(lru.victim(&mut slab, &mut 0), Some(slots[3]), "the limit is reached");
    }

    #[test]
    fn only_item_is_evicted_even_if_it_is_marked() {
        let (mut lru, mut slab) = (Lru::new(false), Slab::new());
        let slot = slab.insert(0);
        lru.insert(&mut slab, slot);
        Lru::mark(&slab, slot);
        assert_eq!(lru.victim(&mut slab, &mut 10), Some(slot));
    }
}
