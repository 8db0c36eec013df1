//! cache-memcached against the least work of a client and against its alternatives. See this
//! crate's `README.md`.

mod limit;
mod peers;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use cachette_benches::{
    Client, Comparison, Figure, HandleClient, Job, Load, Peer, Peers, Report, StoreClient, Times,
    flag,
    workload::{HOUR, VALUE, keys},
};
use limit::Limit;
use peers::{Exp, Pool};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

const HANDLE: &str = "CacheHandle";
const MEMCACHED: &str = "memcached";
const LIMIT: &str = "pipelined by hand";
const ONE_REPLY: &str = "a batch in one piece, by hand";
const POOL: &str = "async-memcached in a pool";
const EXP: &str = "`memcache`, its async client";
const DJANGO: &str = "Django on pymemcache";

const KEYS: usize = 10_000;

/// The connections of the pool.
const CONNECTIONS: usize = 16;

/// Why batches miss their targets.
const BATCHES: &str = "\
the store needs one write, one wait and one read from the kernel for a batch. Both figures \
include the time for these (see a batch in one piece, by hand). If it is 7 µs, get_many is at \
0.51 and set_many at 0.36 of async-memcached; if it is 22 µs, at 0.60 and 0.46. The rest, in \
instructions per key, is 1,300 and 900 for the store, of which a get_many spends 400 on an \
allocation for each value, and 3,700 and 3,300 for async-memcached.";

/// Why a get by one task misses its target.
const ONE_TASK: &str = "\
a get by one task is mostly the work of the kernel and of the server: compare with the candidate \
by hand.";

/// Why gets by many tasks miss their targets.
const PLACEMENT: &str = "\
it depends on which processors the kernel gives to client and server: if they share one, the store \
gains most, because one write and one read carry the requests of all tasks.";

/// Why calls of many tasks through the handle miss their targets.
const ONE_CONNECTION: &str = "\
the store has one connection, which one thread of the server serves, and the pool has one for each \
task.";

/// What every comparison needs.
struct Bench {
    operations: usize,
    load: Load,
    store: Arc<dyn Client>,
    /// A handle on the same store.
    handle: Arc<dyn Client>,
    limit: Limit,
    pool: Arc<dyn Client>,
    exp: Arc<dyn Client>,
}

fn main() {
    let (rounds, operations) = if flag("--quick") { (3, 6_400) } else { (7, 32_000) };
    let server = Server::start(Kind::Memcached).unwrap_or_else(|error| panic!("{error}"));
    let bench = Bench::new(operations, server.port());
    let p50 = |times: Times| times.p50;
    let wall = |times: Times| times.wall;
    let mut report = Report::default();
    report.measured_with(server.version().unwrap_or_else(|error| panic!("{error}")));
    for comparison in [
        bench
            .get("get, 1 task: p50", 1, p50)
            .at_most(1.15, LIMIT)
            .at_most(1.0, POOL)
            .because(ONE_TASK),
        bench.get("get, 1 task", 1, wall),
        bench.get_with_targets("get, 16 tasks", 16, wall, [2.2, 0.71]),
        bench.get_with_targets("get, 64 tasks", 64, wall, [2.0, 0.43]),
        bench.get_with_targets("get, 64 tasks: p99", 64, |times| times.p99, [2.5, 0.3]),
        bench.get("get, 64 tasks: CPU", 64, |times| times.cpu),
        bench
            .batches("get_many of 100: CPU", Job::GetMany)
            .at_most(1.6, LIMIT)
            .at_most(0.6, POOL)
            .because(BATCHES),
        bench
            .batches("set_many of 100: CPU", Job::SetMany)
            .at_most(1.6, LIMIT)
            .at_most(0.4, POOL)
            .because(BATCHES),
    ] {
        report.add(comparison.run(rounds));
    }
    // The handle stores its own encoding, so its rows come after those of what was stored before.
    bench.add_handle(&mut report, rounds);
    if let Some(peers) = Peers::if_requested(Path::new(env!("CARGO_TARGET_TMPDIR")), &mut report) {
        // On the same server, with other keys.
        let address = format!("127.0.0.1:{}", server.port());
        let django = peers.start("django-memcached", &address, KEYS as u64);
        let mut django = django.unwrap_or_else(|error| panic!("{error}"));
        report.measured_with(django.ready());
        for (name, job) in [
            ("get, sequential", Job::Get),
            ("get_many of 100", Job::GetMany),
            ("set_many of 100", Job::SetMany),
        ] {
            report.add(bench.python(&mut django, name, job).run(rounds));
        }
    }
    let tasks = [(1.0, "get, 1 task"), (16.0, "get, 16 tasks"), (64.0, "get, 64 tasks")];
    let unit = "thousands of operations per second";
    let figure = Figure::lines("Gets from memcached by tasks", "concurrent tasks", unit);
    report.draw_over(figure, &tasks, |nanoseconds| 1e6 / nanoseconds);
    report.draw_bars("p99 of a get by 64 tasks, memcached", "get, 64 tasks: p99");
    report.publish();
}

