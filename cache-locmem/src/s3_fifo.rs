//! Entries that are new on probation, entries that have proven themselves apart: S3-FIFO.
//!
//! A small queue takes what is new, a main one what was used twice while it was there, or asked for again soon after it had left.
//! Both are first in, first out, but what was used while it was in the main one goes round once more, up to three times: so a
//! use only counts, and moves nothing. After [Yang and others, SOSP 2023](https://doi.org/10.1145/3600006.3613147), with three
//! differences that were measured (see `ARCHITECTURE.md`):
//!
//! - Until the store is full for the first time, the main queue is filled before the small one.
//! - A ghost is believed only where it was away for less than three quarters of a round in the main queue.
//! - The small queue is as long as it pays. A key that comes back soon after it left the small queue would have been found there, had
//!   the queue been a little longer; so would one that comes back soon after it left the main queue. As many ghosts of either are
//!   looked at, and whose come back more often gets room from the other.

use crate::{
    balance::Balance,
    ghosts::Ghosts,
    policy::{Bounds, Weigh},
    slab::{Mark, Queue, Slab},
};

/// How many uses in the small queue prove an entry.
const PROVEN: u8 = 2;
/// More uses than these are not counted.
const MOST_USES: u8 = 3;
/// What a queue would hold if it were a little longer: a tenth of what the store holds.
const LITTLE: usize = 10;

/// The two queues, and the ghosts of what has left them.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: Part,
    main: Part,
    bounds: Bounds,
    balance: Balance,
    /// Of the small queue, with the time when they left.
    ghosts: Ghosts,
    /// Of the main queue, with the number of their eviction.
    former: Ghosts,
    /// How many entries have come: the time, for ages.
    now: u32,
    /// How many entries were evicted from the main queue.
    main_evictions: u32,
    /// Whether anything had to go yet.
    was_full: bool,
}

/// A queue with its part of the bounds.
#[derive(Debug)]
struct Part {
    queue: Queue,
    bytes: usize,
    share: Bounds,
}

