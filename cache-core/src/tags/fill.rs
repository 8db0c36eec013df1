//! Purges by this process while pages are being produced.
//!
//! A purge replaces a generation. If that of a URI does not exist, no page can be reached and it is
//! not stored: otherwise requests that change something would fill the store. A page that is being
//! produced at that moment may contain what the purge was meant to remove, though, and must not be
//! stored. So purges are remembered here, until every page whose production had begun is stored.
//!
//! They also order the purges of this process and its pages without a clock.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
    ptr,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use foldhash::quality::RandomState;

use crate::Cache;

/// The production of a page, from the call of the inner service until the page is stored.
#[derive(Debug)]
pub struct Fill {
    number: u64,
}

/// The identity of a generation in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GenerationId(u64);

impl GenerationId {
    /// Creates the identity of the generation with this key in `store`, in whatever wrappers.
    #[must_use]
    pub fn new(store: &dyn Cache, composed_key: &str) -> Self {
        static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let address = ptr::from_ref(store.innermost()).cast::<()>().addr();
        Self(KEYED.hash_one((address, composed_key)))
    }
}

/// Fills and purges have numbers in the order in which they begin.
#[derive(Debug, Default)]
struct State {
    last: u64,
    fills: BTreeSet<u64>,
    purges: HashMap<GenerationId, u64>,
    /// The last purge that was forgotten because there were too many. It counts for every page.
    forgotten: u64,
}

/// The maximum number of purges that are remembered.
const MAX_PURGES: usize = 1 << 16;

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn start(&mut self) -> u64 {
        let number = self.next();
        self.fills.insert(number);
        number
    }

    fn end(&mut self, fill: u64) {
        let was_first = self.fills.first() == Some(&fill);
        self.fills.remove(&fill);
        match self.fills.first() {
            None => self.purges = HashMap::new(),
            Some(first) if was_first => self.purges.retain(|_, purge| *purge > *first),
            Some(_) => {}
        }
    }

    fn purge(&mut self, generation: GenerationId) {
        if self.fills.is_empty() {
            return;
        }
        let number = self.next();
        if self.purges.len() >= MAX_PURGES {
            self.purges.clear();
            self.forgotten = number;
        }
        self.purges.insert(generation, number);
    }

    fn last_purge(&self, generation: GenerationId) -> u64 {
        self.purges.get(&generation).copied().unwrap_or_default().max(self.forgotten)
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fill {
    /// Begins the production of a page.
    #[must_use]
    pub fn start() -> Self {
        Self { number: state().start() }
    }

    /// Returns whether the generation was purged after the fill had begun.
    #[must_use]
    pub fn is_purged(&self, generation: GenerationId) -> bool {
        last_purge(generation) > self.number
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        state().end(self.number);
    }
}

/// Remembers a purge, if pages are being produced. Must be called before the generation is read.
pub fn remember_purge(generation: GenerationId) {
    state().purge(generation);
}

/// Returns the number of the last purge of a generation that is remembered, or zero.
#[must_use]
pub fn last_purge(generation: GenerationId) -> u64 {
    state().last_purge(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GenerationId = GenerationId(1);
    const B: GenerationId = GenerationId(2);

    #[test]
    fn purge_concerns_the_fills_that_began_before_it() {
        let mut state = State::default();
        let before = state.start();
        state.purge(A);
        let after = state.start();
        assert!(state.last_purge(A) > before && state.last_purge(A) < after);
        assert_eq!(state.last_purge(B), 0);
    }

    #[test]
    fn purge_is_forgotten_when_the_fills_before_it_have_ended() {
        let mut state = State::default();
        state.purge(A);
        assert!(state.purges.is_empty(), "no page is being produced");
        let (first, second) = (state.start(), state.start());
        state.purge(A);
        let third = state.start();
        state.end(first);
        assert_ne!(state.last_purge(A), 0);
        state.end(second);
        assert_eq!(state.last_purge(A), 0);
        state.end(third);
        assert!(state.fills.is_empty());
    }

    #[test]
    fn too_many_purges_count_for_every_page() {
        let mut state = State::default();
        let fill = state.start();
        for number in 0..=MAX_PURGES as u64 {
            state.purge(GenerationId(number));
        }
        assert!(state.purges.len() <= MAX_PURGES);
        assert!(state.last_purge(GenerationId(u64::MAX)) > fill);
        assert!(state.last_purge(GenerationId(u64::MAX)) < state.start());
    }
}
