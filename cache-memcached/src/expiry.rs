//! A time to live as memcached takes it: whole seconds, or a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The server takes more for a date.
const LONGEST: u64 = 30 * 24 * 60 * 60;
/// The server keeps dates in 32 bits, with a sign.
const LAST_DATE: u64 = i32::MAX as u64;

/// 0 is never. A fraction of a second is rounded up, for rounded down it could be nothing. What would expire after the last date that the server
/// knows, in 2038, never does.
pub(crate) fn of(ttl: Option<Duration>) -> u32 {
    ttl.map_or(0, |ttl| at(ttl, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
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
        assert_eq!(of(None), 0);
    }
}
