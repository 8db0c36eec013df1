//! A `CacheHandle` on cache-redis against redis-rs, fred and the least work of a client. See this
//! crate's `README.md`.

mod peers;
mod raw;

use std::{cell::RefCell, path::Path, sync::Arc, time::Duration};

use cachette_benches::{
    Client, Comparison, Figure, Job, Load, Peers, Report, Times, flag, on_processor, workload::keys,
};
use raw::Raw;
use tokio::runtime::Runtime;
use xtask::{
    proxy::{Mode, Proxy},
    servers::{Kind, Server},
};

const HANDLE: &str = "CacheHandle";
const STORE: &str = "cache-redis";
const REDIS_RS: &str = "redis-rs";
const FRED: &str = "fred";
const RAW: &str = "raw pipelining";
const DJANGO: &str = "Django on redis-py";

/// Why the targets beside the server are missed.
const HANDLE_COST: &str = "\
the store bounds the time of a call and the length of a reply, and the handle composes keys and \
returns a batch in a hash map: compare with `cache-redis`, which is without the handle.";

/// How long the proxy delays replies.
const DELAY: Duration = Duration::from_micros(200);

/// The numbers of concurrent tasks.
const TASKS: [usize; 3] = [1, 16, 64];

/// The processor of the server, and another one.
const PROCESSORS: [usize; 2] = [0, 1];

/// A number that is reported for each pass, and its highest allowed ratio to redis-rs.
type Metric = (&'static str, fn(Times) -> f64, Option<f64>);

const WALL: Metric = ("wall time", |times| times.wall, Some(1.0));
const CPU: Metric = ("CPU time", |times| times.cpu, Some(1.0));
const P99: Metric = ("p99", |times| times.p99, None);

/// Where the client is, in relation to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    SameProcessor,
    OtherProcessor,
    BehindProxy,
}

impl Place {
    const ALL: [Self; 3] = [Self::SameProcessor, Self::OtherProcessor, Self::BehindProxy];

    fn name(self) -> &'static str {
        match self {
            Self::SameProcessor => "one processor",
            Self::OtherProcessor => "a processor each",
            Self::BehindProxy => "0.2 ms away",
        }
    }

    fn processor(self) -> usize {
        PROCESSORS[usize::from(self != Self::SameProcessor)]
    }

    /// The proxy runs in this process, so the CPU time would include it.
    fn metrics(self, job: Job) -> &'static [Metric] {
        match (self, job) {
            (Self::BehindProxy, _) => &[WALL],
            (Self::OtherProcessor, Job::Get) => &[WALL, CPU, P99],
            _ => &[WALL, CPU],
        }
    }

    fn candidates(self) -> &'static [&'static str] {
        match self {
            Self::OtherProcessor => &[HANDLE, STORE, REDIS_RS, FRED, RAW],
            _ => &[HANDLE, STORE, REDIS_RS],
        }
    }
}

/// What every comparison needs. Each pass has a connection of its own, so that no candidate profits
/// from a connection for the whole run.
struct Bench {
    rounds: usize,
    /// Operations in a pass.
    operations: usize,
    place: Place,
    load: Load,
    port: u16,
}

fn main() {
    // The server inherits the processor.
    on_processor(PROCESSORS[0], measure);
}

fn measure() {
    let server = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    proxy.switch(Mode::Delay(DELAY));
    let mut report = Report::default();
    report.measured_with(server.version().unwrap_or_else(|error| panic!("{error}")));
    for place in Place::ALL {
        let port = if place == Place::BehindProxy { proxy.port() } else { server.port() };
        on_processor(place.processor(), || Bench::new(place, port).run(&mut report));
    }
    let name = |tasks| job_name(Job::Get, tasks, Place::OtherProcessor);
    let wall = TASKS.map(|tasks| {
        (f64::from(u8::try_from(tasks).unwrap_or(0)), format!("{}, wall time", name(tasks)))
    });
    let unit = "thousands of operations per second";
    let figure = Figure::lines("Gets from Redis by tasks", "concurrent tasks", unit);
    report.draw_over(figure, &wall, |nanoseconds| 1e6 / nanoseconds);
    report.draw_bars("p99 of a get by 64 tasks, Redis", &format!("{}, p99", name(64)));
    if let Some(peers) = Peers::if_requested(Path::new(env!("CARGO_TARGET_TMPDIR")), &mut report) {
        let bench = || Bench::new(Place::OtherProcessor, server.port()).python(&peers, &mut report);
        on_processor(PROCESSORS[1], bench);
    }
    report.publish();
}

