//! Many tasks on SQLite: their throughput, and what they do to a timer of the same runtime.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::Cache;
use cache_db::DbCache;
use cache_filebased::{FileBasedCache, FileBasedOptions};
use cachette_benches::{Client, HandleClient, Report, workload::scattered_key};
use tokio::{task::JoinSet, time::sleep_until};

use crate::{HANDLE, fixture::Fixture};

const TASKS: usize = 16;
const ONE_TASK: &str = "one task";
const FILES: &str = "cache-filebased";

/// One operation in this number writes.
const WRITES: usize = 10;

/// Compares the time per operation of many tasks with that of one task. Nine of ten operations
/// read.
pub(crate) fn throughput(fixture: &Fixture<'_>, report: &mut Report) {
    let client: Arc<dyn Client> =
        Arc::new(HandleClient::new(Arc::<DbCache>::clone(&fixture.store)));
    let count = 32_000 / fixture.bench.divisor;
    let pass = |tasks: usize| {
        let start = Instant::now();
        fixture.bench.runtime.block_on(async {
            let mut running = JoinSet::new();
            for task in 0..tasks {
                let (client, rows) = (Arc::clone(&client), fixture.rows);
                running.spawn(async move {
                    for number in 0..count / tasks {
                        let key = scattered_key((number * tasks + task) as u64 % rows);
                        match number % WRITES {
                            0 => client.set(&key).await,
                            _ => client.get(&key).await,
                        }
                    }
                });
            }
            running.join_all().await;
        });
        start.elapsed().as_secs_f64() * 1e9 / count as f64
    };
    let comparison = fixture
        .comparison(format!("90 % gets, {TASKS} tasks"))
        .candidate(HANDLE, || pass(TASKS))
        .candidate(ONE_TASK, || pass(1))
        .at_most(1.0 / 1.5, ONE_TASK);
    report.add(comparison.run(fixture.bench.rounds));
}

/// Compares how late the timer of an idle task fires while eight tasks write.
pub(crate) fn timer(fixture: &Fixture<'_>, folder: &Path, report: &mut Report) {
    let files = FileBasedOptions::default().max_entries(1_000_000);
    let files = FileBasedCache::new(folder.join("files"), files).expect("valid options");
    let client = |store: Arc<dyn Cache>| -> Arc<dyn Client> { Arc::new(HandleClient::new(store)) };
    let (sqlite, files) = (client(Arc::<DbCache>::clone(&fixture.store)), client(Arc::new(files)));
    let comparison = fixture
        .comparison("delay of a timer beside 8 tasks that write, p99.9")
        .candidate(HANDLE, || delay(fixture, &sqlite))
        .candidate(FILES, || delay(fixture, &files))
        .at_most(1.0, FILES);
    report.add(comparison.run(fixture.bench.rounds));
}

/// Returns the 99.9th percentile in nanoseconds.
fn delay(fixture: &Fixture<'_>, client: &Arc<dyn Client>) -> f64 {
    const INTERVAL: Duration = Duration::from_millis(1);
    let ticks = 4000 / fixture.bench.divisor;
    let mut delays = fixture.bench.runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for task in 0..8 {
            let (client, stop) = (Arc::clone(client), Arc::clone(&stop));
            writers.spawn(async move {
                for number in (0..125).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    client.set(&scattered_key(number * 8 + task)).await;
                }
            });
        }
        let timer = tokio::spawn(async move {
            let mut delays = Vec::with_capacity(ticks);
            for _ in 0..ticks {
                let due = Instant::now() + INTERVAL;
                sleep_until(due.into()).await;
                delays.push(due.elapsed());
            }
            delays
        });
        let delays = timer.await.expect("the timer does not panic");
        stop.store(true, Ordering::Relaxed);
        writers.join_all().await;
        delays
    });
    delays.sort_unstable();
    delays[delays.len() * 999 / 1000].as_secs_f64() * 1e9
}
