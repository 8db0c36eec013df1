//! S3-FIFO: a small queue for new entries and a main queue for entries that were used again.
//!
//! New entries go into the small queue. An entry moves to the main queue if it is used twice while
//! it is in the small one, or if it is added again soon after it was evicted. Both queues are first
//! in, first out, but an entry that was used while it was in the main queue is reinserted, up to
//! three times. A use only increments a counter and moves nothing.
//!
//! The policy follows [Yang et al., SOSP 2023](https://doi.org/10.1145/3600006.3613147), with four
//! differences that were measured on the traces of the bench `hit_ratio`:
//!
//! - Until the store is full for the first time, the main queue is filled before the small one.
//!   Otherwise a loop over more keys than fit never gets an entry into the main queue and never
//!   hits.
//! - A ghost brings its key into the main queue only if the key was absent for less than three
//!   quarters of the time that the main queue takes to turn over. A key that comes back later would
//!   evict one that comes back sooner. With the previous difference, this took the mean share of
//!   Belady's optimum from 0.82 to 0.86; between half and all of that time, the result moved by
//!   less than 0.002. A ghost queue of half or twice the store was worse.
//! - The small queue has no fixed size: see [`Balance`]. A key that comes back soon after it was
//!   evicted from the small queue would have been a hit if the queue were a little longer. The same
//!   holds for the main queue. The policy compares equal numbers of the latest ghosts of both
//!   queues; each ghost that comes back grows its queue. A loop alone moves nothing, because its
//!   keys come back too late.
//! - An entry that leaves the small queue replaces the next victim of the main queue if its key was
//!   used more often: see [`History`]. A key of middling popularity, or of a loop that is shorter
//!   than others, comes back after its ghost is gone, and is recognized only by that. As in
//!   W-TinyLFU, this needs a long memory, but no use changes it: the counter of an entry is added
//!   when the entry leaves a queue. With an initial share of a hundredth for the small queue, it
//!   took the mean share of the optimum from 0.796 to 0.815 on the traces it was tuned on, and from
//!   0.808 to 0.835 on 24 others. A count-min sketch of eight counters for each entry instead was
//!   worse than none.

use crate::{
    balance::Balance,
    ghosts::Ghosts,
    history::{History, Uses},
    policy::{Bounds, Weighted},
    slab::{Frequency, PolicyState, Queue, Slab},
};

/// The number of uses in the small queue after which an entry moves to the main queue.
const PROMOTION_FREQUENCY: u8 = 2;
/// Further uses are not counted.
const MAX_FREQUENCY: u8 = 3;
/// An entry replaces one that was used less by more than this. Without it, the entries of a loop
/// over more keys than fit replace each other.
const MIN_ADVANTAGE: u8 = 1;
/// How much longer a queue is assumed to be, as a fraction of the store, to estimate whether it
/// would hit more. Half and twice as much gave the same results within 0.002.
const GHOST_WINDOW_DIVISOR: usize = 10;
/// The number of insertions, as a multiple of the store, after which uses count half. Half and
/// twice as many gave the same results within 0.001.
const EPOCH: usize = 20;

/// The two queues and the ghosts of the entries evicted from them.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: BoundedQueue,
    main: BoundedQueue,
    bounds: Bounds,
    balance: Balance,
    /// Ghosts of the small queue, by `insertions`.
    small_ghosts: Ghosts,
    /// Ghosts of the main queue, by `main_evictions`.
    main_ghosts: Ghosts,
    /// The uses of evicted keys.
    history: History,
    epoch: u8,
    /// The number of entries added before this epoch.
    epoch_start: u32,
    /// The number of entries added so far.
    insertions: u32,
    /// The number of entries evicted from the main queue so far.
    main_evictions: u32,
    /// Whether an eviction was ever necessary.
    has_been_full: bool,
}

/// A queue with its share of the bounds.
#[derive(Debug)]
struct BoundedQueue {
    queue: Queue,
    bytes: usize,
    bounds: Bounds,
}

