//! Entries that one lock guards, found by hash, bounded in number and bytes.
//!
//! Nothing here drops an entry or a value: what leaves a shard is handed to the caller, who drops it once the lock is
//! released.

use std::{hash::BuildHasher, mem, time::Duration};

use cache_core::{Clock, Moment, Ttl, Value};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    Policy,
    deadlines::Deadlines,
    kept::{Kept, Other},
    key::Key,
    policy::{Bounds, Entries, Leaving, Weigh},
};

/// What a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bounds: Bounds,
    /// A cull ends when the shard is within these bounds.
    pub(crate) after_cull: Bounds,
    pub(crate) policy: Policy,
    /// Whether every use moves an entry to the front of the list.
    pub(crate) strict: bool,
}

#[derive(Debug)]
pub(crate) struct Entry {
    key: Key,
    value: Kept,
    deadline: Moment,
}

/// The life of an entry that expires. The clock is read before the lock is taken, not while others wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    now: Moment,
    deadline: Moment,
}

impl Term {
    pub(crate) fn starting(now: Moment, ttl: Duration) -> Self {
        Self { now, deadline: now + ttl }
    }
}

/// What left the shard during a call, or did not get in.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    value: Option<Kept>,
    entries: Vec<Entry>,
}

/// What became of an attempt to count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Sum(i64),
    Overflow(i64),
    NotAnInteger,
    Missing,
}

#[derive(Debug)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    entries: Entries<Entry>,
    deadlines: Deadlines,
    bytes: usize,
    /// Whether a cull has begun and not reached its bounds yet.
    culling: bool,
    limits: Limits,
    clock: Clock,
    hasher: RandomState,
}

/// How many entries one call culls at the most, so that nobody waits long for the lock.
const CULL_AT_ONCE: usize = 512;
/// How many entries one cull gives another chance at the most, for the same reason.
const LOOKS_AT_ONCE: usize = 4096;

impl Shard {
    pub(crate) fn new(limits: Limits, clock: Clock, hasher: RandomState) -> Self {
        Self {
            table: HashTable::new(),
            entries: Entries::new(limits.policy, limits.bounds, limits.strict),
            deadlines: Deadlines::default(),
            bytes: 0,
            culling: false,
            limits,
            clock,
            hasher,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of a live entry, whose use is noted. Tells where there is one that has `expired` and should go.
    #[inline]
    pub(crate) fn get(&mut self, hash: u64, key: &str, expired: &mut bool) -> Option<Value> {
        let slot = self.find(hash, key)?;
        let entry = self.entries.get(slot)?;
        if self.clock.has_passed(entry.deadline) {
            *expired = true;
            return None;
        }
        let value = entry.value.value();
        self.entries.used(slot);
        Some(value)
    }

    pub(crate) fn remove_if_expired(&mut self, hash: u64, key: &str, removed: &mut Removed) {
        if let Some(slot) = self.find(hash, key).filter(|&slot| self.is_expired(slot)) {
            self.remove(slot, Leaving::Gone, removed);
        }
    }

    pub(crate) fn contains(&self, hash: u64, key: &str) -> bool {
        self.find_live(hash, key).is_some()
    }

    pub(crate) fn ttl(&self, hash: u64, key: &str) -> Option<Ttl> {
        let deadline = self.entries.get(self.find(hash, key)?)?.deadline;
        if deadline == Moment::NEVER {
            return Some(Ttl::Never);
        }
        let left = deadline.since(self.clock.now());
        (!left.is_zero()).then_some(Ttl::Left(left))
    }

    #[inline]
    pub(crate) fn set(
        &mut self,
        hash: u64,
        key: &str,
        value: Value,
        term: Option<Term>,
        removed: &mut Removed,
    ) {
        let slot = self.find(hash, key);
        self.store(slot, hash, key, value, term, removed);
    }

    pub(crate) fn add(
        &mut self,
        hash: u64,
        key: &str,
        value: Value,
        term: Option<Term>,
        removed: &mut Removed,
    ) -> bool {
        let slot = self.find(hash, key);
        if slot.is_some_and(|slot| !self.is_expired(slot)) {
            removed.value = Some(value.into());
            return false;
        }
        self.store(slot, hash, key, value, term, removed);
        true
    }

    pub(crate) fn touch(&mut self, hash: u64, key: &str, ttl: Option<Duration>) -> bool {
        let Some(slot) = self.find_live(hash, key) else { return false };
        let deadline = self.deadline(ttl);
        self.entries.get_mut(slot).expect("it was just found").deadline = deadline;
        self.deadlines.remind(slot, deadline);
        true
    }

    pub(crate) fn incr(&mut self, hash: u64, key: &str, delta: i64) -> Counted {
        let Some(slot) = self.find_live(hash, key) else { return Counted::Missing };
        self.entries.used(slot);
        match &mut self.entries.get_mut(slot).expect("it was just found").value {
            Kept::Other(Other::Int(number)) => match number.checked_add(delta) {
                Some(sum) => {
                    *number = sum;
                    Counted::Sum(sum)
                }
                None => Counted::Overflow(*number),
            },
            _ => Counted::NotAnInteger,
        }
    }

    /// Removes the entry, and says whether it was alive.
    pub(crate) fn delete(&mut self, hash: u64, key: &str, removed: &mut Removed) -> bool {
        let Some(slot) = self.find(hash, key) else { return false };
        let alive = !self.is_expired(slot);
        self.remove(slot, Leaving::Gone, removed);
        alive
    }

    /// Removes up to so many entries that have expired, and answers how many.
    pub(crate) fn purge(&mut self, most: u64, removed: &mut Removed) -> u64 {
        let now = self.clock.now();
        (0..most).take_while(|_| self.remove_an_expired(now, removed)).count() as u64
    }

    /// How many entries have expired. Looks at each.
    pub(crate) fn expired(&self) -> usize {
        let now = self.clock.now();
        self.table
            .iter()
            .filter(|&&slot| self.entries.get(slot).is_some_and(|entry| entry.deadline <= now))
            .count()
    }

    /// Leaves an empty shard, and takes all memory of the former one along.
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::new(self.limits, self.clock.clone(), self.hasher.clone()))
    }

