//! Clocks that decide when entries expire, and a manual one for tests.

use std::{
    fmt,
    ops::Add,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::timer::Alarms;

/// A point in time on a [`Clock`], in nanoseconds since a fixed start.
///
/// Compare it only with moments of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// A moment later than any that a clock returns: the deadline of entries that never expire.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Adds a duration. Saturates at [`NEVER`](Self::NEVER), about 584 years after the clock's
    /// start.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The clock of a store.
///
/// | clock | cost of a read | an entry expires |
/// |---|---|---|
/// | [`system`](Clock::system) | 25 ns; 5 ns if a deadline is more than a second away | at its deadline |
/// | [`coarse`](Clock::coarse) | 5 ns | a few kernel ticks early or late: about 10 ms, more on a busy machine |
/// | [`ManualClock`] | – | when the test advances it |
///
/// The clock is monotonic: changing the system time does not affect entries. It stops while the
/// computer is suspended.
#[derive(Clone, Default)]
pub struct Clock(Source);

/// The maximum lag of the coarse clock, in nanoseconds.
///
/// The measured lag is two ticks, on a virtual machine with late ticks. A second is far beyond
/// that, and few deadlines are that close.
const MAX_LAG: u64 = 1_000_000_000;

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Coarse,
    Manual(ManualClock),
}

impl Clock {
    /// Creates the system's monotonic clock, the default.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Creates the system's monotonic clock as of its last tick.
    ///
    /// The same as [`system`](Self::system) on platforms other than Linux.
    #[must_use]
    pub const fn coarse() -> Self {
        Self(Source::Coarse)
    }

    /// Returns the current moment.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment(kernel::precise()),
            Source::Coarse => Moment(kernel::coarse()),
            Source::Manual(manual) => manual.now(),
        }
    }

    /// Returns whether `deadline` has passed.
    ///
    /// As accurate as [`now`](Self::now) but cheaper: it reads the precise system clock only within
    /// a second of the deadline.
    #[inline]
    #[must_use]
    pub fn has_passed(&self, deadline: Moment) -> bool {
        if deadline == Moment::NEVER {
            return false;
        }
        match &self.0 {
            Source::System => {
                let tick = kernel::coarse();
                tick >= deadline.0
                    || (tick.saturating_add(MAX_LAG) >= deadline.0
                        && kernel::precise() >= deadline.0)
            }
            Source::Coarse | Source::Manual(_) => self.now() >= deadline,
        }
    }

    /// Returns the time since 1970-01-01 UTC, for stores whose entries outlive the process.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        match &self.0 {
            Source::System | Source::Coarse => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
            }
            Source::Manual(manual) => Duration::from_nanos(manual.now().0),
        }
    }

    /// Returns the same as [`unix_time`](Self::unix_time), as of the last tick of the kernel.
    ///
    /// A fifth of the cost, for times of milliseconds and more.
    pub(crate) fn coarse_unix_time(&self) -> Duration {
        match &self.0 {
            Source::System | Source::Coarse => kernel::coarse_unix_time(),
            Source::Manual(manual) => Duration::from_nanos(manual.now().0),
        }
    }

    pub(crate) fn manual(&self) -> Option<&ManualClock> {
        match &self.0 {
            Source::Manual(manual) => Some(manual),
            Source::System | Source::Coarse => None,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock::System",
            Source::Coarse => "Clock::Coarse",
            Source::Manual(_) => "Clock::Manual",
        })
    }
}

/// A clock that only moves when it is advanced, so that tests of expiry do not sleep.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::ManualClock;
///
/// let time = ManualClock::new();
/// let clock = time.clock();
/// let deadline = clock.now() + Duration::from_secs(60);
///
/// time.advance(Duration::from_millis(59_999));
/// assert!(!clock.has_passed(deadline));
/// time.advance(Duration::from_millis(1));
/// assert!(clock.has_passed(deadline));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    nanos: AtomicU64,
    alarms: Mutex<Alarms>,
}

