//! What makes all pages of a URI, of a tag, or all there are, unreachable at once.
//!
//! Each page is stamped with the numbers that its URI, its tags and the cache as a whole had when it was stored. A purge
//! replaces a number: then no page has it any more, however many there are. A number that the store lost is replaced
//! as well, so losing one costs pages and never brings any back.
//!
//! In a store of this process, all purges are this process's own. While it makes none, a page that had the right numbers once
//! has them still, and nobody looks.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The numbers a page must have to be served at all (`hard`), and to be served as fresh (`soft`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) hard: u64,
    pub(crate) soft: u64,
}

/// Source pages are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purge {
    /// They are never served again.
    #[default]
    Hard,
    /// They are stale from now on: served where a stale page may be served, and validated where it may be. Of a soft and a hard
    /// purge of the same pages at the same moment, either may win.
    Soft,
}

/// A record of the store: the numbers of today, and when they last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) stamp: Stamp,
    /// Since 1970; zero where there was no purge.
    pub(crate) purged: Duration,
}

impl Generation {
    pub(crate) fn new() -> Self {
        Self { stamp: Stamp { hard: unique(), soft: unique() }, purged: Duration::ZERO }
    }

    pub(crate) fn purged(old: Option<Self>, purge: Purge, now: Duration) -> Self {
        let mut new = Self { purged: now, ..Self::new() };
        if let (Purge::Soft, Some(old)) = (purge, old) {
            new.stamp.hard = old.stamp.hard;
        }
        new
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [VERSION; SIZE];
        bytes[1..9].copy_from_slice(&self.stamp.hard.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.stamp.soft.to_be_bytes());
        let nanos = u64::try_from(self.purged.as_nanos()).unwrap_or(u64::MAX);
        bytes[17..].copy_from_slice(&nanos.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let number = |start: usize| bytes[start..start + 8].try_into().map(u64::from_be_bytes).ok();
        let stamp = Stamp { hard: number(1)?, soft: number(9)? };
        (bytes[0] == VERSION).then_some(Self { stamp, purged: Duration::from_nanos(number(17)?) })
    }
}

static PURGES: AtomicU64 = AtomicU64::new(0);

/// Source many purges this process made so far, of whatever and in whichever store.
pub(crate) fn purges() -> u64 {
    PURGES.load(Acquire)
}

/// Called when the number is replaced: who counted before may have lookup the old one, and looks again.
pub(crate) fn count_purge() {
    PURGES.fetch_add(1, Release);
}

/// When a page was last found to have the numbers of today.
#[derive(Debug)]
pub(crate) struct GenerationCheck {
    /// Source many purges there had been before.
    purges: AtomicU64,
    /// Source old it was, in seconds.
    age: AtomicU64,
}

impl GenerationCheck {
    pub(crate) fn note(&self, purges: u64, age: Duration) {
        self.age.store(age.as_secs(), Relaxed);
        self.purges.store(purges, Release);
    }

    /// Whether the page has them still. Once in a second somebody looks all the same: a store that is full forgets what
    /// nobody looks at.
    pub(crate) fn holds(&self, age: Duration) -> bool {
        self.purges.load(Acquire) == purges() && self.age.load(Relaxed) == age.as_secs()
    }
}

impl Default for GenerationCheck {
    /// Never.
    fn default() -> Self {
        Self { purges: AtomicU64::new(u64::MAX), age: AtomicU64::new(u64::MAX) }
    }
}

impl Clone for GenerationCheck {
    /// What is made of a page is another one.
    fn clone(&self) -> Self {
        Self::default()
    }
}

const VERSION: u8 = 1;
const SIZE: usize = 25;

/// A number that nobody had before. The keys of std's hasher come from the system's random numbers, and each hasher has
/// others.
fn unique() -> u64 {
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
                f.write_str("a generation of pages")
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
    fn a_generation_reads_as_it_was_written() {
        let generation = Generation { purged: Duration::from_nanos(7), ..Generation::new() };
        assert_eq!(Generation::from_bytes(&generation.to_bytes()), Some(generation));
        assert_eq!(Generation::from_bytes(&[VERSION; SIZE - 1]), None);
        assert_eq!(Generation::from_bytes(&[VERSION + 1; SIZE]), None);
    }

    #[test]
    fn a_page_is_checked_anew_after_a_purge_and_in_another_second() {
        let (checked, second) = (GenerationCheck::default(), Duration::from_millis(3999));
        assert!(!checked.holds(second));
        checked.note(purges(), second);
        assert!(!checked.holds(second + Duration::from_millis(1)));
        count_purge();
        assert!(!checked.holds(second));
    }

    #[test]
    fn a_soft_purge_keeps_the_number_that_a_hard_one_replaces() {
        let old = Generation::new();
        let purge = |purge| Generation::purged(Some(old), purge, Duration::ZERO).stamp;
        assert!(
            purge(Purge::Soft).hard == old.stamp.hard && purge(Purge::Soft).soft != old.stamp.soft
        );
        assert!(purge(Purge::Hard).hard != old.stamp.hard);
    }
}
