//! The entries in the order of their use: the least recently used one goes.

use crate::slab::{Mark, Queue, Slab};

/// The order of use.
#[derive(Debug)]
pub(crate) struct Lru {
    queue: Queue,
    /// How often an item was moved to the front. An item's mark says at which move that was.
    moves: u32,
    /// Whether every use moves an item to the front.
    strict: bool,
}

impl Lru {
    pub(crate) const fn new(strict: bool) -> Self {
        Self { queue: Queue::new(), moves: 0, strict }
    }

    pub(crate) fn insert<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        self.moves = self.moves.wrapping_add(1);
        *slab.mark_mut(slot) = Mark { since: self.moves, ..Mark::default() };
        self.queue.push(slab, slot);
    }

    /// Notes a use: moves the item to the front, unless it is within the most recent quarter and the order is not strict.
    #[inline]
    pub(crate) fn used<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let window = if self.strict { 0 } else { self.queue.len() / 4 };
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        let at_front = self.queue.newest() == Some(slot);
        if !at_front && self.moves.wrapping_sub(slab.mark(slot).since) > window {
            self.queue.unlink(slab, slot);
            self.insert(slab, slot);
        }
    }

    pub(crate) fn unlink<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        self.queue.unlink(slab, slot);
    }

    /// The least recently used item.
    pub(crate) fn victim(&self) -> Option<u32> {
        self.queue.oldest()
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
    fn every_use_moves_an_item_to_the_front_of_a_strict_order() {
        let (mut lru, mut slab, slots) = filled(true);
        for item in [6, 0, 0] {
            lru.used(&mut slab, slots[item]);
        }
        assert_eq!(lru.queue.items(&slab), [0, 6, 7, 5, 4, 3, 2, 1]);
        assert_eq!(lru.victim(), Some(slots[1]));
    }

    #[test]
    fn a_use_within_the_most_recent_quarter_of_another_order_moves_nothing() {
        let (mut lru, mut slab, slots) = filled(false);
        lru.used(&mut slab, slots[5]);
        assert_eq!(lru.queue.items(&slab), [7, 6, 5, 4, 3, 2, 1, 0]);
        lru.used(&mut slab, slots[4]);
        assert_eq!(lru.queue.items(&slab), [4, 7, 6, 5, 3, 2, 1, 0]);
    }
}