    #[inline]
    fn find(&self, hash: u64, key: &str) -> Option<u32> {
        let is_it = |&slot: &u32| {
            self.entries.get(slot).is_some_and(|entry| entry.key.as_bytes() == key.as_bytes())
        };
        self.table.find(hash, is_it).copied()
    }

    fn find_live(&self, hash: u64, key: &str) -> Option<u32> {
        self.find(hash, key).filter(|&slot| !self.is_expired(slot))
    }

    fn is_expired(&self, slot: u32) -> bool {
        self.entries.get(slot).is_some_and(|entry| self.clock.has_passed(entry.deadline))
    }

    #[inline]
    fn store(
        &mut self,
        slot: Option<u32>,
        hash: u64,
        key: &str,
        value: Value,
        term: Option<Term>,
        removed: &mut Removed,
    ) {
        let Some(Term { now, deadline }) = term else {
            self.put(slot, hash, key, value, Moment::NEVER, removed);
            return;
        };
        let slot = self.put(slot, hash, key, value, deadline, removed);
        self.deadlines.remind(slot, deadline);
        self.collect_a_few(now, removed);
    }

    /// Writes over the entry in `slot` where the bounds allow it, else inserts one.
    #[inline]
    fn put(
        &mut self,
        slot: Option<u32>,
        hash: u64,
        key: &str,
        value: Value,
        deadline: Moment,
        removed: &mut Removed,
    ) -> u32 {
        let weight = weight(key, value.size());
        if let Some(slot) = slot {
            let entry = self.entries.get_mut(slot).expect("it was just found");
            let before = entry.weight();
            let bytes = self.bytes - before + weight;
            if bytes <= self.limits.bounds.bytes {
                removed.value = Some(mem::replace(&mut entry.value, value.into()));
                entry.deadline = deadline;
                self.bytes = bytes;
                self.entries.reweighed(slot, before, weight);
                self.entries.used(slot);
                return slot;
            }
            self.remove(slot, Leaving::Gone, removed);
        }
        self.make_room(weight, removed);
        let slot =
            self.entries.insert(Entry { key: key.into(), value: value.into(), deadline }, hash);
        self.bytes += weight;
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |&slot: &u32| {
            entries.get(slot).map_or(0, |entry| hasher.hash_one(entry.key.as_bytes()))
        };
        self.table.insert_unique(hash, slot, rehash);
        slot
    }