impl ManualClock {
    /// Creates a clock that is stopped at 2026-01-01 UTC.
    #[must_use]
    pub fn new() -> Self {
        let nanos = AtomicU64::new(1_767_225_600_000_000_000);
        Self(Arc::new(Manual { nanos, alarms: Mutex::default() }))
    }

    /// Returns a clock for a store. All clocks of this value advance together.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(self.clone()))
    }

    /// Advances the clock and wakes the tasks whose waiting ends by it.
    pub fn advance(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let later = |now: u64| Some(now.saturating_add(nanos));
        let _ = self.0.nanos.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        self.with_alarms(Alarms::take_due).into_iter().for_each(Waker::wake);
    }

    /// Calls `f` with the alarms, and with the time after their lock was acquired: an alarm that is
    /// set for a later time is noticed by the next [`advance`](Self::advance).
    pub(crate) fn with_alarms<T>(&self, f: impl FnOnce(&mut Alarms, Moment) -> T) -> T {
        let mut alarms = self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut alarms, self.now())
    }

    fn now(&self) -> Moment {
        Moment(self.0.nanos.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The kernel's clocks: the monotonic one in nanoseconds, precise or as of its last tick, on one
/// scale, and the system time.
#[cfg(target_os = "linux")]
mod kernel {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_gettime};

    pub(super) fn precise() -> u64 {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    pub(super) fn coarse() -> u64 {
        nanos(clock_gettime(ClockId::MonotonicCoarse))
    }

    /// The system time, which is not monotonic.
    pub(super) fn coarse_unix_time() -> Duration {
        clock_gettime(ClockId::RealtimeCoarse).try_into().unwrap_or_default()
    }

    /// Converts a time since the start of the machine, which is never negative.
    fn nanos(time: Timespec) -> u64 {
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant, SystemTime},
    };

    pub(super) fn precise() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn coarse() -> u64 {
        precise()
    }

    pub(super) fn coarse_unix_time() -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_passed_agrees_with_now_on_the_system_clock() {
        let clock = Clock::system();
        let deadline = clock.now() + Duration::from_millis(12);
        loop {
            let before = clock.now();
            let passed = clock.has_passed(deadline);
            let after = clock.now();
            assert!(passed || before < deadline, "reported late");
            assert!(!passed || after >= deadline, "reported early");
            if passed {
                break;
            }
        }
    }

    #[test]
    fn coarse_clock_lags_far_less_than_the_maximum() {
        for _ in 0..100_000 {
            let before = kernel::precise();
            let coarse = kernel::coarse();
            assert!(coarse + MAX_LAG / 2 > before, "{coarse} lags far behind {before}");
            assert!(coarse <= kernel::precise(), "the coarse clock is ahead");
        }
    }

    #[test]
    fn coarse_unix_time_lags_by_less_than_a_second() {
        let clock = Clock::system();
        let before = clock.unix_time();
        assert!(clock.coarse_unix_time() + Duration::from_secs(1) > before);
        assert!(clock.coarse_unix_time() < clock.unix_time() + Duration::from_secs(1));
    }

    #[test]
    fn never_has_not_passed() {
        let time = ManualClock::new();
        time.advance(Duration::from_secs(u64::MAX / 4_000_000_000));
        for clock in [Clock::system(), Clock::coarse(), time.clock()] {
            assert!(!clock.has_passed(Moment::NEVER));
        }
    }

    #[test]
    fn manual_clock_never_goes_back() {
        let time = ManualClock::new();
        let before = time.clock().now();
        time.advance(Duration::MAX);
        time.advance(Duration::from_secs(1));
        assert!(time.clock().now() > before);
    }

    #[test]
    fn deadline_beyond_the_range_is_never() {
        assert_eq!(Clock::system().now() + Duration::MAX, Moment::NEVER);
    }
}
