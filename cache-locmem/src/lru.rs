//! Items in numbered slots, and a list through them in the order of use.

/// No slot.
const NONE: u32 = u32::MAX;

/// A slab whose items are linked from the most to the least recently used. Slots are numbered, so that a hash table can
/// point to them; the number of an item that is removed goes to the next one pushed.
#[derive(Debug)]
pub(crate) struct Lru<T> {
    slots: Vec<Slot<T>>,
    newest: u32,
    oldest: u32,
    free: u32,
    length: usize,
    moves: u32,
}

#[derive(Debug)]
struct Slot<T> {
    /// `None` in a free slot; `older` then leads to the next free one.
    item: Option<T>,
    newer: u32,
    older: u32,
    /// The list's count of moves to its front when this item was moved there last.
    moved: u32,
}

impl<T> Lru<T> {
    /// The bytes that a slot takes.
    pub(crate) const SLOT: usize = size_of::<Slot<T>>();

    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), newest: NONE, oldest: NONE, free: NONE, length: 0, moves: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The least recently used slot.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slots[slot as usize].item.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots[slot as usize].item.as_mut()
    }

    /// Puts an item at the front of the list.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let slot = match self.free {
            NONE => {
                let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
                assert_ne!(slot, NONE, "a shard holds fewer than 2^32 - 1 entries");
                if self.slots.len() == self.slots.capacity() {
                    self.slots.reserve_exact(self.slots.len() / 4 + 8);
                }
                self.slots.push(Slot { item: Some(item), newer: NONE, older: NONE, moved: 0 });
                slot
            }
            slot => {
                let free = &mut self.slots[slot as usize];
                self.free = free.older;
                free.item = Some(item);
                slot
            }
        };
        self.length += 1;
        self.link_front(slot);
        slot
    }

    /// Takes an item out; `None` if the slot is free.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let item = self.slots[slot as usize].item.take()?;
        self.unlink(slot);
        self.slots[slot as usize].older = self.free;
        self.free = slot;
        self.length -= 1;
        Some(item)
    }

    /// Notes a use: moves the item to the front, unless at most `window` items stand before it.
    pub(crate) fn used(&mut self, slot: u32, window: u32) {
        let at_front = slot == self.newest;
        if !at_front && self.moves.wrapping_sub(self.slots[slot as usize].moved) > window {
            self.unlink(slot);
            self.link_front(slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }

    fn link_front(&mut self, slot: u32) {
        self.moves = self.moves.wrapping_add(1);
        let front = &mut self.slots[slot as usize];
        front.newer = NONE;
        front.older = self.newest;
        front.moved = self.moves;
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.slots[newest as usize].newer = slot,
        }
        self.newest = slot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn order<T: Copy>(lru: &Lru<T>) -> Vec<T> {
        let mut items = Vec::new();
        let mut slot = lru.newest;
        while slot != NONE {
            items.extend(lru.get(slot));
            slot = lru.slots[slot as usize].older;
        }
        items
    }

    #[test]
    fn a_use_within_the_window_moves_nothing() {
        let mut lru = Lru::new();
        let slots = [10, 11, 12, 13].map(|item| lru.push(item));
        lru.used(slots[2], 1);
        assert_eq!(order(&lru), [13, 12, 11, 10]);
        lru.used(slots[1], 1);
        assert_eq!(order(&lru), [11, 13, 12, 10]);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_list_that_is_shifted_by_hand(steps in vec((0..3_u8, 0..12_usize), 0..200)) {
            let mut lru = Lru::new();
            let mut model: Vec<(u32, usize)> = Vec::new();
            for (number, (step, position)) in steps.into_iter().enumerate() {
                match step {
                    0 => model.insert(0, (lru.push(number), number)),
                    _ if position >= model.len() => {}
                    1 => {
                        let (slot, item) = model.remove(position);
                        prop_assert_eq!(lru.remove(slot), Some(item));
                        prop_assert_eq!(lru.remove(slot), None);
                    }
                    _ => {
                        let used = model.remove(position);
                        lru.used(used.0, 0);
                        model.insert(0, used);
                    }
                }
                let items: Vec<usize> = model.iter().map(|&(_, item)| item).collect();
                prop_assert_eq!(order(&lru), items);
                prop_assert_eq!(lru.oldest(), model.last().map(|&(slot, _)| slot));
                prop_assert_eq!(lru.len(), model.len());
            }
        }
    }
}
