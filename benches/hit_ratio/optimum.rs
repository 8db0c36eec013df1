//! The most hits that any policy could have: Belady's, which knows the future.

use std::collections::BTreeSet;

use crate::traces::{Trace, share};

/// The share of requests that are hits when there is room for so many entries, and what is asked for latest goes.
pub(crate) fn hit_ratio(trace: &Trace, entries: usize) -> f64 {
    let next = next_requests(trace);
    let mut cached = BTreeSet::new();
    let mut hits = 0;
    for (now, (&key, &next)) in trace.requests.iter().zip(&next).enumerate() {
        if cached.remove(&(now, key)) {
            hits += 1;
        }
        cached.insert((next, key));
        if cached.len() > entries {
            cached.pop_last();
        }
    }
    share(hits, trace.requests.len())
}

/// When the key of each request is asked for again.
fn next_requests(trace: &Trace) -> Vec<usize> {
    let mut next = vec![usize::MAX; trace.requests.len()];
    let mut seen = vec![usize::MAX; trace.keys.len()];
    for (now, &key) in trace.requests.iter().enumerate().rev() {
        next[now] = seen[key as usize];
        seen[key as usize] = now;
    }
    next
}
