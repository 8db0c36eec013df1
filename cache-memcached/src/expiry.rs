//! Encoding of a time to live for memcached: whole seconds, or a date.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// 30 days, in seconds. The server interprets larger numbers as a date.
const MAX_RELATIVE: u64 = 30 * 24 * 60 * 60;
/// The server keeps dates in signed 32-bit integers.
const MAX_DATE: u64 = i32::MAX as u64;

/// A time to live as decimal digits, in which 0 means never.
///
/// It is encoded once for all entries of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    digits: [u8; 10],
    len: usize,
}

impl Expiry {
    /// Encodes a time to live.
    ///
    /// A fraction of a second is rounded up, because rounding down could yield zero. An entry that
    /// would expire after the last date that the server knows, in 2038, never expires.
    pub(crate) fn new(ttl: Option<Duration>) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_number(ttl.map_or(0, |ttl| encode(ttl, now())))
    }

    fn from_number(number: u32) -> Self {
        let mut digits = [0; 10];
        let mut rest = &mut digits[..];
        // Cannot fail: every `u32` has at most ten digits.
        let _ = write!(rest, "{number}");
        let unused = rest.len();
        Self { digits, len: digits.len() - unused }
    }

    /// Encodes the time of a lease and returns it in seconds. It is rounded up, and at most 30
    /// days, because a lease must end.
    ///
    /// The server's clock ticks once a second, so that an item expires up to a second early. One
    /// more is added, because nobody else may hold a lock before its time has passed.
    pub(crate) fn of_lease(time: Duration) -> (Self, u32) {
        let longest = Duration::from_secs(MAX_RELATIVE - 1);
        let seconds = encode(time.min(longest), Duration::ZERO) + 1;
        (Self::from_number(seconds), seconds)
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    pub(crate) fn is_never(&self) -> bool {
        self.digits() == b"0"
    }
}

fn encode(ttl: Duration, now: Duration) -> u32 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)).max(1);
    if seconds <= MAX_RELATIVE {
        return u32::try_from(seconds).unwrap_or(0);
    }
    let date = now.as_secs().saturating_add(seconds);
    if date <= MAX_DATE { u32::try_from(date).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    #[test]
    fn fractions_of_a_second_are_rounded_up() {
        for (millis, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(encode(Duration::from_millis(millis), NOW), seconds);
        }
    }

    #[test]
    fn more_than_30_days_are_sent_as_a_date() {
        assert_eq!(encode(Duration::from_secs(2_592_000), NOW), 2_592_000);
        assert_eq!(encode(Duration::from_secs(2_592_001), NOW), 1_802_592_001);
    }

    #[test]
    fn dates_after_2038_never_expire() {
        let last = Duration::from_secs(MAX_DATE) - NOW;
        assert_eq!(encode(last, NOW), i32::MAX.unsigned_abs());
        for ttl in [last + Duration::from_secs(1), Duration::MAX] {
            assert_eq!(encode(ttl, NOW), 0);
        }
        assert!(Expiry::new(None).is_never());
    }

    #[test]
    fn lease_always_ends() {
        for (time, seconds) in [
            (Duration::from_nanos(1), 2),
            (Duration::from_secs(1), 2),
            (Duration::from_millis(1001), 3),
            (Duration::MAX, 2_592_000),
        ] {
            let (expiry, found) = Expiry::of_lease(time);
            assert_eq!((expiry.digits(), found), (seconds.to_string().as_bytes(), seconds));
        }
    }

    #[test]
    fn digits_match_the_number() {
        for number in [0, 1, 3600, u32::MAX] {
            let expiry = Expiry::from_number(number);
            assert_eq!(expiry.digits(), number.to_string().as_bytes());
            assert_eq!(expiry.is_never(), number == 0);
        }
    }
}
