//! What the store, and the handle before it, allocate.

use std::{
    hint::black_box,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use cache_core::{Bytes, Cache, CacheHandle, Object, Settings, Timeout, Value};
use cache_locmem::{LocMemCache, LocMemOptions, Policy};

const TTL: Option<Duration> = Some(Duration::from_secs(300));

/// The result of a future of locmem's, which never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("locmem never waits"),
    }
}

fn store() -> LocMemCache {
    let options = LocMemOptions::default().max_entries(100_000);
    LocMemCache::new(options).expect("valid options")
}

fn handle() -> CacheHandle {
    CacheHandle::new("default", Arc::new(store()), Settings::default())
}

fn set(store: &LocMemCache, key: &str, value: Value, ttl: Option<Duration>) {
    store.set_now(key, value, ttl).expect("it never waits").expect("no failure");
}

/// A value made as a codec makes one: `Bytes` from a vector, of which the first clone allocates.
fn fresh_bytes() -> Value {
    Value::Bytes(vec![7; 100].into())
}

/// How many allocations an operation makes, when its thread and its key have been used once.
fn allocations<T>(mut operation: impl FnMut() -> T) -> u64 {
    black_box(operation());
    measure(|| drop(black_box(operation()))).count_total
}

#[track_caller]
fn assert_first_hit_is_free(value: Value) {
    let store = store();
    ready(store.set("key", value, TTL)).expect("no failure");
    let first = measure(|| assert!(matches!(black_box(store.get_now("key")), Some(Ok(Some(_))))));
    assert_eq!(first.count_total, 0);
}

#[test]
fn a_hit_of_an_integer_allocates_nothing() {
    assert_first_hit_is_free(Value::Int(42));
}

#[test]
fn a_hit_of_bytes_allocates_nothing_not_even_the_first() {
    assert_first_hit_is_free(fresh_bytes());
}

#[test]
fn a_hit_of_an_object_allocates_nothing() {
    assert_first_hit_is_free(Value::Object(Object::new(Arc::new(String::from("shared")))));
}

#[test]
fn a_miss_allocates_nothing() {
    let store = store();
    assert_eq!(allocations(|| store.get_now("absent")), 0);
}

#[test]
fn a_get_of_a_number_through_the_handle_allocates_nothing() {
    let cache = handle();
    ready(cache.set("key", &42_u64, Timeout::Default)).expect("no failure");
    assert_eq!(
        allocations(|| ready(cache.get::<u64>("key")).expect("no failure").expect("a hit")),
        0
    );
}

#[test]
fn a_get_of_bytes_through_the_handle_allocates_nothing() {
    let cache = handle();
    ready(cache.set("key", &Bytes::from_static(b"some bytes"), Timeout::Default))
        .expect("no failure");
    assert_eq!(
        allocations(|| ready(cache.get::<Bytes>("key")).expect("no failure").expect("a hit")),
        0
    );
}

#[test]
fn a_get_of_a_shared_object_through_the_handle_allocates_nothing() {
    let cache = handle();
    ready(cache.set_shared("key", &Arc::new(String::from("shared")), Timeout::Default))
        .expect("no failure");
    assert_eq!(
        allocations(|| ready(cache.get_shared::<String>("key"))
            .expect("no failure")
            .expect("a hit")),
        0
    );
}

#[test]
fn a_get_of_a_string_allocates_the_string_alone() {
    let cache = handle();
    ready(cache.set("key", "some text", Timeout::Default)).expect("no failure");
    assert_eq!(
        allocations(|| ready(cache.get::<String>("key")).expect("no failure").expect("a hit")),
        1
    );
}

#[test]
fn a_get_of_a_vector_of_bytes_allocates_the_vector_alone() {
    let cache = handle();
    ready(cache.set("key", &vec![7_u8; 100], Timeout::Default)).expect("no failure");
    assert_eq!(
        allocations(|| ready(cache.get::<Vec<u8>>("key")).expect("no failure").expect("a hit")),
        1
    );
}

#[test]
fn an_overwrite_allocates_nothing() {
    let store = store();
    let shared = Value::Bytes(Bytes::from_static(b"some bytes"));
    for ttl in [None, TTL] {
        assert_eq!(allocations(|| set(&store, "key", shared.clone(), ttl)), 0);
    }
}