impl S3Fifo {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let balance = Balance::new();
        let (small, main) = balance.split(bounds);
        Self {
            small: BoundedQueue::new(small),
            main: BoundedQueue::new(main),
            bounds,
            balance,
            small_ghosts: Ghosts::default(),
            main_ghosts: Ghosts::default(),
            history: History::default(),
            epoch: 0,
            epoch_start: 0,
            insertions: 0,
            main_evictions: 0,
            has_been_full: false,
        }
    }

    pub(crate) fn insert<T: Weighted>(&mut self, slab: &mut Slab<T>, slot: u32, hash: u64) {
        self.insertions = self.insertions.wrapping_add(1);
        if self.insertions.wrapping_sub(self.epoch_start) as usize >= EPOCH * slab.len() {
            self.epoch = self.epoch.wrapping_add(1);
            self.epoch_start = self.insertions;
        }
        let is_filling = !self.has_been_full && !self.main.is_full();
        let absence = self.small_ghosts.take(hash, self.insertions);
        self.rebalance(slab, hash, absence);
        let in_main =
            is_filling || absence.is_some_and(|absence| self.belongs_in_main(slab, absence));
        *slab.state_mut(slot) = PolicyState {
            uses: self.history.get(hash, self.epoch).plus(1, self.epoch),
            ..PolicyState::default()
        };
        self.push(slab, slot, 0, in_main);
    }

    /// Counts a use. Most used entries have reached the maximum, and then nothing is written.
    #[inline]
    pub(crate) fn record_use<T>(slab: &Slab<T>, slot: u32) {
        slab.state(slot).frequency.increment(MAX_FREQUENCY);
    }

    /// Records a new weight of an item.
    pub(crate) fn update_weight<T>(
        &mut self,
        slab: &Slab<T>,
        slot: u32,
        before: usize,
        after: usize,
    ) {
        let queue = self.queue_of(slab.state(slot));
        queue.bytes = queue.bytes - before + after;
    }

    pub(crate) fn unlink<T: Weighted>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let queue = self.queue_of(slab.state(slot));
        queue.bytes -= weight(slab, slot);
        queue.queue.unlink(slab, slot);
    }

    /// Adds a ghost of an item that is about to be evicted.
    pub(crate) fn record_eviction<T>(&mut self, slab: &mut Slab<T>, slot: u32, hash: u64) {
        let uses = self.count_uses(slab, slot);
        self.history.set(hash, uses, self.epoch, slab.len());
        if slab.state(slot).in_main {
            self.main_ghosts.insert(hash, self.main_evictions, ghost_window(slab));
            self.main_evictions = self.main_evictions.wrapping_add(1);
        } else {
            self.small_ghosts.insert(hash, self.insertions, slab.len());
        }
    }

    /// Returns the item to evict next. Each item that is reinserted instead decrements
    /// `reinsertions`. At 0, the oldest item is returned even if it was used.
    pub(crate) fn victim<T: Weighted>(
        &mut self,
        slab: &mut Slab<T>,
        reinsertions: &mut usize,
    ) -> Option<u32> {
        self.has_been_full = true;
        while self.small.is_full() || self.main.queue.len() == 0 {
            let oldest = self.small.queue.oldest()?;
            if *reinsertions == 0 {
                return Some(oldest);
            }
            if slab.state(oldest).frequency.get() < PROMOTION_FREQUENCY {
                return Some(self.less_used(slab, oldest, reinsertions));
            }
            self.reinsert(slab, oldest, 0, reinsertions);
        }
        self.main_victim(slab, reinsertions)
    }

    /// Returns the item of the main queue to evict next.
    fn main_victim<T: Weighted>(
        &mut self,
        slab: &mut Slab<T>,
        reinsertions: &mut usize,
    ) -> Option<u32> {
        loop {
            let oldest = self.main.queue.oldest()?;
            let frequency = slab.state(oldest).frequency.get();
            if frequency == 0 || *reinsertions == 0 {
                return Some(oldest);
            }
            self.reinsert(slab, oldest, frequency - 1, reinsertions);
        }
    }

    /// Returns the item to evict: the oldest one of the small queue, or one of the main queue that
    /// was used less. Then the oldest one takes its place.
    fn less_used<T: Weighted>(
        &mut self,
        slab: &mut Slab<T>,
        oldest: u32,
        reinsertions: &mut usize,
    ) -> u32 {
        let uses = self.count_uses(slab, oldest).count(self.epoch);
        if uses <= MIN_ADVANTAGE {
            return oldest;
        }
        let Some(rival) = self.main_victim(slab, reinsertions) else { return oldest };
        let rival_uses = self.count_uses(slab, rival).count(self.epoch);
        if uses <= rival_uses + MIN_ADVANTAGE || *reinsertions == 0 {
            return oldest;
        }
        self.reinsert(slab, oldest, 0, reinsertions);
        rival
    }

    /// Moves an item to the newest place of the main queue.
    fn reinsert<T: Weighted>(
        &mut self,
        slab: &mut Slab<T>,
        slot: u32,
        frequency: u8,
        reinsertions: &mut usize,
    ) {
        *reinsertions -= 1;
        self.count_uses(slab, slot);
        self.unlink(slab, slot);
        self.push(slab, slot, frequency, true);
    }

    fn push<T: Weighted>(&mut self, slab: &mut Slab<T>, slot: u32, frequency: u8, in_main: bool) {
        let state = slab.state_mut(slot);
        *state = PolicyState {
            position: self.insertions,
            frequency: Frequency::new(frequency),
            counted: frequency,
            uses: state.uses,
            in_main,
        };
        let queue = self.queue_of(slab.state(slot));
        queue.bytes += weight(slab, slot);
        queue.queue.push(slab, slot);
    }

    /// Adds the uses since the last call to those over a longer time.
    fn count_uses<T>(&self, slab: &mut Slab<T>, slot: u32) -> Uses {
        let state = slab.state_mut(slot);
        let frequency = state.frequency.get();
        state.uses = state.uses.plus(frequency - state.counted, self.epoch);
        state.counted = frequency;
        state.uses
    }

    fn queue_of(&mut self, state: &PolicyState) -> &mut BoundedQueue {
        if state.in_main { &mut self.main } else { &mut self.small }
    }

    /// Grows the queue that would still hold this key if it were a little longer.
    fn rebalance<T>(&mut self, slab: &Slab<T>, hash: u64, absence: Option<u32>) {
        let is_recent = |age: u32| age as usize <= ghost_window(slab);
        if absence.is_some_and(is_recent) {
            self.balance.grow_small(slab.len());
        } else if self.main_ghosts.take(hash, self.main_evictions).is_some_and(is_recent) {
            self.balance.grow_main(slab.len());
        } else {
            return;
        }
        (self.small.bounds, self.main.bounds) = self.balance.split(self.bounds);
    }

    /// Returns whether a key that was evicted from the small queue comes back sooner than the main
    /// queue turns over.
    fn belongs_in_main<T>(&self, slab: &Slab<T>, absence: u32) -> bool {
        let turnover = self
            .main
            .queue
            .oldest()
            .map_or(u32::MAX, |slot| self.insertions.wrapping_sub(slab.state(slot).position));
        absence as usize <= slab.len() && u64::from(absence) * 4 <= u64::from(turnover) * 3
    }
}

