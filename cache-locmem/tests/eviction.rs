//! Eviction, culling and expiry.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use cache_core::{Bytes, Cache, ErrorKind, ManualClock, Object, Value};
use cache_locmem::{LocMemCache, LocMemOptions, Policy};
use serde::Serialize;

const DAY: Option<Duration> = Some(Duration::from_secs(86400));

/// Runs tests under each policy.
macro_rules! under_each_policy {
    ($($test:ident)+) => {
        mod lru {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Policy::Lru).await;
            })+
        }

        mod s3_fifo {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Policy::S3Fifo).await;
            })+
        }
    };
}

under_each_policy! {
    cull_frequency_of_zero_clears_a_full_store
    cull_frequency_above_max_entries_evicts_one_entry
    large_cull_is_done_in_steps
    every_cull_of_a_thousand_sets_leaves_two_thirds_of_max_entries
    full_byte_limit_is_culled_to_the_same_fraction
    deletes_end_a_cull_early
    sharded_store_evicts_nothing_below_its_limit
    overwrite_in_full_store_evicts_nothing
    get_set_and_incr_count_as_a_use_but_contains_touch_and_ttl_do_not
    expired_entries_are_removed_before_live_ones
    unread_expired_entries_do_not_accumulate
    repeated_overwrites_leave_one_entry
    max_entries_is_never_exceeded
    max_bytes_is_never_exceeded
    default_limit_in_bytes_evicts_large_entries
    growing_entry_evicts_others
    entry_above_max_bytes_is_rejected_with_the_sizes
    empty_store_has_a_size_of_zero
    no_lock_is_held_while_a_value_is_dropped
    concurrent_operations_keep_the_counts_consistent
}

fn store(policy: Policy, max_entries: usize, cull_frequency: usize) -> LocMemCache {
    let options = LocMemOptions::default()
        .max_entries(max_entries)
        .cull_frequency(cull_frequency)
        .policy(policy);
    LocMemCache::new(options).expect("valid options")
}

fn bounded_in_bytes(policy: Policy, max_bytes: usize, max_entries: usize) -> LocMemCache {
    let options = LocMemOptions::default()
        .max_entries(max_entries)
        .max_bytes(max_bytes)
        .cull_frequency(1_000_000)
        .policy(policy);
    LocMemCache::new(options).expect("valid options")
}

async fn fill(store: &LocMemCache, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        store
            .set(&number.to_string(), Value::Int(number), None)
            .await
            .expect("locmem does not fail");
    }
}

async fn remaining(store: &LocMemCache, numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut remaining = Vec::new();
    for number in numbers {
        if store.contains(&number.to_string()).await.expect("locmem does not fail") {
            remaining.push(number);
        }
    }
    remaining
}

