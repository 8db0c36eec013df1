//! memcached against the least that a client could do, and what a user would pick instead. The `README.md` of this
//! crate says how to read it.

mod limit;
mod load;
mod peers;

use std::{env, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use cachette_benches::{
    Contest, Figure, Peer, Peers, Report,
    workload::{VALUE_LENGTH, keys},
};
use limit::Limit;
use load::{BATCH, Load, Times, Verb};
use peers::{Exp, Ours, Pool};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

const MEMCACHED: &str = "memcached";
const LIMIT: &str = "pipelined by hand";
const IN_ONE: &str = "a batch in one piece, by hand";
const POOL: &str = "async-memcached in a pool";
const EXP: &str = "`memcache`, its async client";
const DJANGO: &str = "Django on pymemcache";

const KEYS: usize = 10_000;
/// Of the pool.
const CONNECTIONS: usize = 16;

/// What every contest here works with.
struct Bench {
    operations: usize,
    load: Load,
    ours: Arc<Ours>,
    limit: Limit,
    pool: Arc<Pool>,
    exp: Arc<Exp>,
}

/// Why a batch misses its target, where it does.
const BATCHES: &str = "one write, one wait and one read are all that the store asks of the kernel for a batch, and what they take \
                       (see a batch in one piece, by hand) is in both figures: where it is 7 µs, get_many is at 0.51 and \
                       set_many at 0.36 of async-memcached; where it is 22 µs, at 0.60 \
                       and 0.46. The rest, counted in instructions a key, is 1,300 and 900 of the store's, of which a get_many \
                       spends 400 on an allocation for each value, and 3,700 and 3,300 of async-memcached's.";

/// Why a get by one task does.
const ALONE: &str = "of the 10 µs that a get takes either, 9 are the kernel's and the server's: see what is done by hand. What the store \
                     does itself takes a tenth of a microsecond more.";

/// Why gets by many tasks do.
const APART: &str = "it is decided by where the kernel puts client and server. On one processor together, the store took 0.28 of the \
                     pool's time by 16 tasks, 0.20 by 64, and 99 % of these were within 0.36 of its; with a processor each, in a run \
                     of the same day, 0.75, 0.33 and 0.32.";

fn main() {
    let asked = |flag: &str| env::args().any(|argument| argument == flag);
    let quick = asked("--quick");
    let (rounds, operations) = if quick { (3, 6_400) } else { (7, 32_000) };
    let server = Server::start(Kind::Memcached).unwrap_or_else(|why| panic!("{why}"));
    let runtime = Arc::new(Runtime::new().expect("it starts"));
    let bench = Bench::new(operations, server.port(), &runtime);
    let median = |times: Times| times.median;
    let wall = |times: Times| times.wall;
    let slow = |times: Times| times.slow;
    let cpu = |times: Times| times.cpu;
    let mut report = Report::default();
    report.measured_with(server.version().unwrap_or_else(|why| panic!("{why}")));
    for contest in [
        bench
            .get("get, 1 task: half of them within", 1, median)
            .at_most(1.15, LIMIT)
            .at_most(1.0, POOL)
            .because(ALONE),
        bench.get("get, 1 task", 1, wall),
        bench
            .get("get, 16 tasks", 16, wall)
            .at_most(2.2, LIMIT)
            .because(APART)
            .at_most(0.71, POOL)
            .because(APART),
        bench
            .get("get, 64 tasks", 64, wall)
            .at_most(2.0, LIMIT)
            .because(APART)
            .at_most(0.43, POOL)
            .because(APART),
        bench
            .get("get, 64 tasks: 99 % of them within", 64, slow)
            .at_most(2.5, LIMIT)
            .because(APART)
            .at_most(0.3, POOL)
            .because(APART),
        bench.get("get, 64 tasks: CPU", 64, cpu),
        bench
            .batches("get_many of 100: CPU", Verb::GetMany)
            .at_most(1.6, LIMIT)
            .at_most(0.6, POOL)
            .because(BATCHES),
        bench
            .batches("set_many of 100: CPU", Verb::SetMany)
            .at_most(1.6, LIMIT)
            .at_most(0.4, POOL)
            .because(BATCHES),
    ] {
        report.add(contest.run(rounds));
    }
    if let Some(peers) = Peers::if_asked(Path::new(env!("CARGO_TARGET_TMPDIR")), &mut report) {
        let mut django = django(&peers, server.port()).unwrap_or_else(|why| panic!("{why}"));
        report.measured_with(django.ready());
        for (name, verb, job) in [
            ("get, one after the other", Verb::Get, "get"),
            ("get_many of 100", Verb::GetMany, "get_many"),
            ("set_many of 100", Verb::SetMany, "set_many"),
        ] {
            report.add(bench.beside(&mut django, name, verb, job).run(rounds));
        }
    }
    let tasks = [(1.0, "get, 1 task"), (16.0, "get, 16 tasks"), (64.0, "get, 64 tasks")];
    let figure = Figure::lines(
        "Gets from memcached by tasks",
        "tasks at once",
        "thousands of operations a second",
    )
    .log_x();
    report.draw_over(figure, &tasks, |nanoseconds| 1e6 / nanoseconds);
    report.draw_bars("p99 of a get by 64 tasks, memcached", "get, 64 tasks: 99 % of them within");
    report.publish();
}

/// Django with as many entries on the same server, under keys of its own.
fn django(peers: &Peers, port: u16) -> Result<Peer, String> {
    peers.start("django-memcached", &format!("127.0.0.1:{port}"), KEYS as u64)
}

impl Bench {
    fn new(operations: usize, port: u16, runtime: &Arc<Runtime>) -> Self {
        let mut options = MemcachedOptions::default();
        options.timeout = Duration::from_secs(20);
        options.connect_timeout = Duration::from_secs(20);
        let store =
            MemcachedCache::new(&[format!("127.0.0.1:{port}")], &options).expect("it is fine");
        let keys: Arc<[Box<str>]> = keys("there", KEYS).into();
        let value = Value::Bytes(Bytes::from_static(&[b'v'; VALUE_LENGTH]));
        let entries: Vec<(&str, Value)> = keys.iter().map(|key| (&**key, value.clone())).collect();
        runtime.block_on(async {
            assert!(store.set_many(&entries, None).await.expect("it is stored").is_empty());
            Self {
                operations,
                load: Load { runtime: Arc::clone(runtime), keys: Arc::clone(&keys) },
                ours: Arc::new(Ours(Arc::new(store))),
                limit: Limit::connect(port).await,
                pool: Arc::new(Pool::connect(port, CONNECTIONS).await),
                exp: Arc::new(Exp::connect(port).await),
            }
        })
    }

    /// Gets of one key each, by so many tasks at once. By hand, as many are on their way at once.
    fn get<'a>(
        &'a self,
        name: &str,
        tasks: usize,
        what: impl Fn(Times) -> f64 + Copy + 'a,
    ) -> Contest<'a> {
        // Alone, an operation takes so long that fewer will do.
        let count = if tasks == 1 { self.operations / 8 } else { self.operations };
        let Self { load, ours, limit, pool, exp, .. } = self;
        Contest::new(name)
            .candidate(MEMCACHED, move || what(load.run(tasks, count, ours, Verb::Get)))
            .candidate(LIMIT, move || {
                what(load.timed(limit.clone().get(Arc::clone(&load.keys), count, tasks)))
            })
            .candidate(POOL, move || what(load.run(tasks, count, pool, Verb::Get)))
            .candidate(EXP, move || what(load.run(tasks, count, exp, Verb::Get)))
    }

    /// Batches by one task.
    fn batches(&self, name: &str, verb: Verb) -> Contest<'_> {
        let count = self.operations / 32;
        let Self { load, ours, limit, pool, exp, .. } = self;
        let by_hand = move || {
            let (limit, keys) = (limit.clone(), Arc::clone(&load.keys));
            load.timed(async move {
                Limit::of_batches(match verb {
                    Verb::SetMany => limit.set(keys, count * BATCH, BATCH).await,
                    _ => limit.get(keys, count * BATCH, BATCH).await,
                })
            })
        };
        let in_one = move || {
            let (limit, keys) = (limit.clone(), Arc::clone(&load.keys));
            load.timed(async move {
                match verb {
                    Verb::SetMany => limit.set_in_one(keys, count).await,
                    _ => limit.get_in_one(keys, count).await,
                }
            })
        };
        Contest::new(name)
            .candidate(MEMCACHED, move || load.run(1, count, ours, verb).cpu)
            .candidate(LIMIT, move || by_hand().cpu)
            .candidate(IN_ONE, move || in_one().cpu)
            .candidate(POOL, move || load.run(1, count, pool, verb).cpu)
            .candidate(EXP, move || load.run(1, count, exp, verb).cpu)
    }

    /// Against a cache of Python's, by one task.
    fn beside<'a>(
        &'a self,
        peer: &'a mut Peer,
        name: &str,
        verb: Verb,
        job: &'static str,
    ) -> Contest<'a> {
        let count = self.operations / 32;
        Contest::new(name)
            .candidate(MEMCACHED, move || self.load.run(1, count, &self.ours, verb).wall)
            .candidate(DJANGO, move || peer.time(job, count))
    }
}
