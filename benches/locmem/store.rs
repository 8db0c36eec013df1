//! The store alone, as the trait `Cache` shows it.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use cache_core::Cache;
use cachette_benches::{Contest, Report, cpu_time, wall_time};

use crate::{
    Bench, CACHED, DASHMAP, FOYER, LOCMEM, MOKA, QUICK, QUICK_TTL, ROOMY, fresh_value,
    peers::{Cached, Foyer, Map, Moka, Peer, Quick, foyer, locmem, quick},
};

const COUNTS_FIRST: &str = "locmem allocates the value's reference count in `set`, lest a hit allocate; the others leave it to \
    the first hit, which no run of sets pays for: compare the set of shareable values, which come with theirs.";

const KEEPS_MORE: &str = "a map keeps no order of use and knows no deadline, and is no `dyn Cache`. Counted in instructions, a hit \
    is 340 to its 230, and a set of a shareable value 1,140 to 930, of which some 500 make and drop the value.";

const KEEPS_DEADLINES: &str = "of a set's 1,140 instructions, some 500 make and drop the value, and 55 note the deadline for \
    whoever removes what has expired, which nobody does in `quick_cache`.";

/// What one pass does to a store.
#[derive(Clone, Copy)]
enum Job {
    Hit,
    Miss,
    Overwrite,
    /// An overwrite with a value that has its reference count already.
    OverwriteShareable,
    /// Nine hits to one overwrite, on so many threads.
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
    let contest = |name: &str, job| stores.contest(name, job, bench);
    report.add(
        contest("store hit", Job::Hit)
            .at_most(1.6, DASHMAP)
            .because(KEEPS_MORE)
            .at_most(1.2, QUICK_TTL)
            .at_most(0.4, MOKA)
            .run(bench.rounds),
    );
    report.add(contest("store miss", Job::Miss).run(bench.rounds));
    let set = contest("store set", Job::Overwrite).at_most(1.3, DASHMAP).because(COUNTS_FIRST);
    report.add(set.at_most(1.25, QUICK_TTL).because(COUNTS_FIRST).run(bench.rounds));
    let jobs = [
        ("store set of shareable values", Job::OverwriteShareable),
        ("store mix, 1 thread", Job::Mix(1)),
        ("store mix, 2 threads", Job::Mix(2)),
        ("store mix, 8 threads", Job::Mix(8)),
    ];
    for (name, job) in jobs {
        let contest = contest(name, job).at_most(1.3, DASHMAP).because(KEEPS_MORE);
        report.add(contest.at_most(1.25, QUICK_TTL).because(KEEPS_DEADLINES).run(bench.rounds));
    }
}

impl Stores {
    fn filled(bench: &Bench) -> Self {
        let stores = Self {
            locmem: locmem(ROOMY),
            map: Map::new(),
            quick: quick(ROOMY),
            quick_ttl: quick(ROOMY),
            moka: Moka::new(ROOMY),
            foyer: foyer(ROOMY),
            cached: Cached::new(ROOMY),
        };
        for key in &bench.keys {
            stores.locmem.store(key, fresh_value());
            stores.map.store(key, fresh_value());
            stores.quick.store(key, fresh_value());
            stores.quick_ttl.store(key, fresh_value());
            stores.moka.store(key, fresh_value());
            stores.foyer.store(key, fresh_value());
            stores.cached.store(key, fresh_value());
        }
        stores
    }

    fn contest<'a>(&'a self, name: &str, job: Job, bench: &'a Bench) -> Contest<'a> {
        Contest::new(name)
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
        let hit = |operation| assert!(found(bench.key(operation)), "no key was evicted");
        let miss =
            |operation| assert!(!found(bench.absent_key(operation)), "the key was never set");
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
