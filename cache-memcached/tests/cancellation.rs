//! Tens of thousands of dropped operations do not affect others.

mod common;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_memcached::MemcachedCache;
use common::HOUR;
use tokio::task::JoinSet;

const TASKS: u64 = 16;
const DROPPED_PER_TASK: usize = 2500;

/// Starts an operation and drops it unless it completes within a moment. Returns whether it was
/// dropped. In that case its command was sent and its reply was still expected.
async fn drop_midway<T>(operation: impl Future<Output = T>, moment: u64) -> bool {
    let mut operation = pin!(operation);
    let mut poll_once = async || {
        poll_fn(|context| Poll::Ready(operation.as_mut().poll(context).is_pending())).await
    };
    if !poll_once().await {
        return false;
    }
    match moment % 8 {
        0 => {}
        1..=5 => {
            for _ in 0..moment % 8 {
                tokio::task::yield_now().await;
            }
        }
        _ => tokio::time::sleep(Duration::from_micros(moment % 1500)).await,
    }
    poll_once().await
}

/// Returns a value that contains its key at both ends.
fn value_of(key: &str, len: usize) -> Value {
    Value::Bytes(Bytes::from(format!("{key}:{}:{key}", "x".repeat(len))))
}

fn belongs_to(value: &Value, key: &str) -> bool {
    let (head, tail) = (format!("{key}:"), format!(":{key}"));
    matches!(
        value,
        Value::Bytes(bytes)
            if bytes.starts_with(head.as_bytes()) && bytes.ends_with(tail.as_bytes())
    )
}

/// Drops operations on keys that all tasks share, and runs complete ones in between. Returns the
/// number of dropped operations.
async fn drop_and_check(store: MemcachedCache, task: u64, increments: Arc<AtomicUsize>) -> usize {
    let mut rng = fastrand::Rng::with_seed(task);
    let all: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let short: Vec<(&str, Value)> = all.iter().map(|key| (*key, value_of(key, 10))).collect();
    let mut dropped = 0;
    while dropped < DROPPED_PER_TASK {
        let key = format!("key-{}", rng.u32(..50));
        let other = format!("key-{}", rng.u32(..50));
        let moment = rng.u64(..);
        let len = if rng.u32(..50) == 0 { 300_000 } else { rng.usize(..3000) };
        let value = value_of(&key, len);
        let was_dropped = match rng.u32(..50) {
            0 => drop_midway(store.get_many(&all), moment).await,
            1 => drop_midway(store.set_many(&short, HOUR), moment).await,
            2..18 => drop_midway(store.get(&key), moment).await,
            18..26 => drop_midway(store.set(&key, value, HOUR), moment).await,
            26..34 => drop_midway(store.get_many(&[&key, &other, &key]), moment).await,
            34..42 => {
                let entries = [(&*key, value.clone()), (&*key, value)];
                drop_midway(store.set_many(&entries, HOUR), moment).await
            }
            _ => {
                increments.fetch_add(1, Ordering::Relaxed);
                drop_midway(store.incr("count", 1), moment).await
            }
        };
        dropped += usize::from(was_dropped);
        let value = store.get(&other).await.expect("get").expect("a hit");
        assert!(belongs_to(&value, &other), "a wrong value for {other}");
        let keys = if moment.is_multiple_of(64) { &*all } else { &[&*other, &key] };
        let values = store.get_many(keys).await.expect("get_many");
        for (value, key) in values.iter().zip(keys) {
            let value = value.as_ref().expect("a hit");
            assert!(belongs_to(value, key), "a wrong value for {key}");
        }
    }
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_operations_do_not_shift_replies() {
    let servers = [common::server(), common::server()];
    let store = common::store(&servers);
    for number in 0..50 {
        let key = format!("key-{number}");
        store.set(&key, value_of(&key, 10), HOUR).await.expect("set");
    }
    store.set("count", Value::Int(0), HOUR).await.expect("set");
    let increments = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(drop_and_check(store.clone(), task, Arc::clone(&increments)));
    }
    let mut dropped = 0;
    while let Some(task) = tasks.join_next().await {
        dropped += task.expect("every value should belong to its key");
    }
    assert!(dropped >= 40_000, "{dropped} operations were dropped");
    // Every command that was sent was executed exactly once, whether its call was dropped or not.
    assert_eq!(
        store.get("count").await.expect("get"),
        Some(Value::Int(increments.load(Ordering::Relaxed) as i64))
    );
    let details = store.stats().await.expect("stats").details;
    let connections = details.iter().filter(|(name, _)| name.ends_with("curr_connections"));
    for (name, number) in connections {
        // The connection of the store, that of `stats`, and those that memcached counts itself.
        assert!(number.parse::<u32>().expect("a number") <= 4, "{name}: {number}");
    }
}
