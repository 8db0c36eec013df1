//! What goes when there is no room, and what stays.

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
    a_cull_frequency_of_zero_empties_a_full_store
    a_cull_frequency_beyond_the_entries_still_makes_room
    a_large_part_goes_step_by_step
    one_thousand_sets_never_leave_more_than_max_entries
    a_full_byte_limit_is_culled_to_the_same_fraction
    deletes_end_a_cull_early
    a_store_with_shards_keeps_what_it_has_room_for
    overwriting_in_a_full_store_drops_nothing
    reading_and_writing_count_as_a_use_but_looking_and_touching_do_not
    expired_entries_go_before_any_other
    expired_entries_that_nobody_asks_for_do_not_pile_up
    an_entry_that_is_overwritten_again_and_again_leaves_nothing_behind
    there_are_never_more_entries_than_allowed
    there_are_never_more_bytes_than_allowed
    an_entry_that_grows_makes_room_for_itself
    an_entry_that_can_never_fit_is_refused_and_told_with_the_sizes
    an_empty_store_weighs_nothing
    no_lock_is_held_while_a_value_is_dropped
    threads_that_do_everything_at_once_leave_a_store_that_adds_up
}

fn store(policy: Policy, max_entries: usize, cull_frequency: usize) -> LocMemCache {
    let options = LocMemOptions::default()
        .max_entries(max_entries)
        .cull_frequency(cull_frequency)
        .policy(policy);
    LocMemCache::new(options).expect("it is fine")
}

fn bounded_in_bytes(policy: Policy, max_bytes: usize, max_entries: usize) -> LocMemCache {
    let options = LocMemOptions::default()
        .max_entries(max_entries)
        .max_bytes(max_bytes)
        .cull_frequency(1_000_000)
        .policy(policy);
    LocMemCache::new(options).expect("it is fine")
}

async fn fill(store: &LocMemCache, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        store.set(&number.to_string(), Value::Int(number), None).await.expect("it is stored");
    }
}

async fn left(store: &LocMemCache, numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut left = Vec::new();
    for number in numbers {
        if store.contains(&number.to_string()).await.expect("it answers") {
            left.push(number);
        }
    }
    left
}