fn job_name(job: Job, tasks: usize, place: Place) -> String {
    let place = place.name();
    match (job.keys(), tasks) {
        (1, 1) => format!("{}, 1 task, {place}", job.name()),
        (1, _) => format!("{}, {tasks} tasks, {place}", job.name()),
        (keys, 1) => format!("{} of {keys}, 1 task, {place}", job.name()),
        (keys, _) => format!("{} of {keys}, {tasks} tasks, {place}", job.name()),
    }
}

impl Bench {
    /// The runtime has a thread for each processor that the calling thread may use.
    fn new(place: Place, port: u16) -> Self {
        let (rounds, operations) = if flag("--quick") { (5, 5_000) } else { (11, 20_000) };
        let runtime = Runtime::new().expect("it starts");
        let load = Load { runtime, keys: keys("there", 5000).into() };
        Self { rounds, operations, place, load, port }
    }

    /// Sets come first, because they store what gets read.
    fn run(&self, report: &mut Report) {
        for job in [Job::SetMany, Job::GetMany, Job::Set, Job::Get] {
            for tasks in TASKS {
                self.compare(job, tasks, report);
            }
        }
    }

    /// The number of operations in a pass: fewer if each takes longer.
    fn count(&self, job: Job, tasks: usize) -> usize {
        match (job.keys(), self.place, tasks) {
            (1, Place::BehindProxy, 1) => self.operations / 50,
            (1, _, 1) => self.operations / 4,
            (1, ..) => self.operations,
            (_, Place::BehindProxy, 1) => self.operations / 100,
            _ => self.operations / 20,
        }
    }

    /// Compares all metrics of a job. The first comparison runs the passes, and the others use
    /// their results; one that needs more rounds runs these itself.
    fn compare(&self, job: Job, tasks: usize, report: &mut Report) {
        let count = self.count(job, tasks);
        let run = |client| self.load.run(&client, job, tasks, count);
        let candidates: Vec<_> =
            self.place.candidates().iter().map(|&name| (name, RefCell::new(Vec::new()))).collect();
        for &(metric, of, target) in self.place.metrics(job) {
            let name = format!("{}, {metric}", job_name(job, tasks, self.place));
            let mut comparison = Comparison::new(name);
            for (name, passes) in &candidates {
                let mut round = 0;
                comparison = comparison.candidate(name, move || {
                    let mut passes = passes.borrow_mut();
                    if round == passes.len() {
                        passes.push(match *name {
                            RAW => Raw::new(self.port).run(job, tasks, count, &self.load.keys),
                            name => run(self.connect(name)),
                        });
                    }
                    round += 1;
                    of(passes[round - 1])
                });
            }
            if let Some(ratio) = target {
                comparison = comparison.at_most(ratio, REDIS_RS);
                if self.place != Place::BehindProxy {
                    comparison = comparison.because(HANDLE_COST);
                }
            }
            report.add(comparison.run(self.rounds));
        }
    }

    fn connect(&self, name: &str) -> Arc<dyn Client> {
        self.load.runtime.block_on(peers::connect(name, &self.url()))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Compares the wall time of one task with Django's, which has as many entries on the same
    /// server.
    fn python(&self, peers: &Peers, report: &mut Report) {
        let django = peers.start("django-redis", &self.url(), self.load.keys.len() as u64);
        let mut django = django.unwrap_or_else(|error| panic!("{error}"));
        report.measured_with(django.ready());
        let count = self.operations / Job::BATCH;
        let client = self.connect(HANDLE);
        for (name, job) in [
            ("get, sequential", Job::Get),
            ("get_many of 100, sequential", Job::GetMany),
            ("set_many of 100, sequential", Job::SetMany),
        ] {
            let comparison = Comparison::new(name)
                .candidate(HANDLE, || self.load.run(&client, job, 1, count).wall)
                .candidate(DJANGO, || django.time(job.name(), count));
            report.add(comparison.run(self.rounds));
        }
    }
}