#[tokio::test]
async fn lru_evicts_the_least_recently_used_third() {
    let store = store(Policy::Lru, 9, 3);
    fill(&store, 0..9).await;
    store.get("0").await.expect("locmem does not fail");
    fill(&store, [9]).await;
    assert_eq!(remaining(&store, 0..10).await, [0, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn s3_fifo_evicts_unused_new_entries_first() {
    let store = store(Policy::S3Fifo, 9, 3);
    fill(&store, 0..9).await;
    store.get("0").await.expect("locmem does not fail");
    fill(&store, [9]).await;
    assert_eq!(remaining(&store, 0..10).await, [0, 3, 4, 5, 6, 7, 9]);
}

/// Counts how many of 500 entries that are read now and then are left after a scan that adds ten
/// times as many others.
async fn remaining_after_scan(policy: Policy) -> usize {
    let store = store(policy, 1000, 1_000_000);
    fill(&store, 0..1000).await;
    for number in 1000..11_000 {
        if number % 1000 == 0 {
            for popular in 0..500 {
                store.get(&popular.to_string()).await.expect("locmem does not fail");
            }
        }
        fill(&store, [number]).await;
    }
    remaining(&store, 0..500).await.len()
}

#[tokio::test]
async fn scan_evicts_popular_entries_under_lru_but_not_under_s3_fifo() {
    assert_eq!(remaining_after_scan(Policy::Lru).await, 0);
    assert_eq!(remaining_after_scan(Policy::S3Fifo).await, 500);
}

/// A key that comes back sooner than the main queue turns over should not have been evicted.
#[tokio::test]
async fn s3_fifo_keeps_a_key_that_comes_back_soon_after_its_eviction() {
    for (absence, stays) in [(100, true), (2000, false)] {
        let store = store(Policy::S3Fifo, 1000, 1_000_000);
        fill(&store, 0..1010).await;
        assert!(
            !store.contains("991").await.expect("locmem does not fail"),
            "it was the oldest in the small queue"
        );
        fill(&store, 2000..2000 + absence).await;
        fill(&store, [991]).await;
        fill(&store, 5000..5900).await;
        assert_eq!(
            store.contains("991").await.expect("locmem does not fail"),
            stays,
            "after {absence}"
        );
    }
}

#[tokio::test]
async fn s3_fifo_limits_large_new_entries_to_a_hundredth_of_the_bytes() {
    let store = bounded_in_bytes(Policy::S3Fifo, 1_000_000, 100_000);
    let large = || Value::Bytes(vec![0; 30_000].into());
    fill(&store, 0..8000).await;
    for number in 10_000..10_100 {
        store.set(&number.to_string(), large(), None).await.expect("the value fits");
        store.get(&number.to_string()).await.expect("locmem does not fail");
    }
    assert!(remaining(&store, 10_000..10_100).await.len() <= 4);
    assert!(remaining(&store, 0..8000).await.len() > 4000);
}

async fn cull_frequency_of_zero_clears_a_full_store(policy: Policy) {
    let store = store(policy, 9, 0);
    fill(&store, 0..10).await;
    assert_eq!(remaining(&store, 0..10).await, [9]);
}

async fn cull_frequency_above_max_entries_evicts_one_entry(policy: Policy) {
    let store = store(policy, 2, 10);
    fill(&store, 0..10).await;
    assert_eq!(store.entries(), 2);
    assert_eq!(remaining(&store, [9]).await, [9]);
}

async fn large_cull_is_done_in_steps(policy: Policy) {
    let store = store(policy, 9000, 3);
    fill(&store, 0..9001).await;
    assert_eq!(store.entries(), 9000 - 512 + 1);
    fill(&store, 9001..9006).await;
    assert_eq!(store.entries(), 6000 + 1, "the cull ends at two thirds");
    fill(&store, 9006..9008).await;
    assert_eq!(store.entries(), 6000 + 3, "no further entry is culled");
    if policy == Policy::Lru {
        assert_eq!(remaining(&store, 3004..3006).await, [3005], "the oldest entries are culled");
    }
}

async fn every_cull_of_a_thousand_sets_leaves_two_thirds_of_max_entries(policy: Policy) {
    let store = store(policy, 300, 3);
    for number in 0..1000 {
        let before = store.entries();
        fill(&store, [number]).await;
        let expected = if before == 300 { 200 + 1 } else { before + 1 };
        assert_eq!(store.entries(), expected, "after {number}");
    }
}

async fn full_byte_limit_is_culled_to_the_same_fraction(policy: Policy) {
    let value = || Value::Bytes(vec![0; 1000].into());
    let options = LocMemOptions::default().max_entries(10_000).max_bytes(100_000).policy(policy);
    let store = LocMemCache::new(options).expect("valid options");
    store.set("0", value(), None).await.expect("locmem does not fail");
    let size = store.bytes();
    for number in 1..1000 {
        let before = store.bytes();
        store.set(&number.to_string(), value(), None).await.expect("locmem does not fail");
        let expected = if before + size > 100_000 { 66_667 / size + 1 } else { before / size + 1 };
        assert_eq!(store.entries(), expected, "after {number}");
    }
}

async fn deletes_end_a_cull_early(policy: Policy) {
    let store = store(policy, 9000, 3);
    fill(&store, 0..9001).await;
    for number in 0..9000 {
        store.delete(&number.to_string()).await.expect("locmem does not fail");
    }
    fill(&store, 0..100).await;
    assert_eq!(store.entries(), 1 + 100);
}

async fn sharded_store_evicts_nothing_below_its_limit(policy: Policy) {
    let store = store(policy, 100_000, 3);
    fill(&store, 0..95_000).await;
    assert_eq!(store.entries(), 95_000);
}

async fn overwrite_in_full_store_evicts_nothing(policy: Policy) {
    let store = store(policy, 9, 3);
    fill(&store, 0..9).await;
    fill(&store, [4, 4, 4]).await;
    assert_eq!(store.entries(), 9);
}

async fn get_set_and_incr_count_as_a_use_but_contains_touch_and_ttl_do_not(policy: Policy) {
    let store = store(policy, 6, 2);
    fill(&store, 0..6).await;
    store.get("0").await.expect("locmem does not fail");
    store.set("1", Value::Int(1), None).await.expect("locmem does not fail");
    store.incr("2", 1).await.expect("locmem does not fail");
    store.contains("3").await.expect("locmem does not fail");
    store.touch("4", DAY).await.expect("locmem does not fail");
    store.ttl("5").await.expect("locmem does not fail");
    fill(&store, [6]).await;
    assert_eq!(remaining(&store, 0..7).await, [0, 1, 2, 6]);
}

async fn expired_entries_are_removed_before_live_ones(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(6).policy(policy);
    let store = LocMemCache::with_clock(options, time.clock()).expect("valid options");
    fill(&store, 0..4).await;
    for key in ["short", "shorter"] {
        store
            .set(key, Value::Int(0), Some(Duration::from_secs(1)))
            .await
            .expect("locmem does not fail");
    }
    time.advance(Duration::from_secs(1));
    fill(&store, [4, 5]).await;
    assert_eq!(remaining(&store, 0..6).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(store.entries(), 6);
}

async fn unread_expired_entries_do_not_accumulate(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(1_000_000).policy(policy);
    let store = LocMemCache::with_clock(options, time.clock()).expect("valid options");
    for number in 0..50_000 {
        let key = format!("session:{number}");
        store
            .set(&key, Value::Int(number), Some(Duration::from_secs(10)))
            .await
            .expect("locmem does not fail");
        time.advance(Duration::from_millis(10));
    }
    assert!(store.entries() < 1500, "1,000 entries are live, {} are stored", store.entries());
}

async fn repeated_overwrites_leave_one_entry(policy: Policy) {
    let time = ManualClock::new();
    let store = LocMemCache::with_clock(LocMemOptions::default().policy(policy), time.clock())
        .expect("valid options");
    for number in 0..10_000_u64 {
        let ttl = Some(Duration::from_secs(1 + (number * 7919) % 100));
        store.set("k", Value::Int(1), ttl).await.expect("locmem does not fail");
        time.advance(Duration::from_millis(500));
    }
    assert_eq!(store.entries(), 1);
}

async fn max_entries_is_never_exceeded(policy: Policy) {
    for max_entries in [1, 2, 300, 5000, 20_000] {
        let store = store(policy, max_entries, 3);
        fill(&store, 0..30_000).await;
        assert!(store.entries() <= max_entries, "{} of {max_entries}", store.entries());
        assert!(store.entries() >= max_entries / 2, "{} of {max_entries}", store.entries());
    }
}

async fn max_bytes_is_never_exceeded(policy: Policy) {
    for (max_bytes, max_entries) in [(64 << 10, 300), (64 << 20, 100_000)] {
        let store = bounded_in_bytes(policy, max_bytes, max_entries);
        for number in 0..2000_usize {
            let value = Value::Bytes(vec![0; (number * 7919) % 60_000].into());
            store.set(&number.to_string(), value, None).await.expect("the value fits");
            assert!(store.bytes() <= max_bytes, "{} of {max_bytes}", store.bytes());
        }
        assert!(store.bytes() > max_bytes / 2, "{} of {max_bytes}", store.bytes());
    }
}

async fn default_limit_in_bytes_evicts_large_entries(policy: Policy) {
    let store = store(policy, 300, 3);
    let body = vec![0; 2 << 20];
    for number in 0..100 {
        let value = Value::Bytes(body.clone().into());
        store.set(&number.to_string(), value, None).await.expect("the value fits");
    }
    assert!(store.bytes() <= 64 << 20, "{}", store.bytes());
    assert!(store.bytes() > 32 << 20, "{}", store.bytes());
}

async fn growing_entry_evicts_others(policy: Policy) {
    let store = bounded_in_bytes(policy, 10_000, 300);
    for (key, size) in [("a", 3000), ("b", 3000), ("a", 8000)] {
        store.set(key, Value::Bytes(vec![0; size].into()), None).await.expect("the value fits");
    }
    assert!(store.contains("a").await.expect("locmem does not fail"));
    assert!(!store.contains("b").await.expect("locmem does not fail"));
}

async fn entry_above_max_bytes_is_rejected_with_the_sizes(policy: Policy) {
    let store = bounded_in_bytes(policy, 10_000, 300);
    store.set("k", Value::Int(1), None).await.expect("the value fits");
    let error =
        store.set("k", Value::Bytes(vec![0; 20_000].into()), None).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("10000"), "{error}");
    assert!(
        !store.contains("k").await.expect("locmem does not fail"),
        "the old value is out of date"
    );

    let giant = || Value::Bytes(vec![0; 20_000].into());
    assert_eq!(
        store.add("k", giant(), None).await.expect_err("too large").kind(),
        ErrorKind::TooLarge
    );
    fill(&store, [1]).await;
    assert!(!store.add("1", giant(), None).await.expect("the key exists"));
    assert!(store.contains("1").await.expect("locmem does not fail"));
}

async fn empty_store_has_a_size_of_zero(policy: Policy) {
    let store = store(policy, 50_000, 3);
    fill(&store, 0..10_000).await;
    store
        .set("7", Value::Bytes(Bytes::from_static(b"seven")), DAY)
        .await
        .expect("locmem does not fail");
    for number in 0..10_000 {
        store.delete(&number.to_string()).await.expect("locmem does not fail");
    }
    assert_eq!((store.entries(), store.bytes()), (0, 0));
    fill(&store, 0..10).await;
    store.clear().await.expect("locmem does not fail");
    assert_eq!((store.entries(), store.bytes()), (0, 0));
}

/// An object that reads from the store while it is dropped or encoded. This deadlocks if a lock is
/// held.
#[derive(Debug)]
struct Reader {
    store: Arc<LocMemCache>,
    reads: Arc<AtomicUsize>,
}

impl Reader {
    fn read(&self) {
        self.store.get_now("k");
        self.reads.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.read();
    }
}

impl Serialize for Reader {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.read();
        serializer.serialize_bool(true)
    }
}

async fn no_lock_is_held_while_a_value_is_dropped(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(2).policy(policy);
    let store = Arc::new(LocMemCache::with_clock(options, time.clock()).expect("valid options"));
    let reads = Arc::new(AtomicUsize::new(0));
    let reader = || {
        let reader = Reader { store: Arc::clone(&store), reads: Arc::clone(&reads) };
        Value::Object(Object::new(Arc::new(reader)))
    };
    let set = async |ttl| store.set("k", reader(), ttl).await.expect("locmem does not fail");

    set(None).await;
    set(None).await; // overwritten
    assert!(!store.add("k", reader(), None).await.expect("locmem does not fail")); // not stored
    store.delete("k").await.expect("locmem does not fail"); // deleted
    set(None).await;
    fill(&store, 0..5).await; // evicted
    set(Some(Duration::from_secs(1))).await;
    time.advance(Duration::from_secs(1));
    store.get("k").await.expect("locmem does not fail"); // expired
    set(None).await;
    store.clear().await.expect("locmem does not fail"); // cleared
    assert_eq!(reads.load(Ordering::SeqCst), 6);
}

async fn concurrent_operations_keep_the_counts_consistent(policy: Policy) {
    for max_entries in [100, 20_000] {
        let store = Arc::new(store(policy, max_entries, 3));
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for seed in 0..8_u64 {
                let (store, failures) = (&store, &failures);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .expect("the runtime starts");
                    if let Err(error) = runtime.block_on(work(store, seed)) {
                        failures.lock().expect("no thread panics").push(error.to_string());
                    }
                });
            }
        });
        assert_eq!(*failures.lock().expect("no thread panics"), [""; 0]);
        assert!(store.entries() <= max_entries);
        for number in 0..KEYS {
            store.delete(&number.to_string()).await.expect("locmem does not fail");
        }
        assert_eq!((store.entries(), store.bytes()), (0, 0));
    }
}

const KEYS: u64 = 30_000;

/// Runs random operations.
async fn work(store: &LocMemCache, seed: u64) -> cache_core::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let key = random.u64(..KEYS).to_string();
        match random.u8(..16) {
            0..4 => drop(store.get(&key).await?),
            4..8 => {
                let value = Value::Bytes(vec![7; random.usize(..100)].into());
                store.set(&key, value, DAY).await?;
            }
            8..10 => {
                let ttl = Duration::from_micros(random.u64(..1024));
                store.add(&key, Value::Int(1), Some(ttl)).await?;
            }
            10 => store.set(&key, Value::Int(1), None).await?,
            11 => match store.incr(&key, 1).await {
                Err(error) if error.kind() != ErrorKind::NotAnInteger => return Err(error),
                _ => {}
            },
            12 => drop(store.touch(&key, DAY).await?),
            13 => drop(store.delete(&key).await?),
            14 => drop(store.ttl(&key).await?),
            _ if random.u8(..64) == 0 => store.clear().await?,
            _ => drop(store.contains(&key).await?),
        }
    }
    Ok(())
}
