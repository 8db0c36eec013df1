//! Pauses between attempts to get what another caller holds.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use crate::{Clock, Moment, timer::Sleep};

const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

/// Pauses that become longer. Each is random, so that callers that collided do not collide again.
pub(super) struct Pauses {
    longest: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { longest: FIRST }
    }

    /// Waits for a while, at most until `end`.
    pub(super) async fn pause(&mut self, clock: &Clock, end: Moment) {
        let half = self.longest / 2;
        let pause = half + half.mul_f64(random_fraction());
        self.longest = (2 * self.longest).min(LONGEST);
        Sleep::until(clock, end.min(clock.now() + pause)).await;
    }
}

/// Returns a random number from 0 to 1.
fn random_fraction() -> f64 {
    // The keys of a `RandomState` are random.
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}