#[tokio::test]
async fn under_lru_a_full_store_drops_the_third_that_was_used_least_recently() {
    let store = store(Policy::Lru, 9, 3);
    fill(&store, 0..9).await;
    store.get("0").await.expect("it answers");
    fill(&store, [9]).await;
    assert_eq!(left(&store, 0..10).await, [0, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn under_s3_fifo_a_full_store_drops_first_what_came_last_and_was_not_used() {
    let store = store(Policy::S3Fifo, 9, 3);
    fill(&store, 0..9).await;
    store.get("0").await.expect("it answers");
    fill(&store, [9]).await;
    assert_eq!(left(&store, 0..10).await, [0, 3, 4, 5, 6, 7, 9]);
}

/// Entries that are asked for now and then, while a report reads ten times as many others once.
async fn left_after_a_scan(policy: Policy) -> usize {
    let store = store(policy, 1000, 1_000_000);
    fill(&store, 0..1000).await;
    for number in 1000..11_000 {
        if number % 1000 == 0 {
            for wanted in 0..500 {
                store.get(&wanted.to_string()).await.expect("it answers");
            }
        }
        fill(&store, [number]).await;
    }
    left(&store, 0..500).await.len()
}

#[tokio::test]
async fn a_scan_pushes_out_under_lru_what_s3_fifo_keeps() {
    assert_eq!(left_after_a_scan(Policy::Lru).await, 0);
    assert_eq!(left_after_a_scan(Policy::S3Fifo).await, 500);
}

/// What returns sooner than the main queue turns round had better been kept.
#[tokio::test]
async fn under_s3_fifo_a_key_that_comes_back_soon_after_it_left_is_there_to_stay() {
    for (away, stays) in [(100, true), (2000, false)] {
        let store = store(Policy::S3Fifo, 1000, 1_000_000);
        fill(&store, 0..1010).await;
        assert!(!store.contains("951").await.expect("it answers"), "it was the first on probation");
        fill(&store, 2000..2000 + away).await;
        fill(&store, [951]).await;
        fill(&store, 5000..5900).await;
        assert_eq!(store.contains("951").await.expect("it answers"), stays, "after {away}");
    }
}

#[tokio::test]
async fn under_s3_fifo_a_few_heavy_entries_have_a_twentieth_of_the_bytes_for_their_probation() {
    let store = bounded_in_bytes(Policy::S3Fifo, 1_000_000, 100_000);
    let heavy = || Value::Bytes(vec![0; 30_000].into());
    fill(&store, 0..8000).await;
    for number in 10_000..10_100 {
        store.set(&number.to_string(), heavy(), None).await.expect("it fits");
        store.get(&number.to_string()).await.expect("it answers");
    }
    assert!(left(&store, 10_000..10_100).await.len() <= 4);
    assert!(left(&store, 0..8000).await.len() > 4000);
}

async fn a_cull_frequency_of_zero_empties_a_full_store(policy: Policy) {
    let store = store(policy, 9, 0);
    fill(&store, 0..10).await;
    assert_eq!(left(&store, 0..10).await, [9]);
}

async fn a_cull_frequency_beyond_the_entries_still_makes_room(policy: Policy) {
    let store = store(policy, 2, 10);
    fill(&store, 0..10).await;
    assert_eq!(store.entries(), 2);
    assert_eq!(left(&store, [9]).await, [9]);
}

async fn a_large_part_goes_step_by_step(policy: Policy) {
    let store = store(policy, 9000, 3);
    fill(&store, 0..9001).await;
    assert_eq!(store.entries(), 9000 - 512 + 1);
    fill(&store, 9001..9006).await;
    assert_eq!(store.entries(), 6000 + 1, "the cull ends at two thirds");
    fill(&store, 9006..9008).await;
    assert_eq!(store.entries(), 6000 + 3, "no further entry is culled");
    if policy == Policy::Lru {
        assert_eq!(left(&store, 3004..3006).await, [3005], "the oldest entries are culled");
    }
}

async fn one_thousand_sets_never_leave_more_than_max_entries(policy: Policy) {
    let store = store(policy, 300, 3);
    for number in 0..1000 {
        let before = store.entries();
        fill(&store, [number]).await;
        let expected = if before == 300 { 200 + 1 } else { before + 1 };
        assert_eq!(store.entries(), expected, "after {number}");
    }
}

async fn a_full_byte_limit_is_culled_to_the_same_fraction(policy: Policy) {
    let value = || Value::Bytes(vec![0; 1000].into());
    let options = LocMemOptions::default().max_entries(10_000).max_bytes(100_000).policy(policy);
    let store = LocMemCache::new(options).expect("valid options");
    store.set("0", value(), None).await.expect("it is stored");
    let size = store.bytes();
    for number in 1..1000 {
        let before = store.bytes();
        store.set(&number.to_string(), value(), None).await.expect("it is stored");
        let expected = if before + size > 100_000 { 66_667 / size + 1 } else { before / size + 1 };
        assert_eq!(store.entries(), expected, "after {number}");
    }
}

async fn deletes_end_a_cull_early(policy: Policy) {
    let store = store(policy, 9000, 3);
    fill(&store, 0..9001).await;
    for number in 0..9000 {
        store.delete(&number.to_string()).await.expect("it is deleted");
    }
    fill(&store, 0..100).await;
    assert_eq!(store.entries(), 1 + 100);
}

async fn a_store_with_shards_keeps_what_it_has_room_for(policy: Policy) {
    let store = store(policy, 100_000, 3);
    fill(&store, 0..95_000).await;
    assert_eq!(store.entries(), 95_000);
}

async fn overwriting_in_a_full_store_drops_nothing(policy: Policy) {
    let store = store(policy, 9, 3);
    fill(&store, 0..9).await;
    fill(&store, [4, 4, 4]).await;
    assert_eq!(store.entries(), 9);
}

async fn reading_and_writing_count_as_a_use_but_looking_and_touching_do_not(policy: Policy) {
    let store = store(policy, 6, 2);
    fill(&store, 0..6).await;
    store.get("0").await.expect("it answers");
    store.set("1", Value::Int(1), None).await.expect("it is stored");
    store.incr("2", 1).await.expect("it answers");
    store.contains("3").await.expect("it answers");
    store.touch("4", DAY).await.expect("it answers");
    store.ttl("5").await.expect("it answers");
    fill(&store, [6]).await;
    assert_eq!(left(&store, 0..7).await, [0, 1, 2, 6]);
}

async fn expired_entries_go_before_any_other(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(6).policy(policy);
    let store = LocMemCache::with_clock(options, time.clock()).expect("it is fine");
    fill(&store, 0..4).await;
    for key in ["short", "shorter"] {
        store.set(key, Value::Int(0), Some(Duration::from_secs(1))).await.expect("it is stored");
    }
    time.advance(Duration::from_secs(1));
    fill(&store, [4, 5]).await;
    assert_eq!(left(&store, 0..6).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(store.entries(), 6);
}

async fn expired_entries_that_nobody_asks_for_do_not_pile_up(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(1_000_000).policy(policy);
    let store = LocMemCache::with_clock(options, time.clock()).expect("it is fine");
    for number in 0..50_000 {
        let key = format!("session:{number}");
        store
            .set(&key, Value::Int(number), Some(Duration::from_secs(10)))
            .await
            .expect("it is stored");
        time.advance(Duration::from_millis(10));
    }
    assert!(store.entries() < 1500, "1,000 are alive, and {} are kept", store.entries());
}

async fn an_entry_that_is_overwritten_again_and_again_leaves_nothing_behind(policy: Policy) {
    let time = ManualClock::new();
    let store = LocMemCache::with_clock(LocMemOptions::default().policy(policy), time.clock())
        .expect("it is fine");
    for number in 0..10_000_u64 {
        let ttl = Some(Duration::from_secs(1 + (number * 7919) % 100));
        store.set("k", Value::Int(1), ttl).await.expect("it is stored");
        time.advance(Duration::from_millis(500));
    }
    assert_eq!(store.entries(), 1);
}

async fn there_are_never_more_entries_than_allowed(policy: Policy) {
    for max_entries in [1, 2, 300, 5000, 20_000] {
        let store = store(policy, max_entries, 3);
        fill(&store, 0..30_000).await;
        assert!(store.entries() <= max_entries, "{} of {max_entries}", store.entries());
        assert!(store.entries() >= max_entries / 2, "{} of {max_entries}", store.entries());
    }
}

async fn there_are_never_more_bytes_than_allowed(policy: Policy) {
    for (max_bytes, max_entries) in [(64 << 10, 300), (64 << 20, 100_000)] {
        let store = bounded_in_bytes(policy, max_bytes, max_entries);
        for number in 0..2000_usize {
            let value = Value::Bytes(vec![0; (number * 7919) % 60_000].into());
            store.set(&number.to_string(), value, None).await.expect("it fits");
            assert!(store.bytes() <= max_bytes, "{} of {max_bytes}", store.bytes());
        }
        assert!(store.bytes() > max_bytes / 2, "{} of {max_bytes}", store.bytes());
    }
}

async fn an_entry_that_grows_makes_room_for_itself(policy: Policy) {
    let store = bounded_in_bytes(policy, 10_000, 300);
    for (key, size) in [("a", 3000), ("b", 3000), ("a", 8000)] {
        store.set(key, Value::Bytes(vec![0; size].into()), None).await.expect("it fits");
    }
    assert!(store.contains("a").await.expect("it answers"));
    assert!(!store.contains("b").await.expect("it answers"));
}

async fn an_entry_that_can_never_fit_is_refused_and_told_with_the_sizes(policy: Policy) {
    let store = bounded_in_bytes(policy, 10_000, 300);
    store.set("k", Value::Int(1), None).await.expect("it fits");
    let error = store
        .set("k", Value::Bytes(vec![0; 20_000].into()), None)
        .await
        .expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("10000 is the most for one entry"), "{error}");
    assert!(!store.contains("k").await.expect("it answers"), "the old value");

    let giant = || Value::Bytes(vec![0; 20_000].into());
    assert_eq!(
        store.add("k", giant(), None).await.expect_err("it does not fit").kind(),
        ErrorKind::TooLarge
    );
    fill(&store, [1]).await;
    assert!(!store.add("1", giant(), None).await.expect("the key is taken"));
    assert!(store.contains("1").await.expect("it answers"));
}

async fn an_empty_store_weighs_nothing(policy: Policy) {
    let store = store(policy, 50_000, 3);
    fill(&store, 0..10_000).await;
    store.set("7", Value::Bytes(Bytes::from_static(b"seven")), DAY).await.expect("it is stored");
    for number in 0..10_000 {
        store.delete(&number.to_string()).await.expect("it answers");
    }
    assert_eq!((store.entries(), store.bytes()), (0, 0));
    fill(&store, 0..10).await;
    store.clear().await.expect("it is cleared");
    assert_eq!((store.entries(), store.bytes()), (0, 0));
}

/// An object that looks into the store while it is dropped or encoded: it hangs if a lock is held then.
#[derive(Debug)]
struct Nosy {
    store: Arc<LocMemCache>,
    seen: Arc<AtomicUsize>,
}

impl Nosy {
    fn look(&self) {
        self.store.get_now("k");
        self.seen.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

impl Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.look();
        serializer.serialize_bool(true)
    }
}

async fn no_lock_is_held_while_a_value_is_dropped(policy: Policy) {
    let time = ManualClock::new();
    let options = LocMemOptions::default().max_entries(2).policy(policy);
    let store = Arc::new(LocMemCache::with_clock(options, time.clock()).expect("it is fine"));
    let seen = Arc::new(AtomicUsize::new(0));
    let nosy = || {
        let nosy = Nosy { store: Arc::clone(&store), seen: Arc::clone(&seen) };
        Value::Object(Object::new(Arc::new(nosy)))
    };
    let set = async |ttl| store.set("k", nosy(), ttl).await.expect("it is stored");

    set(None).await;
    set(None).await; // overwritten
    assert!(!store.add("k", nosy(), None).await.expect("it answers")); // not stored
    store.delete("k").await.expect("it answers"); // deleted
    set(None).await;
    fill(&store, 0..5).await; // evicted
    set(Some(Duration::from_secs(1))).await;
    time.advance(Duration::from_secs(1));
    store.get("k").await.expect("it answers"); // met after its expiry
    set(None).await;
    store.clear().await.expect("it is cleared"); // cleared
    assert_eq!(seen.load(Ordering::SeqCst), 6);
}

async fn threads_that_do_everything_at_once_leave_a_store_that_adds_up(policy: Policy) {
    for max_entries in [100, 20_000] {
        let store = Arc::new(store(policy, max_entries, 3));
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for seed in 0..8_u64 {
                let (store, failures) = (&store, &failures);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .expect("a runtime starts");
                    if let Err(error) = runtime.block_on(work(store, seed)) {
                        failures.lock().expect("nobody panics").push(error.to_string());
                    }
                });
            }
        });
        assert_eq!(*failures.lock().expect("nobody panics"), [""; 0]);
        assert!(store.entries() <= max_entries);
        for number in 0..KEYS {
            store.delete(&number.to_string()).await.expect("it answers");
        }
        assert_eq!((store.entries(), store.bytes()), (0, 0));
    }
}

const KEYS: u64 = 30_000;

/// Operations that a simple generator of numbers picks.
async fn work(store: &LocMemCache, seed: u64) -> cache_core::Result<()> {
    let mut random = seed;
    for _ in 0..20_000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = ((random >> 33) % KEYS).to_string();
        match (random >> 20) % 16 {
            0..4 => drop(store.get(&key).await?),
            4..8 => {
                store
                    .set(&key, Value::Bytes(vec![7; (random >> 50) as usize % 100].into()), DAY)
                    .await?
            }
            8..10 => drop(
                store.add(&key, Value::Int(1), Some(Duration::from_micros(random >> 54))).await?,
            ),
            10 => store.set(&key, Value::Int(1), None).await?,
            11 => match store.incr(&key, 1).await {
                Err(error) if error.kind() != ErrorKind::NotAnInteger => return Err(error),
                _ => {}
            },
            12 => drop(store.touch(&key, DAY).await?),
            13 => drop(store.delete(&key).await?),
            14 => drop(store.ttl(&key).await?),
            _ if random >> 58 == 0 => store.clear().await?,
            _ => drop(store.contains(&key).await?),
        }
    }
    Ok(())
}
