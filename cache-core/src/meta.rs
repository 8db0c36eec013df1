//! What an entry records besides its value.

use std::time::Duration;

/// The facts about an entry that are stored with it.
///
/// Most entries have none. In bytes they are the header of format 2; see `codec::header`. A store
/// of this process keeps them beside the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// A random number of this entry, so that no two entries are equal.
    pub(crate) stamp: Option<[u8; 8]>,
    pub(crate) times: Option<Times>,
    /// The hash of the type definition under which the value was stored.
    pub(crate) shape: Option<u64>,
    pub(crate) tags: Box<[Tag]>,
}

/// When an entry becomes stale. The store's time to live is when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the entry was stored, in milliseconds since 1970-01-01 UTC.
    pub(crate) born: u64,
    /// For how many milliseconds the entry is fresh. `None`: always.
    pub(crate) fresh: Option<u64>,
}

/// A tag, and the generations that it had when the value was produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: Box<str>,
    /// Changed by a purge after which the entry is missing.
    pub(crate) hard: [u8; 8],
    /// Changed by a purge after which the entry is stale.
    pub(crate) soft: [u8; 8],
}

impl Times {
    /// The largest number of milliseconds since 1970: 48 bits, which end in the year 10889.
    pub(crate) const MAX_BORN: u64 = (1 << 48) - 1;
    /// The largest number of milliseconds for which an entry is fresh: 40 bits, 34 years. All ones
    /// stand for "always".
    pub(crate) const MAX_FRESH: u64 = (1 << 40) - 2;

    /// The times of an entry that is stored at `now`. `None`, or a time of more than 34 years,
    /// means that it does not become stale.
    #[cfg_attr(
        not(any(test, feature = "fetch")),
        expect(dead_code, reason = "`fetch` writes them")
    )]
    pub(crate) fn new(now: Duration, fresh: Option<Duration>) -> Self {
        let born = millis(now).min(Self::MAX_BORN);
        Self { born, fresh: fresh.map(millis).filter(|fresh| *fresh <= Self::MAX_FRESH) }
    }

    /// Returns for how much longer the entry is fresh: zero if it is stale, and `None` if it does
    /// not become stale.
    ///
    /// An entry of a process whose clock is ahead was stored in the future. It counts as new: were
    /// it stale, two processes would replace each other's entries on every read.
    pub(crate) fn fresh_for(&self, now: Duration) -> Option<Duration> {
        let age = millis(now).saturating_sub(self.born);
        self.fresh.map(|fresh| Duration::from_millis(fresh.saturating_sub(age)))
    }

    /// Whether the entry is past its fresh time.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        self.fresh_for(now) == Some(Duration::ZERO)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: Duration = Duration::from_secs(1_800_000_000);

    fn fresh_for(fresh: Duration, age: i64) -> Option<Duration> {
        let now = u64::try_from(BORN.as_millis()).expect("it is small");
        Times::new(BORN, Some(fresh))
            .fresh_for(Duration::from_millis(now.saturating_add_signed(age)))
    }

    #[test]
    fn entry_is_stale_from_the_end_of_its_fresh_time() {
        let fresh = Duration::from_secs(1);
        assert_eq!(fresh_for(fresh, 0), Some(fresh));
        assert_eq!(fresh_for(fresh, 999), Some(Duration::from_millis(1)));
        assert_eq!(fresh_for(fresh, 1000), Some(Duration::ZERO));
        assert_eq!(fresh_for(fresh, 1_000_000), Some(Duration::ZERO));
    }

    #[test]
    fn entry_from_the_future_is_new() {
        assert_eq!(fresh_for(Duration::from_secs(1), -3_600_000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn entry_that_is_fresh_for_longer_than_can_be_stored_is_never_stale() {
        let longest = Duration::from_millis(Times::MAX_FRESH);
        assert_eq!(Times::new(BORN, Some(longest)).fresh, Some(Times::MAX_FRESH));
        for fresh in [None, Some(longest + Duration::from_millis(1)), Some(Duration::MAX)] {
            let times = Times::new(BORN, fresh);
            assert_eq!((times.fresh, times.fresh_for(Duration::MAX)), (None, None));
        }
    }
}