#[test]
fn an_overwrite_by_an_object_allocates_nothing() {
    let store = store();
    let object = Value::Object(Object::new(Arc::new(String::from("shared"))));
    assert_eq!(allocations(|| set(&store, "key", object.clone(), TTL)), 0);
}

#[test]
fn an_overwrite_by_a_number_through_the_handle_allocates_nothing() {
    let cache = handle();
    assert_eq!(
        allocations(|| ready(cache.set("key", &42_u64, Timeout::Default)).expect("no failure")),
        0
    );
}

#[test]
fn an_overwrite_by_a_shared_object_through_the_handle_allocates_nothing() {
    let cache = handle();
    let object = Arc::new(String::from("shared"));
    assert_eq!(
        allocations(
            || ready(cache.set_shared("key", &object, Timeout::Default)).expect("no failure")
        ),
        0
    );
}

#[test]
fn under_s3_fifo_a_hit_allocates_nothing_in_either_queue() {
    let options = LocMemOptions::default().max_entries(20).policy(Policy::S3Fifo);
    let store = LocMemCache::new(options).expect("valid options");
    for number in 0..20 {
        ready(store.set(&number.to_string(), fresh_bytes(), TTL)).expect("no failure");
    }
    for key in ["0", "19"] {
        assert_eq!(
            allocations(|| assert!(matches!(store.get_now(key), Some(Ok(Some(_)))))),
            0,
            "{key}"
        );
    }
}

#[test]
fn under_s3_fifo_an_overwrite_allocates_nothing() {
    let options = LocMemOptions::default().policy(Policy::S3Fifo);
    let store = LocMemCache::new(options).expect("valid options");
    let shared = Value::Bytes(Bytes::from_static(b"some bytes"));
    assert_eq!(allocations(|| set(&store, "key", shared.clone(), TTL)), 0);
}

/// What is left is the list of what goes, which is dropped when the lock is released.
#[test]
fn a_new_entry_in_a_full_store_allocates_no_more_than_the_one_that_goes_needs() {
    for policy in [Policy::Lru, Policy::S3Fifo] {
        let options = LocMemOptions::default().max_entries(100).cull_frequency(1000).policy(policy);
        let store = LocMemCache::new(options).expect("valid options");
        let keys: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
        let (last, others) = keys.split_last().expect("there are some");
        let set = |key: &str| set(&store, key, Value::Int(1), None);
        others.iter().for_each(|key| set(key));
        assert_eq!(measure(|| set(last)).count_total, 1, "{policy:?}");
    }
}

#[test]
fn clear_gives_back_all_memory_but_a_page() {
    const TOLERANCE: i64 = 4096;
    let store = store();
    let fill = || {
        for number in 0..50_000 {
            let key = format!("a key of some more bytes than stand in an entry: {number}");
            ready(store.set(&key, fresh_bytes(), TTL)).expect("no failure");
        }
    };
    let filled = measure(fill).bytes_current;
    assert!(filled > 50_000 * 150, "{filled} bytes for 50,000 entries");
    let gone = -measure(|| ready(store.clear()).expect("no failure")).bytes_current;
    assert!((filled - gone).abs() <= TOLERANCE, "{filled} bytes came, {gone} went");
}

/// Within a quarter: the table and the slots grow in steps.
#[test]
fn max_bytes_counts_about_what_the_allocator_does() {
    let small = |cache: &CacheHandle, key: &str| {
        ready(cache.set(key, &(1_u8, "two", 3.0), Timeout::Default))
    };
    let large = |cache: &CacheHandle, key: &str| {
        ready(cache.set(key, &vec!["three hundred"; 300], Timeout::Default))
    };
    let number = |cache: &CacheHandle, key: &str| ready(cache.set(key, &7, Timeout::Never));
    type Set<'a> = &'a dyn Fn(&CacheHandle, &str) -> cache_core::Result<()>;
    for (kind, set) in [("small", &small as Set<'_>), ("large", &large), ("number", &number)] {
        let store = Arc::new(store());
        let cache =
            CacheHandle::new("default", Arc::<LocMemCache>::clone(&store), Settings::default());
        let fill =
            || (0..20_000).for_each(|number| set(&cache, &number.to_string()).expect("no failure"));
        let taken = measure(fill).bytes_current;
        let counted = i64::try_from(store.bytes()).expect("it fits");
        assert!(
            (taken - counted).abs() < taken / 4,
            "{kind}: {taken} bytes are taken, {counted} counted"
        );
    }
}