    /// Removes entries until one of this weight fits: expired entries first. If that is not enough,
    /// culls. A call that adds an entry continues a cull that was not finished.
    fn make_room(&mut self, weight: usize, removed: &mut Removed) {
        if !self.has_room(weight) {
            let now = self.clock.now();
            while !self.has_room(weight) && self.remove_an_expired(now, removed) {}
        }
        let mut has_culled = false;
        while self.len() > 0 && (!self.has_room(weight) || (self.culling && !has_culled)) {
            self.cull(weight, removed);
            has_culled = true;
        }
    }

    fn has_room(&self, weight: usize) -> bool {
        self.len() < self.limits.bounds.entries && self.bytes + weight <= self.limits.bounds.bytes
    }

    /// Starts or continues a cull, in a step of limited length.
    fn cull(&mut self, weight: usize, removed: &mut Removed) {
        let mut looks = LOOKS_AT_ONCE;
        for _ in 0..CULL_AT_ONCE {
            self.culling = !(self.is_culled() && self.has_room(weight));
            if !self.culling || looks == 0 {
                return;
            }
            let Some(victim) = self.entries.victim(&mut looks) else { break };
            self.remove(victim, Leaving::Evicted, removed);
        }
        self.culling = !self.is_culled();
    }

    fn is_culled(&self) -> bool {
        let Bounds { entries, bytes } = self.limits.after_cull;
        self.len() <= entries && self.bytes <= bytes
    }

    fn remove_an_expired(&mut self, now: Moment, removed: &mut Removed) -> bool {
        while let Some(slot) = self.deadlines.next_due(now) {
            if self.look_at(slot, now, removed) {
                return true;
            }
        }
        false
    }

    /// Keeps expired entries from piling up: a set makes at most one slot due, and looks at two.
    fn collect_a_few(&mut self, now: Moment, removed: &mut Removed) {
        for _ in 0..2 {
            let Some(slot) = self.deadlines.next_due(now) else { return };
            self.look_at(slot, now, removed);
        }
    }

    /// Removes what is in a slot that is due, if it has expired; else has it looked at again later.
    fn look_at(&mut self, slot: u32, now: Moment, removed: &mut Removed) -> bool {
        let Some(deadline) = self.entries.get(slot).map(|entry| entry.deadline) else {
            return false;
        };
        if deadline > now {
            self.deadlines.remind(slot, deadline);
            return false;
        }
        self.remove(slot, Leaving::Gone, removed);
        true
    }

    fn remove(&mut self, slot: u32, leaving: Leaving, removed: &mut Removed) {
        let Some(entry) = self.entries.get(slot) else { return };
        let hash = self.hasher.hash_one(entry.key.as_bytes());
        let Some(entry) = self.entries.remove(slot, hash, leaving) else { return };
        if let Ok(place) = self.table.find_entry(hash, |&other| other == slot) {
            place.remove();
        }
        self.bytes -= entry.weight();
        removed.entries.push(entry);
    }

    fn deadline(&self, ttl: Option<Duration>) -> Moment {
        ttl.map_or(Moment::NEVER, |ttl| self.clock.now() + ttl)
    }
}

impl Weigh for Entry {
    fn weight(&self) -> usize {
        self.key.size() + weight_over_key(self.value.size())
    }
}

/// The memory that an entry takes whose value has so many bytes: what it holds, and its places in the slab, the table and the
/// queue of deadlines.
pub(crate) fn weight(key: &str, size: usize) -> usize {
    Key::size_of(key) + weight_over_key(size)
}

fn weight_over_key(size: usize) -> usize {
    /// The slot, with the spare ones; its number in the table, which is never full; a reminder.
    const HOUSEKEEPING: usize =
        Entries::<Entry>::SLOT * 9 / 8 + 2 * size_of::<u32>() + size_of::<(Moment, u32)>();
    /// The reference count of bytes that are shared, and what the allocator adds to the two blocks.
    const SHARING: usize = 48;
    let sharing = if size > 0 { SHARING } else { 0 };
    HOUSEKEEPING + sharing + size
}
