//! The leases that callers of this process hold.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{Lease, Moment};

/// The leases that a handle, its clones and the handles derived from it hold.
///
/// A caller that is dropped cannot await the release of its lease. The lease stays here, and the
/// next caller of the process that acquires one for the key releases it.
pub(in crate::handle) struct HeldLeases {
    /// Whether nothing is left of a lease that was dropped, so that none has to stay here.
    end_on_drop: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The slots of each key, by age. There is at least one.
    ///
    /// Only one lease of a key is valid, but nobody knows which: a store may grant one after a
    /// write has ended another one, and return it first.
    slots: HashMap<Arc<str>, Vec<Slot>>,
    last_id: u64,
    /// The number of keys at which slots whose time has ended are removed.
    purge_at: usize,
}

/// A lease, or the possibility that the key has one.
struct Slot {
    id: u64,
    origin: Origin,
    /// `None` while a caller uses the lease, and if it is unknown whether the key is leased.
    lease: Option<Lease>,
    /// Whether the key had a value when the lease was granted.
    replaces: bool,
    until: Moment,
    /// How many callers may use the lease. Without any, it is abandoned.
    holders: usize,
}

/// When a lease was acquired, and by whom.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin {
    /// The epoch of the key.
    pub(super) epoch: Option<u64>,
    /// Whether the caller belongs to a flight of `get_or_set`.
    pub(super) in_flight: bool,
}

/// What a caller that was dropped has left.
#[derive(Debug)]
pub(super) enum Abandoned {
    Nothing,
    Lease(Lease),
    /// The call that would have returned or ended the lease was dropped or has failed.
    Unknown,
}

/// The share of one caller in a lease.
///
/// If the last share is dropped, the lease is left to the next caller of this process. If there is
/// none, it ends by time.
#[must_use = "a lease that is dropped keeps other processes out until its time ends"]
pub(in crate::handle) struct HeldLease {
    all: Arc<HeldLeases>,
    key: Arc<str>,
    id: u64,
    /// Whether this holder has taken the lease to use it.
    has_taken: AtomicBool,
}

