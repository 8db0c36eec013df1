//! The time by which entries expire, and a hand-driven one for tests.

use std::{
    fmt,
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point on a [`Clock`], in nanoseconds since some fixed start. Comparable only with points of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Later than every moment a clock can show: the deadline of what does not expire.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to this moment, or zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: what lies more than some 584 years ahead is [`NEVER`](Self::NEVER).
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// What tells a store the time.
///
/// | clock | a read costs | an entry is gone |
/// |---|---|---|
/// | [`system`](Clock::system) | 25 ns; 5 ns to see that a deadline is far off | at its deadline |
/// | [`coarse`](Clock::coarse) | 5 ns | some ticks of the kernel early or late: 10 ms or so, more on a crowded machine |
/// | [`ManualClock`] | – | when the test says so |
///
/// It is monotonic: setting the computer's date neither kills nor revives an entry. While the computer sleeps, it stands
/// still.
#[derive(Clone, Default)]
pub struct Clock(Source);

/// How far the coarse clock may be behind, in nanoseconds: two ticks where this was measured, a virtual machine whose
/// ticks come late. A second is far from that, and seldom close enough to a deadline to matter.
const MOST_LAG: u64 = 1_000_000_000;

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Coarse,
    Manual(ManualClock),
}

impl Clock {
    /// The system's monotonic clock. The default.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// The system's clock as of its last tick. Where the platform has none (anywhere but Linux), the same as
    /// [`system`](Self::system).
    #[must_use]
    pub const fn coarse() -> Self {
        Self(Source::Coarse)
    }

    /// The current moment.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment(monotonic::precise()),
            Source::Coarse => Moment(monotonic::coarse()),
            Source::Manual(manual) => manual.now(),
        }
    }

    /// Whether `deadline` has come. As exact as [`now`](Self::now), but cheaper: the system's clock is read
    /// precisely only within a second of the deadline.
    #[inline]
    #[must_use]
    pub fn has_passed(&self, deadline: Moment) -> bool {
        if deadline == Moment::NEVER {
            return false;
        }
        match &self.0 {
            Source::System => {
                let tick = monotonic::coarse();
                tick >= deadline.0
                    || (tick.saturating_add(MOST_LAG) >= deadline.0
                        && monotonic::precise() >= deadline.0)
            }
            Source::Coarse | Source::Manual(_) => self.now() >= deadline,
        }
    }

    /// The time of day, as the time since 1970-01-01 UTC: for stores whose entries outlive the process.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        match &self.0 {
            Source::System | Source::Coarse => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
            }
            Source::Manual(manual) => Duration::from_nanos(manual.now().0),
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

/// A clock that moves only when told to, so that a test of expiry need not sleep.
///
/// ```
/// use std::time::Duration;
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
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands still at 2026-01-01 UTC.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600_000_000_000)))
    }

    /// The clock to hand to a store. All clocks made from this value move together.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(self.clone()))
    }

    /// Moves the time forward.
    pub fn advance(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let later = |now: u64| Some(now.saturating_add(nanos));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds on the kernel's monotonic clock, exact or as of its last tick: both on one scale.
#[cfg(target_os = "linux")]
mod monotonic {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    pub(super) fn precise() -> u64 {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    pub(super) fn coarse() -> u64 {
        nanos(clock_gettime(ClockId::MonotonicCoarse))
    }

    /// The time since the machine started is never negative.
    fn nanos(time: Timespec) -> u64 {
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }
}

#[cfg(not(target_os = "linux"))]
mod monotonic {
    use std::{sync::OnceLock, time::Instant};

    pub(super) fn precise() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn coarse() -> u64 {
        precise()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_says_that_a_deadline_passed_exactly_when_its_now_does() {
        let clock = Clock::system();
        let deadline = clock.now() + Duration::from_millis(12);
        loop {
            let before = clock.now();
            let passed = clock.has_passed(deadline);
            let after = clock.now();
            assert!(passed || before < deadline, "said late");
            assert!(!passed || after >= deadline, "said early");
            if passed {
                break;
            }
        }
    }

    #[test]
    fn the_coarse_clock_is_behind_by_far_less_than_is_reckoned_with() {
        for _ in 0..100_000 {
            let before = monotonic::precise();
            let coarse = monotonic::coarse();
            assert!(coarse + MOST_LAG / 2 > before, "{coarse} is far behind {before}");
            assert!(coarse <= monotonic::precise(), "it is never ahead");
        }
    }

    #[test]
    fn never_does_not_pass() {
        let time = ManualClock::new();
        time.advance(Duration::from_secs(u64::MAX / 4_000_000_000));
        for clock in [Clock::system(), Clock::coarse(), time.clock()] {
            assert!(!clock.has_passed(Moment::NEVER));
        }
    }

    #[test]
    fn a_manual_clock_never_goes_back() {
        let time = ManualClock::new();
        let before = time.clock().now();
        time.advance(Duration::MAX);
        time.advance(Duration::from_secs(1));
        assert!(time.clock().now() > before);
    }

    #[test]
    fn a_deadline_beyond_reach_is_never() {
        assert_eq!(Clock::system().now() + Duration::MAX, Moment::NEVER);
    }
}
