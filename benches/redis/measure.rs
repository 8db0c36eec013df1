//! Passes, and what is told of them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// What one pass came to, in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Wall time, an operation.
    pub(crate) wall: f64,
    /// CPU time of this process, an operation. The server is another one.
    cpu: f64,
    /// What half of the operations took at most.
    p50: f64,
    /// What 99 of 100 took at most.
    p99: f64,
}

/// Something that is told of a pass.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) of: fn(Sample) -> f64,
    /// The most of it, as a ratio to redis-rs.
    pub(crate) target: Option<f64>,
}

pub(crate) const METRICS: [Metric; 4] = [
    // At least 0.95 of its operations a second.
    Metric { name: "wall time", of: |sample| sample.wall, target: Some(1.053) },
    Metric { name: "CPU time", of: |sample| sample.cpu, target: Some(1.1) },
    Metric { name: "p50", of: |sample| sample.p50, target: None },
    Metric { name: "p99", of: |sample| sample.p99, target: None },
];

/// The pass of operations that took these times each.
pub(crate) fn sample(wall: Duration, cpu: Duration, mut times: Vec<Duration>) -> Sample {
    times.sort_unstable();
    let each = |time: Duration| nanos(time) / count(times.len());
    let (p50, p99) = (nanos(times[times.len() / 2]), nanos(times[times.len() * 99 / 100]));
    Sample { wall: each(wall), cpu: each(cpu), p50, p99 }
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}

/// The CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// So many tasks at once, each of which does its share of the operations one after the other.
pub(crate) fn tasks<G, F>(
    runtime: &Runtime,
    tasks: usize,
    operations: usize,
    keys: &[Box<str>],
    get: G,
) -> Sample
where
    G: Fn(Box<str>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let share = operations / tasks;
    let work = (0..tasks).map(|task| {
        let (get, keys) = (get.clone(), keys_of(task, share, keys));
        async move {
            let mut times = Vec::with_capacity(share);
            for key in keys {
                let start = Instant::now();
                get(key).await;
                times.push(start.elapsed());
            }
            times
        }
    });
    let work: Vec<_> = work.collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    let times = runtime.block_on(async {
        let running: Vec<_> = work.into_iter().map(tokio::spawn).collect();
        let mut times = Vec::with_capacity(operations);
        for task in running {
            times.extend(task.await.expect("it does not panic"));
        }
        times
    });
    sample(start.elapsed(), cpu_time() - cpu, times)
}

/// The keys that a task asks for, scattered over all.
pub(crate) fn keys_of(task: usize, share: usize, keys: &[Box<str>]) -> Vec<Box<str>> {
    (0..share).map(|number| keys[(task * 7919 + number * 31) % keys.len()].clone()).collect()
}

/// One operation after the other.
pub(crate) fn in_turn(
    runtime: &Runtime,
    operations: usize,
    operation: impl AsyncFn(usize),
) -> Sample {
    let mut times = Vec::with_capacity(operations);
    let (start, cpu) = (Instant::now(), cpu_time());
    runtime.block_on(async {
        for number in 0..operations {
            let start = Instant::now();
            operation(number).await;
            times.push(start.elapsed());
        }
    });
    sample(start.elapsed(), cpu_time() - cpu, times)
}
