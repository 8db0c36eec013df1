//! The time that many operations take, per operation.

use std::{
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use crate::machine::spread;

/// Measures CPU nanoseconds per operation on this thread, so that other processes do not count.
/// Uses wall time on systems other than Linux.
///
/// The operation receives its number. Before `count` timed operations, a tenth as many run untimed
/// to warm up the processor's caches.
pub fn cpu_time(count: usize, mut operation: impl FnMut(usize)) -> f64 {
    (0..count / 10).for_each(&mut operation);
    let start = thread_time();
    (0..count).for_each(operation);
    per_operation(thread_time() - start, count)
}

/// Like [`cpu_time`], for an operation that is awaited and never waits. It is awaited in place, as
/// in a service: a future passed to another function would be copied first.
///
/// # Panics
///
/// If an operation panics or waits.
pub fn awaited_cpu_time(count: usize, operation: impl AsyncFn(usize)) -> f64 {
    ready(async {
        for number in 0..count / 10 {
            operation(number).await;
        }
        let start = thread_time();
        for number in 0..count {
            operation(number).await;
        }
        per_operation(thread_time() - start, count)
    })
}

/// Measures wall nanoseconds per operation while `threads` threads share the work. The operation
/// receives its number, from 0 to `count - 1` over all threads.
///
/// Each processor has its part of the threads: how many run at once does not depend on the kernel.
///
/// # Panics
///
/// If an operation panics.
pub fn wall_time(threads: usize, count: usize, operation: impl Fn(usize) + Sync) -> f64 {
    let share = count / threads;
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let work = |thread: usize| {
            spread(thread);
            ready.wait();
            (thread * share..(thread + 1) * share).for_each(&operation);
        };
        let workers: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        ready.wait();
        let start = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().expect("no operation panics"));
        per_operation(start.elapsed(), share * threads)
    })
}

/// Measures wall nanoseconds per operation in one task of the runtime, where services do their
/// work. The operation receives its number, from 0 to `count - 1`. Operations run one after the
/// other.
///
/// # Panics
///
/// If an operation panics.
pub fn task_time<F>(
    runtime: &Runtime,
    count: usize,
    operation: impl Fn(usize) -> F + Send + 'static,
) -> f64
where
    F: Future<Output = ()> + Send,
{
    let work = async move {
        let start = Instant::now();
        for number in 0..count {
            operation(number).await;
        }
        start.elapsed()
    };
    let time = runtime.block_on(async { tokio::spawn(work).await }).expect("no operation panics");
    per_operation(time, count)
}

/// Returns the output of a future that never waits, without the cost of a runtime.
///
/// # Panics
///
/// If it waits.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory never waits"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_operation(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

#[cfg(target_os = "linux")]
use rustix::time::ClockId;

/// The CPU time of this thread.
#[cfg(target_os = "linux")]
fn thread_time() -> Duration {
    clock_time(ClockId::ThreadCPUTime)
}

/// The CPU time of this process.
#[cfg(target_os = "linux")]
pub(crate) fn process_time() -> Duration {
    clock_time(ClockId::ProcessCPUTime)
}

#[cfg(target_os = "linux")]
fn clock_time(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(not(target_os = "linux"))]
pub(crate) use thread_time as process_time;
