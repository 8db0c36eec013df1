//! A shard: a hash table of entries behind one lock, bounded in number and bytes.
//!
//! Nothing here drops an entry or a value. Removed entries are handed to the caller, which drops
//! them after it has released the lock, because the `Drop` of a value may use the cache.

use std::{
    hash::{BuildHasher, Hasher},
    mem,
    time::Duration,
};

use cache_core::{Ask, Clock, Moment, Ttl, Value};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    Policy,
    compact_value::{CompactValue, NonBytes},
    deadlines::Deadlines,
    key::Key,
    lease_table::LeaseTable,
    policy::{Bounds, Entries, RemovalReason, Weighted},
};

/// The limits of a shard.
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
    value: CompactValue,
    deadline: Moment,
}

/// The deadline of an entry that expires.
///
/// The clock is read before the lock is taken, so that no other thread waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiration {
    now: Moment,
    deadline: Moment,
}

impl Expiration {
    pub(crate) fn new(now: Moment, ttl: Duration) -> Self {
        Self { now, deadline: now + ttl }
    }
}

/// Entries and values that a call removed from the shard or did not store.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    value: Option<CompactValue>,
    entries: Vec<Entry>,
}

/// The result of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncrOutcome {
    /// The new value.
    Value(i64),
    /// The old value, to which the delta cannot be added.
    Overflow(i64),
    NotAnInteger,
    Missing,
}

/// Entries behind one lock.
#[derive(Debug)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    entries: Entries<Entry>,
    deadlines: Deadlines,
    leases: LeaseTable,
    bytes: usize,
    /// The number of entries that culls have removed.
    evictions: u64,
    /// The number of entries that were removed because they had expired.
    expirations: u64,
    /// Whether a cull has started and has not reached its bounds yet.
    culling: bool,
    limits: Limits,
    clock: Clock,
    hasher: RandomState,
}

/// The maximum number of entries that one call evicts. Evicting a third of a store of a million
/// entries at once took 8 to 14 ms.
const MAX_EVICTIONS_PER_CALL: usize = 512;
/// The maximum number of entries that one call reinserts, for the same reason.
const MAX_REINSERTIONS_PER_CALL: usize = 4096;

