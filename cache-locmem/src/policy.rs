//! Entries under an eviction policy.

use cache_core::entries_after_cull;
use serde::Deserialize;

use crate::{lru::Lru, s3_fifo::S3Fifo, slab::Slab};

/// Which entries to evict when the store is full and none has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// `"lru"`: the least recently used entries, as in Django. Approximately, if there are several
    /// [shards](crate#shards).
    #[default]
    Lru,
    /// `"s3-fifo"`: first the entries that were not used again after they were added.
    ///
    /// Entries that are read once, as by a crawler or a report, then evict none that are read
    /// often.
    S3Fifo,
}

/// Limits of a shard or of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Bounds {
    /// Applies the culling rule to both bounds.
    pub(crate) fn after_cull(self, cull_frequency: usize) -> Self {
        let left = |bound: usize| entries_after_cull(bound as u64, cull_frequency as u64) as usize;
        Self { entries: left(self.entries), bytes: left(self.bytes) }
    }
}

/// An item with a size.
pub(crate) trait Weighted {
    /// The size in bytes.
    fn weight(&self) -> usize;
}

/// Why an entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemovalReason {
    /// The policy chose it.
    Evicted,
    /// It was deleted, or it expired.
    Deleted,
}

/// Entries in numbered slots, and the order in which they are evicted.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    slab: Slab<T>,
    order: Order,
}

/// An enum and not a trait object, so that a hit needs no dynamic dispatch.
#[derive(Debug)]
enum Order {
    Lru(Lru),
    S3Fifo(S3Fifo),
}

impl<T: Weighted> Entries<T> {
    /// The size of a slot in bytes.
    pub(crate) const SLOT: usize = Slab::<T>::SLOT;

    /// Creates an empty collection. LRU is `strict` if each use moves the entry.
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

    /// Returns the entry for a change. Report a new weight with
    /// [`update_weight`](Self::update_weight).
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

    /// Records a use of an entry.
    pub(crate) fn record_use(&mut self, slot: u32) {
        match &mut self.order {
            Order::Lru(lru) => lru.record_use(&mut self.slab, slot),
            Order::S3Fifo(_) => S3Fifo::record_use(&self.slab, slot),
        }
    }

    /// Records a use of an entry by one of several threads that share the entries, in an order that
    /// is not strict.
    #[inline]
    pub(crate) fn record_shared_use(&self, slot: u32) {
        match self.order {
            Order::Lru(_) => Lru::mark(&self.slab, slot),
            Order::S3Fifo(_) => S3Fifo::record_use(&self.slab, slot),
        }
    }

    /// Records a new weight of an entry.
    pub(crate) fn update_weight(&mut self, slot: u32, before: usize, after: usize) {
        if let Order::S3Fifo(s3_fifo) = &mut self.order {
            s3_fifo.update_weight(&self.slab, slot, before, after);
        }
    }

    /// Returns the entry to evict next. `reinsertions` limits the work: it is the number of entries
    /// that may be reinserted instead, and is decremented for each.
    pub(crate) fn victim(&mut self, reinsertions: &mut usize) -> Option<u32> {
        match &mut self.order {
            Order::Lru(lru) => lru.victim(&mut self.slab, reinsertions),
            Order::S3Fifo(s3_fifo) => s3_fifo.victim(&mut self.slab, reinsertions),
        }
    }

    /// Removes an entry, or returns `None` if the slot is free.
    pub(crate) fn remove(&mut self, slot: u32, hash: u64, reason: RemovalReason) -> Option<T> {
        self.slab.get(slot)?;
        match &mut self.order {
            Order::Lru(lru) => lru.unlink(&mut self.slab, slot),
            Order::S3Fifo(s3_fifo) => {
                if reason == RemovalReason::Evicted {
                    s3_fifo.record_eviction(&mut self.slab, slot, hash);
                }
                s3_fifo.unlink(&mut self.slab, slot);
            }
        }
        self.slab.take(slot)
    }
}
