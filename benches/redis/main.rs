//! cache-redis against redis-rs, fred and the least that any program could do. The `README.md` of this crate says how to read
//! it.
#![allow(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod measure;
mod peers;
mod raw;

use std::{cell::RefCell, collections::VecDeque, env, time::Duration};

use cachette_benches::{Contest, Outcome, Report, workload::keys};
use measure::{METRICS, Sample};
use peers::{Fred, Ours, RedisRs};
use raw::Raw;
use tokio::runtime::{Builder, Runtime};
use xtask::servers::{Kind, Server};

const OURS: &str = "cache-redis";
const REDIS_RS: &str = "redis-rs";
const FRED: &str = "fred";
const RAW: &str = "raw pipelining";

const HOUR: Duration = Duration::from_secs(3600);

/// Keys of one batch.
const BATCH: usize = 100;

/// What every contest here works with.
struct Bench {
    rounds: usize,
    /// Operations of one pass.
    operations: usize,
    runtime: Runtime,
    keys: Vec<Box<str>>,
    ours: Ours,
    redis_rs: RedisRs,
    fred: Fred,
    raw: RefCell<Raw>,
}

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, operations) = if quick { (5, 5000) } else { (15, 20_000) };
    let server = Server::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
    let url = server.url();
    let (ours, redis_rs, fred) =
        runtime.block_on(async { (Ours::new(&url), RedisRs::new(&url).await, Fred::new(&url).await) });
    let (keys, raw) = (keys("there", 10_000), RefCell::new(Raw::new(server.port())));
    let bench = Bench { rounds, operations, runtime, keys, ours, redis_rs, fred, raw };
    let mut report = Report::default();
    // First, so that what is read is there.
    bench.set_many(&mut report);
    bench.get_many(&mut report);
    for tasks in [1, 16, 64] {
        bench.get(tasks, &mut report);
    }
    println!("{report}");
}

/// A candidate, and how it does the job once.
type Candidate<'a> = (&'static str, Box<dyn FnMut() -> Sample + 'a>);

impl Bench {
    fn get(&self, tasks: usize, report: &mut Report) {
        let operations = if tasks == 1 { self.operations / 4 } else { self.operations };
        let name = format!("get, {tasks} tasks").replace("1 tasks", "1 task");
        let candidates: Vec<Candidate<'_>> = vec![
            (OURS, Box::new(move || measure::tasks(&self.runtime, tasks, operations, &self.keys, self.ours.getter()))),
            (
                REDIS_RS,
                Box::new(move || measure::tasks(&self.runtime, tasks, operations, &self.keys, self.redis_rs.getter())),
            ),
            (FRED, Box::new(move || measure::tasks(&self.runtime, tasks, operations, &self.keys, self.fred.getter()))),
            (RAW, Box::new(move || self.raw.borrow_mut().gets(tasks, operations, &self.keys))),
        ];
        self.contests(&name, candidates, report);
    }

    fn get_many(&self, report: &mut Report) {
        let batches = self.operations / BATCH;
        let batch = |number: usize| -> Vec<&str> {
            let first = number * BATCH % self.keys.len();
            self.keys[first..first + BATCH].iter().map(|key| &**key).collect()
        };
        let candidates: Vec<Candidate<'_>> = vec![
            (
                OURS,
                Box::new(|| measure::in_turn(&self.runtime, batches, async |n| self.ours.get_many(&batch(n)).await)),
            ),
            (
                REDIS_RS,
                Box::new(|| {
                    measure::in_turn(&self.runtime, batches, async |n| self.redis_rs.get_many(&batch(n)).await)
                }),
            ),
            (
                FRED,
                Box::new(|| measure::in_turn(&self.runtime, batches, async |n| self.fred.get_many(&batch(n)).await)),
            ),
            (RAW, Box::new(|| self.raw.borrow_mut().get_batches(batches, batch))),
        ];
        self.contests("get_many of 100", candidates, report);
    }

    fn set_many(&self, report: &mut Report) {
        let batches = self.operations / BATCH;
        let batch = |number: usize| -> Vec<&str> {
            let first = number * BATCH % self.keys.len();
            self.keys[first..first + BATCH].iter().map(|key| &**key).collect()
        };
        let candidates: Vec<Candidate<'_>> = vec![
            (
                OURS,
                Box::new(|| measure::in_turn(&self.runtime, batches, async |n| self.ours.set_many(&batch(n)).await)),
            ),
            (
                REDIS_RS,
                Box::new(|| {
                    measure::in_turn(&self.runtime, batches, async |n| self.redis_rs.set_many(&batch(n)).await)
                }),
            ),
            (
                FRED,
                Box::new(|| measure::in_turn(&self.runtime, batches, async |n| self.fred.set_many(&batch(n)).await)),
            ),
            (RAW, Box::new(|| self.raw.borrow_mut().set_batches(batches, batch))),
        ];
        self.contests("set_many of 100", candidates, report);
    }

    /// One contest for each thing that is measured, all by the same passes.
    fn contests(&self, job: &str, mut candidates: Vec<Candidate<'_>>, report: &mut Report) {
        let samples: Vec<_> = candidates.iter().map(|_| RefCell::new(VecDeque::<Sample>::new())).collect();
        for round in 0..=self.rounds {
            // Whoever comes first in one round comes last in another.
            for turn in 0..candidates.len() {
                let number = (round + turn) % candidates.len();
                let sample = (candidates[number].1)();
                samples[number].borrow_mut().push_back(sample);
            }
        }
        for metric in METRICS {
            let mut contest = Contest::new(format!("{job}, {}", metric.name));
            for ((name, _), samples) in candidates.iter().zip(&samples) {
                let mut taken = samples.borrow().clone();
                contest = contest.candidate(name, move || taken.pop_front().map_or(0.0, metric.of));
            }
            if let Some(most) = metric.target {
                contest = contest.at_most(most, REDIS_RS);
            }
            let outcome: Outcome = contest.run(self.rounds);
            report.add(outcome);
        }
    }
}
