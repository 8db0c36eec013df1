//! Keys that are not refreshed for a while.
//!
//! Kept beside the entries: an entry that was stored again with a short time to live would be fresh
//! for every reader.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Moment, observe::StaleReason};

#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    until: HashMap<Arc<str>, (Moment, StaleReason)>,
    /// The number of keys at which those whose time has ended are removed.
    purge_at: usize,
}

impl Throttle {
    /// Returns why a key is not refreshed, if it is not.
    pub(super) fn throttled(&self, key: &str, now: Moment) -> Option<StaleReason> {
        let state = self.lock();
        state.until.get(key).filter(|(until, _)| now < *until).map(|(_, reason)| *reason)
    }

    pub(super) fn throttle(&self, key: &Arc<str>, reason: StaleReason, now: Moment, until: Moment) {
        let mut state = self.lock();
        if state.until.len() >= state.purge_at {
            state.until.retain(|_, (until, _)| now < *until);
            state.purge_at = 2 * state.until.len() + 16;
        }
        state.until.insert(Arc::clone(key), (until, reason));
    }

    /// Ends the throttling of a key, which has been refreshed.
    pub(super) fn end(&self, key: &str) {
        self.lock().until.remove(key);
    }

    /// Returns the number of keys.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().until.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ManualClock;

    #[test]
    fn throttled_keys_are_forgotten_when_their_time_has_ended() {
        let (time, throttle) = (ManualClock::new(), Throttle::default());
        let second = Duration::from_secs(1);
        for number in 0..1000 {
            let (key, now) = (Arc::from(number.to_string()), time.clock().now());
            throttle.throttle(&key, StaleReason::Failed, now, now + second);
            assert_eq!(throttle.throttled(&key, now), Some(StaleReason::Failed));
            assert_eq!(throttle.throttled(&key, now + second), None);
            time.advance(second);
        }
        assert!(throttle.len() <= 16);
    }
}
