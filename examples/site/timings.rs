//! The last 1,000 durations of an operation, and their percentiles.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

const CAPACITY: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Timings {
    last: Mutex<VecDeque<Duration>>,
}

impl Timings {
    pub(crate) fn add(&self, duration: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == CAPACITY {
            last.pop_front();
        }
        last.push_back(duration);
    }

    /// The median and the 99th percentile in milliseconds, or `null` if there are no
    /// durations.
    pub(crate) fn percentiles(&self) -> Value {
        let mut sorted: Vec<Duration> =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        };
        match (at(50), at(99)) {
            (Some(p50), Some(p99)) => {
                json!({ "p50": milliseconds(*p50), "p99": milliseconds(*p99) })
            }
            _ => Value::Null,
        }
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