impl S3Fifo {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let balance = Balance::new();
        let (small, main) = balance.divide(bounds);
        Self {
            small: Part::new(small),
            main: Part::new(main),
            bounds,
            balance,
            ghosts: Ghosts::default(),
            former: Ghosts::default(),
            now: 0,
            main_evictions: 0,
            was_full: false,
        }
    }

    pub(crate) fn insert<T: Weigh>(&mut self, slab: &mut Slab<T>, slot: u32, hash: u64) {
        self.now = self.now.wrapping_add(1);
        let fills_up = !self.was_full && !self.main.has_its_share();
        let away = self.ghosts.recall(hash, self.now);
        self.rebalance(slab, hash, away);
        let proven = fills_up || away.is_some_and(|away| self.is_missed(slab, away));
        self.push(slab, slot, Mark { since: self.now, uses: 0, proven });
    }

    /// Notes a use. Most entries that are used have been used before, and then nothing is written.
    pub(crate) fn used<T>(slab: &mut Slab<T>, slot: u32) {
        let uses = slab.mark(slot).uses;
        if uses < MOST_USES {
            slab.mark_mut(slot).uses = uses + 1;
        }
    }

    /// Notes that an item has another weight.
    pub(crate) fn reweighed<T>(&mut self, slab: &Slab<T>, slot: u32, before: usize, after: usize) {
        let part = self.part(slab.mark(slot));
        part.bytes = part.bytes - before + after;
    }

    pub(crate) fn unlink<T: Weigh>(&mut self, slab: &mut Slab<T>, slot: u32) {
        let part = self.part(slab.mark(slot));
        part.bytes -= weight(slab, slot);
        part.queue.unlink(slab, slot);
    }

    /// Keeps in mind that an item is about to be evicted.
    pub(crate) fn evicting<T>(&mut self, slab: &Slab<T>, slot: u32, hash: u64) {
        if slab.mark(slot).proven {
            self.former.remember(hash, self.main_evictions, a_little(slab));
            self.main_evictions = self.main_evictions.wrapping_add(1);
        } else {
            self.ghosts.remember(hash, self.now, slab.len());
        }
    }

    /// What shall go. Each item that is given another chance instead takes one of `looks`; when they are used up, the oldest
    /// goes, used or not.
    pub(crate) fn victim<T: Weigh>(
        &mut self,
        slab: &mut Slab<T>,
        looks: &mut usize,
    ) -> Option<u32> {
        self.was_full = true;
        loop {
            let on_probation = self.small.has_its_share() || self.main.queue.len() == 0;
            let part = if on_probation { &self.small } else { &self.main };
            let oldest = part.queue.oldest()?;
            let Mark { uses, .. } = slab.mark(oldest);
            let spared = if on_probation { uses >= PROVEN } else { uses > 0 };
            if !spared || *looks == 0 {
                return Some(oldest);
            }
            *looks -= 1;
            self.unlink(slab, oldest);
            let uses = if on_probation { 0 } else { uses - 1 };
            self.push(slab, oldest, Mark { since: self.now, uses, proven: true });
        }
    }

    fn push<T: Weigh>(&mut self, slab: &mut Slab<T>, slot: u32, mark: Mark) {
        *slab.mark_mut(slot) = mark;
        let part = self.part(mark);
        part.bytes += weight(slab, slot);
        part.queue.push(slab, slot);
    }

    fn part(&mut self, mark: Mark) -> &mut Part {
        if mark.proven { &mut self.main } else { &mut self.small }
    }

    /// Gives room to the queue that would still hold this key if it were a little longer.
    fn rebalance<T>(&mut self, slab: &Slab<T>, hash: u64, away: Option<u32>) {
        let within = |age: u32| age as usize <= a_little(slab);
        if away.is_some_and(within) {
            self.balance.favour_small(slab.len());
        } else if self.former.recall(hash, self.main_evictions).is_some_and(within) {
            self.balance.favour_main(slab.len());
        } else {
            return;
        }
        (self.small.share, self.main.share) = self.balance.divide(self.bounds);
    }

    /// Whether what was away for so long left the small queue lately, and comes back sooner than it takes to get through the
    /// main one.
    fn is_missed<T>(&self, slab: &Slab<T>, away: u32) -> bool {
        let oldest = self
            .main
            .queue
            .oldest()
            .map_or(u32::MAX, |slot| self.now.wrapping_sub(slab.mark(slot).since));
        away as usize <= slab.len() && u64::from(away) * 4 <= u64::from(oldest) * 3
    }
}

impl Part {
    fn new(share: Bounds) -> Self {
        Self { queue: Queue::new(), bytes: 0, share }
    }

    fn has_its_share(&self) -> bool {
        self.queue.len() >= self.share.entries || self.bytes >= self.share.bytes
    }
}

/// How many of the keys that left a queue last it would still hold if it were a little longer.
fn a_little<T>(slab: &Slab<T>) -> usize {
    slab.len().div_ceil(LITTLE)
}

