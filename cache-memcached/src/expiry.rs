//! A time to live as memcached takes it: whole seconds, or a date.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The server takes more for a date.
const LONGEST: u64 = 30 * 24 * 60 * 60;
/// The server keeps dates in 32 bits, with a sign.
const LAST_DATE: u64 = i32::MAX as u64;

/// What is sent for a time to live: digits, and 0 is never. They are made once for all entries of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    digits: [u8; 10],
    length: usize,
}

impl Expiry {
    /// A fraction of a second is rounded up, for rounded down it could be nothing. What would expire after the last date
    /// that the server knows, in 2038, never does.
    pub(crate) fn of(ttl: Option<Duration>) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::sent_as(ttl.map_or(0, |ttl| at(ttl, now())))
    }

    fn sent_as(seconds: u32) -> Self {
        let mut digits = [0; 10];
        let mut room = &mut digits[..];
        // There is room for every u32.
        let _ = write!(room, "{seconds}");
        let left = room.len();
        Self { digits, length: digits.len() - left }
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    pub(crate) fn is_never(&self) -> bool {
        self.digits() == b"0"
    }
}

fn at(ttl: Duration, now: Duration) -> u32 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)).max(1);
    if seconds <= LONGEST {
        return u32::try_from(seconds).unwrap_or(0);
    }
    let date = now.as_secs().saturating_add(seconds);
    if date <= LAST_DATE { u32::try_from(date).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(at(Duration::from_millis(millis), NOW), seconds);
        }
    }

    #[test]
    fn more_than_a_month_is_a_date() {
        assert_eq!(at(Duration::from_secs(2_592_000), NOW), 2_592_000);
        assert_eq!(at(Duration::from_secs(2_592_001), NOW), 1_802_592_001);
    }

    #[test]
    fn what_the_server_has_no_date_for_never_expires() {
        let last = Duration::from_secs(LAST_DATE) - NOW;
        assert_eq!(at(last, NOW), i32::MAX.unsigned_abs());
        for ttl in [last + Duration::from_secs(1), Duration::MAX] {
            assert_eq!(at(ttl, NOW), 0);
        }
        assert!(Expiry::of(None).is_never());
    }

    #[test]
    fn any_number_has_its_digits() {
        for seconds in [0, 1, 3600, u32::MAX] {
            let expiry = Expiry::sent_as(seconds);
            assert_eq!(expiry.digits(), seconds.to_string().as_bytes());
            assert_eq!(expiry.is_never(), seconds == 0);
        }
    }
}
