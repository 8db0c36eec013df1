//! Generations: numbers that make all entries of a tag unreachable at once.
//!
//! An entry is stamped with the generations that its tags have when it is produced. A purge
//! replaces a generation. From then on no entry has the current number, however many entries there
//! are. If a store loses a generation, it is replaced as well: the entries are lost, and none
//! becomes reachable again.
//!
//! In a store of this process, this process makes every purge. Until it purges a generation of an
//! entry, an entry whose stamps were current still has current stamps, and the generations need not
//! be read.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use bytes::Bytes;
use foldhash::fast::FixedState;
use serde::{Serialize, Serializer};

use crate::{
    Codec, Result, Value,
    codec::{self, Codecs},
};

/// The numbers that an entry must have to be returned at all (`hard`), and to be fresh (`soft`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Replaced by a hard purge.
    pub hard: u64,
    /// Replaced by every purge.
    pub soft: u64,
}

/// How entries and pages are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purge {
    /// They are never returned again.
    #[default]
    Hard,
    /// They are stale from now on.
    ///
    /// `get` treats a stale entry as a miss. `get_or_set` returns it while another caller produces
    /// a new one, and `fetch` if its producer is slow or fails. Stale pages are served if the
    /// policy allows it, and validated if they can be. If a soft and a hard purge of the same
    /// entries happen at the same time, either may take effect.
    Soft,
}

/// A stored generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The numbers of new entries.
    pub stamp: Stamp,
    /// The time of the last purge since 1970-01-01 UTC, or zero if there was none.
    pub purged_at: Duration,
}

impl Generation {
    /// Creates a generation that no entry has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two of them are equal")]
    pub fn new() -> Self {
        let stamp = Stamp { hard: unique_number(), soft: unique_number() };
        Self { stamp, purged_at: Duration::ZERO }
    }

    /// Creates the generation that replaces `old`.
    #[must_use]
    pub fn after_purge(old: Option<Self>, purge: Purge, now: Duration) -> Self {
        // Zero stands for "never".
        let purged_at = now.max(Duration::from_nanos(1));
        let mut new = Self { purged_at, ..Self::new() };
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

    /// Decodes a generation. Returns `None` if it has another format.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let number = |start: usize| bytes[start..start + 8].try_into().map(u64::from_be_bytes).ok();
        let stamp = Stamp { hard: number(1)?, soft: number(9)? };
        let purged_at = Duration::from_nanos(number(17)?);
        (bytes[0] == FORMAT).then_some(Self { stamp, purged_at })
    }

    /// Encodes the generation as the entry that `set` would store.
    pub(super) fn to_value(self) -> Result<Value> {
        codec::encode(&self, Codec::default())
    }

    /// Decodes an entry.
    pub(crate) fn from_value(value: Value) -> Option<Self> {
        Self::from_bytes(&codec::decode::<Bytes>(value, &Codecs::default()).ok()?)
    }
}

/// The number of counters of purges. Generations that share one are read again when another of
/// them is purged.
const COUNTERS: usize = 1024;

/// The numbers of purges in this process so far.
static PURGES: [AtomicU64; COUNTERS] = [const { AtomicU64::new(0) }; COUNTERS];

/// The counter of the purges of a generation.
#[derive(Clone, Copy, Debug)]
pub struct PurgeCounter(u16);

impl PurgeCounter {
    /// The counter of the generation with this key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let hash = FixedState::default().hash_one(key) % COUNTERS as u64;
        Self(u16::try_from(hash).unwrap_or_default())
    }

    /// Returns the number of purges so far.
    #[must_use]
    pub fn read(self) -> u64 {
        PURGES[usize::from(self.0)].load(Acquire)
    }

    /// Counts a purge, after the generation has been replaced. A request that read the count before
    /// that may have read the old generation, and reads it again.
    pub fn count(self) {
        PURGES[usize::from(self.0)].fetch_add(1, Release);
    }
}

/// When the stamps of an entry were last found to be current.
#[derive(Debug)]
pub struct GenerationCheck {
    /// The counters of the generations of the entry. If there are none, each hit is checked.
    counters: Box<[PurgeCounter]>,
    /// The sum of the counters before the check.
    purges: AtomicU64,
    /// The time of the check, in seconds.
    second: AtomicU64,
}

impl GenerationCheck {
    /// Creates a check that has not happened.
    pub fn new(counters: impl IntoIterator<Item = PurgeCounter>) -> Self {
        Self { counters: counters.into_iter().collect(), ..Self::default() }
    }

    /// Returns the sum of the counters, to be read before the generations.
    pub(crate) fn purges(&self) -> u64 {
        self.counters.iter().map(|counter| counter.read()).sum()
    }

    /// Records that the stamps were current. `purges` are the counters before the generations were
    /// read, and `time` is any time that passes, such as the age of the entry.
    pub fn record(&self, purges: u64, time: Duration) {
        self.second.store(time.as_secs(), Relaxed);
        self.purges.store(purges, Release);
    }

    /// Returns whether the stamps are still current.
    ///
    /// The result is `false` once a second, so that the generations are read: a full store evicts
    /// entries that are not read.
    #[must_use]
    pub fn is_current(&self, time: Duration) -> bool {
        self.purges.load(Acquire) == self.purges()
            && self.second.load(Relaxed) == time.as_secs()
            && !self.counters.is_empty()
    }
}

impl Default for GenerationCheck {
    fn default() -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self { counters: Box::default(), purges: never(), second: never() }
    }
}

impl Clone for GenerationCheck {
    /// Creates a check that has not happened: a copy of an entry is another entry.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_reverses_encode_and_rejects_other_formats() {
        let generation = Generation { purged_at: Duration::from_nanos(7), ..Generation::new() };
        assert_eq!(Generation::from_bytes(&generation.to_bytes()), Some(generation));
        let value = generation.to_value().expect("bytes can be encoded");
        assert_eq!(Generation::from_value(value), Some(generation));
        assert_eq!(Generation::from_bytes(&[FORMAT; SIZE - 1]), None);
        assert_eq!(Generation::from_bytes(&[FORMAT + 1; SIZE]), None);
    }

    #[test]
    fn check_expires_after_a_purge_and_in_the_next_second() {
        let counters = ["one", "two"].map(PurgeCounter::of);
        let (check, time) = (GenerationCheck::new(counters), Duration::from_millis(3999));
        assert!(!check.is_current(time));
        check.record(check.purges(), time);
        assert!(check.is_current(time));
        assert!(!check.is_current(time + Duration::from_millis(1)));
        for counter in counters {
            check.record(check.purges(), time);
            counter.count();
            assert!(!check.is_current(time));
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
