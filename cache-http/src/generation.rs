//! Generations: numbers that make all pages of a URI, of a tag, or of a cache unreachable at once.
//!
//! A page is stamped with the generations that its URI, its tags and the whole cache have when it
//! is stored. A purge replaces a generation. From then on no page has the current number, however
//! many pages there are. If a store loses a generation, it is replaced as well: the pages are
//! lost, and none becomes reachable again.
//!
//! In a store of this process, this process makes every purge. Until it purges a generation of a
//! page, a page whose stamps were current still has current stamps, and the generations need not be
//! read.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::date::UnixTime;

/// The numbers that a page must have to be served at all (`hard`), and to be served as fresh
/// (`soft`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) hard: u64,
    pub(crate) soft: u64,
}

/// How pages are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purge {
    /// The pages are never served again.
    #[default]
    Hard,
    /// The pages are stale from now on.
    ///
    /// They are served if stale pages may be served, and validated if they can be. If a soft and a
    /// hard purge of the same pages happen at the same time, either may take effect.
    Soft,
}

/// A stored generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) stamp: Stamp,
    /// The time of the last purge, or zero if there was none.
    pub(crate) purged_at: UnixTime,
}

impl Generation {
    pub(crate) fn new() -> Self {
        let stamp = Stamp { hard: unique_number(), soft: unique_number() };
        Self { stamp, purged_at: UnixTime::ZERO }
    }

    pub(crate) fn after_purge(old: Option<Self>, purge: Purge, now: UnixTime) -> Self {
        let mut new = Self { purged_at: now, ..Self::new() };
        if let (Purge::Soft, Some(old)) = (purge, old) {
            new.stamp.hard = old.stamp.hard;
        }
        new
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [FORMAT; SIZE];
        bytes[1..9].copy_from_slice(&self.stamp.hard.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.stamp.soft.to_be_bytes());
        let nanos = u64::try_from(self.purged_at.as_nanos()).unwrap_or(u64::MAX);
        bytes[17..].copy_from_slice(&nanos.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let number = |start: usize| bytes[start..start + 8].try_into().map(u64::from_be_bytes).ok();
        let stamp = Stamp { hard: number(1)?, soft: number(9)? };
        let purged_at = Duration::from_nanos(number(17)?);
        (bytes[0] == FORMAT).then_some(Self { stamp, purged_at })
    }
}

/// The number of counters of purges. Generations that share one are read again when another of
/// them is purged.
const COUNTERS: usize = 1024;

/// The numbers of purges in this process so far.
static PURGES: [AtomicU64; COUNTERS] = [const { AtomicU64::new(0) }; COUNTERS];

/// The counter of the purges of a generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PurgeCounter(u16);

impl PurgeCounter {
    pub(crate) fn of(key: &str) -> Self {
        let hash = FixedState::default().hash_one(key) % COUNTERS as u64;
        Self(u16::try_from(hash).unwrap_or_default())
    }

    /// The number of purges so far.
    pub(crate) fn read(self) -> u64 {
        PURGES[usize::from(self.0)].load(Acquire)
    }

    /// Counts a purge, after the generation has been replaced. A request that read the count before
    /// that may have read the old generation, and reads it again.
    pub(crate) fn count(self) {
        PURGES[usize::from(self.0)].fetch_add(1, Release);
    }
}

/// When the stamps of a page were last found to be current.
#[derive(Debug)]
pub(crate) struct GenerationCheck {
    /// The counters of the generations of the page. If there are none, each hit is checked.
    counters: Box<[PurgeCounter]>,
    /// The sum of the counters before the check.
    purges: AtomicU64,
    /// The age of the page at the check, in seconds.
    age: AtomicU64,
}

impl GenerationCheck {
    pub(crate) fn new(counters: impl IntoIterator<Item = PurgeCounter>) -> Self {
        Self { counters: counters.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn record(&self, purges: u64, age: Duration) {
        self.age.store(age.as_secs(), Relaxed);
        self.purges.store(purges, Release);
    }

    /// Whether the stamps are still current.
    ///
    /// The result is `false` once a second, so that the generations are read: a full store evicts
    /// entries that are not read.
    pub(crate) fn is_current(&self, age: Duration) -> bool {
        self.purges.load(Acquire) == self.counters.iter().map(|counter| counter.read()).sum::<u64>()
            && self.age.load(Relaxed) == age.as_secs()
            && !self.counters.is_empty()
    }
}

impl Default for GenerationCheck {
    fn default() -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self { counters: Box::default(), purges: never(), age: never() }
    }
}

impl Clone for GenerationCheck {
    /// Creates a check that has not happened: a copy of a page is another page.
    fn clone(&self) -> Self {
        Self::default()
    }
}

const FORMAT: u8 = 1;
const SIZE: usize = 25;

/// Creates a number that has not been used before. Each `RandomState` of std has keys of its own,
/// which come from the random numbers of the system.
fn unique_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Generation;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a generation of pages in format {FORMAT}")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Generation, E> {
                Generation::from_bytes(bytes)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Bytes(bytes), &self))
            }
        }

        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_reverses_encode_and_rejects_other_formats() {
        let generation = Generation { purged_at: Duration::from_nanos(7), ..Generation::new() };
        assert_eq!(Generation::from_bytes(&generation.to_bytes()), Some(generation));
        assert_eq!(Generation::from_bytes(&[FORMAT; SIZE - 1]), None);
        assert_eq!(Generation::from_bytes(&[FORMAT + 1; SIZE]), None);
    }

    #[test]
    fn check_expires_after_a_purge_and_in_the_next_second() {
        let counters = ["one", "two"].map(PurgeCounter::of);
        let (check, age) = (GenerationCheck::new(counters), Duration::from_millis(3999));
        assert!(!check.is_current(age));
        let purges = || counters.map(PurgeCounter::read).iter().sum();
        check.record(purges(), age);
        assert!(check.is_current(age));
        assert!(!check.is_current(age + Duration::from_millis(1)));
        for counter in counters {
            check.record(purges(), age);
            counter.count();
            assert!(!check.is_current(age));
        }
    }

    #[test]
    fn check_without_counters_is_never_current() {
        let check = GenerationCheck::default();
        check.record(0, Duration::ZERO);
        assert!(!check.is_current(Duration::ZERO));
    }

    #[test]
    fn soft_purge_keeps_the_hard_number_and_hard_purge_replaces_it() {
        let old = Generation::new();
        let purge = |purge| Generation::after_purge(Some(old), purge, Duration::ZERO).stamp;
        assert!(
            purge(Purge::Soft).hard == old.stamp.hard && purge(Purge::Soft).soft != old.stamp.soft
        );
        assert!(purge(Purge::Hard).hard != old.stamp.hard);
    }
}
