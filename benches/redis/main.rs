//! cache-redis against redis-rs, fred and the least that any program could do. The `README.md` of this crate says how to read
//! it.

mod measure;
mod peers;
mod raw;

use std::{cell::RefCell, env, path::Path, time::Duration};

use cachette_benches::{Contest, Figure, Peer, Peers, Report, workload::keys};
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

/// Why gets by many tasks may miss what they aim at.
const APART: &str = "it is decided by where the kernel puts client and server. On one processor together, the store takes \
                     0.77 of the time at 16 tasks and 0.90 at 64. Kept to one each, it takes 1.72 and 1.23 of the wall time by \
                     1.13 and 0.80 of the processor time: one write has what all tasks ask for, and so client and server take \
                     turns, and each sleeps meanwhile, which is dear where one processor wakes another; raw pipelining, which \
                     takes turns as well, takes 1.28 at 16. redis-rs writes less at once, and has the server always at work.";

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
    let (rounds, operations) = if quick { (5, 10_000) } else { (11, 20_000) };
    let server = Server::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
    let keys = keys("there", 5000);
    let bench = Bench { rounds, operations, runtime, keys, url: server.url(), port: server.port() };
    let mut report = Report::default();
    report.measured_with(server.version().unwrap_or_else(|why| panic!("{why}")));
    // First, so that what is read is there.
    bench.contest(Job::SetMany, &mut report);
    bench.contest(Job::GetMany, &mut report);
    for tasks in [1, 16, 64] {
        bench.contest(Job::Get { tasks }, &mut report);
    }
    let tasks = [1.0, 16.0, 64.0].map(|tasks| {
        (tasks, if tasks > 1.0 { format!("get, {tasks} tasks") } else { "get, 1 task".to_owned() })
    });
    let wall = tasks.map(|(tasks, job)| (tasks, format!("{job}, wall time")));
    let figure = Figure::lines(
        "Gets from Redis by tasks",
        "tasks at once",
        "thousands of operations a second",
    )
    .log_x();
    report.draw_over(figure, &wall, |nanoseconds| 1e6 / nanoseconds);
    report.draw_bars("p99 of a get by 64 tasks, Redis", "get, 64 tasks, p99");
    if let Some(peers) = Peers::if_asked(Path::new(env!("CARGO_TARGET_TMPDIR")), &mut report) {
        let mut django = bench.django(&peers).unwrap_or_else(|why| panic!("{why}"));
        report.measured_with(django.ready());
        bench.beside(&mut django, &mut report);
    }
    report.publish();
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
        let why = matches!(job, Job::Get { tasks: 2.. }).then_some(APART);
        self.contests(&name, candidates, why, report);
    }

    fn pass<C: Client>(&self, job: Job) -> Sample {
        let client = self.runtime.block_on(C::new(&self.url));
        let (runtime, count) = (&self.runtime, self.count(job));
        match job {
            Job::Get { tasks } => {
                measure::tasks(runtime, tasks, count, &self.keys, client.getter())
            }
            Job::GetMany => {
                measure::in_turn(runtime, count, async |n| client.get_many(&self.batch(n)).await)
            }
            Job::SetMany => {
                measure::in_turn(runtime, count, async |n| client.set_many(&self.batch(n)).await)
            }
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
    fn django(&self, peers: &Peers) -> Result<Peer, String> {
        peers.start("django-redis", &self.url, self.keys.len() as u64)
    }

    /// Wall time of one task against Django's.
    fn beside(&self, django: &mut Peer, report: &mut Report) {
        let (runtime, count) = (&self.runtime, self.operations / BATCH);
        let client = runtime.block_on(Ours::new(&self.url));
        let ours = |job: &str| match job {
            "get" => measure::tasks(runtime, 1, count, &self.keys, client.getter()).wall,
            "get_many" => {
                measure::in_turn(runtime, count, async |n| client.get_many(&self.batch(n)).await)
                    .wall
            }
            _ => {
                measure::in_turn(runtime, count, async |n| client.set_many(&self.batch(n)).await)
                    .wall
            }
        };
        for (name, job) in [
            ("get, one after the other", "get"),
            ("get_many of 100, one after the other", "get_many"),
            ("set_many of 100, one after the other", "set_many"),
        ] {
            let contest = Contest::new(name)
                .candidate(OURS, || ours(job))
                .candidate(DJANGO, || django.time(job, count));
            report.add(contest.run(self.rounds));
        }
    }

    /// The keys of a batch.
    fn batch(&self, number: usize) -> Vec<&str> {
        let first = number * BATCH % self.keys.len();
        self.keys[first..first + BATCH].iter().map(|key| &**key).collect()
    }

    /// One contest for each thing that is measured, all by the same passes: what the first one has run, the others read. One
    /// that takes longer to be steady runs the rest itself.
    fn contests(
        &self,
        job: &str,
        candidates: Vec<Candidate<'_>>,
        why_missed: Option<&str>,
        report: &mut Report,
    ) {
        let passes: Vec<_> = candidates
            .into_iter()
            .map(|(name, pass)| (name, RefCell::new((pass, Vec::new()))))
            .collect();
        for metric in METRICS {
            let mut contest = Contest::new(format!("{job}, {}", metric.name));
            for (name, passes) in &passes {
                let mut round = 0;
                contest = contest.candidate(name, move || {
                    let (pass, samples) = &mut *passes.borrow_mut();
                    if round == samples.len() {
                        samples.push(pass());
                    }
                    round += 1;
                    (metric.of)(samples[round - 1])
                });
            }
            if let Some(most) = metric.target {
                contest = contest.at_most(most, REDIS_RS);
                if let Some(why) = why_missed {
                    contest = contest.because(why);
                }
            }
            report.add(contest.run(self.rounds));
        }
    }
}
