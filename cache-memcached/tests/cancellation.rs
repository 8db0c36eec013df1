//! Operations that are dropped in the middle, tens of thousands of times, disturb nobody.

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
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;

const TASKS: u64 = 16;
const DROPPED_BY_EACH: usize = 2500;

/// Lets an operation begin, and drops it unless it has ended after a moment. Answers whether it was dropped: then its
/// command was sent, and the reply was still to come.
async fn dropped_midway<T>(operation: impl Future<Output = T>, moment: u64) -> bool {
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

fn value_of(key: &str, length: usize) -> Value {
    Value::Bytes(Bytes::from(format!("{key}:{}:{key}", "x".repeat(length))))
}

fn is_of(value: &Value, key: &str) -> bool {
    let (head, tail) = (format!("{key}:"), format!(":{key}"));
    matches!(value, Value::Bytes(bytes) if bytes.starts_with(head.as_bytes()) && bytes.ends_with(tail.as_bytes()))
}

/// Drops operations on keys that all share, and looks at whole ones between.
async fn drop_and_look(store: MemcachedCache, task: u64, counted: Arc<AtomicUsize>) -> usize {
    let mut random = SmallRng::seed_from_u64(task);
    let all: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let short: Vec<(&str, Value)> = all.iter().map(|key| (*key, value_of(key, 10))).collect();
    let mut dropped = 0;
    while dropped < DROPPED_BY_EACH {
        let key = format!("key-{}", random.random_range(0..50));
        let other = format!("key-{}", random.random_range(0..50));
        let moment = random.random();
        let length =
            if random.random_ratio(1, 50) { 300_000 } else { random.random_range(0..3000) };
        let value = value_of(&key, length);
        let was_dropped = match random.random_range(0..50) {
            0 => dropped_midway(store.get_many(&all), moment).await,
            1 => dropped_midway(store.set_many(&short, HOUR), moment).await,
            2..18 => dropped_midway(store.get(&key), moment).await,
            18..26 => dropped_midway(store.set(&key, value, HOUR), moment).await,
            26..34 => dropped_midway(store.get_many(&[&key, &other, &key]), moment).await,
            34..42 => {
                dropped_midway(
                    store.set_many(&[(&key, value.clone()), (&key, value)], HOUR),
                    moment,
                )
                .await
            }
            _ => {
                counted.fetch_add(1, Ordering::Relaxed);
                dropped_midway(store.incr("count", 1), moment).await
            }
        };
        dropped += usize::from(was_dropped);
        let seen = store.get(&other).await.expect("the server is there");
        assert!(is_of(&seen.expect("it was set before"), &other), "a wrong value for {other}");
        let asked = if moment % 64 == 0 { &*all } else { &[&*other, &key] };
        let seen = store.get_many(asked).await.expect("the server is there");
        for (seen, key) in seen.iter().zip(asked) {
            assert!(
                is_of(seen.as_ref().expect("it was set before"), key),
                "a wrong value for {key}"
            );
        }
    }
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_thousand_operations_dropped_midway_shift_no_reply() {
    let servers = [common::server(), common::server()];
    let store = common::store(&servers);
    for number in 0..50 {
        let key = format!("key-{number}");
        store.set(&key, value_of(&key, 10), HOUR).await.expect("it is stored");
    }
    store.set("count", Value::Int(0), HOUR).await.expect("it is stored");
    let counted = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(drop_and_look(store.clone(), task, Arc::clone(&counted)));
    }
    let mut dropped = 0;
    while let Some(task) = tasks.join_next().await {
        dropped += task.expect("every value is its key's");
    }
    assert!(dropped >= 40_000, "{dropped} were dropped midway");
    // What was sent was carried out, dropped or not, and once.
    assert_eq!(
        store.get("count").await.expect("it answers"),
        Some(Value::Int(counted.load(Ordering::Relaxed) as i64))
    );
    let connections = store.stats().await.expect("it tells").details;
    let connections = connections.iter().filter(|(name, _)| name.ends_with("curr_connections"));
    for (name, number) in connections {
        // Ours, the one that asks, and those that memcached counts of its own.
        assert!(number.parse::<u32>().expect("a number") <= 4, "{name}: {number}");
    }
}
