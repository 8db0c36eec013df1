//! The format of a lease's file: the number of the lease, when it ends and how long it is held.
//!
//! 32 bytes: a random number of 16 bytes, the end in nanoseconds since 1970-01-01 UTC, and the time
//! from the grant to the end in nanoseconds; all little-endian. A file of another length is no
//! lease.

use std::time::Duration;

use cache_core::Clock;

pub(crate) const LENGTH: usize = 32;

/// The difference between clocks that is expected, in nanoseconds.
const MAX_DIFFERENCE: u64 = 60_000_000_000;

/// A lease as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseFile {
    pub(crate) number: u128,
    until: u64,
    hold: u64,
}

impl LeaseFile {
    /// Creates a lease that is held from now on.
    pub(crate) fn new(number: u128, hold: Duration, clock: &Clock) -> Self {
        let hold = nanos(hold);
        Self { number, until: nanos(clock.unix_time()).saturating_add(hold), hold }
    }

    /// Whether the lease is still held.
    ///
    /// If the date was set back, more time than the lease was held for seems to remain. It then
    /// counts as ended, so that no key stays leased for hours. The clocks of two machines may
    /// differ by a minute.
    pub(crate) fn is_held(&self, clock: &Clock) -> bool {
        let left = self.until.saturating_sub(nanos(clock.unix_time()));
        left > 0 && left <= self.hold.saturating_add(MAX_DIFFERENCE)
    }

    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut file = [0; LENGTH];
        file[..16].copy_from_slice(&self.number.to_le_bytes());
        file[16..24].copy_from_slice(&self.until.to_le_bytes());
        file[24..].copy_from_slice(&self.hold.to_le_bytes());
        file
    }

    /// Returns `None` if the file is not a lease, for example because it was truncated when the
    /// power failed.
    pub(crate) fn decode(file: &[u8]) -> Option<Self> {
        let (number, rest) = file.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let hold = rest.try_into().ok()?;
        Some(Self {
            number: u128::from_le_bytes(*number),
            until: u64::from_le_bytes(*until),
            hold: u64::from_le_bytes(hold),
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use cache_core::ManualClock;

    use super::*;

    const HOLD: Duration = Duration::from_secs(30);

    #[test]
    fn lease_round_trips() {
        let lease = LeaseFile::new(7 << 100, HOLD, &ManualClock::new().clock());
        assert_eq!(LeaseFile::decode(&lease.encode()), Some(lease));
    }

    #[test]
    fn truncated_or_overlong_file_is_no_lease() {
        let file = LeaseFile::new(7, HOLD, &ManualClock::new().clock()).encode();
        assert_eq!(LeaseFile::decode(&file[..31]), None);
        assert_eq!(LeaseFile::decode(&[&file[..], &[0]].concat()), None);
        assert_eq!(LeaseFile::decode(&[]), None);
    }

    #[test]
    fn lease_ends_after_its_time() {
        let time = ManualClock::new();
        let lease = LeaseFile::new(7, HOLD, &time.clock());
        time.advance(HOLD - Duration::from_nanos(1));
        assert!(lease.is_held(&time.clock()));
        time.advance(Duration::from_nanos(1));
        assert!(!lease.is_held(&time.clock()));
    }

    #[test]
    fn lease_is_held_if_the_clock_of_its_holder_is_a_minute_ahead() {
        let (before, after) = (ManualClock::new(), ManualClock::new());
        after.advance(Duration::from_secs(60));
        let lease = LeaseFile::new(7, HOLD, &after.clock());
        assert!(lease.is_held(&before.clock()));
        after.advance(Duration::from_nanos(1));
        let lease = LeaseFile::new(7, HOLD, &after.clock());
        assert!(!lease.is_held(&before.clock()));
    }

    #[test]
    fn lease_has_ended_if_the_date_was_set_back() {
        let (before, after) = (ManualClock::new(), ManualClock::new());
        after.advance(Duration::from_secs(3600));
        let lease = LeaseFile::new(7, HOLD, &after.clock());
        assert!(!lease.is_held(&before.clock()));
    }
}
