//! Items in numbered slots, and queues through them.

/// No slot.
const NONE: u32 = u32::MAX;

/// A slab of items. Slots are numbered, so that a hash table and queues can point to them; the number of an item that is
/// removed goes to the next one that comes.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    length: usize,
}

/// Aligned so that one of an entry, 96 bytes, never reaches into a third line of the processor's cache.
#[derive(Debug)]
#[repr(align(32))]
struct Slot<T> {
    /// `None` in a free slot; `older` then leads to the next free one.
    item: Option<T>,
    newer: u32,
    older: u32,
    mark: Mark,
}

/// What a policy notes about an item.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// When it came to its place, by a count of the policy's own.
    pub(crate) since: u32,
    /// How often it was used since, as far as the policy counts.
    pub(crate) uses: u8,
    /// Whether it has shown that it is wanted.
    pub(crate) proven: bool,
}

impl<T> Slab<T> {
    /// The bytes that a slot takes.
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

    pub(crate) fn mark(&self, slot: u32) -> Mark {
        self.slots[slot as usize].mark
    }

    pub(crate) fn mark_mut(&mut self, slot: u32) -> &mut Mark {
        &mut self.slots[slot as usize].mark
    }

    /// Puts an item into a free slot. It is in no queue yet.
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
        assert_ne!(slot, NONE, "a shard holds fewer than 2^32 - 1 entries");
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 4 + 8);
        }
        self.slots.push(Slot { item: Some(item), newer: NONE, older: NONE, mark: Mark::default() });
        slot
    }

    /// Takes an item out that is in no queue any more; `None` if the slot is free.
    pub(crate) fn take(&mut self, slot: u32) -> Option<T> {
        let item = self.slots[slot as usize].item.take()?;
        self.slots[slot as usize].older = self.free;
        self.free = slot;
        self.length -= 1;
        Some(item)
    }
}

/// Slots of a slab, from the newest to the oldest. A slot is in one queue at most.
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

    /// Puts a slot that is in no queue at the front.
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

    /// Takes a slot of this queue out of it.
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
        fn a_queue_behaves_like_a_list_that_is_shifted_by_hand(steps in vec((0..3_u8, 0..12_usize), 0..200)) {
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