impl BoundedQueue {
    fn new(bounds: Bounds) -> Self {
        Self { queue: Queue::new(), bytes: 0, bounds }
    }

    fn is_full(&self) -> bool {
        self.queue.len() >= self.bounds.entries || self.bytes >= self.bounds.bytes
    }
}

/// The number of the latest evictions that a slightly longer queue would have avoided.
fn ghost_window<T>(slab: &Slab<T>) -> usize {
    slab.len().div_ceil(GHOST_WINDOW_DIVISOR)
}

fn weight<T: Weighted>(slab: &Slab<T>, slot: u32) -> usize {
    slab.get(slot).map_or(0, Weighted::weight)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ENTRIES: usize = 20;
    const BOUNDS: Bounds = Bounds { entries: ENTRIES, bytes: usize::MAX };
    const UNUSED_KEY: u64 = 1000;

    fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    impl Weighted for u64 {
        fn weight(&self) -> usize {
            1
        }
    }

    /// The same policy on lists with linear search.
    struct Model {
        small: VecDeque<Seen>,
        main: VecDeque<Seen>,
        small_ghosts: Vec<(u64, u32)>,
        main_ghosts: Vec<(u64, u32)>,
        main_evictions: u32,
        /// The uses of each key that was ever evicted.
        history: HashMap<u64, ModelUses>,
        epoch: u32,
        epoch_start: u32,
        balance: Balance,
        insertions: u32,
        has_been_full: bool,
    }

    #[derive(Clone, Copy)]
    struct Seen {
        key: u64,
        frequency: u8,
        counted: u8,
        uses: ModelUses,
        position: u32,
    }

    #[derive(Clone, Copy, Default)]
    struct ModelUses {
        count: u32,
        epoch: u32,
    }

    impl ModelUses {
        fn plus(self, uses: u8, epoch: u32) -> Self {
            let count = self.count / 2_u32.pow(epoch - self.epoch) + u32::from(uses);
            Self { count: count.min(15), epoch }
        }
    }

    impl Seen {
        fn count_uses(&mut self, epoch: u32) -> u32 {
            self.uses = self.uses.plus(self.frequency - self.counted, epoch);
            self.counted = self.frequency;
            self.uses.count
        }
    }

    impl Model {
        fn new() -> Self {
            Self {
                small: VecDeque::new(),
                main: VecDeque::new(),
                small_ghosts: Vec::new(),
                main_ghosts: Vec::new(),
                main_evictions: 0,
                history: HashMap::new(),
                epoch: 0,
                epoch_start: 0,
                balance: Balance::new(),
                insertions: 0,
                has_been_full: false,
            }
        }

        fn len(&self) -> usize {
            self.small.len() + self.main.len()
        }

        fn limits(&self) -> (usize, usize) {
            let (small, main) = self.balance.split(BOUNDS);
            (small.entries, main.entries)
        }

        fn find(&mut self, key: u64) -> Option<&mut Seen> {
            self.small.iter_mut().chain(&mut self.main).find(|seen| seen.key == key)
        }

        fn insert(&mut self, key: u64) {
            self.insertions += 1;
            let is_filling = !self.has_been_full && self.main.len() < self.limits().1;
            let len = self.len() + 1;
            if self.insertions - self.epoch_start >= 20 * len as u32 {
                self.epoch += 1;
                self.epoch_start = self.insertions;
            }
            let absence =
                take_ghost(&mut self.small_ghosts, key).map(|time| self.insertions - time);
            let evictions_ago =
                take_ghost(&mut self.main_ghosts, key).map(|time| self.main_evictions - time);
            let is_recent = |age: u32| age as usize <= len.div_ceil(10);
            if absence.is_some_and(is_recent) {
                self.balance.grow_small(len);
            } else if evictions_ago.is_some_and(is_recent) {
                self.balance.grow_main(len);
            }
            let belongs_in_main = absence.is_some_and(|absence| {
                let turnover =
                    self.main.front().map_or(u32::MAX, |oldest| self.insertions - oldest.position);
                absence as usize <= len && f64::from(absence) <= 0.75 * f64::from(turnover)
            });
            let uses = self.history.get(&key).copied().unwrap_or_default().plus(1, self.epoch);
            let new = Seen { key, frequency: 0, counted: 0, uses, position: self.insertions };
            let in_main = is_filling || belongs_in_main;
            if in_main { self.main.push_back(new) } else { self.small.push_back(new) }
        }

        fn remove(&mut self, key: u64) {
            self.small.retain(|seen| seen.key != key);
            self.main.retain(|seen| seen.key != key);
        }

        fn evict(&mut self) -> u64 {
            self.has_been_full = true;
            while self.small.len() >= self.limits().0 || self.main.is_empty() {
                let mut oldest = self.small.pop_front().expect("not empty");
                let uses = oldest.count_uses(self.epoch);
                if oldest.frequency >= 2 {
                    self.push_main(oldest, 0);
                } else if uses > 1 && self.main_victim_uses().is_some_and(|other| uses > other + 1)
                {
                    self.push_main(oldest, 0);
                    return self.evict_from_main();
                } else {
                    self.small_ghosts.push((oldest.key, self.insertions));
                    self.history.insert(oldest.key, oldest.uses);
                    return oldest.key;
                }
            }
            self.main_victim_uses();
            self.evict_from_main()
        }

        fn push_main(&mut self, seen: Seen, frequency: u8) {
            let position = self.insertions;
            self.main.push_back(Seen { frequency, counted: frequency, position, ..seen });
        }

        /// Moves the victim to the front of the main queue and returns its uses.
        fn main_victim_uses(&mut self) -> Option<u32> {
            loop {
                let oldest = self.main.front_mut()?;
                let uses = oldest.count_uses(self.epoch);
                if oldest.frequency == 0 {
                    return Some(uses);
                }
                let oldest = self.main.pop_front()?;
                self.push_main(oldest, oldest.frequency - 1);
            }
        }

        fn evict_from_main(&mut self) -> u64 {
            let oldest = self.main.pop_front().expect("not empty");
            self.main_ghosts.push((oldest.key, self.main_evictions));
            self.main_evictions += 1;
            self.history.insert(oldest.key, oldest.uses);
            oldest.key
        }
    }

    fn take_ghost(ghosts: &mut Vec<(u64, u32)>, key: u64) -> Option<u32> {
        let ghost = ghosts.iter().position(|&(ghost, _)| ghost == key)?;
        Some(ghosts.remove(ghost).1)
    }

    fn find(slab: &Slab<u64>, slots: &[u32], key: u64) -> Option<u32> {
        slots.iter().copied().find(|&slot| slab.get(slot) == Some(&key))
    }

    fn newest_first(queue: &VecDeque<Seen>) -> Vec<u64> {
        queue.iter().rev().map(|seen| seen.key).collect()
    }

    /// Evicts an entry and returns its key.
    fn evict(policy: &mut S3Fifo, slab: &mut Slab<u64>) -> u64 {
        let victim = policy.victim(slab, &mut usize::MAX.clone()).expect("not empty");
        let key = *slab.get(victim).expect("a victim is in the slab");
        policy.record_eviction(slab, victim, hash(key));
        policy.unlink(slab, victim);
        slab.take(victim);
        key
    }

    proptest! {
        /// There is capacity for more evicted keys than there are keys, so that none is replaced
        /// and the model need not know when one would be.
        #[test]
        fn policy_behaves_like_its_model(steps in vec((0..8_u8, 1..60_u64), 0..1500)) {
            let (mut policy, mut slab) = (S3Fifo::new(BOUNDS), Slab::new());
            policy.small_ghosts.insert(hash(UNUSED_KEY), 0, 1024);
            policy.main_ghosts.insert(hash(UNUSED_KEY), 0, 1024);
            policy.history.set(hash(UNUSED_KEY), Uses::default(), 0, 4096);
            let mut model = Model::new();
            let mut slots: Vec<u32> = Vec::new();
            for (step, key) in steps {
                let found = find(&slab, &slots, key);
                prop_assert_eq!(found.is_some(), model.find(key).is_some());
                match found {
                    Some(slot) if step == 0 => {
                        policy.unlink(&mut slab, slot);
                        slab.take(slot);
                        model.remove(key);
                    }
                    Some(slot) => {
                        S3Fifo::record_use(&slab, slot);
                        let seen = model.find(key).expect("found before");
                        seen.frequency = (seen.frequency + 1).min(3);
                    }
                    None => {
                        if slab.len() == ENTRIES {
                            prop_assert_eq!(evict(&mut policy, &mut slab), model.evict());
                        }
                        let slot = slab.insert(key);
                        policy.insert(&mut slab, slot, hash(key));
                        model.insert(key);
                        slots.push(slot);
                    }
                }
                prop_assert_eq!(policy.small.queue.items(&slab), newest_first(&model.small));
                prop_assert_eq!(policy.main.queue.items(&slab), newest_first(&model.main));
                let bytes = (policy.small.bytes, policy.main.bytes);
                prop_assert_eq!(bytes, (model.small.len(), model.main.len()));
            }
        }
    }

    /// A store of a thousand keys, for whole traces.
    struct Store {
        policy: S3Fifo,
        slab: Slab<u64>,
        slots: HashMap<u64, u32>,
    }

    impl Store {
        fn new() -> Self {
            let bounds = Bounds { entries: 1000, bytes: usize::MAX };
            Self { policy: S3Fifo::new(bounds), slab: Slab::new(), slots: HashMap::new() }
        }

        /// Reads a key, and adds it on a miss. Returns whether it was a hit.
        fn get_or_insert(&mut self, key: u64) -> bool {
            if let Some(&slot) = self.slots.get(&key) {
                S3Fifo::record_use(&self.slab, slot);
                return true;
            }
            if self.slab.len() == 1000 {
                let evicted = evict(&mut self.policy, &mut self.slab);
                self.slots.remove(&evicted);
            }
            let slot = self.slab.insert(key);
            self.policy.insert(&mut self.slab, slot, hash(key));
            self.slots.insert(key, slot);
            false
        }

        /// Reads these keys and returns the number of hits.
        fn hits(&mut self, keys: impl IntoIterator<Item = u64>) -> usize {
            keys.into_iter().filter(|&key| self.get_or_insert(key)).count()
        }

        fn small(&self) -> usize {
            self.policy.small.bounds.entries
        }
    }

    /// Reads each key again after up to 200 others, more than the small queue holds initially.
    fn read_keys_that_come_back_soon(store: &mut Store) {
        for number in 1_000_000..1_020_000 {
            store.get_or_insert(number);
            store.get_or_insert(number - 1 - number * 7 % 200);
        }
    }

    /// Reads random keys of 10,000, the first ones far more often than the last ones.
    fn read_keys_of_uneven_popularity(store: &mut Store) {
        let mut random = fastrand::Rng::with_seed(0);
        for _ in 0..200_000 {
            let share = u64::from(random.u16(..));
            store.get_or_insert(share.pow(3) / u64::from(u32::MAX) * 10_000 / (1 << 16));
        }
    }

    #[test]
    fn queue_whose_keys_come_back_soon_grows() {
        let mut store = Store::new();
        assert_eq!(store.small(), 9);
        read_keys_that_come_back_soon(&mut store);
        assert!(store.small() > 190, "the small queue did not grow: {}", store.small());
        read_keys_of_uneven_popularity(&mut store);
        assert!(store.small() < 49, "the main queue did not grow: {}", store.small());
    }

    #[test]
    fn loop_over_more_keys_than_fit_hits_as_often_as_the_main_queue_has_entries() {
        let mut store = Store::new();
        let hits = [0; 20].map(|_| store.hits(0..1500));
        assert_eq!(hits, std::array::from_fn(|round| if round == 0 { 0 } else { 991 }));
    }

    #[test]
    fn entry_replaces_the_victim_of_the_main_queue_if_its_key_was_used_more_often() {
        for (earlier_uses, replaces) in [(0, false), (1, false), (2, true)] {
            let mut store = Store::new();
            store.hits(0..1000);
            let uses = Uses::default().plus(earlier_uses, 0);
            store.policy.history.set(hash(5000), uses, 0, 1000);
            store.hits(5000..5020);
            let stored = [0, 5000].map(|key| store.slots.contains_key(&key));
            assert_eq!(stored, [!replaces, replaces], "after {earlier_uses} uses");
        }
    }

    /// Three uses move the entries of the small queue to the main one. After one use, they are
    /// compared with the entries there.
    #[test]
    fn victim_is_found_within_the_limit_even_if_all_entries_are_used() {
        for uses in [1, 3] {
            let (mut policy, mut slab) =
                (S3Fifo::new(Bounds { entries: 1000, bytes: usize::MAX }), Slab::new());
            for key in 0..1000 {
                let slot = slab.insert(key);
                policy.insert(&mut slab, slot, hash(key));
                (0..uses).for_each(|_| S3Fifo::record_use(&slab, slot));
            }
            let mut reinsertions = 100;
            assert!(policy.victim(&mut slab, &mut reinsertions).is_some());
            assert_eq!(reinsertions, 0, "after {uses} uses");
        }
    }
}
