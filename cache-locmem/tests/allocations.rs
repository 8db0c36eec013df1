//! Allocations of the store, with and without a handle.

use std::{
    hint::black_box,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use cache_core::{
    Bytes, Cache, CacheHandle, ManualClock, Object, Settings, Tags, Timeout, Value,
    observe::{ObserveOptions, Observed},
};
use cache_locmem::{LocMemCache, LocMemOptions, Policy};
use metrics_exporter_prometheus::PrometheusBuilder;

const TTL: Option<Duration> = Some(Duration::from_secs(300));

/// Polls a future of locmem, which never waits.
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
    store.set_now(key, value, ttl).expect("locmem never waits").expect("set succeeds");
}

/// Returns a value as a codec creates it: `Bytes` from a vector, whose first clone allocates.
fn fresh_bytes() -> Value {
    Value::Bytes(vec![7; 100].into())
}

/// Counts the allocations of an operation that has run once before.
fn allocations<T>(mut operation: impl FnMut() -> T) -> u64 {
    black_box(operation());
    measure(|| drop(black_box(operation()))).count_total
}

/// Counts the allocations of the first hit and of the second one.
fn allocations_of_hits(value: Value) -> [u64; 2] {
    let store = store();
    ready(store.set("key", value, TTL)).expect("locmem does not fail");
    let hit = || assert!(matches!(black_box(store.get_now("key")), Some(Ok(Some(_)))));
    [measure(hit), measure(hit)].map(|counted| counted.count_total)
}

#[test]
fn integer_hit_does_not_allocate() {
    assert_eq!(allocations_of_hits(Value::Int(42)), [0, 0]);
}

#[test]
fn hit_of_shareable_bytes_does_not_allocate() {
    assert_eq!(allocations_of_hits(Value::Bytes(Bytes::from_static(b"static"))), [0, 0]);
}

#[test]
fn only_the_first_hit_of_fresh_bytes_allocates_their_reference_count() {
    assert_eq!(allocations_of_hits(fresh_bytes()), [1, 0]);
}

#[test]
fn set_of_fresh_bytes_allocates_no_reference_count() {
    let store = store();
    set(&store, "key", Value::Int(1), TTL);
    let fresh = fresh_bytes();
    assert_eq!(measure(|| set(&store, "key", fresh, TTL)).count_total, 0);
}

#[test]
fn object_hit_does_not_allocate() {
    let object = Object::new(Arc::new(String::from("shared")));
    assert_eq!(allocations_of_hits(Value::Object(object)), [0, 0]);
}

#[test]
fn miss_does_not_allocate() {
    let store = store();
    assert_eq!(allocations(|| store.get_now("absent")), 0);
}

#[test]
fn handle_get_of_number_does_not_allocate() {
    let cache = handle();
    ready(cache.set("key", &42_u64, Timeout::Default)).expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get::<u64>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        0
    );
}

#[test]
fn observed_hit_and_set_do_not_allocate_without_a_recorder() {
    assert_eq!(allocations_of_observed_hits_and_sets(), [0, 0]);
}

#[test]
fn observed_hit_and_set_do_not_allocate_with_a_recorder() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = metrics::with_local_recorder(&recorder, allocations_of_observed_hits_and_sets);
    assert_eq!(counted, [0, 0]);
    let metrics = recorder.handle().render();
    assert!(
        metrics.contains(
            r#"cachette_lookups_total{cache="default",store="locmem",outcome="hit"} 256"#
        ),
        "{metrics}"
    );
}

/// Counts the allocations of 128 hits and of 128 sets, of which two each are measured.
fn allocations_of_observed_hits_and_sets() -> [u64; 2] {
    let observed = Observed::new("default", Arc::new(store()), ObserveOptions::default());
    let cache = CacheHandle::new("default", Arc::new(observed.clone()), Settings::default());
    let hits = || {
        for _ in 0..128 {
            ready(cache.get::<u64>("key")).expect("locmem does not fail").expect("a hit");
        }
    };
    let sets = || {
        for _ in 0..128 {
            ready(cache.set("key", &42_u64, Timeout::Default)).expect("locmem does not fail");
        }
    };
    // The first calls register the metrics.
    sets();
    hits();
    ready(observed.publish()).expect("locmem has statistics");
    let counted = [measure(hits), measure(sets)].map(|counted| counted.count_total);
    ready(observed.publish()).expect("locmem has statistics");
    counted
}