fn weight<T: Weigh>(slab: &Slab<T>, slot: u32) -> usize {
    slab.get(slot).map_or(0, Weigh::weight)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ENTRIES: usize = 20;
    const BOUNDS: Bounds = Bounds { entries: ENTRIES, bytes: usize::MAX };
    const NO_KEY: u64 = 1000;

    impl Weigh for u64 {
        fn weight(&self) -> usize {
            1
        }
    }

    /// The same policy, on lists that are searched from end to end. A key is its own hash.
    struct Model {
        small: VecDeque<Seen>,
        main: VecDeque<Seen>,
        ghosts: Vec<(u64, u32)>,
        /// Those that were in the main queue.
        former: Vec<(u64, u32)>,
        main_evictions: u32,
        balance: Balance,
        now: u32,
        was_full: bool,
    }

    #[derive(Clone, Copy)]
    struct Seen {
        key: u64,
        uses: u8,
        since: u32,
    }

    impl Model {
        fn new() -> Self {
            let (small, main) = (VecDeque::new(), VecDeque::new());
            let (ghosts, former) = (Vec::new(), Vec::new());
            Self {
                small,
                main,
                ghosts,
                former,
                main_evictions: 0,
                balance: Balance::new(),
                now: 0,
                was_full: false,
            }
        }

        fn len(&self) -> usize {
            self.small.len() + self.main.len()
        }

        fn shares(&self) -> (usize, usize) {
            let (small, main) = self.balance.divide(BOUNDS);
            (small.entries, main.entries)
        }

        fn find(&mut self, key: u64) -> Option<&mut Seen> {
            self.small.iter_mut().chain(&mut self.main).find(|seen| seen.key == key)
        }

        fn insert(&mut self, key: u64) {
            self.now += 1;
            let new = Seen { key, uses: 0, since: self.now };
            let fills_up = !self.was_full && self.main.len() < self.shares().1;
            let len = self.len() + 1;
            let away = recall(&mut self.ghosts, key).map(|left| self.now - left);
            let evictions_ago =
                recall(&mut self.former, key).map(|left| self.main_evictions - left);
            let within = |age: u32| age as usize <= len.div_ceil(10);
            if away.is_some_and(within) {
                self.balance.favour_small(len);
            } else if evictions_ago.is_some_and(within) {
                self.balance.favour_main(len);
            }
            let is_missed = away.is_some_and(|away| {
                let round = self.main.front().map_or(u32::MAX, |oldest| self.now - oldest.since);
                away as usize <= len && f64::from(away) <= 0.75 * f64::from(round)
            });
            if fills_up || is_missed { self.main.push_back(new) } else { self.small.push_back(new) }
        }

        fn remove(&mut self, key: u64) {
            self.small.retain(|seen| seen.key != key);
            self.main.retain(|seen| seen.key != key);
        }

        fn evict(&mut self) -> u64 {
            self.was_full = true;
            loop {
                if self.small.len() >= self.shares().0 || self.main.is_empty() {
                    let oldest = self.small.pop_front().expect("it is not empty");
                    if oldest.uses < 2 {
                        self.ghosts.push((oldest.key, self.now));
                        return oldest.key;
                    }
                    self.main.push_back(Seen { uses: 0, since: self.now, ..oldest });
                } else {
                    let oldest = self.main.pop_front().expect("it is not empty");
                    if oldest.uses == 0 {
                        self.former.push((oldest.key, self.main_evictions));
                        self.main_evictions += 1;
                        return oldest.key;
                    }
                    self.main.push_back(Seen { uses: oldest.uses - 1, since: self.now, ..oldest });
                }
            }
        }
    }

    fn recall(ghosts: &mut Vec<(u64, u32)>, key: u64) -> Option<u32> {
        let ghost = ghosts.iter().position(|&(ghost, _)| ghost == key)?;
        Some(ghosts.remove(ghost).1)
    }

    fn find(slab: &Slab<u64>, slots: &[u32], key: u64) -> Option<u32> {
        slots.iter().copied().find(|&slot| slab.get(slot) == Some(&key))
    }

    proptest! {
        /// Room for more ghosts than keys: so none is forgotten, and the model need not know when one would be.
        #[test]
        fn it_behaves_like_lists_that_are_searched(steps in vec((0..8_u8, 1..60_u64), 0..600)) {
            let (mut policy, mut slab) = (S3Fifo::new(BOUNDS), Slab::new());
            policy.ghosts.remember(NO_KEY, 0, 1024);
            policy.former.remember(NO_KEY, 0, 1024);
            let mut model = Model::new();
            let mut slots: Vec<u32> = Vec::new();
            for (step, key) in steps {
                let there = find(&slab, &slots, key);
                prop_assert_eq!(there.is_some(), model.find(key).is_some());
                match there {
                    Some(slot) if step == 0 => {
                        policy.unlink(&mut slab, slot);
                        slab.take(slot);
                        model.remove(key);
                    }
                    Some(slot) => {
                        S3Fifo::used(&mut slab, slot);
                        let seen = model.find(key).expect("it is there");
                        seen.uses = (seen.uses + 1).min(3);
                    }
                    None => {
                        if slab.len() == ENTRIES {
                            let victim = policy.victim(&mut slab, &mut usize::MAX.clone()).expect("there are some");
                            let evicted = *slab.get(victim).expect("it is there");
                            prop_assert_eq!(evicted, model.evict());
                            policy.evicting(&slab, victim, evicted);
                            policy.unlink(&mut slab, victim);
                            slab.take(victim);
                        }
                        let slot = slab.insert(key);
                        policy.insert(&mut slab, slot, key);
                        model.insert(key);
                        slots.push(slot);
                    }
                }
                let keys = |part: &VecDeque<Seen>| part.iter().rev().map(|seen| seen.key).collect::<Vec<_>>();
                prop_assert_eq!(policy.small.queue.items(&slab), keys(&model.small));
                prop_assert_eq!(policy.main.queue.items(&slab), keys(&model.main));
                prop_assert_eq!((policy.small.bytes, policy.main.bytes), (model.small.len(), model.main.len()));
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

        /// Whether the key is there; if not, it is put there.
        fn ask(&mut self, key: u64) -> bool {
            if let Some(&slot) = self.slots.get(&key) {
                S3Fifo::used(&mut self.slab, slot);
                return true;
            }
            if self.slab.len() == 1000 {
                self.evict();
            }
            let slot = self.slab.insert(key);
            self.policy.insert(&mut self.slab, slot, key);
            self.slots.insert(key, slot);
            false
        }

        fn evict(&mut self) {
            let victim = self
                .policy
                .victim(&mut self.slab, &mut usize::MAX.clone())
                .expect("there are some");
            let key = *self.slab.get(victim).expect("it is there");
            self.policy.evicting(&self.slab, victim, key);
            self.policy.unlink(&mut self.slab, victim);
            self.slab.take(victim);
            self.slots.remove(&key);
        }

        fn small(&self) -> usize {
            self.policy.small.share.entries
        }
    }

    /// Each key is asked for again after up to 200 others came, which is more than the small queue holds at first.
    fn ask_for_keys_that_return(store: &mut Store) {
        for number in 1_000_000..1_020_000 {
            store.ask(number);
            store.ask(number - 1 - number * 7 % 200);
        }
    }

    /// By chance, but for the first of 10,000 keys far more often than for the last.
    fn ask_for_keys_of_which_some_are_wanted_more(store: &mut Store) {
        let mut random = 0_u32;
        for _ in 0..200_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let share = u64::from(random >> 16);
            store.ask(share.pow(3) / u64::from(u32::MAX) * 10_000 / (1 << 16));
        }
    }

    #[test]
    fn room_goes_where_keys_come_back_soon_after_they_left() {
        let mut store = Store::new();
        assert_eq!(store.small(), 49);
        ask_for_keys_that_return(&mut store);
        assert!(
            store.small() > 190,
            "each comes back sooner than one in the main queue: {}",
            store.small()
        );
        ask_for_keys_of_which_some_are_wanted_more(&mut store);
        assert!(store.small() < 49, "what is wanted is in the main queue: {}", store.small());
    }

    #[test]
    fn a_victim_is_found_in_few_looks_even_where_all_are_used() {
        let (mut policy, mut slab) =
            (S3Fifo::new(Bounds { entries: 1000, bytes: usize::MAX }), Slab::new());
        for key in 0..1000 {
            let slot = slab.insert(key);
            policy.insert(&mut slab, slot, key);
            (0..3).for_each(|_| S3Fifo::used(&mut slab, slot));
        }
        let mut looks = 100;
        assert!(policy.victim(&mut slab, &mut looks).is_some());
        assert_eq!(looks, 0);
    }
}
