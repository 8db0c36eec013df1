//! A race of fills, deletes and writes: late values are never stored.

use std::{path::Path, time::Duration};

use cachette::CacheHandle;
use futures_util::future::join_all;

use crate::{
    DAY,
    child::{Setup, Task, run_all},
    get, open, set,
    source::Source,
    stores::{Shared, on_each_store},
};

const KEYS: [&str; 3] = ["a", "b", "c"];
const WORKERS: u64 = 4;
const TURNS: usize = 150;

fn late_value_is_never_stored(shared: &Shared) {
    run_race(Task::Race, shared);
}

on_each_store!(late_value_is_never_stored);

const GET_OR_SET: &str = "get_or_set";
const FETCH: &str = "fetch";

/// Runs processes that [`race`].
pub(crate) fn run_race(task: fn(u64) -> Task, shared: &Shared) {
    run_all(task, shared);
    let source = Source::new(shared.folder.path());
    for verb in [GET_OR_SET, FETCH] {
        assert!(source.late(verb) > 0, "no key was written while {verb} produced its value");
    }
}

pub(crate) async fn run(setup: &Setup, process: u64) {
    race(&[open(&setup.config).await], &setup.folder, process).await;
}

/// Produces, writes and deletes keys. After each step, the entry must not be older than the last
/// write that had returned before.
pub(crate) async fn race(caches: &[CacheHandle], folder: &Path, process: u64) {
    let source = Source::new(folder);
    let work = async |worker| {
        let mut random = fastrand::Rng::with_seed(process * WORKERS + worker);
        for _ in 0..TURNS {
            let key = KEYS[random.usize(..KEYS.len())];
            let cache = &caches[random.usize(..caches.len())];
            let duration = Duration::from_millis(random.u64(..4));
            match random.u8(..10) {
                0 => source.change(key, async |version| set(cache, key, version).await).await,
                1 | 2 => source.change(key, async |_| delete(cache, key).await).await,
                3..7 => produce(cache, &source, key, duration).await,
                _ => fetch(cache, &source, key, duration).await,
            }
            let acknowledged = source.acknowledged(key);
            if let Some(found) = get(cache, key).await {
                assert!(
                    found >= acknowledged,
                    "version {found} of {key} was stored after the write of {acknowledged}"
                );
            }
        }
    };
    join_all((0..WORKERS).map(work)).await;
    for cache in caches {
        assert_eq!(cache.finish_tasks(Duration::from_secs(60)).await, 0);
    }
}

async fn delete(cache: &CacheHandle, key: &str) {
    cache.delete(key).await.expect("deleted");
}

/// Returns the version that the key has when it begins, after some time.
async fn current(source: &Source, key: &str, duration: Duration, verb: &str) -> i64 {
    let version = source.current(key);
    tokio::time::sleep(duration).await;
    if source.acknowledged(key) > version {
        source.count_late(verb);
    }
    version
}

async fn produce(cache: &CacheHandle, source: &Source, key: &str, duration: Duration) {
    let produce = async || current(source, key, duration, GET_OR_SET).await;
    cache.get_or_set(key, DAY, produce).await.expect("the store replies");
}

/// Each hit starts a refresh, which replaces the entry.
async fn fetch(cache: &CacheHandle, source: &Source, key: &'static str, duration: Duration) {
    let source = source.clone();
    let produce = async move |_| current(&source, key, duration, FETCH).await;
    let fetched = cache.fetch(key, produce).ttl(DAY).early(1.0).jitter(0.0);
    fetched.hard_timeout(Duration::from_secs(60)).await.expect("the store replies");
}