#[test]
fn handle_get_of_bytes_does_not_allocate() {
    let cache = handle();
    ready(cache.set("key", &Bytes::from_static(b"some bytes"), Timeout::Default))
        .expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get::<Bytes>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        0
    );
}

#[test]
fn handle_get_of_shared_object_does_not_allocate() {
    let cache = handle();
    ready(cache.set_shared("key", &Arc::new(String::from("shared")), Timeout::Default))
        .expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get_shared::<String>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        0
    );
}

#[test]
fn handle_get_of_shared_object_with_tags_does_not_allocate() {
    let time = ManualClock::new();
    let cache = handle().with_clock(time.clock());
    let (object, tags) = (Arc::new(String::from("shared")), Tags::of(["a", "b"]));
    ready(cache.set_shared_with("key", &object, Timeout::Default, &tags))
        .expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get_shared::<String>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        0
    );
}

#[test]
fn hit_of_get_or_set_does_not_allocate() {
    let cache = handle();
    ready(cache.set("key", &42_u64, Timeout::Default)).expect("locmem does not fail");
    let hit = || {
        let produce = async || unreachable!("a hit");
        let hit = ready(cache.get_or_set::<u64, _>("key", Timeout::Default, produce));
        hit.expect("locmem does not fail")
    };
    assert_eq!(allocations(hit), 0);
    let fallible_hit = || {
        let produce = async || -> Result<u64, ()> { unreachable!("a hit") };
        let hit = ready(cache.try_get_or_set("key", Timeout::Default, produce));
        hit.expect("locmem does not fail")
    };
    assert_eq!(allocations(fallible_hit), 0);
}

#[test]
fn hit_of_get_or_set_shared_does_not_allocate() {
    let cache = handle();
    ready(cache.set_shared("key", &Arc::new(String::from("shared")), Timeout::Default))
        .expect("locmem does not fail");
    let hit = || {
        let produce = async || -> String { unreachable!("a hit") };
        let hit = ready(cache.get_or_set_shared("key", Timeout::Default, produce));
        hit.expect("locmem does not fail")
    };
    assert_eq!(allocations(hit), 0);
}

/// The producer, which owns what it needs, and the future, whose type has no name.
const ALLOCATIONS_OF_FETCH: u64 = 2;

#[test]
fn hit_of_fetch_allocates_only_its_producer_and_its_future() {
    let cache = handle();
    let owned = Arc::new(42_u64);
    let fetch = || {
        let owned = Arc::clone(&owned);
        ready(cache.fetch("key", async move |_| *owned).into_future()).expect("a value")
    };
    ready(cache.set("key", &42_u64, Timeout::Default)).expect("locmem does not fail");
    assert_eq!(allocations(fetch), ALLOCATIONS_OF_FETCH);
    ready(cache.delete("key")).expect("locmem does not fail");
    fetch();
    assert_eq!(allocations(fetch), ALLOCATIONS_OF_FETCH, "a value that it has stored itself");
}

#[test]
fn get_of_a_value_that_fetch_has_stored_does_not_allocate() {
    let cache = handle();
    ready(cache.fetch("key", async |_| 42_u64).into_future()).expect("a value");
    let hit = || ready(cache.get::<u64>("key")).expect("locmem does not fail").expect("a hit");
    assert_eq!(allocations(hit), 0);
}

#[test]
fn handle_get_of_string_allocates_only_the_string() {
    let cache = handle();
    ready(cache.set("key", "some text", Timeout::Default)).expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get::<String>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        1
    );
}

#[test]
fn handle_get_of_byte_vec_allocates_only_the_vec() {
    let cache = handle();
    ready(cache.set("key", &vec![7_u8; 100], Timeout::Default)).expect("locmem does not fail");
    assert_eq!(
        allocations(|| ready(cache.get::<Vec<u8>>("key"))
            .expect("locmem does not fail")
            .expect("a hit")),
        1
    );
}

