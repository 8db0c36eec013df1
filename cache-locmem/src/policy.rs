//! Entries under a policy: which of them goes when there is no room.

use cache_core::entries_after_cull;
use serde::Deserialize;

use crate::{lru::Lru, s3_fifo::S3Fifo, slab::Slab};

/// Which entries go when there is no room and none has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// `"lru"`: those that were used least recently, as in Django.
    #[default]
    Lru,
    /// `"s3-fifo"`: first those that came and were not used again. Entries that are asked for once, as by a crawler or a
    /// report, then push out none that are asked for often.
    S3Fifo,
}

/// What there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Bounds {
    /// Returns the bounds that a cull has to reach.
    pub(crate) fn after_cull(self, cull_frequency: usize) -> Self {
        let left = |bound: usize| entries_after_cull(bound as u64, cull_frequency as u64) as usize;
        Self { entries: left(self.entries), bytes: left(self.bytes) }
    }
}

/// What takes up bytes.
pub(crate) trait Weigh {
    /// The bytes that it takes.
    fn weight(&self) -> usize;
}

/// Why an entry leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It was the policy's choice.
    Evicted,
    /// It was deleted, or has expired.
    Gone,
}

/// Entries in numbered slots, and the order in which they would go.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    slab: Slab<T>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    Lru(Lru),
    S3Fifo(S3Fifo),
}

impl<T: Weigh> Entries<T> {
    /// The bytes that an entry's place takes.
    pub(crate) const SLOT: usize = Slab::<T>::SLOT;

    /// No entries. Where the order need not be `strict`, less work is done for it.
    pub(crate) fn new(policy: Policy, bounds: Bounds, strict: bool) -> Self {
        let order = match policy {
            Policy::Lru => Order::Lru(Lru::new(strict)),
            Policy::S3Fifo => Order::S3Fifo(S3Fifo::new(bounds)),
        };
        Self { slab: Slab::new(), order }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slab.get(slot)
    }

    /// The entry, for changes that leave its weight as it is.
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slab.get_mut(slot)
    }

    pub(crate) fn insert(&mut self, entry: T, hash: u64) -> u32 {
        let slot = self.slab.insert(entry);
        match &mut self.order {
            Order::Lru(lru) => lru.insert(&mut self.slab, slot),
            Order::S3Fifo(s3_fifo) => s3_fifo.insert(&mut self.slab, slot, hash),
        }
        slot
    }

    /// Notes a use.
    pub(crate) fn used(&mut self, slot: u32) {
        match &mut self.order {
            Order::Lru(lru) => lru.used(&mut self.slab, slot),
            Order::S3Fifo(_) => S3Fifo::used(&mut self.slab, slot),
        }
    }

    /// Notes that an entry has become lighter or heavier.
    pub(crate) fn reweighed(&mut self, slot: u32, before: usize, after: usize) {
        if let Order::S3Fifo(s3_fifo) = &mut self.order {
            s3_fifo.reweighed(&self.slab, slot, before, after);
        }
    }

    /// The entry that shall go. `looks` says how much work may be done to find it, and afterwards how much is left.
    pub(crate) fn victim(&mut self, looks: &mut usize) -> Option<u32> {
        match &mut self.order {
            Order::Lru(lru) => lru.victim(),
            Order::S3Fifo(s3_fifo) => s3_fifo.victim(&mut self.slab, looks),
        }
    }

    /// Takes an entry out; `None` if the slot is free.
    pub(crate) fn remove(&mut self, slot: u32, hash: u64, leaving: Leaving) -> Option<T> {
        self.slab.get(slot)?;
        match &mut self.order {
            Order::Lru(lru) => lru.unlink(&mut self.slab, slot),
            Order::S3Fifo(s3_fifo) => {
                if leaving == Leaving::Evicted {
                    s3_fifo.evicting(&self.slab, slot, hash);
                }
                s3_fifo.unlink(&mut self.slab, slot);
            }
        }
        self.slab.take(slot)
    }
}
