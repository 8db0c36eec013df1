//! Removal of expired and surplus rows in the background.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::{ops::Range, time::Duration};

use cache_core::{Cache, ManualClock, Value, entries_after_cull};
use cache_db::{DbCache, DbOptions};

const ALL: [fn() -> DbOptions; 3] = [common::sqlite_file, common::postgres, common::mysql];

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// Sets one entry per number, one by one.
async fn set_each(store: &DbCache, numbers: Range<i64>, ttl: Option<Duration>) {
    for number in numbers {
        store.set(&number.to_string(), Value::Int(number), ttl).await.expect("set succeeds");
    }
}

/// Sets one entry per number, all at once.
async fn set_all(store: &DbCache, numbers: Range<i64>, ttl: Option<Duration>) {
    let keys: Vec<String> = numbers.map(|number| format!("key-{number}")).collect();
    let entries: Vec<(&str, Value)> =
        keys.iter().map(|key| (key.as_str(), Value::Int(1))).collect();
    store.set_many(&entries, ttl).await.expect("set_many succeeds");
}

/// Waits for the end of background work, and returns the number of entries.
async fn entries_after_background_work(store: &DbCache) -> u64 {
    store.close().await.expect("close succeeds");
    store.entries().await.expect("the entries are counted")
}

async fn limited(
    options: DbOptions,
    time: &ManualClock,
    max_entries: u64,
    cull_frequency: u64,
) -> DbCache {
    let options = options.max_entries(max_entries).cull_frequency(cull_frequency);
    common::fresh(options, time.clock()).await
}

#[tokio::test]
async fn table_exceeds_max_entries_by_a_tenth_and_concurrent_writes_only() {
    for options in ALL.map(|options| options()) {
        let store = limited(options, &ManualClock::new(), 100, 3).await;
        for round in 0..30 {
            set_each(&store, round * 10..round * 10 + 10, seconds(60)).await;
            let entries = entries_after_background_work(&store).await;
            // Ten writes between counts, and at most ten during a count.
            assert!(entries <= 120, "{entries} entries in round {round}");
        }
        assert!(store.entries().await.expect("the entries are counted") > 60);
    }
}

#[tokio::test]
async fn cull_leaves_as_many_entries_as_the_rule_allows() {
    for (rows, max_entries, cull_frequency) in
        [(1000, 300, 3), (301, 300, 3), (1000, 300, 1), (1000, 300, 0), (31, 30, 1000), (9, 1, 3)]
    {
        for options in ALL.map(|options| options()) {
            let time = ManualClock::new();
            let store = limited(options, &time, max_entries, cull_frequency).await;
            set_all(&store, 0..rows, seconds(60)).await;
            let remaining = entries_after_background_work(&store).await;
            let expected = entries_after_cull(max_entries, cull_frequency);
            assert_eq!(remaining, expected, "{rows} rows, {max_entries}, {cull_frequency}");
        }
    }
    assert_eq!(entries_after_cull(300, 3), 200);
}

#[tokio::test]
async fn cull_removes_first_to_expire_then_oldest() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = limited(options, &time, 9, 3).await;
        for number in 0..8 {
            time.advance(Duration::from_millis(1));
            set_each(&store, number..number + 1, None).await;
        }
        set_each(&store, 8..9, seconds(60)).await;
        time.advance(Duration::from_millis(1));
        store.close().await.expect("close succeeds");
        set_each(&store, 9..10, None).await;
        store.close().await.expect("close succeeds");
        let mut remaining = Vec::new();
        for number in 0..10 {
            if store.contains(&number.to_string()).await.expect("contains succeeds") {
                remaining.push(number);
            }
        }
        assert_eq!(remaining, [3, 4, 5, 6, 7, 9]);
    }
}

#[tokio::test]
async fn cull_does_not_remove_all_entries_with_the_same_expiry() {
    for options in ALL.map(|options| options()) {
        let store = limited(options, &ManualClock::new(), 30, 3).await;
        set_all(&store, 0..31, seconds(60)).await;
        assert_eq!(entries_after_background_work(&store).await, 20);
    }
}

#[tokio::test]
async fn cull_frequency_of_zero_clears_the_table() {
    let store = limited(common::sqlite_file(), &ManualClock::new(), 9, 0).await;
    set_each(&store, 0..10, None).await;
    store.close().await.expect("close succeeds");
    set_each(&store, 10..11, None).await;
    assert!(entries_after_background_work(&store).await <= 1);
}

#[tokio::test]
async fn writes_remove_expired_rows() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = limited(options.clone(), &time, 1000, 3).await;
        set_all(&store, 0..500, seconds(60)).await;
        store.close().await.expect("close succeeds");
        time.advance(Duration::from_secs(60));
        set_each(&store, 0..200, None).await;
        store.close().await.expect("close succeeds");
        // Counts the rows that have not expired by a clock that is an hour behind: all rows.
        let behind = ManualClock::new();
        let observer =
            DbCache::open(store.table(), options, None, behind.clock()).expect("valid options");
        let rows = observer.entries().await.expect("the rows are counted");
        assert!(rows <= 300, "{rows} of 700 rows");
    }
}

#[tokio::test]
async fn purge_expired_removes_all_expired_rows() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = limited(options, &time, 1000, 3).await;
        set_each(&store, 0..10, seconds(60)).await;
        set_each(&store, 10..12, seconds(61)).await;
        store.close().await.expect("close succeeds");
        time.advance(Duration::from_secs(60));
        assert_eq!(store.purge_expired(u64::MAX).await.expect("purge succeeds"), Some(10));
        assert_eq!(store.purge_expired(u64::MAX).await.expect("purge succeeds"), Some(0));
        assert_eq!(store.entries().await.expect("the entries are counted"), 2);
    }
}
