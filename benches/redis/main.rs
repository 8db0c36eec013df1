//! cache-redis against redis-rs, fred and the least work of a client. See this crate's `README.md`.

mod peers;
mod raw;

use std::{cell::RefCell, path::Path, sync::Arc};

use cachette_benches::{
    Client, Comparison, Figure, Job, Load, Peers, Report, Times, flag, workload::keys,
};
use raw::Raw;
use tokio::runtime::Builder;
use xtask::servers::{Kind, Server};

const STORE: &str = "cache-redis";
const REDIS_RS: &str = "redis-rs";
const FRED: &str = "fred";
const RAW: &str = "raw pipelining";
const DJANGO: &str = "Django on redis-py";

/// Why gets by many tasks miss their targets.
const PLACEMENT: &str = "\
it depends on which processors the kernel gives to client and server. On the same processor, the \
store takes 0.77 of the time with 16 tasks and 0.90 with 64. With a processor each, it takes 1.72 \
and 1.23 of the wall time with 1.13 and 0.80 of the CPU time: one write contains the requests of \
all tasks, so client and server take turns and sleep meanwhile, and waking another processor is \
slow. Raw pipelining takes turns as well and takes 1.28 with 16. redis-rs writes less at once and \
keeps the server busy.";

/// A number that is reported for each pass, and its highest allowed ratio to redis-rs.
type Metric = (&'static str, fn(Times) -> f64, Option<f64>);

const METRICS: [Metric; 4] = [
    // At least 0.95 of the operations per second.
    ("wall time", |times| times.wall, Some(1.053)),
    ("CPU time", |times| times.cpu, Some(1.1)),
    ("p50", |times| times.p50, None),
    ("p99", |times| times.p99, None),
];

/// What every comparison needs. Each pass has a connection of its own, because the thread that
/// serves a connection is random and matters more than the client.
struct Bench {
    rounds: usize,
    /// Operations in a pass.
    operations: usize,
    load: Load,
    url: String,
    port: u16,
}

fn main() {
    let (rounds, operations) = if flag("--quick") { (5, 10_000) } else { (11, 20_000) };
    let server = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let load = Load { runtime: runtime.expect("it starts"), keys: keys("there", 5000).into() };
    let bench = Bench { rounds, operations, load, url: server.url(), port: server.port() };
    let mut report = Report::default();
    report.measured_with(server.version().unwrap_or_else(|error| panic!("{error}")));
    // Sets come first, because they store what gets read.
    bench.compare("set_many of 100", Job::SetMany, 1, &mut report);
    bench.compare("get_many of 100", Job::GetMany, 1, &mut report);
    let gets = [(1, "get, 1 task"), (16, "get, 16 tasks"), (64, "get, 64 tasks")];
    for (tasks, name) in gets {
        bench.compare(name, Job::Get, tasks, &mut report);
    }
    let wall = gets.map(|(tasks, name)| {
        (f64::from(u8::try_from(tasks).unwrap_or(0)), format!("{name}, wall time"))
    });
    let unit = "thousands of operations per second";
    let figure = Figure::lines("Gets from Redis by tasks", "concurrent tasks", unit);
    report.draw_over(figure, &wall, |nanoseconds| 1e6 / nanoseconds);
    report.draw_bars("p99 of a get by 64 tasks, Redis", "get, 64 tasks, p99");
    if let Some(peers) = Peers::if_requested(Path::new(env!("CARGO_TARGET_TMPDIR")), &mut report) {
        bench.python(&peers, &mut report);
    }
    report.publish();
}

impl Bench {
    /// Compares all metrics of a job. The first comparison runs the passes, and the others use
    /// their results; one that needs more rounds runs these itself.
    fn compare(&self, job_name: &str, job: Job, tasks: usize, report: &mut Report) {
        let count = match job {
            Job::Get if tasks == 1 => self.operations / 4,
            Job::Get => self.operations,
            _ => self.operations / Job::BATCH,
        };
        let connect = |name: &str| self.load.runtime.block_on(peers::connect(name, &self.url));
        let run = |client| self.load.run(&client, job, tasks, count);
        let candidates = [STORE, REDIS_RS, FRED, RAW].map(|name| (name, RefCell::new(Vec::new())));
        for (metric, of, target) in METRICS {
            let mut comparison = Comparison::new(format!("{job_name}, {metric}"));
            for (name, passes) in &candidates {
                let mut round = 0;
                comparison = comparison.candidate(name, move || {
                    let mut passes = passes.borrow_mut();
                    if round == passes.len() {
                        passes.push(match *name {
                            RAW => Raw::new(self.port).run(job, tasks, count, &self.load.keys),
                            name => run(connect(name)),
                        });
                    }
                    round += 1;
                    of(passes[round - 1])
                });
            }
            if let Some(ratio) = target {
                comparison = comparison.at_most(ratio, REDIS_RS);
                if tasks > 1 {
                    comparison = comparison.because(PLACEMENT);
                }
            }
            report.add(comparison.run(self.rounds));
        }
    }

    /// Compares the wall time of one task with Django's, which has as many entries on the same
    /// server.
    fn python(&self, peers: &Peers, report: &mut Report) {
        let django = peers.start("django-redis", &self.url, self.load.keys.len() as u64);
        let mut django = django.unwrap_or_else(|error| panic!("{error}"));
        report.measured_with(django.ready());
        let count = self.operations / Job::BATCH;
        let store: Arc<dyn Client> = self.load.runtime.block_on(peers::connect(STORE, &self.url));
        for (name, job) in [
            ("get, sequential", Job::Get),
            ("get_many of 100, sequential", Job::GetMany),
            ("set_many of 100, sequential", Job::SetMany),
        ] {
            let comparison = Comparison::new(name)
                .candidate(STORE, || self.load.run(&store, job, 1, count).wall)
                .candidate(DJANGO, || django.time(job.name(), count));
            report.add(comparison.run(self.rounds));
        }
    }
}