impl Shard {
    pub(crate) fn new(limits: Limits, clock: Clock, hasher: RandomState) -> Self {
        Self {
            table: HashTable::new(),
            entries: Entries::new(limits.policy, limits.bounds, limits.strict),
            deadlines: Deadlines::default(),
            leases: LeaseTable::default(),
            bytes: 0,
            evictions: 0,
            expirations: 0,
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

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(crate) fn expirations(&self) -> u64 {
        self.expirations
    }

    /// Returns the value of a live entry and records the use. Sets `expired` if the entry exists
    /// but has expired.
    #[inline]
    pub(crate) fn get(&mut self, hash: u64, key: &str, expired: &mut bool) -> Option<Value> {
        let (slot, entry) = self.find_entry(hash, key, expired)?;
        let value = entry.value.to_value();
        self.entries.record_use(slot);
        Some(value)
    }

    /// Like [`get`](Self::get), for threads that share the shard.
    #[inline]
    pub(crate) fn get_shared(&self, hash: u64, key: &str, expired: &mut bool) -> Option<Value> {
        let (slot, entry) = self.find_entry(hash, key, expired)?;
        self.entries.record_shared_use(slot);
        Some(entry.value.to_value())
    }

    pub(crate) fn remove_if_expired(&mut self, hash: u64, key: &str, removed: &mut Removed) {
        if let Some(slot) = self.find(hash, key).filter(|&slot| self.is_expired(slot)) {
            self.remove_expired(slot, removed);
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
        expiration: Option<Expiration>,
        removed: &mut Removed,
    ) {
        self.leases.end(hash, key);
        let slot = self.find(hash, key);
        self.store(slot, hash, key, value, expiration, removed);
    }

    pub(crate) fn add(
        &mut self,
        hash: u64,
        key: &str,
        value: Value,
        expiration: Option<Expiration>,
        removed: &mut Removed,
    ) -> bool {
        let slot = self.find(hash, key);
        if slot.is_some_and(|slot| !self.is_expired(slot)) {
            removed.value = Some(value.into());
            return false;
        }
        self.leases.end(hash, key);
        self.store(slot, hash, key, value, expiration, removed);
        true
    }

    pub(crate) fn touch(&mut self, hash: u64, key: &str, ttl: Option<Duration>) -> bool {
        let Some(slot) = self.find_live(hash, key) else { return false };
        let deadline = self.deadline(ttl);
        self.entries.get_mut(slot).expect("the slot was just found").deadline = deadline;
        self.deadlines.schedule(slot, deadline);
        true
    }

    pub(crate) fn incr(&mut self, hash: u64, key: &str, delta: i64) -> IncrOutcome {
        let Some(slot) = self.find_live(hash, key) else { return IncrOutcome::Missing };
        self.entries.record_use(slot);
        match &mut self.entries.get_mut(slot).expect("the slot was just found").value {
            CompactValue::Other(NonBytes::Int(number)) => match number.checked_add(delta) {
                Some(sum) => {
                    *number = sum;
                    self.leases.end(hash, key);
                    IncrOutcome::Value(sum)
                }
                None => IncrOutcome::Overflow(*number),
            },
            _ => IncrOutcome::NotAnInteger,
        }
    }

    /// Like [`incr`](Self::incr), but stores `initial` if there is no live entry.
    pub(crate) fn incr_or_set(
        &mut self,
        hash: u64,
        key: &str,
        delta: i64,
        initial: i64,
        expiration: Option<Expiration>,
        removed: &mut Removed,
    ) -> IncrOutcome {
        match self.incr(hash, key, delta) {
            IncrOutcome::Missing => {
                self.set(hash, key, Value::Int(initial), expiration, removed);
                IncrOutcome::Value(initial)
            }
            outcome => outcome,
        }
    }

    /// Like [`get`](Self::get), and gives a live entry a new time to live.
    pub(crate) fn get_and_touch(
        &mut self,
        hash: u64,
        key: &str,
        ttl: Option<Duration>,
        removed: &mut Removed,
    ) -> Option<Value> {
        let mut expired = false;
        let value = self.get(hash, key, &mut expired);
        if expired {
            self.remove_if_expired(hash, key, removed);
        }
        // The entry may have expired since it was read.
        value.filter(|_| self.touch(hash, key, ttl))
    }

    /// Removes an entry. Returns whether it existed and had not expired.
    pub(crate) fn delete(&mut self, hash: u64, key: &str, removed: &mut Removed) -> bool {
        self.leases.end(hash, key);
        let Some(slot) = self.find(hash, key) else { return false };
        let was_live = !self.is_expired(slot);
        self.remove(slot, RemovalReason::Deleted, removed);
        was_live
    }

    /// Returns the value of a live entry, and whether a lease with this number was granted.
    pub(crate) fn acquire(
        &mut self,
        hash: u64,
        key: &str,
        ask: Ask<'_>,
        number: u64,
        hold: Duration,
        removed: &mut Removed,
    ) -> (Option<Value>, bool) {
        let mut expired = false;
        let value = self.get(hash, key, &mut expired);
        if expired {
            self.remove_if_expired(hash, key, removed);
        }
        let is_allowed = value.is_none() || matches!(ask, Ask::Any { .. });
        let is_granted = is_allowed && self.leases.grant(hash, key, number, self.clock.now(), hold);
        (value, is_granted)
    }

    /// Stores the value if the lease is valid. Returns whether it was.
    pub(crate) fn fill(
        &mut self,
        hash: u64,
        key: &str,
        number: u64,
        value: Value,
        expiration: Option<Expiration>,
        removed: &mut Removed,
    ) -> bool {
        let is_valid = self.redeem(hash, key, number);
        if is_valid {
            self.set(hash, key, value, expiration, removed);
        } else {
            removed.value = Some(value.into());
        }
        is_valid
    }

    /// Ends a lease. Returns whether it was valid.
    pub(crate) fn redeem(&mut self, hash: u64, key: &str, number: u64) -> bool {
        self.leases.redeem(hash, key, number, self.clock.now())
    }

    /// Ends a lease after `keep`, if it is valid.
    pub(crate) fn release(&mut self, hash: u64, key: &str, number: u64, keep: Duration) {
        self.leases.keep(hash, key, number, self.clock.now(), keep);
    }

    /// Ends the lease of a key, whatever its number is.
    pub(crate) fn revoke(&mut self, hash: u64, key: &str) {
        self.leases.end(hash, key);
    }

    /// Removes up to `limit` expired entries and returns their number.
    pub(crate) fn purge(&mut self, limit: u64, removed: &mut Removed) -> u64 {
        let now = self.clock.now();
        (0..limit).take_while(|_| self.remove_next_expired(now, removed)).count() as u64
    }

    /// Counts the expired entries. Checks every entry.
    pub(crate) fn expired(&self) -> usize {
        let now = self.clock.now();
        self.table
            .iter()
            .filter(|&&slot| self.entries.get(slot).is_some_and(|entry| entry.deadline <= now))
            .count()
    }

    /// Replaces the shard by an empty one and returns the old one with all its memory.
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::new(self.limits, self.clock.clone(), self.hasher.clone()))
    }

    #[inline]
    fn find(&self, hash: u64, key: &str) -> Option<u32> {
        let is_match = |&slot: &u32| {
            self.entries.get(slot).is_some_and(|entry| entry.key.as_bytes() == key.as_bytes())
        };
        self.table.find(hash, is_match).copied()
    }

    /// Returns a live entry. Sets `expired` if the entry exists but has expired.
    ///
    /// Always inlined: a call takes 35 instructions more.
    #[inline(always)]
    fn find_entry(&self, hash: u64, key: &str, expired: &mut bool) -> Option<(u32, &Entry)> {
        let slot = self.find(hash, key)?;
        let entry = self.entries.get(slot)?;
        *expired = self.clock.has_passed(entry.deadline);
        (!*expired).then_some((slot, entry))
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
        expiration: Option<Expiration>,
        removed: &mut Removed,
    ) {
        let Some(Expiration { now, deadline }) = expiration else {
            self.put(slot, hash, key, value, Moment::NEVER, removed);
            return;
        };
        let slot = self.put(slot, hash, key, value, deadline, removed);
        self.deadlines.schedule(slot, deadline);
        if self.deadlines.may_be_due(now) {
            self.collect_expired(now, removed);
        }
    }

    /// Overwrites the entry in `slot` if the new value fits, or else inserts a new entry.
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
            let entry = self.entries.get_mut(slot).expect("the slot was just found");
            let before = entry.weight();
            let bytes = self.bytes - before + weight;
            if bytes <= self.limits.bounds.bytes {
                removed.value = Some(mem::replace(&mut entry.value, value.into()));
                entry.deadline = deadline;
                self.bytes = bytes;
                self.entries.update_weight(slot, before, weight);
                self.entries.record_use(slot);
                return slot;
            }
            self.remove(slot, RemovalReason::Deleted, removed);
        }
        self.make_space(weight, removed);
        let slot =
            self.entries.insert(Entry { key: key.into(), value: value.into(), deadline }, hash);
        self.bytes += weight;
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |&slot: &u32| {
            entries.get(slot).map_or(0, |entry| hash_of(entry.key.as_bytes(), hasher))
        };
        self.table.insert_unique(hash, slot, rehash);
        slot
    }

    /// Removes entries until one of this weight fits: expired entries first, and if that is not
    /// enough, the entries that the policy evicts. Also continues a cull that was not finished.
    fn make_space(&mut self, weight: usize, removed: &mut Removed) {
        if !self.fits(weight) {
            let now = self.clock.now();
            while !self.fits(weight) && self.remove_next_expired(now, removed) {}
        }
        let mut has_culled = false;
        while self.len() > 0 && (!self.fits(weight) || (self.culling && !has_culled)) {
            self.cull(weight, removed);
            has_culled = true;
        }
    }

    fn fits(&self, weight: usize) -> bool {
        self.len() < self.limits.bounds.entries && self.bytes + weight <= self.limits.bounds.bytes
    }

    /// Starts or continues a cull. Removes a limited number of entries.
    fn cull(&mut self, weight: usize, removed: &mut Removed) {
        let mut reinsertions = MAX_REINSERTIONS_PER_CALL;
        for _ in 0..MAX_EVICTIONS_PER_CALL {
            self.culling = !(self.is_culled() && self.fits(weight));
            if !self.culling || reinsertions == 0 {
                return;
            }
            let Some(victim) = self.entries.victim(&mut reinsertions) else { break };
            self.remove(victim, RemovalReason::Evicted, removed);
            self.evictions += 1;
        }
        self.culling = !self.is_culled();
    }

    fn is_culled(&self) -> bool {
        let Bounds { entries, bytes } = self.limits.after_cull;
        self.len() <= entries && self.bytes <= bytes
    }

    fn remove_next_expired(&mut self, now: Moment, removed: &mut Removed) -> bool {
        while let Some(slot) = self.deadlines.pop_due(now) {
            if self.check_expiry(slot, now, removed) {
                return true;
            }
        }
        false
    }

    /// Keeps expired entries from accumulating: a set schedules at most one slot and checks two.
    fn collect_expired(&mut self, now: Moment, removed: &mut Removed) {
        for _ in 0..2 {
            let Some(slot) = self.deadlines.pop_due(now) else { return };
            self.check_expiry(slot, now, removed);
        }
    }

    /// Removes the entry in a slot that is due if it has expired, or else schedules it again.
    /// Returns whether an entry was removed.
    fn check_expiry(&mut self, slot: u32, now: Moment, removed: &mut Removed) -> bool {
        let Some(deadline) = self.entries.get(slot).map(|entry| entry.deadline) else {
            return false;
        };
        if deadline > now {
            self.deadlines.schedule(slot, deadline);
            return false;
        }
        self.remove_expired(slot, removed);
        true
    }

    fn remove_expired(&mut self, slot: u32, removed: &mut Removed) {
        self.remove(slot, RemovalReason::Deleted, removed);
        self.expirations += 1;
    }

    fn remove(&mut self, slot: u32, reason: RemovalReason, removed: &mut Removed) {
        let Some(entry) = self.entries.get(slot) else { return };
        let hash = hash_of(entry.key.as_bytes(), &self.hasher);
        let Some(entry) = self.entries.remove(slot, hash, reason) else { return };
        if let Ok(occupied) = self.table.find_entry(hash, |&other| other == slot) {
            occupied.remove();
        }
        self.bytes -= entry.weight();
        removed.entries.push(entry);
    }

    fn deadline(&self, ttl: Option<Duration>) -> Moment {
        ttl.map_or(Moment::NEVER, |ttl| self.clock.now() + ttl)
    }
}

impl Weighted for Entry {
    fn weight(&self) -> usize {
        self.key.heap_size() + weight_over_key(self.value.heap_size())
    }
}

/// Returns the hash of a key.
///
/// `Hash` of a slice adds its length, which foldhash does itself.
#[inline]
pub(crate) fn hash_of(key: &[u8], hasher: &RandomState) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

/// The memory that an entry with a value of `size` bytes takes, including its share of the
/// slab, the table and the deadlines.
pub(crate) fn weight(key: &str, size: usize) -> usize {
    Key::heap_size_of(key) + weight_over_key(size)
}

fn weight_over_key(size: usize) -> usize {
    /// The slot and its share of the spare ones, its number in the table, which is never full, and
    /// an item of the deadlines.
    const OVERHEAD: usize =
        Entries::<Entry>::SLOT * 9 / 8 + 2 * size_of::<u32>() + size_of::<(Moment, u32)>();
    /// The reference count of a shared value, and the allocator's overhead for the two blocks.
    const SHARED_OVERHEAD: usize = 48;
    let shared = if size > 0 { SHARED_OVERHEAD } else { 0 };
    OVERHEAD + shared + size
}
