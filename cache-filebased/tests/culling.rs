//! Culling and expiry.

mod common;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cache_core::{Cache, ManualClock, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use common::{HOUR, age, entries, store, store_with_max_entries, temp_dir};

async fn fill(
    store: &FileBasedCache,
    numbers: impl IntoIterator<Item = i64>,
    ttl: Option<Duration>,
) {
    for number in numbers {
        store.set(&number.to_string(), Value::Int(number), ttl).await.expect("set succeeds");
    }
}

async fn remaining(store: &FileBasedCache, numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut remaining = Vec::new();
    for number in numbers {
        if store.contains(&number.to_string()).await.expect("contains succeeds") {
            remaining.push(number);
        }
    }
    remaining
}

/// Sets the age of each entry to the difference between `newest` and its number, in seconds.
fn age_by_number(directory: &Path, newest: i64) {
    for file in entries(directory) {
        let content = fs::read(&file).expect("the file is readable");
        let number = i64::from_le_bytes(content[content.len() - 8..].try_into().expect("8 bytes"));
        age(&file, Duration::from_secs((newest - number).unsigned_abs()));
    }
}

fn store_with(max_entries: usize, cull_frequency: usize, directory: &Path) -> FileBasedCache {
    FileBasedCache::new(
        directory,
        FileBasedOptions::default().max_entries(max_entries).cull_frequency(cull_frequency),
    )
    .expect("valid options")
}

#[tokio::test]
async fn oldest_third_is_culled() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..300, HOUR).await;
    age_by_number(directory.path(), 300);
    let full = store_with(299, 3, directory.path());
    let report = full.sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.culled, report.expired), (200, 100, 0));
    assert_eq!(remaining(&full, 0..300).await, (100..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn cull_of_a_thousand_entries_leaves_two_thirds_of_max_entries() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..1000, HOUR).await;
    age_by_number(directory.path(), 1000);
    let full = store_with(300, 3, directory.path());
    let report = full.sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.culled, report.expired), (200, 800, 0));
    assert_eq!(remaining(&full, 0..1000).await, (800..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn expired_entries_are_removed_before_live_ones() {
    let (directory, time) = (temp_dir(), ManualClock::new());
    let options = FileBasedOptions::default().max_entries(100);
    let large = FileBasedOptions::default().max_entries(10_000);
    let filling =
        FileBasedCache::with_clock(directory.path(), large, time.clock()).expect("valid options");
    fill(&filling, 0..50, None).await;
    fill(&filling, 50..110, Some(Duration::from_secs(1))).await;
    time.advance(Duration::from_secs(1));
    let store =
        FileBasedCache::with_clock(directory.path(), options, time.clock()).expect("valid options");
    let report = store.sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.expired, report.culled), (50, 60, 0));
    assert_eq!(remaining(&store, 0..110).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn cull_frequency_of_zero_clears_the_store() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..20, HOUR).await;
    let report = store_with(19, 0, directory.path()).sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.culled), (0, 20));
    assert!(entries(directory.path()).is_empty());
}

#[tokio::test]
async fn store_at_its_limit_is_not_culled() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..20, HOUR).await;
    let report = store_with(20, 3, directory.path()).sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.culled), (20, 0));
}

#[tokio::test]
async fn expired_entries_are_removed_below_the_limit() {
    let (directory, time) = (temp_dir(), ManualClock::new());
    let store =
        FileBasedCache::with_clock(directory.path(), FileBasedOptions::default(), time.clock());
    let store = store.expect("valid options");
    fill(&store, 0..10, Some(Duration::from_secs(1))).await;
    fill(&store, 10..20, None).await;
    time.advance(Duration::from_secs(1));
    store.set("0", Value::Int(7), None).await.expect("set succeeds");
    let report = store.sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.expired), (11, 9), "the entry that was set again is live");
    assert_eq!(store.get("0").await.expect("get succeeds"), Some(Value::Int(7)));
}

/// Waits for the background thread. Only its effects can be observed.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn inserting_culls_in_the_background() {
    let directory = temp_dir();
    let store = store_with_max_entries(directory.path(), 100);
    fill(&store, 0..1000, HOUR).await;
    wait_until("at most 100 entries", || entries(directory.path()).len() <= 100);
    assert!(!entries(directory.path()).is_empty());
}

#[tokio::test]
async fn overwriting_does_not_cull() {
    let directory = temp_dir();
    let store = store_with_max_entries(directory.path(), 20);
    for _ in 0..50 {
        fill(&store, 0..20, HOUR).await;
    }
    assert_eq!(store.sweep().await.expect("sweep succeeds").entries, 20);
}

#[tokio::test]
async fn entries_of_another_process_are_counted() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..1000, HOUR).await;
    let full = store_with_max_entries(directory.path(), 100);
    fill(&full, [1000], HOUR).await;
    wait_until("at most 100 entries", || entries(directory.path()).len() <= 100);
}

#[tokio::test]
async fn large_store_is_culled_by_age() {
    let directory = temp_dir();
    fill(&store(directory.path()), 0..9000, HOUR).await;
    age_by_number(directory.path(), 9000);
    let full = store_with(8999, 3, directory.path());
    let report = full.sweep().await.expect("sweep succeeds");
    assert!((5800..=6000).contains(&report.entries), "{report:?}");
    let old = remaining(&full, 0..2800).await;
    assert!(old.is_empty(), "{} of the oldest entries remain", old.len());
    assert_eq!(remaining(&full, 3200..9000).await.len(), 5800);
}
