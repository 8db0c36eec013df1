//! cache-redis against redis-rs, fred and the least that any program could do. The `README.md` of this crate says how to read
//! it.
#![allow(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod measure;
mod peers;
mod raw;

use std::{cell::RefCell, collections::VecDeque, env, path::Path, time::Duration};

use cachette_benches::{Contest, Outcome, Peer, Peers, Report, workload::keys};
use measure::{METRICS, Sample};
use peers::{Client, Fred, Ours, RedisRs};
use raw::Raw;
use tokio::runtime::{Builder, Runtime};
use xtask::servers::{Kind, Server};

const OURS: &str = "cache-redis";
const REDIS_RS: &str = "redis-rs";
const FRED: &str = "fred";
const RAW: &str = "raw pipelining";
const DJANGO: &str = "Django on redis-py";

const HOUR: Duration = Duration::from_secs(3600);

/// Keys of one batch.
const BATCH: usize = 100;

/// What every contest here works with. Each pass has a connection of its own: which thread serves it is chance, and decides
/// more than what is measured.
struct Bench {
    rounds: usize,
    /// Operations of one pass.
    operations: usize,
    runtime: Runtime,
    keys: Vec<Box<str>>,
    url: String,
    port: u16,
}

fn main() {
    let asked = |flag: &str| env::args().any(|argument| argument == flag);
    let quick = asked("--quick");
    let (rounds, operations) = if quick { (7, 10_000) } else { (25, 20_000) };
    let server = Server::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
    let keys = keys("there", 5000);
    let bench = Bench { rounds, operations, runtime, keys, url: server.url(), port: server.port() };
    let mut report = Report::default();
    // First, so that what is read is there.
    bench.contest(Job::SetMany, &mut report);
    bench.contest(Job::GetMany, &mut report);
    for tasks in [1, 16, 64] {
        bench.contest(Job::Get { tasks }, &mut report);
    }
    if asked("--peers") {
        let mut django = bench.django().unwrap_or_else(|why| panic!("{why}"));
        bench.beside(&mut django, &mut report);
    }
    println!("{report}");
}

#[derive(Clone, Copy)]
enum Job {
    /// By so many tasks at once.
    Get {
        tasks: usize,
    },
    /// Batches by one task.
    GetMany,
    SetMany,
}

/// A candidate, and how it does the job once.
type Candidate<'a> = (&'static str, Box<dyn FnMut() -> Sample + 'a>);

impl Bench {
    fn contest(&self, job: Job, report: &mut Report) {
        let name = match job {
            Job::Get { tasks: 1 } => "get, 1 task".to_owned(),
            Job::Get { tasks } => format!("get, {tasks} tasks"),
            Job::GetMany => "get_many of 100".to_owned(),
            Job::SetMany => "set_many of 100".to_owned(),
        };
        let candidates: Vec<Candidate<'_>> = vec![
            (OURS, Box::new(move || self.pass::<Ours>(job))),
            (REDIS_RS, Box::new(move || self.pass::<RedisRs>(job))),
            (FRED, Box::new(move || self.pass::<Fred>(job))),
            (RAW, Box::new(move || self.raw_pass(job))),
        ];
        self.contests(&name, candidates, report);
    }

    fn pass<C: Client>(&self, job: Job) -> Sample {
        let client = self.runtime.block_on(C::new(&self.url));
        let (runtime, count) = (&self.runtime, self.count(job));
        match job {
            Job::Get { tasks } => measure::tasks(runtime, tasks, count, &self.keys, client.getter()),
            Job::GetMany => measure::in_turn(runtime, count, async |n| client.get_many(&self.batch(n)).await),
            Job::SetMany => measure::in_turn(runtime, count, async |n| client.set_many(&self.batch(n)).await),
        }
    }

    fn raw_pass(&self, job: Job) -> Sample {
        let (mut raw, count) = (Raw::new(self.port), self.count(job));
        match job {
            Job::Get { tasks } => raw.gets(tasks, count, &self.keys),
            Job::GetMany => raw.get_batches(count, |number| self.batch(number)),
            Job::SetMany => raw.set_batches(count, |number| self.batch(number)),
        }
    }

    /// How often the job's operation is done in a pass.
    fn count(&self, job: Job) -> usize {
        match job {
            Job::Get { tasks: 1 } => self.operations / 4,
            Job::Get { .. } => self.operations,
            Job::GetMany | Job::SetMany => self.operations / BATCH,
        }
    }

    /// Django with as many entries in the same server, under keys of its own.
    fn django(&self) -> Result<Peer, String> {
        let peers = Peers::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        let mut django = peers.start("django-redis", &self.url, self.keys.len() as u64)?;
        django.ready();
        Ok(django)
    }

    /// Wall time of one task against Django's.
    fn beside(&self, django: &mut Peer, report: &mut Report) {
        let (runtime, count) = (&self.runtime, self.operations / BATCH);
        let client = runtime.block_on(Ours::new(&self.url));
        let ours = |job: &str| match job {
            "get" => measure::tasks(runtime, 1, count, &self.keys, client.getter()).wall,
            "get_many" => measure::in_turn(runtime, count, async |n| client.get_many(&self.batch(n)).await).wall,
            _ => measure::in_turn(runtime, count, async |n| client.set_many(&self.batch(n)).await).wall,
        };
        for (name, job) in [
            ("get, one after the other", "get"),
            ("get_many of 100, one after the other", "get_many"),
            ("set_many of 100, one after the other", "set_many"),
        ] {
            let contest =
                Contest::new(name).candidate(OURS, || ours(job)).candidate(DJANGO, || django.time(job, count));
            report.add(contest.run(self.rounds));
        }
    }

    /// The keys of a batch.
    fn batch(&self, number: usize) -> Vec<&str> {
        let first = number * BATCH % self.keys.len();
        self.keys[first..first + BATCH].iter().map(|key| &**key).collect()
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
