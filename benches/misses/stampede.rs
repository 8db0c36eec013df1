//! Many tasks that miss one key at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use cached::cached;
use cachette_benches::{Comparison, Report, workload::VALUE};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};

use crate::{GET_OR_SET, GET_WITH, TTL, handle, moka};

const CACHED: &str = "cached, sync_writes by key";
const NONE: &str = "moka, get and insert";

const TASKS: usize = 1000;

/// The tasks that ask for one key at once.
#[derive(Default)]
struct Burst {
    asked: AtomicUsize,
    produced: AtomicUsize,
}

impl Burst {
    /// Produces the value. It takes until all tasks have asked for it.
    async fn produce(&self) -> Bytes {
        self.produced.fetch_add(1, Relaxed);
        while self.asked.load(Relaxed) < TASKS {
            yield_now().await;
        }
        Bytes::from_static(&VALUE)
    }
}

/// What bursts took, for each task.
#[derive(Clone, Copy)]
struct Times {
    nanoseconds: f64,
    produced: f64,
}

struct Bursts {
    runtime: Runtime,
    count: usize,
    /// The number of the next key.
    next: AtomicUsize,
}

pub(crate) fn run(rounds: usize, count: usize, report: &mut Report) {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("it starts");
    let bursts = Bursts { runtime, count, next: AtomicUsize::new(0) };
    let (cache, moka) = (handle(), moka());
    let get_or_set = || {
        let cache = cache.clone();
        bursts.run(move |key, burst| {
            let cache = cache.clone();
            async move {
                let value = cache.get_or_set(&key, TTL, || burst.produce()).await;
                value.expect("no error")
            }
        })
    };
    let get_with = || {
        let moka = moka.clone();
        bursts.run(move |key, burst| {
            let moka = moka.clone();
            async move { moka.get_with_by_ref(&*key, burst.produce()).await }
        })
    };
    let by_key = || bursts.run(cached_by_key);
    let none = || {
        let moka = moka.clone();
        bursts.run(move |key, burst| {
            let moka = moka.clone();
            async move {
                if let Some(value) = moka.get(&*key).await {
                    return value;
                }
                let value = burst.produce().await;
                moka.insert(key.to_string(), value.clone()).await;
                value
            }
        })
    };
    let time = Comparison::new("1000 tasks on a cold key, a task")
        .candidate(GET_OR_SET, || get_or_set().nanoseconds)
        .candidate(GET_WITH, || get_with().nanoseconds)
        .candidate(CACHED, || by_key().nanoseconds)
        .candidate(NONE, || none().nanoseconds)
        .at_most(1.0, GET_WITH);
    report.add(time.run(rounds));
    let produced = Comparison::new("values produced")
        .unit("values")
        .candidate(GET_OR_SET, || get_or_set().produced)
        .candidate(GET_WITH, || get_with().produced)
        .candidate(CACHED, || by_key().produced)
        .candidate(NONE, || none().produced)
        .at_most(1.0, GET_WITH);
    report.add(produced.run(rounds));
}

impl Bursts {
    /// Runs bursts of tasks, each for a new key.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn run<F>(&self, get: impl Fn(Arc<str>, Arc<Burst>) -> F + Send + Sync + 'static) -> Times
    where
        F: Future<Output = Bytes> + Send + 'static,
    {
        let get = Arc::new(get);
        let mut produced = 0;
        let start = Instant::now();
        for _ in 0..self.count {
            let key: Arc<str> = format!("cold:{:021}", self.next.fetch_add(1, Relaxed)).into();
            let burst = Arc::new(Burst::default());
            let tasks = self.runtime.block_on(async {
                // The tasks are started by one of them, as the work of a service is.
                let (get, key, burst) = (Arc::clone(&get), key, Arc::clone(&burst));
                tokio::spawn(async move { all(&*get, &key, &burst).await }).await
            });
            tasks.expect("no task panics");
            produced += burst.produced.load(Relaxed);
        }
        let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / (self.count * TASKS) as f64;
        Times { nanoseconds, produced: produced as f64 / self.count as f64 }
    }
}

/// Runs all tasks of a burst.
async fn all<F>(get: impl Fn(Arc<str>, Arc<Burst>) -> F, key: &Arc<str>, burst: &Arc<Burst>)
where
    F: Future<Output = Bytes> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let burst = Arc::clone(burst);
        let value = get(Arc::clone(key), Arc::clone(&burst));
        tasks.spawn(async move {
            burst.asked.fetch_add(1, Relaxed);
            assert_eq!(value.await.len(), VALUE.len());
        });
    }
    tasks.join_all().await;
}

#[cached(
    max_size = 200_000,
    ttl_secs = 3600,
    key = "String",
    convert = "{ key.to_string() }",
    sync_writes = "by_key"
)]
async fn cached_by_key(key: Arc<str>, burst: Arc<Burst>) -> Bytes {
    drop(key);
    burst.produce().await
}
