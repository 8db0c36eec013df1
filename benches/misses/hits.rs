//! Hits of the verbs that produce missing values.

use std::hint::black_box;

use bytes::Bytes;
use cachette_benches::{
    Comparison, Report, awaited_cpu_time, ready,
    workload::{KEYS, VALUE, keys, zipf},
};

use crate::{GET_OR_SET, GET_WITH, TTL, handle, moka};

const GET: &str = "get, locmem";
const FETCH: &str = "fetch, locmem";

/// Why a hit of `fetch` misses its target.
const BOXES: &str = "\
a call of `fetch` allocates twice: its producer is boxed, because a task may run it, and its \
future, because a builder that is awaited must name its type.";

pub(crate) fn run(rounds: usize, operations: usize, report: &mut Report) {
    let (keys, order) = (keys("there", KEYS), zipf(KEYS, operations));
    let key = |operation: usize| &*keys[order[operation]];
    let (cache, moka) = (handle(), moka());
    for key in &keys {
        ready(cache.set(key, &value(), TTL)).expect("no error");
        ready(moka.insert(key.to_string(), value()));
    }
    let get_or_set = async |operation| {
        let found = cache.get_or_set(key(operation), TTL, async || absent()).await;
        black_box(found.expect("no error"));
    };
    let get = async |operation| {
        let found = cache.get::<Bytes>(key(operation)).await.expect("no error");
        assert!(black_box(found).is_some(), "a key was evicted");
    };
    let get_with = async |operation| {
        black_box(moka.get_with_by_ref(key(operation), async { absent() }).await);
    };
    let fetch = async |operation| {
        let found = cache.fetch(key(operation), async |_| absent()).ttl(TTL).await;
        black_box(found.expect("no error"));
    };
    let comparison = Comparison::new("hit")
        .candidate(GET_OR_SET, || awaited_cpu_time(operations, get_or_set))
        .candidate(GET, || awaited_cpu_time(operations, get))
        .candidate(GET_WITH, || awaited_cpu_time(operations, get_with))
        .at_most(1.1, GET)
        .at_most(1.0, GET_WITH);
    report.add(comparison.run(rounds));
    let comparison = Comparison::new("hit of fetch")
        .candidate(FETCH, || awaited_cpu_time(operations, fetch))
        .candidate(GET_OR_SET, || awaited_cpu_time(operations, get_or_set))
        .at_most_more(150.0, GET_OR_SET)
        .because(BOXES);
    report.add(comparison.run(rounds));
}

fn value() -> Bytes {
    Bytes::copy_from_slice(&VALUE)
}

fn absent() -> Bytes {
    panic!("a key was evicted")
}
