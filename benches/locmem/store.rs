//! The store alone, through the trait `Cache`.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use cache_core::Cache;
use cachette_benches::{Comparison, Report, cpu_time, wall_time};

use crate::{
    Bench, CACHED, DASHMAP, FOYER, LOCMEM, MOKA, QUICK, QUICK_TTL, fresh_value,
    peers::{Cached, Foyer, Map, Moka, Peer, Quick, foyer, locmem, moka, quick},
};

/// Why jobs miss their targets against a map.
const MAP: &str = "\
a map has no order of use and no deadlines, and is not a `dyn Cache`. [counts](#counts) has the \
instructions of both.";

/// Why sets miss their targets against `quick_cache` with deadlines.
const DEADLINES: &str = "\
a set also records the deadline for the removal of expired entries, which `quick_cache` does not \
have. [counts](#counts) has the instructions of both.";

/// What a pass does to a store.
#[derive(Clone, Copy)]
enum Job {
    Hit,
    Miss,
    Overwrite,
    /// An overwrite with a value that has its reference count.
    OverwriteShareable,
    /// Nine hits for each overwrite, on this many threads.
    Mix(usize),
}

struct Stores {
    locmem: Arc<dyn Cache>,
    map: Map,
    quick: Quick<Bytes>,
    quick_ttl: Quick<(Bytes, Instant)>,
    moka: Moka,
    foyer: Foyer,
    cached: Cached,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let stores = Stores::filled(bench);
    let comparison = |name: &str, job| stores.comparison(name, job, bench);
    let hit = comparison("store hit", Job::Hit)
        .at_most(1.6, DASHMAP)
        .because(MAP)
        .at_most(1.2, QUICK_TTL)
        .at_most(0.4, MOKA);
    report.add(hit.run(bench.rounds));
    report.add(comparison("store miss", Job::Miss).run(bench.rounds));
    for (name, job) in [
        ("store set", Job::Overwrite),
        ("store set of shareable values", Job::OverwriteShareable),
        ("store mix, 1 thread", Job::Mix(1)),
        ("store mix, 2 threads", Job::Mix(2)),
        ("store mix, 8 threads", Job::Mix(8)),
    ] {
        let comparison = comparison(name, job).at_most(1.3, DASHMAP).because(MAP);
        report.add(comparison.at_most(1.25, QUICK_TTL).because(DEADLINES).run(bench.rounds));
    }
}

impl Stores {
    fn filled(bench: &Bench) -> Self {
        let capacity = bench.capacity();
        let stores = Self {
            locmem: locmem(capacity),
            map: Map::default(),
            quick: quick(capacity),
            quick_ttl: quick(capacity),
            moka: moka(capacity),
            foyer: foyer(capacity),
            cached: Cached::new(capacity),
        };
        let Self { locmem, map, quick, quick_ttl, moka, foyer, cached } = &stores;
        let peers: [&dyn Peer; 7] = [locmem, map, quick, quick_ttl, moka, foyer, cached];
        for key in &bench.keys {
            peers.iter().for_each(|peer| peer.store(key, fresh_value()));
        }
        stores
    }

    fn comparison<'a>(&'a self, name: &str, job: Job, bench: &'a Bench) -> Comparison<'a> {
        Comparison::new(name)
            .candidate(LOCMEM, move || job.run(&self.locmem, bench))
            .candidate(DASHMAP, move || job.run(&self.map, bench))
            .candidate(QUICK, move || job.run(&self.quick, bench))
            .candidate(QUICK_TTL, move || job.run(&self.quick_ttl, bench))
            .candidate(MOKA, move || job.run(&self.moka, bench))
            .candidate(FOYER, move || job.run(&self.foyer, bench))
            .candidate(CACHED, move || job.run(&self.cached, bench))
    }
}

impl Job {
    fn run(self, peer: &impl Peer, bench: &Bench) -> f64 {
        let found = |key: &str| black_box(peer.look_up(key)).is_some();
        let hit = |operation| assert!(found(bench.key(operation)), "a key was evicted");
        let miss = |operation| assert!(!found(bench.absent_key(operation)), "the key was set");
        let overwrite = |operation| peer.store(bench.key(operation), fresh_value());
        let overwrite_shareable = |operation| peer.store(bench.key(operation), shareable_value());
        let mix =
            |operation| if operation % 10 == 9 { overwrite(operation) } else { hit(operation) };
        match self {
            Self::Hit => cpu_time(bench.operations, hit),
            Self::Miss => cpu_time(bench.operations, miss),
            Self::Overwrite => cpu_time(bench.operations, overwrite),
            Self::OverwriteShareable => cpu_time(bench.operations, overwrite_shareable),
            Self::Mix(1) => cpu_time(bench.operations, mix),
            Self::Mix(threads) => wall_time(threads, bench.operations, mix),
        }
    }
}

fn shareable_value() -> Bytes {
    let value = fresh_value();
    drop(value.clone());
    value
}