impl HeldLeases {
    pub(in crate::handle) fn new(end_on_drop: bool) -> Self {
        Self { end_on_drop, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of keys.
    #[cfg(test)]
    pub(in crate::handle) fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Removes and returns a lease that was left by a caller that was dropped.
    pub(super) fn take_abandoned(&self, key: &str, now: Moment) -> Abandoned {
        let mut state = self.lock();
        let Some(slots) = state.slots.get_mut(key) else { return Abandoned::Nothing };
        let is_left = |slot: &Slot| slot.holders == 0 && slot.lease.is_some();
        if let Some(index) = slots.iter().position(is_left) {
            let left = slots.remove(index);
            if slots.is_empty() {
                state.slots.remove(key);
            }
            return left.lease.map_or(Abandoned::Nothing, Abandoned::Lease);
        }
        // A lease that is held is more likely to be the valid one than an unknown one.
        let is_held = |slot: &Slot| slot.holders > 0 && now < slot.until;
        if slots.iter().all(|slot| slot.holders > 0) || slots.iter().any(is_held) {
            return Abandoned::Nothing;
        }
        slots.retain(|slot| slot.holders > 0);
        if slots.is_empty() {
            state.slots.remove(key);
        }
        Abandoned::Unknown
    }

    /// Records that a key may be leased although no caller has the lease.
    pub(super) fn insert_unknown(&self, key: &Arc<str>, now: Moment, until: Moment) {
        if self.end_on_drop {
            return;
        }
        let mut state = self.lock();
        let is_unknown = |slot: &&mut Slot| slot.holders == 0 && slot.lease.is_none();
        let slots = state.slots.get_mut(key);
        if let Some(slot) = slots.and_then(|slots| slots.iter_mut().find(is_unknown)) {
            slot.until = slot.until.max(until);
            return;
        }
        let (origin, lease, replaces) = (Origin::default(), None, false);
        let slot = Slot { id: 0, origin, lease, replaces, until, holders: 0 };
        state.insert(key, slot, now);
    }

    pub(super) fn insert(
        self: &Arc<Self>,
        key: &Arc<str>,
        origin: Origin,
        lease: Lease,
        replaces: bool,
        now: Moment,
        until: Moment,
    ) -> HeldLease {
        let slot = Slot { id: 0, origin, lease: Some(lease), replaces, until, holders: 1 };
        let id = self.lock().insert(key, slot, now);
        HeldLease::new(self, key, id)
    }

    /// Returns a share in the lease of another caller, if it is held and not yet used.
    pub(super) fn share(
        self: &Arc<Self>,
        key: &Arc<str>,
        may_share: impl Fn(Origin) -> bool,
        now: Moment,
    ) -> Option<HeldLease> {
        let mut state = self.lock();
        let is_held =
            |slot: &&mut Slot| slot.holders > 0 && slot.lease.is_some() && may_share(slot.origin);
        // The newest one is the most likely to be valid.
        let slot = state.slots.get_mut(key)?.iter_mut().rfind(is_held)?;
        if now >= slot.until {
            return None;
        }
        slot.holders += 1;
        Some(HeldLease::new(self, key, slot.id))
    }
}

impl State {
    fn insert(&mut self, key: &Arc<str>, slot: Slot, now: Moment) -> u64 {
        if self.slots.len() >= self.purge_at {
            self.slots.retain(|_, slots| {
                slots.retain(|slot| slot.holders > 0 || now < slot.until);
                !slots.is_empty()
            });
            self.purge_at = 2 * self.slots.len() + 16;
        }
        self.last_id += 1;
        let slot = Slot { id: self.last_id, ..slot };
        match self.slots.get_mut(key) {
            Some(slots) => slots.push(slot),
            None => drop(self.slots.insert(Arc::clone(key), vec![slot])),
        }
        self.last_id
    }

    fn slot(&mut self, key: &str, id: u64) -> Option<&mut Slot> {
        self.slots.get_mut(key)?.iter_mut().find(|slot| slot.id == id)
    }

    fn remove(&mut self, key: &str, id: u64) -> Option<Slot> {
        let slots = self.slots.get_mut(key)?;
        let index = slots.iter().position(|slot| slot.id == id)?;
        let removed = slots.remove(index);
        if slots.is_empty() {
            self.slots.remove(key);
        }
        Some(removed)
    }
}

impl HeldLease {
    fn new(all: &Arc<HeldLeases>, key: &Arc<str>, id: u64) -> Self {
        let has_taken = AtomicBool::new(false);
        Self { all: Arc::clone(all), key: Arc::clone(key), id, has_taken }
    }

    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Takes the lease to use it, and returns whether it replaces a value. Returns `None` if
    /// another holder has used it.
    ///
    /// The key counts as leased for an unknown time until [`settle`](Self::settle) is called.
    pub(super) fn take(&self) -> Option<(Lease, bool)> {
        self.slot(|slot| {
            let lease = slot.lease.take()?;
            self.has_taken.store(true, Relaxed);
            Some((lease, slot.replaces))
        })?
    }

    /// Like [`take`](Self::take), but leaves the lease to the other holders if there are any.
    pub(super) fn take_last(&self) -> Option<(Lease, bool)> {
        self.slot(|slot| {
            let lease = slot.lease.take_if(|_| slot.holders == 1)?;
            self.has_taken.store(true, Relaxed);
            Some((lease, slot.replaces))
        })?
    }

    /// Records that the lease has ended. The other holders have lost it.
    pub(super) fn settle(self) {
        drop(self.all.lock().remove(&self.key, self.id));
    }

    fn slot<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.all.lock().slot(&self.key, self.id).map(f)
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        let Some(slot) = state.slot(&self.key, self.id) else { return };
        slot.holders -= 1;
        if self.has_taken.load(Relaxed) {
            // The key may still be leased. The other holders have lost the lease, and must not keep
            // the next caller from ending it.
            (slot.id, slot.holders) = (0, 0);
        }
        if slot.holders == 0 && self.all.end_on_drop {
            let id = slot.id;
            let ended = state.remove(&self.key, id);
            drop(state);
            drop(ended);
        }
    }
}

impl fmt::Debug for HeldLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLeases").finish_non_exhaustive()
    }
}

impl fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLease").field("key", &self.key).finish_non_exhaustive()
    }
}
