//! What goes when there are too many entries, and what stays.

mod common;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cache_core::{Cache, ManualClock, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use common::{HOUR, age, entries, folder, store, store_of};

async fn fill(
    store: &FileBasedCache,
    numbers: impl IntoIterator<Item = i64>,
    ttl: Option<Duration>,
) {
    for number in numbers {
        store.set(&number.to_string(), Value::Int(number), ttl).await.expect("there is room");
    }
}

async fn left(store: &FileBasedCache, numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut left = Vec::new();
    for number in numbers {
        if store.contains(&number.to_string()).await.expect("it answers") {
            left.push(number);
        }
    }
    left
}

/// Makes each entry look as if it had been written as many seconds before as its number is below `newest`.
fn age_by_number(folder: &Path, newest: i64) {
    for file in entries(folder) {
        let content = fs::read(&file).expect("it is there");
        let number = i64::from_le_bytes(content[content.len() - 8..].try_into().expect("8 bytes"));
        age(&file, Duration::from_secs((newest - number).unsigned_abs()));
    }
}

fn cull_of(max_entries: usize, cull_frequency: usize, folder: &Path) -> FileBasedCache {
    FileBasedCache::new(
        folder,
        FileBasedOptions::default().max_entries(max_entries).cull_frequency(cull_frequency),
    )
    .expect("the options are fine")
}

#[tokio::test]
async fn the_third_that_was_written_longest_ago_is_culled() {
    let folder = folder();
    fill(&store(folder.path()), 0..300, HOUR).await;
    age_by_number(folder.path(), 300);
    let full = cull_of(299, 3, folder.path());
    let swept = full.sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.culled, swept.expired), (200, 100, 0));
    assert_eq!(left(&full, 0..300).await, (100..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn cull_of_a_thousand_entries_leaves_two_thirds_of_max_entries() {
    let folder = folder();
    fill(&store(folder.path()), 0..1000, HOUR).await;
    age_by_number(folder.path(), 1000);
    let full = cull_of(300, 3, folder.path());
    let swept = full.sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.culled, swept.expired), (200, 800, 0));
    assert_eq!(left(&full, 0..1000).await, (800..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_expired_goes_first_and_spares_the_others() {
    let (folder, time) = (folder(), ManualClock::new());
    let options = FileBasedOptions::default().max_entries(100);
    let roomy = FileBasedOptions::default().max_entries(10_000);
    let filling =
        FileBasedCache::with_clock(folder.path(), roomy, time.clock()).expect("it is fine");
    fill(&filling, 0..50, None).await;
    fill(&filling, 50..110, Some(Duration::from_secs(1))).await;
    time.advance(Duration::from_secs(1));
    let store =
        FileBasedCache::with_clock(folder.path(), options, time.clock()).expect("it is fine");
    let swept = store.sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.expired, swept.culled), (50, 60, 0));
    assert_eq!(left(&store, 0..110).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cull_frequency_of_zero_empties_a_store_that_is_too_full() {
    let folder = folder();
    fill(&store(folder.path()), 0..20, HOUR).await;
    let swept = cull_of(19, 0, folder.path()).sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.culled), (0, 20));
    assert!(entries(folder.path()).is_empty());
}

#[tokio::test]
async fn a_store_that_is_just_full_loses_nothing() {
    let folder = folder();
    fill(&store(folder.path()), 0..20, HOUR).await;
    let swept = cull_of(20, 3, folder.path()).sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.culled), (20, 0));
}

#[tokio::test]
async fn expired_entries_of_a_store_with_room_go_too() {
    let (folder, time) = (folder(), ManualClock::new());
    let store =
        FileBasedCache::with_clock(folder.path(), FileBasedOptions::default(), time.clock());
    let store = store.expect("it is fine");
    fill(&store, 0..10, Some(Duration::from_secs(1))).await;
    fill(&store, 10..20, None).await;
    time.advance(Duration::from_secs(1));
    store.set("0", Value::Int(7), None).await.expect("there is room");
    let swept = store.sweep().await.expect("it sweeps");
    assert_eq!((swept.entries, swept.expired), (11, 9), "the one that was set again stays");
    assert_eq!(store.get("0").await.expect("it reads"), Some(Value::Int(7)));
}

/// Waits for the thread in the background, which nothing but its work tells of.
fn comes_true(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(20), "not true after 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn a_store_that_is_written_to_culls_in_the_background() {
    let folder = folder();
    let store = store_of(folder.path(), 100);
    fill(&store, 0..1000, HOUR).await;
    comes_true("at most 100 entries", || entries(folder.path()).len() <= 100);
    assert!(!entries(folder.path()).is_empty());
}

#[tokio::test]
async fn overwriting_culls_nothing() {
    let folder = folder();
    let store = store_of(folder.path(), 20);
    for _ in 0..50 {
        fill(&store, 0..20, HOUR).await;
    }
    assert_eq!(store.sweep().await.expect("it sweeps").entries, 20);
}

#[tokio::test]
async fn entries_of_another_process_count() {
    let folder = folder();
    fill(&store(folder.path()), 0..1000, HOUR).await;
    let full = store_of(folder.path(), 100);
    fill(&full, [1000], HOUR).await;
    comes_true("at most 100 entries", || entries(folder.path()).len() <= 100);
}

#[tokio::test]
async fn a_sample_tells_old_from_new_in_a_large_store() {
    let folder = folder();
    fill(&store(folder.path()), 0..9000, HOUR).await;
    age_by_number(folder.path(), 9000);
    let full = cull_of(8999, 3, folder.path());
    let swept = full.sweep().await.expect("it sweeps");
    assert!((5800..=6000).contains(&swept.entries), "{swept:?}");
    let old = left(&full, 0..2800).await;
    assert!(old.is_empty(), "{} of the oldest are left", old.len());
    assert_eq!(left(&full, 3200..9000).await.len(), 5800);
}
