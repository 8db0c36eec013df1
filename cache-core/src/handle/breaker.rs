//! A circuit breaker: how `get_or_set` does not ask a server that is known to be away.
//!
//! Without it, each caller would wait for a connection or a reply first, and a service whose cache
//! is away would be slower than one without a cache.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::Moment;

/// The servers of a store that could not be reached.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Whether `servers` has any: the only thing that a hit looks at.
    has_failures: AtomicBool,
    servers: Mutex<HashMap<usize, Failures>>,
}

/// The failures of a server, in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    /// When the next read is tried, if the server is not to be read.
    probe_at: Option<Moment>,
}

/// The number of failures in a row after which a server is not read.
const MAX_FAILURES: u32 = 3;
/// How long a server is not read before one read probes it.
const PAUSE: Duration = Duration::from_secs(1);

impl Breaker {
    /// Whether a server may have failed. If not, the other methods need not be called.
    #[inline]
    pub(super) fn has_failures(&self) -> bool {
        self.has_failures.load(Ordering::Relaxed)
    }

    /// Whether a server may be read. Once in each pause, one caller may: the probe.
    pub(super) fn may_read(&self, server: usize, now: Moment) -> bool {
        match self.lock().get_mut(&server).and_then(|failures| failures.probe_at.as_mut()) {
            None => true,
            Some(probe_at) if now >= *probe_at => {
                *probe_at = now + PAUSE;
                true
            }
            Some(_) => false,
        }
    }

    /// Records that a server could not be reached. Returns whether it is not read from now on.
    pub(super) fn record_failure(&self, server: usize, now: Moment) -> bool {
        let mut servers = self.lock();
        let failures = servers.entry(server).or_default();
        failures.count = failures.count.saturating_add(1);
        let was_read = failures.probe_at.is_none();
        if failures.count >= MAX_FAILURES {
            failures.probe_at = Some(now + PAUSE);
        }
        let is_read = failures.probe_at.is_none();
        self.has_failures.store(true, Ordering::Relaxed);
        was_read && !is_read
    }

    /// Records that a server has replied. Returns whether it was not read before.
    pub(super) fn record_reply(&self, server: usize) -> bool {
        let mut servers = self.lock();
        let was_read = servers.remove(&server).is_none_or(|failures| failures.probe_at.is_none());
        self.has_failures.store(!servers.is_empty(), Ordering::Relaxed);
        !was_read
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Failures>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn three_failures_in_a_row_open_the_breaker_until_a_probe_is_answered() {
        let (time, breaker) = (ManualClock::new(), Breaker::default());
        let clock = time.clock();
        assert!(!breaker.record_failure(0, clock.now()));
        assert!(!breaker.record_failure(0, clock.now()));
        assert!(!breaker.record_reply(0), "the failures were not in a row");
        for is_last in [false, false, true] {
            assert!(breaker.may_read(0, clock.now()));
            assert_eq!(breaker.record_failure(0, clock.now()), is_last);
        }
        assert!(!breaker.may_read(0, clock.now()));
        assert!(breaker.may_read(1, clock.now()), "another server is read");
        time.advance(PAUSE);
        assert!(breaker.may_read(0, clock.now()), "the probe");
        assert!(!breaker.may_read(0, clock.now()), "one probe");
        assert!(!breaker.record_failure(0, clock.now()), "entered once");
        time.advance(PAUSE);
        assert!(breaker.may_read(0, clock.now()));
        assert!(breaker.record_reply(0));
        assert!(!breaker.has_failures());
        assert!(breaker.may_read(0, clock.now()) && breaker.may_read(0, clock.now()));
    }
}
