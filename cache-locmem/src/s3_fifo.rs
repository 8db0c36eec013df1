//! Entries that are new on probation, entries that have proven themselves apart: S3-FIFO.
//!
//! A small queue takes what is new, a main one what was used twice while it was there, or asked for again soon after it had left.
//! Both are first in, first out, but what was used while it was in the main one goes round once more, up to three times: so a
//! use only counts, and moves nothing. After [Yang and others, SOSP 2023](https://doi.org/10.1145/3600006.3613147), with two
//! differences that were measured (see `ARCHITECTURE.md`): until the store is full for the first time, the main queue is filled
//! before the small one, and a ghost is believed only where it was away for less than three quarters of a round in the main queue.

use crate::{
    ghosts::Ghosts,
    policy::{Bounds, Weigh},
    slab::{Mark, Queue, Slab},
};

/// The small queue's part of the bounds: a tenth.
const SMALL_PART: usize = 10;
/// How many uses in the small queue prove an entry.
const PROVEN: u8 = 2;
/// More uses than these are not counted.
const MOST_USES: u8 = 3;

/// The two queues, and the ghosts of what has left the small one.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: Part,
    main: Part,
    ghosts: Ghosts,
    /// How many entries have come: the time, for ages.
    now: u32,
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
        let small = |bound: usize| (bound / SMALL_PART).max(1);
        let small = Bounds { entries: small(bounds.entries), bytes: small(bounds.bytes) };
        let main = Bounds { entries: bounds.entries - small.entries, bytes: bounds.bytes - small.bytes };
        Self { small: Part::new(small), main: Part::new(main), ghosts: Ghosts::default(), now: 0, was_full: false }
    }

    pub(crate) fn insert<T: Weigh>(&mut self, slab: &mut Slab<T>, slot: u32, hash: u64) {
        self.now = self.now.wrapping_add(1);
        let fills_up = !self.was_full && !self.main.has_its_share();
        let proven = fills_up || self.is_missed(slab, hash);
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
        if !slab.mark(slot).proven {
            self.ghosts.remember(hash, self.now, slab.len());
        }
    }

    /// What shall go. Each item that is given another chance instead takes one of `looks`; when they are used up, the oldest
    /// goes, used or not.
    pub(crate) fn victim<T: Weigh>(&mut self, slab: &mut Slab<T>, looks: &mut usize) -> Option<u32> {
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

    /// Whether a key has left the small queue lately, and sooner than it takes to get through the main one.
    fn is_missed<T>(&mut self, slab: &Slab<T>, hash: u64) -> bool {
        let Some(away) = self.ghosts.recall(hash, self.now) else { return false };
        let oldest = self.main.queue.oldest().map_or(u32::MAX, |slot| self.now.wrapping_sub(slab.mark(slot).since));
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

fn weight<T: Weigh>(slab: &Slab<T>, slot: u32) -> usize {
    slab.get(slot).map_or(0, Weigh::weight)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ENTRIES: usize = 20;

    impl Weigh for u64 {
        fn weight(&self) -> usize {
            1
        }
    }

    /// The same policy, on lists that are searched from end to end. A key is its own hash.
    #[derive(Default)]
    struct Model {
        small: VecDeque<Seen>,
        main: VecDeque<Seen>,
        ghosts: Vec<(u64, u32)>,
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
        fn len(&self) -> usize {
            self.small.len() + self.main.len()
        }

        fn find(&mut self, key: u64) -> Option<&mut Seen> {
            self.small.iter_mut().chain(&mut self.main).find(|seen| seen.key == key)
        }

        fn insert(&mut self, key: u64) {
            self.now += 1;
            let new = Seen { key, uses: 0, since: self.now };
            let fills_up = !self.was_full && self.main.len() < ENTRIES * 9 / 10;
            let is_missed = self.ghosts.iter().position(|&(ghost, _)| ghost == key).is_some_and(|ghost| {
                let away = self.now - self.ghosts.remove(ghost).1;
                let round = self.main.front().map_or(u32::MAX, |oldest| self.now - oldest.since);
                away as usize <= self.len() + 1 && f64::from(away) <= 0.75 * f64::from(round)
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
                if self.small.len() >= ENTRIES / 10 || self.main.is_empty() {
                    let oldest = self.small.pop_front().expect("it is not empty");
                    if oldest.uses < 2 {
                        self.ghosts.push((oldest.key, self.now));
                        return oldest.key;
                    }
                    self.main.push_back(Seen { uses: 0, since: self.now, ..oldest });
                } else {
                    let oldest = self.main.pop_front().expect("it is not empty");
                    if oldest.uses == 0 {
                        return oldest.key;
                    }
                    self.main.push_back(Seen { uses: oldest.uses - 1, since: self.now, ..oldest });
                }
            }
        }
    }

    fn find(slab: &Slab<u64>, slots: &[u32], key: u64) -> Option<u32> {
        slots.iter().copied().find(|&slot| slab.get(slot) == Some(&key))
    }

    proptest! {
        /// Room for more ghosts than keys: so none is forgotten, and the model need not know when one would be.
        #[test]
        fn it_behaves_like_lists_that_are_searched(steps in vec((0..8_u8, 1..60_u64), 0..600)) {
            let (mut policy, mut slab) = (S3Fifo::new(Bounds { entries: ENTRIES, bytes: usize::MAX }), Slab::new());
            policy.ghosts.remember(0, 0, 1024);
            let mut model = Model::default();
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

    #[test]
    fn a_victim_is_found_in_few_looks_even_where_all_are_used() {
        let (mut policy, mut slab) = (S3Fifo::new(Bounds { entries: 1000, bytes: usize::MAX }), Slab::new());
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
