//! Keys that are not refreshed for a while.
//!
//! Kept beside the entries: an entry that was stored again with a short time to live would be fresh
//! for every reader.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Moment;

#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    until: HashMap<Arc<str>, Moment>,
    /// The number of keys at which those whose time has ended are removed.
    purge_at: usize,
}

impl Throttle {
    pub(super) fn is_throttled(&self, key: &str, now: Moment) -> bool {
        self.lock().until.get(key).is_some_and(|until| now < *until)
    }

    pub(super) fn throttle(&self, key: &Arc<str>, now: Moment, until: Moment) {
        let mut state = self.lock();
        if state.until.len() >= state.purge_at {
            state.until.retain(|_, until| now < *until);
            state.purge_at = 2 * state.until.len() + 16;
        }
        state.until.insert(Arc::clone(key), until);
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
            throttle.throttle(&key, now, now + second);
            assert!(throttle.is_throttled(&key, now));
            assert!(!throttle.is_throttled(&key, now + second));
            time.advance(second);
        }
        assert!(throttle.len() <= 16);
    }
}