#[test]
fn handle_get_many_allocates_as_often_for_many_keys_as_for_a_few() {
    let cache = handle();
    let keys: Vec<String> = (0..100).map(|number| format!("article:{number}")).collect();
    let entries = keys.iter().map(|key| (key, 42_u64));
    ready(cache.set_many(entries, Timeout::Default)).expect("locmem does not fail");
    let get_many = |keys: &[String]| allocations(|| ready(cache.get_many::<u64, _>(keys)));
    // The lists of keys, of their ends, of composed keys and of values, their text, the map, and
    // the future of the store.
    assert_eq!([10, 100].map(|count| get_many(&keys[..count])), [7, 7]);
}

#[test]
fn overwrite_does_not_allocate() {
    let store = store();
    let shared = Value::Bytes(Bytes::from_static(b"some bytes"));
    for ttl in [None, TTL] {
        assert_eq!(allocations(|| set(&store, "key", shared.clone(), ttl)), 0);
    }
}

#[test]
fn overwrite_by_object_does_not_allocate() {
    let store = store();
    let object = Value::Object(Object::new(Arc::new(String::from("shared"))));
    assert_eq!(allocations(|| set(&store, "key", object.clone(), TTL)), 0);
}

#[test]
fn handle_overwrite_by_number_does_not_allocate() {
    let cache = handle();
    assert_eq!(
        allocations(
            || ready(cache.set("key", &42_u64, Timeout::Default)).expect("locmem does not fail")
        ),
        0
    );
}

#[test]
fn handle_overwrite_by_shared_object_does_not_allocate() {
    let cache = handle();
    let object = Arc::new(String::from("shared"));
    assert_eq!(
        allocations(|| ready(cache.set_shared("key", &object, Timeout::Default))
            .expect("locmem does not fail")),
        0
    );
}

#[test]
fn s3_fifo_hit_does_not_allocate_in_either_queue() {
    let options = LocMemOptions::default().max_entries(20).policy(Policy::S3Fifo);
    let store = LocMemCache::new(options).expect("valid options");
    for number in 0..20 {
        ready(store.set(&number.to_string(), fresh_bytes(), TTL)).expect("locmem does not fail");
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
fn s3_fifo_overwrite_does_not_allocate() {
    let options = LocMemOptions::default().policy(Policy::S3Fifo);
    let store = LocMemCache::new(options).expect("valid options");
    let shared = Value::Bytes(Bytes::from_static(b"some bytes"));
    assert_eq!(allocations(|| set(&store, "key", shared.clone(), TTL)), 0);
}

/// The one allocation is the list of removed entries, which is dropped after the lock is released.
#[test]
fn new_entry_in_full_store_allocates_only_the_list_of_removed_entries() {
    for policy in [Policy::Lru, Policy::S3Fifo] {
        let options = LocMemOptions::default().max_entries(100).cull_frequency(1000).policy(policy);
        let store = LocMemCache::new(options).expect("valid options");
        let keys: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
        let (last, others) = keys.split_last().expect("not empty");
        let set = |key: &str| set(&store, key, Value::Int(1), None);
        others.iter().for_each(|key| set(key));
        assert_eq!(measure(|| set(last)).count_total, 1, "{policy:?}");
    }
}

#[test]
fn clear_frees_all_memory_but_a_page() {
    const TOLERANCE: i64 = 4096;
    let store = store();
    let fill = || {
        for number in 0..50_000 {
            let key = format!("a key that is too long to be stored inline: {number}");
            ready(store.set(&key, fresh_bytes(), TTL)).expect("locmem does not fail");
        }
    };
    let filled = measure(fill).bytes_current;
    assert!(filled > 50_000 * 150, "{filled} bytes for 50,000 entries");
    let freed = -measure(|| ready(store.clear()).expect("locmem does not fail")).bytes_current;
    assert!((filled - freed).abs() <= TOLERANCE, "{filled} bytes allocated, {freed} freed");
}

/// The tolerance is a quarter, because the table and the slots grow in steps.
#[test]
fn max_bytes_counts_about_what_is_allocated() {
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
        let fill = || {
            (0..20_000)
                .for_each(|number| set(&cache, &number.to_string()).expect("locmem does not fail"));
        };
        let allocated = measure(fill).bytes_current;
        let counted = i64::try_from(store.bytes()).expect("fits an i64");
        assert!(
            (allocated - counted).abs() < allocated / 4,
            "{kind}: {allocated} bytes allocated, {counted} counted"
        );
    }
}