impl Bench {
    fn new(operations: usize, port: u16) -> Self {
        let runtime = Runtime::new().expect("it starts");
        let mut options = MemcachedOptions::default();
        options.timeout = Duration::from_secs(20);
        options.connect_timeout = Duration::from_secs(20);
        let address = format!("127.0.0.1:{port}");
        let store = MemcachedCache::new(&[address], &options).expect("valid options");
        let keys: Arc<[Box<str>]> = keys("there", KEYS).into();
        let entries: Vec<_> =
            keys.iter().map(|key| (&**key, Value::Bytes(Bytes::from_static(&VALUE)))).collect();
        let (limit, pool, exp) = runtime.block_on(async {
            let rejected = store.set_many(&entries, Some(HOUR)).await.expect("no error");
            assert!(rejected.is_empty());
            (
                Limit::connect(port).await,
                Pool::connect(port, CONNECTIONS).await,
                Exp::connect(port).await,
            )
        });
        let store: Arc<dyn Cache> = Arc::new(store);
        Self {
            operations,
            handle: Arc::new(HandleClient::new(Arc::clone(&store))),
            store: Arc::new(StoreClient(store)),
            limit,
            pool: Arc::new(pool),
            exp: Arc::new(exp),
            load: Load { runtime, keys },
        }
    }

    /// Compares gets of one key by concurrent tasks. The candidate by hand sends as many at once.
    fn get<'a>(
        &'a self,
        name: &str,
        tasks: usize,
        metric: impl Fn(Times) -> f64 + Copy + 'a,
    ) -> Comparison<'a> {
        // With one task, an operation takes longer, and fewer are enough.
        let count = if tasks == 1 { self.operations / 8 } else { self.operations };
        let Self { load, limit, .. } = self;
        let run = move |client: &Arc<dyn Client>| metric(load.run(client, Job::Get, tasks, count));
        Comparison::new(name)
            .candidate(MEMCACHED, move || run(&self.store))
            .candidate(LIMIT, move || {
                let (limit, keys) = (limit.clone(), Arc::clone(&load.keys));
                metric(load.times(async move { limit.get(&keys, count, tasks).await }))
            })
            .candidate(POOL, move || run(&self.pool))
            .candidate(EXP, move || run(&self.exp))
    }

    fn get_with_targets<'a>(
        &'a self,
        name: &str,
        tasks: usize,
        metric: impl Fn(Times) -> f64 + Copy + 'a,
        [limit, pool]: [f64; 2],
    ) -> Comparison<'a> {
        let comparison = self.get(name, tasks, metric);
        comparison.at_most(limit, LIMIT).because(PLACEMENT).at_most(pool, POOL).because(PLACEMENT)
    }

    /// Compares the CPU time of batches by one task.
    fn batches(&self, name: &str, job: Job) -> Comparison<'_> {
        let count = self.operations / 32;
        let Self { load, limit, .. } = self;
        let run = move |client: &Arc<dyn Client>| load.run(client, job, 1, count).cpu;
        let by_hand = move |one_reply: bool| {
            let (limit, keys) = (limit.clone(), Arc::clone(&load.keys));
            let work = async move { limit.batches(&keys, count, job, one_reply).await };
            load.times(work).cpu
        };
        Comparison::new(name)
            .candidate(MEMCACHED, move || run(&self.store))
            .candidate(LIMIT, move || by_hand(false))
            .candidate(ONE_REPLY, move || by_hand(true))
            .candidate(POOL, move || run(&self.pool))
            .candidate(EXP, move || run(&self.exp))
    }

    /// Compares the handle, as applications call it, with the pool. Sets come first, because they
    /// store what gets read. All candidates read what the handle stored.
    fn add_handle(&self, report: &mut Report, rounds: usize) {
        for (job, targets) in [
            (Job::SetMany, [(1, 1.05), (16, 0.71)].as_slice()),
            (Job::GetMany, &[(1, 1.05), (16, 0.71)]),
            (Job::Set, &[(1, 1.05), (16, 0.71), (64, 0.43)]),
            (Job::Get, &[(1, 1.05), (16, 0.71), (64, 0.43)]),
        ] {
            if job.name().starts_with("get") {
                // The candidates store other bytes than the handle, which it would not decode.
                self.load.run(&self.handle, Job::SetMany, 1, KEYS / Job::BATCH);
            }
            for &(tasks, ratio) in targets {
                let name = format!("{} through the handle, tasks: {tasks}", job.name());
                report.add(self.through_handle(&name, job, tasks, ratio).run(rounds));
            }
        }
    }

    fn through_handle(&self, name: &str, job: Job, tasks: usize, ratio: f64) -> Comparison<'_> {
        let count = match (job.keys(), tasks) {
            (1, 1) => self.operations / 8,
            (1, _) => self.operations,
            _ => self.operations / 32,
        };
        let run = move |client: &Arc<dyn Client>| self.load.run(client, job, tasks, count).wall;
        let comparison = Comparison::new(name).candidate(HANDLE, move || run(&self.handle));
        comparison
            .candidate(POOL, move || run(&self.pool))
            .at_most(ratio, POOL)
            .because(if tasks == 1 { ONE_TASK } else { ONE_CONNECTION })
    }

    /// Compares one task with a cache of Python's.
    fn python<'a>(&'a self, peer: &'a mut Peer, name: &str, job: Job) -> Comparison<'a> {
        let count = self.operations / 32;
        Comparison::new(name)
            .candidate(MEMCACHED, move || self.load.run(&self.store, job, 1, count).wall)
            .candidate(DJANGO, move || peer.time(job.name(), count))
    }
}
