//! The time that many operations take, per operation.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use crate::ready;

/// CPU nanoseconds an operation on this thread: what other processes do meanwhile does not count. Wall time where there is
/// no such clock (anywhere but Linux).
///
/// The operation gets its own number. Before `count` operations are timed, a tenth of them warms up the processor's caches.
pub fn cpu_time(count: usize, mut operation: impl FnMut(usize)) -> f64 {
    (0..count / 10).for_each(&mut operation);
    let start = thread_time();
    (0..count).for_each(operation);
    per_operation(thread_time() - start, count)
}

/// As [`cpu_time`], of an operation that is awaited, as in a service, and need not wait: a future that is handed to another
/// function instead is copied first.
///
/// # Panics
/// Where an operation does, or waits nevertheless.
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

/// Wall nanoseconds an operation while `threads` threads share the work. The operation gets its own number, from 0 to
/// `count - 1` over all threads.
///
/// # Panics
/// Where an operation does.
pub fn wall_time(threads: usize, count: usize, operation: impl Fn(usize) + Sync) -> f64 {
    let share = count / threads;
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let work = |thread: usize| {
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

/// Wall nanoseconds an operation in one task of the runtime, where services do their work. The operation gets its own number,
/// from 0 to `count - 1`; the next one starts when it has ended.
///
/// # Panics
/// Where an operation does.
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

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_operation(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

#[cfg(target_os = "linux")]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn thread_time() -> Duration {
    use std::sync::OnceLock;

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
