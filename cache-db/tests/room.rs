//! What goes when there is no room, and that it goes in the background.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::Duration;

use cache_core::{Cache, ManualClock, Value};
use cache_db::{DbCache, DbOptions};

const ALL: [fn() -> DbOptions; 3] = [common::sqlite_file, common::postgres, common::mysql];

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

async fn fill(store: &DbCache, numbers: std::ops::Range<i64>, ttl: Option<Duration>) {
    for number in numbers {
        store.set(&number.to_string(), Value::Int(number), ttl).await.expect("it is stored");
    }
}

async fn small(
    mut options: DbOptions,
    time: &ManualClock,
    max_entries: u64,
    cull_frequency: u64,
) -> DbCache {
    options.max_entries = max_entries;
    options.cull_frequency = cull_frequency;
    common::fresh(options, time.clock()).await
}

#[tokio::test]
async fn a_table_holds_as_many_as_it_may_and_a_tenth_more_and_what_is_written_meanwhile() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = small(options, &time, 100, 3).await;
        for round in 0..30 {
            fill(&store, round * 10..round * 10 + 10, seconds(60)).await;
            store.close().await.expect("what is done in the background ends");
            let entries = store.entries().await.expect("it answers");
            // Ten more before they are counted, and no round adds more than ten while they are.
            assert!(entries <= 120, "{entries} entries in round {round}");
        }
        assert!(store.entries().await.expect("it answers") > 60);
    }
}

#[tokio::test]
async fn what_expires_first_goes_first_and_of_the_rest_what_was_written_first() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = small(options, &time, 9, 3).await;
        for number in 0..8 {
            time.advance(Duration::from_millis(1));
            fill(&store, number..number + 1, None).await;
        }
        fill(&store, 8..9, seconds(60)).await;
        time.advance(Duration::from_millis(1));
        store.close().await.expect("it ends");
        fill(&store, 9..10, None).await;
        store.close().await.expect("it ends");
        let mut left = Vec::new();
        for number in 0..10 {
            if store.contains(&number.to_string()).await.expect("it answers") {
                left.push(number);
            }
        }
        assert_eq!(left, [3, 4, 5, 6, 7, 9]);
    }
}

#[tokio::test]
async fn entries_of_one_moment_do_not_all_go_together() {
    for options in ALL.map(|options| options()) {
        let store = small(options, &ManualClock::new(), 30, 3).await;
        let keys: Vec<String> = (0..31).map(|number| number.to_string()).collect();
        let entries: Vec<(&str, Value)> =
            keys.iter().map(|key| (key.as_str(), Value::Int(1))).collect();
        store.set_many(&entries, seconds(60)).await.expect("they are stored");
        store.close().await.expect("it ends");
        assert_eq!(store.entries().await.expect("it answers"), 20);
    }
}

#[tokio::test]
async fn a_cull_frequency_of_zero_empties_a_full_table() {
    let store = small(common::sqlite_file(), &ManualClock::new(), 9, 0).await;
    fill(&store, 0..10, None).await;
    store.close().await.expect("it ends");
    fill(&store, 10..11, None).await;
    store.close().await.expect("it ends");
    assert!(store.entries().await.expect("it answers") <= 1);
}

#[tokio::test]
async fn expired_rows_are_removed_as_others_are_written() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = small(options.clone(), &time, 1000, 3).await;
        let keys: Vec<String> = (0..500).map(|number| format!("old-{number}")).collect();
        let entries: Vec<(&str, Value)> =
            keys.iter().map(|key| (key.as_str(), Value::Int(1))).collect();
        store.set_many(&entries, seconds(60)).await.expect("they are stored");
        store.close().await.expect("it ends");
        time.advance(Duration::from_secs(60));
        fill(&store, 0..200, None).await;
        store.close().await.expect("it ends");
        // By a clock of an hour ago, they would all still be there.
        let behind = ManualClock::new();
        let witness =
            DbCache::open(store.table(), options, None, behind.clock()).expect("it is fine");
        assert!(witness.entries().await.expect("it answers") <= 300, "of 700 rows");
    }
}

#[tokio::test]
async fn all_that_has_expired_can_be_removed_at_once() {
    for options in ALL.map(|options| options()) {
        let time = ManualClock::new();
        let store = small(options, &time, 1000, 3).await;
        fill(&store, 0..10, seconds(60)).await;
        fill(&store, 10..12, seconds(61)).await;
        store.close().await.expect("it ends");
        time.advance(Duration::from_secs(60));
        assert_eq!(store.purge_expired(u64::MAX).await.expect("it answers"), Some(10));
        assert_eq!(store.purge_expired(u64::MAX).await.expect("it answers"), Some(0));
        assert_eq!(store.entries().await.expect("it answers"), 2);
    }
}
