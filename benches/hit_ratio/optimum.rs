//! The hit ratio that no policy can exceed: Belady's optimum, which knows the future.

use std::collections::BTreeSet;

use crate::traces::{Trace, share};

/// Returns the share of hits with space for `entries`. It evicts the key whose next request is
/// last.
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

/// The number of the next request for the key of each request.
fn next_requests(trace: &Trace) -> Vec<usize> {
    let mut next = vec![usize::MAX; trace.requests.len()];
    let mut seen = vec![usize::MAX; trace.keys.len()];
    for (now, &key) in trace.requests.iter().enumerate().rev() {
        next[now] = seen[key as usize];
        seen[key as usize] = now;
    }
    next
}
