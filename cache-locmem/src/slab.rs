//! A slab of items in numbered slots, and queues that link the slots.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::history::Uses;

/// The number that means no slot.
const NONE: u32 = u32::MAX;

/// A slab of items.
///
/// Slots are numbered, so that a hash table, queues and the deadlines can refer to them without a
/// copy of the key. A removed item's slot is reused by the next insertion.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    length: usize,
}

/// A slot of an entry takes 96 bytes. With this alignment it never spans three cache lines.
#[derive(Debug)]
#[repr(align(32))]
struct Slot<T> {
    /// `None` if the slot is free. Then `older` is the next free slot.
    item: Option<T>,
    newer: u32,
    older: u32,
    state: PolicyState,
}

/// The state that an eviction policy keeps for an item.
#[derive(Debug, Default)]
pub(crate) struct PolicyState {
    /// How many items had been inserted when S3-FIFO queued this one.
    pub(crate) position: u32,
    /// The number of uses since then, up to a maximum that the policy defines.
    pub(crate) frequency: Frequency,
    /// How many of these uses are already included in `uses`.
    pub(crate) counted: u8,
    /// The uses of the key over a longer time, and before the item was added.
    pub(crate) uses: Uses,
    /// Whether the item is in the main queue of S3-FIFO.
    pub(crate) in_main: bool,
}

/// A number of uses, which many threads can increment at once.
#[derive(Debug, Default)]
pub(crate) struct Frequency(AtomicU8);

impl Frequency {
    pub(crate) const fn new(frequency: u8) -> Self {
        Self(AtomicU8::new(frequency))
    }

    #[inline]
    pub(crate) fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a use, unless there were `max` already: then nothing is written.
    ///
    /// Uses at the same time may count as fewer. That is rare and only makes one decision of the
    /// policy worse; an atomic increment would make every hit slower.
    #[inline]
    pub(crate) fn increment(&self, max: u8) {
        let frequency = self.get();
        if frequency < max {
            self.0.store(frequency + 1, Ordering::Relaxed);
        }
    }
}

impl<T> Slab<T> {
    /// The size of a slot in bytes.
    pub(crate) const SLOT: usize = size_of::<Slot<T>>();

    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, length: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slots[slot as usize].item.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots[slot as usize].item.as_mut()
    }

    pub(crate) fn state(&self, slot: u32) -> &PolicyState {
        &self.slots[slot as usize].state
    }

    pub(crate) fn state_mut(&mut self, slot: u32) -> &mut PolicyState {
        &mut self.slots[slot as usize].state
    }

    /// Adds an item and returns its slot, which is in no queue yet.
    pub(crate) fn insert(&mut self, item: T) -> u32 {
        self.length += 1;
        if self.free == NONE {
            return self.append(item);
        }
        let slot = self.free;
        let free = &mut self.slots[slot as usize];
        self.free = free.older;
        free.item = Some(item);
        slot
    }

    fn append(&mut self, item: T) -> u32 {
        let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert_ne!(slot, NONE, "a shard cannot hold more than 2^32 - 1 entries");
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 4 + 8);
        }
        self.slots.push(Slot {
            item: Some(item),
            newer: NONE,
            older: NONE,
            state: PolicyState::default(),
        });
        slot
    }

    /// Removes an item that is in no queue, or returns `None` if the slot is free.
    pub(crate) fn take(&mut self, slot: u32) -> Option<T> {
        let item = self.slots[slot as usize].item.take()?;
        self.slots[slot as usize].older = self.free;
        self.free = slot;
        self.length -= 1;
        Some(item)
    }
}

/// A doubly linked list of slots, from the newest to the oldest. A slot is in at most one queue.
#[derive(Debug)]
pub(crate) struct Queue {
    newest: u32,
    oldest: u32,
    length: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { newest: NONE, oldest: NONE, length: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn newest(&self) -> Option<u32> {
        (self.newest != NONE).then_some(self.newest)
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds a slot that is in no queue as the newest one.
    pub(crate) fn push<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let front = &mut slab.slots[slot as usize];
        front.newer = NONE;
        front.older = self.newest;
        match self.newest {
            NONE => self.oldest = slot,
            newest => slab.slots[newest as usize].newer = slot,
        }
        self.newest = slot;
        self.length += 1;
    }

    /// Makes a slot of this queue, which is not the newest one, the newest one.
    pub(crate) fn move_to_front<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let moved = &mut slab.slots[slot as usize];
        let (newer, older) = (moved.newer, moved.older);
        (moved.newer, moved.older) = (NONE, self.newest);
        slab.slots[newer as usize].older = older;
        match older {
            NONE => self.oldest = newer,
            older => slab.slots[older as usize].newer = newer,
        }
        slab.slots[self.newest as usize].newer = slot;
        self.newest = slot;
    }

    /// Removes a slot that is in this queue.
    pub(crate) fn unlink<T>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let Slot { newer, older, .. } = slab.slots[slot as usize];
        match newer {
            NONE => self.newest = older,
            newer => slab.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => slab.slots[older as usize].newer = newer,
        }
        self.length -= 1;
    }

    /// The items, from the newest to the oldest.
    #[cfg(test)]
    pub(crate) fn items<T: Copy>(&self, slab: &Slab<T>) -> Vec<T> {
        let mut items = Vec::new();
        let mut slot = self.newest;
        while slot != NONE {
            items.extend(slab.get(slot));
            slot = slab.slots[slot as usize].older;
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn queue_behaves_like_a_vec(
            steps in vec((0..3_u8, 0..12_usize), 0..200),
        ) {
            let (mut slab, mut queue) = (Slab::new(), Queue::new());
            let mut model: Vec<(u32, usize)> = Vec::new();
            for (number, (step, position)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        let slot = slab.insert(number);
                        queue.push(&mut slab, slot);
                        model.insert(0, (slot, number));
                    }
                    _ if position >= model.len() => {}
                    1 => {
                        let (slot, item) = model.remove(position);
                        queue.unlink(&mut slab, slot);
                        prop_assert_eq!(slab.take(slot), Some(item));
                        prop_assert_eq!(slab.take(slot), None);
                    }
                    _ => {
                        let used = model.remove(position);
                        queue.unlink(&mut slab, used.0);
                        queue.push(&mut slab, used.0);
                        model.insert(0, used);
                    }
                }
                let items: Vec<usize> = model.iter().map(|&(_, item)| item).collect();
                prop_assert_eq!(queue.items(&slab), items);
                prop_assert_eq!(queue.newest(), model.first().map(|&(slot, _)| slot));
                prop_assert_eq!(queue.oldest(), model.last().map(|&(slot, _)| slot));
                prop_assert_eq!((slab.len(), queue.len()), (model.len(), model.len()));
            }
        }
    }
}
