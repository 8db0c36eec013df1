//! Hits on many threads at once.

use std::hint::black_box;

use bytes::Bytes;
use cachette_benches::{Comparison, Report, ready, wall_time};

use crate::{
    Bench, LOCMEM, MOKA, QUICK, fresh_value,
    peers::{Peer, moka, quick},
    whole_get::{self, KEY},
};

/// How many times as long as another pass one is. A thread of a short pass would have finished
/// before the next one starts.
const LENGTH: usize = 10;

/// Which key an operation requests.
#[derive(Clone, Copy)]
enum Requests {
    /// Always the same, so that all threads use one shard and one entry.
    OneKey,
    /// By Zipf's law.
    Zipf,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let (cache, quick, moka) =
        (whole_get::handle(bench), quick::<Bytes>(bench.capacity()), moka(bench.capacity()));
    for key in &bench.keys {
        quick.store(key, fresh_value());
        moka.store(key, fresh_value());
    }
    let get = |key: &str| ready(cache.get::<Bytes>(key)).expect("no error");
    for (name, requests, threads, at_most) in [
        ("whole get of one key, 8 threads", Requests::OneKey, 8, 1.3),
        ("whole get of one key, 64 threads", Requests::OneKey, 64, 1.3),
        ("whole get of Bytes, 8 threads", Requests::Zipf, 8, 1.6),
        ("whole get of Bytes, 64 threads", Requests::Zipf, 64, 1.6),
    ] {
        let pass = |get: &(dyn Fn(&str) -> Option<Bytes> + Sync)| {
            wall_time(threads, LENGTH * bench.operations, |operation| {
                let found = get(requests.key(bench, operation % bench.operations));
                assert!(black_box(found).is_some(), "a key was evicted");
            })
        };
        let comparison = Comparison::new(name)
            .candidate(LOCMEM, || pass(&get))
            .candidate(QUICK, || pass(&|key| quick.look_up(key)))
            .candidate(MOKA, || pass(&|key| moka.look_up(key)))
            .at_most(at_most, QUICK)
            .because(KEY);
        report.add(comparison.run(bench.rounds));
    }
}

impl Requests {
    fn key(self, bench: &Bench, operation: usize) -> &str {
        match self {
            Self::OneKey => &bench.keys[0],
            Self::Zipf => bench.key(operation),
        }
    }
}
