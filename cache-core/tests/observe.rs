//! The metrics of observed caches.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use cache_core::{
    Ask, Bytes, Cache, CacheHandle, Error, ErrorKind, ManualClock, Purge, Result, Settings, Tags,
    Timeout, Value, forward_cache,
    observe::{METRICS, Metric, MetricKind, ObserveOptions, Observed},
};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_testing::{Chaos, Fault, Remote};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tokio::runtime;

const KEY: &str = "the-key-of-a-person";

/// A recorder that keeps the sum of each counter, the number of values of each histogram, and the
/// value of each gauge, by name and labels.
#[derive(Debug, Default)]
struct Recorder {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Values>>>,
    described: Mutex<BTreeSet<String>>,
    keys: Mutex<HashSet<Key>>,
}

#[derive(Debug, Default)]
struct Values(AtomicU64);

impl metrics::HistogramFn for Values {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn shown(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
    format!("{} {}", key.name(), labels.join(" ")).trim_end().to_owned()
}

impl Recorder {
    fn seen(&self, key: &Key) -> String {
        self.keys.lock().expect("no panic").insert(key.clone());
        shown(key)
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.lock().expect("no panic").get(name).map_or(0, |count| count.load(Relaxed))
    }

    fn gauge(&self, name: &str) -> f64 {
        let gauges = self.gauges.lock().expect("no panic");
        f64::from_bits(gauges.get(name).expect("it is registered").load(Relaxed))
    }

    fn values(&self, name: &str) -> u64 {
        let histograms = self.histograms.lock().expect("no panic");
        histograms.get(name).map_or(0, |values| values.0.load(Relaxed))
    }

    /// Returns the counters that are not zero, without those whose names do not begin so.
    fn counted(&self, prefix: &str) -> Vec<String> {
        let counters = self.counters.lock().expect("no panic");
        let counted = counters.iter().filter(|(name, _)| name.starts_with(prefix));
        let counted = counted.map(|(name, count)| (name, count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0).map(|(name, n)| format!("{name}: {n}")).collect()
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().expect("no panic").insert(name.as_str().to_owned());
    }
    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().expect("no panic").insert(name.as_str().to_owned());
    }
    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().expect("no panic").insert(name.as_str().to_owned());
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().expect("no panic");
        Counter::from_arc(Arc::clone(counters.entry(self.seen(key)).or_default()))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().expect("no panic");
        Gauge::from_arc(Arc::clone(gauges.entry(self.seen(key)).or_default()))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut histograms = self.histograms.lock().expect("no panic");
        Histogram::from_arc(Arc::clone(histograms.entry(self.seen(key)).or_default()))
    }
}

/// A store that waits for I/O, and one that does not.
fn stores() -> [Arc<dyn Cache>; 2] {
    let remote = Remote::new(Arc::new(LocMemCache::default()));
    [Arc::new(LocMemCache::default()), Arc::new(remote)]
}

fn observe(store: Arc<dyn Cache>) -> Arc<Observed> {
    Arc::new(Observed::new("pages", store, ObserveOptions::default()))
}

fn handle(store: Arc<dyn Cache>) -> CacheHandle {
    CacheHandle::new("pages", observe(store), Settings::default())
}

async fn publish(cache: &CacheHandle) {
    let observed: &Observed = cache.store().downcast_ref().expect("it is observed");
    // An injected fault may be one of `stats` as well.
    let _ = observed.publish().await;
}

/// Runs a test with a recorder of its own.
fn recorded<F: Future<Output = ()>>(test: impl FnOnce() -> F) -> Recorder {
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, || {
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(test());
    });
    recorder
}

/// Runs `test` on a store in memory and on a remote one, and returns what both have counted, which
/// must be the same.
fn counted<F: Future<Output = ()>>(prefix: &str, test: impl Fn(CacheHandle) -> F) -> Vec<String> {
    let [memory, remote] = stores().map(|store| {
        let recorder = recorded(|| async {
            let cache = handle(store);
            test(cache.clone()).await;
            publish(&cache).await;
        });
        recorder.counted(prefix)
    });
    assert_eq!(memory, remote);
    memory.iter().map(|line| line.replace("cache=pages store=locmem ", "")).collect()
}

#[test]
fn lookups_are_hits_or_misses() {
    let lookups = counted("cachette_lookups", |cache| async move {
        cache.set(KEY, "value", Timeout::Default).await.expect("it is stored");
        for _ in 0..100 {
            cache.get::<String>(KEY).await.expect("a hit");
        }
        cache.get::<String>("absent").await.expect("a miss");
    });
    let expected = ["outcome=hit: 100", "outcome=miss: 1"];
    assert_eq!(lookups, expected.map(|line| format!("cachette_lookups_total {line}")));
}

#[test]
fn lookup_of_several_keys_counts_each() {
    let lookups = counted("cachette_lookups", |cache| async move {
        cache.set(KEY, "value", Timeout::Default).await.expect("it is stored");
        cache.get_many::<String, _>([KEY, "a", "b"]).await.expect("a lookup");
        cache.contains(KEY).await.expect("a lookup");
        cache.get_and_touch::<String>("a", Timeout::Default).await.expect("a lookup");
    });
    let expected = ["outcome=hit: 2", "outcome=miss: 3"];
    assert_eq!(lookups, expected.map(|line| format!("cachette_lookups_total {line}")));
}

#[test]
fn miss_of_get_or_set_is_one_lookup() {
    let lookups = counted("cachette_lookups", |cache| async move {
        for _ in 0..2 {
            cache.get_or_set(KEY, Timeout::Default, async || 7).await.expect("a value");
        }
    });
    let expected = ["outcome=hit: 1", "outcome=miss: 1"];
    assert_eq!(lookups, expected.map(|line| format!("cachette_lookups_total {line}")));
}

#[test]
fn key_that_is_written_while_its_value_is_produced_is_looked_up_once() {
    let lookups = counted("cachette_lookups", |cache| async move {
        let produce = async || {
            cache.set(KEY, &1, Timeout::Default).await.expect("it is stored");
            2
        };
        let value = cache.get_or_set(KEY, Timeout::Default, produce).await.expect("a value");
        assert_eq!(value, 1, "the value that was produced is lost");
    });
    assert_eq!(lookups, ["cachette_lookups_total outcome=miss: 1"]);
}

/// Calls each method of the store that changes something, so that it succeeds and is rejected.
async fn call_all(store: &dyn Cache) -> Result<()> {
    let (number, ttl) = (Value::Int(1), Some(Duration::from_secs(60)));
    store.set(KEY, number.clone(), ttl).await?;
    store.set_many(&[(KEY, number.clone()), ("b", number.clone())], ttl).await?;
    store.add(KEY, number.clone(), ttl).await?;
    store.add("c", number.clone(), ttl).await?;
    store.touch(KEY, ttl).await?;
    store.touch("absent", ttl).await?;
    store.incr(KEY, 1).await?;
    store.incr("absent", 1).await?;
    store.incr_or_set(KEY, 1, 1, ttl).await?;
    store.ttl(KEY).await?;
    store.ttl("absent").await?;
    store.delete("c").await?;
    store.delete("c").await?;
    store.delete_many(&[KEY, "b", "c"]).await?;
    let leases = store.leases().expect("the store has leases");
    let hold = Duration::from_secs(10);
    let lease = leases.acquire(KEY, Ask::Missing, hold).await?.lease.expect("nobody has it");
    assert!(leases.acquire(KEY, Ask::Missing, hold).await?.lease.is_none());
    leases.fill(KEY, lease, number.clone(), ttl).await?;
    let lease = leases.acquire("d", Ask::Missing, hold).await?.lease.expect("nobody has it");
    leases.release("d", lease, Duration::ZERO).await?;
    store.purge_expired(1).await?;
    store.clear().await
}

#[test]
fn operations_are_ok_or_rejected() {
    let operations = counted("cachette_operations", |cache| async move {
        call_all(&**cache.store()).await.expect("the store works");
    });
    let expected = [
        "op=acquire outcome=ok: 2",
        "op=acquire outcome=rejected: 1",
        "op=add outcome=ok: 1",
        "op=add outcome=rejected: 1",
        "op=clear outcome=ok: 1",
        "op=delete outcome=ok: 1",
        "op=delete outcome=rejected: 1",
        "op=delete_many outcome=ok: 2",
        "op=delete_many outcome=rejected: 1",
        "op=fill outcome=ok: 1",
        "op=incr outcome=ok: 1",
        "op=incr outcome=rejected: 1",
        "op=incr_or_set outcome=ok: 1",
        "op=purge_expired outcome=ok: 1",
        "op=release outcome=ok: 1",
        "op=set outcome=ok: 1",
        "op=set_many outcome=ok: 2",
        "op=touch outcome=ok: 1",
        "op=touch outcome=rejected: 1",
        "op=ttl outcome=ok: 1",
        "op=ttl outcome=rejected: 1",
    ];
    assert_eq!(operations, expected.map(|line| format!("cachette_operations_total {line}")));
}

#[test]
fn failures_of_the_store_are_errors() {
    let recorder = recorded(|| async {
        let chaos = Arc::new(Chaos::new(Arc::new(LocMemCache::default())));
        chaos.inject(Fault::error(ErrorKind::Unavailable));
        let cache = handle(chaos);
        let store = &**cache.store();
        let (number, ttl) = (Value::Int(1), None);
        store.get(KEY).await.expect_err("a fault");
        store.get_many(&[KEY, "b"]).await.expect_err("a fault");
        store.set(KEY, number.clone(), ttl).await.expect_err("a fault");
        store.set_many(&[(KEY, number.clone())], ttl).await.expect_err("a fault");
        store.add(KEY, number, ttl).await.expect_err("a fault");
        store.delete(KEY).await.expect_err("a fault");
        store.clear().await.expect_err("a fault");
        publish(&cache).await;
    });
    let expected = [
        "cachette_lookups_total cache=pages store=locmem outcome=error: 3",
        "cachette_operations_total cache=pages store=locmem op=add outcome=error: 1",
        "cachette_operations_total cache=pages store=locmem op=clear outcome=error: 1",
        "cachette_operations_total cache=pages store=locmem op=delete outcome=error: 1",
        "cachette_operations_total cache=pages store=locmem op=set outcome=error: 1",
        "cachette_operations_total cache=pages store=locmem op=set_many outcome=error: 1",
    ];
    assert_eq!(recorder.counted("cachette_"), expected);
}

/// A store whose calls that do not wait fail.
#[derive(Debug)]
struct FailsNow(LocMemCache);

impl Cache for FailsNow {
    forward_cache!(self.0, except get_now, set_now);

    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        Some(Err(Error::new(ErrorKind::Backend, "a fault")))
    }

    fn set_now(&self, _: &str, _: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Ok(Err(Error::new(ErrorKind::Backend, "a fault")))
    }
}

#[test]
fn failures_of_calls_that_do_not_wait_are_errors() {
    let recorder = recorded(|| async {
        let cache = handle(Arc::new(FailsNow(LocMemCache::default())));
        cache.get::<u8>(KEY).await.expect_err("a fault");
        cache.set(KEY, &1, Timeout::Default).await.expect_err("a fault");
        publish(&cache).await;
    });
    let expected = [
        "cachette_lookups_total cache=pages store=locmem outcome=error: 1",
        "cachette_operations_total cache=pages store=locmem op=set outcome=error: 1",
    ];
    assert_eq!(recorder.counted("cachette_"), expected);
}

#[test]
fn value_that_is_too_large_is_rejected() {
    let recorder = recorded(|| async {
        let options = LocMemOptions::default().max_bytes(1000_usize);
        let store = LocMemCache::new(options).expect("the options are valid");
        let cache = handle(Arc::new(store));
        let large = Value::Bytes(Bytes::from(vec![0; 5000]));
        let too_large = cache.store().set(KEY, large, None).await.expect_err("it is too large");
        assert_eq!(too_large.kind(), ErrorKind::TooLarge);
    });
    let expected = "cachette_operations_total cache=pages store=locmem op=set outcome=rejected: 1";
    assert_eq!(recorder.counted("cachette_"), [expected]);
}

#[test]
fn awaited_operations_are_timed_and_one_in_64_of_the_others() {
    let [memory, remote] = stores().map(|store| {
        let recorder = recorded(|| async {
            let cache = handle(store);
            // The count of the calls of a thread begins with the thread.
            for _ in 0..640 {
                cache.get::<u8>(KEY).await.expect("a miss");
            }
        });
        recorder.values("cachette_operation_seconds cache=pages store=locmem op=get")
    });
    assert_eq!((memory, remote), (10, 640));
}

#[test]
fn fills_are_counted_by_their_outcome() {
    let recorder = recorded(|| async {
        let chaos = Arc::new(Chaos::new(Arc::new(LocMemCache::default())));
        let cache = handle(chaos.clone());
        cache.get_or_set("stored", Timeout::Default, async || 1).await.expect("a value");
        let failed = cache.try_get_or_set("failed", Timeout::Default, async || Err::<u8, _>(()));
        failed.await.expect("the store works").expect_err("the producer fails");
        let produce = async || {
            cache.set("lost", &1, Timeout::Default).await.expect("it is stored");
            2
        };
        cache.get_or_set("lost", Timeout::Default, produce).await.expect("a value");
        let panicking = cache.clone();
        let panicked = tokio::spawn(async move {
            panicking.get_or_set("p", Timeout::Default, async || -> u8 { panic!("no") }).await
        });
        assert!(panicked.await.is_err());
        chaos.inject(Fault::error(ErrorKind::Unavailable));
        cache.get_or_set("not stored", Timeout::Default, async || 1).await.expect("a value");
    });
    let outcomes = ["failed", "lost", "not_stored", "panicked", "stored"];
    let expected =
        outcomes.map(|outcome| format!("cachette_fills_total cache=pages outcome={outcome}: 1"));
    assert_eq!(recorder.counted("cachette_fills_total"), expected);
    assert_eq!(recorder.values("cachette_fill_seconds cache=pages"), 5);
    assert_eq!(recorder.counter("cachette_fills_lost_total cache=pages"), 1);
}

#[test]
fn caller_that_waits_is_counted() {
    let recorder = recorded(|| async {
        let cache = handle(Arc::new(LocMemCache::default()));
        let produce = async || {
            tokio::task::yield_now().await;
            7
        };
        let (one, two) = tokio::join!(
            cache.get_or_set(KEY, Timeout::Default, produce),
            cache.get_or_set(KEY, Timeout::Default, produce),
        );
        assert_eq!((one.expect("a value"), two.expect("a value")), (7, 7));
    });
    assert_eq!(recorder.counter("cachette_waits_total cache=pages where=process"), 1);
    assert_eq!(recorder.values("cachette_wait_seconds cache=pages where=process"), 1);
}

#[test]
fn breaker_is_open_while_a_server_is_not_read() {
    let recorder = recorded(|| async {
        let chaos = Arc::new(Chaos::new(Arc::new(LocMemCache::default())));
        chaos.inject(Fault::error(ErrorKind::Unavailable));
        let cache = handle(chaos);
        for number in 0..3 {
            let key = number.to_string();
            cache.get_or_set(&key, Timeout::Default, async || 1).await.expect("a value");
        }
    });
    assert!((recorder.gauge("cachette_breaker_open cache=pages") - 1.0).abs() < f64::EPSILON);
}

#[test]
fn publish_reports_entries_bytes_and_evictions() {
    let recorder = recorded(|| async {
        let options = LocMemOptions::default().max_entries(10_usize).cull_frequency(2_usize);
        let store = LocMemCache::new(options).expect("the options are valid");
        let cache = handle(Arc::new(store));
        for number in 0..11 {
            cache.set(&number.to_string(), &1, Timeout::Default).await.expect("it is stored");
        }
        publish(&cache).await;
    });
    let entries = recorder.gauge("cachette_entries cache=pages");
    let evictions = recorder.counter("cachette_evictions_total cache=pages cause=capacity");
    assert!(evictions > 0);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let all = entries + evictions as f64;
    assert!((all - 11.0).abs() < f64::EPSILON);
    assert!(recorder.gauge("cachette_bytes cache=pages") > 0.0);
}

#[test]
fn publish_counts_entries_that_were_removed_after_their_time() {
    let recorder = recorded(|| async {
        let time = ManualClock::new();
        let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
        let cache = handle(Arc::new(store.expect("the options are valid")));
        for key in ["a", "b"] {
            cache.set(key, &1, Duration::from_secs(1)).await.expect("it is stored");
        }
        time.advance(Duration::from_secs(2));
        assert_eq!(cache.get::<u8>("a").await.expect("a lookup"), None);
        publish(&cache).await;
    });
    let evictions = recorder.counted("cachette_evictions_total");
    assert_eq!(evictions, ["cachette_evictions_total cache=pages cause=expired: 1"]);
}

#[test]
fn entry_whose_tag_was_purged_is_a_miss() {
    let fetch = cfg!(feature = "fetch").then_some("fetch");
    let verbs = ["get", "get_many", "get_shared", "get_and_touch", "get_or_set"];
    for verb in verbs.into_iter().chain(fetch) {
        let lookups = counted("cachette_lookups", |cache| async move {
            let tags = cache.tags(["user:42"]).await.expect("the store works");
            cache.set_with(KEY, &7, Timeout::Default, &tags).await.expect("it is stored");
            look_up(&cache, verb).await;
            cache.purge_tags(["user:42"], Purge::Hard).await.expect("it is purged");
            look_up(&cache, verb).await;
        });
        let expected = ["outcome=hit: 1", "outcome=miss: 1"];
        let expected = expected.map(|line| format!("cachette_lookups_total {line}"));
        assert_eq!(lookups, expected, "{verb}");
    }
}

#[test]
fn entry_with_tags_that_is_moved_is_looked_up_once() {
    let lookups = counted("cachette_lookups", |cache| async move {
        let tags = Tags::of(["user:42"]);
        cache.set_with(KEY, &7, Timeout::Default, &tags).await.expect("it is stored");
        cache.incr_version(KEY, 1).await.expect("it is moved");
    });
    assert_eq!(lookups, ["cachette_lookups_total outcome=hit: 1"]);
}

async fn look_up(cache: &CacheHandle, verb: &str) {
    let looked_up = match verb {
        "get" => cache.get::<u8>(KEY).await.map(|_| ()),
        "get_many" => cache.get_many::<u8, _>([KEY]).await.map(drop),
        "get_shared" => cache.get_shared::<u8>(KEY).await.map(drop),
        "get_and_touch" => cache.get_and_touch::<u8>(KEY, Timeout::Default).await.map(|_| ()),
        "get_or_set" => cache.get_or_set(KEY, Timeout::Default, async || 7).await.map(|_| ()),
        #[cfg(feature = "fetch")]
        "fetch" => {
            cache.fetch(KEY, async |_| 7_u8).tags(["user:42"]).await.expect("a value");
            Ok(())
        }
        _ => unreachable!("no such verb"),
    };
    looked_up.expect("a lookup");
}

#[test]
fn entry_whose_tag_was_purged_softly_is_stale() {
    let lookups = counted("cachette_lookups", |cache| async move {
        cache
            .set_with(KEY, &7, Timeout::Default, &Tags::of(["user:42"]))
            .await
            .expect("it is stored");
        cache.purge_tags(["user:42"], Purge::Soft).await.expect("it is purged");
        cache.get::<u8>(KEY).await.expect("a lookup");
    });
    assert_eq!(lookups, ["cachette_lookups_total outcome=stale: 1"]);
}

/// A store that returns entries, but not the records of tags.
#[derive(Debug)]
struct FailsForTags(Arc<LocMemCache>);

impl Cache for FailsForTags {
    forward_cache!(self.0, except get_now);

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        match key.contains(":tag:") {
            true => Some(Err(Error::new(ErrorKind::Backend, "a fault"))),
            false => self.0.get_now(key),
        }
    }
}

#[test]
fn entry_whose_tags_cannot_be_read_is_an_error() {
    let recorder = recorded(|| async {
        let store = Arc::new(LocMemCache::default());
        let tagged = CacheHandle::new("pages", store.clone(), Settings::default());
        let tags = Tags::of(["user:42"]);
        tagged.set_with(KEY, &7, Timeout::Default, &tags).await.expect("it is stored");
        let cache = handle(Arc::new(FailsForTags(store)));
        cache.get::<u8>(KEY).await.expect_err("a fault");
        cache.get_many::<u8, _>([KEY]).await.expect_err("a fault");
        publish(&cache).await;
    });
    let lookups = recorder.counted("cachette_lookups_total");
    assert_eq!(lookups, ["cachette_lookups_total cache=pages store=locmem outcome=error: 2"]);
}

const READ_TAGS: &str = "cachette_operations_total cache=pages store=locmem op=read_tags";

#[test]
fn records_of_tags_are_read_without_being_looked_up() {
    let operations = counted(READ_TAGS, |cache| async move {
        let tags = cache.tags(["a", "b"]).await.expect("the store works");
        cache.set_with(KEY, &7, Timeout::Default, &tags).await.expect("it is stored");
        cache.get::<u8>(KEY).await.expect("a lookup");
    });
    let expected = ["outcome=ok: 2", "outcome=rejected: 2"];
    let expected = expected.map(|line| format!("cachette_operations_total op=read_tags {line}"));
    assert_eq!(operations, expected);
}

#[test]
fn purges_of_tags_are_counted_by_their_kind() {
    let purges = counted("cachette_tag_purges", |cache| async move {
        cache.purge_tags(["a", "b"], Purge::Hard).await.expect("they are purged");
        cache.purge_tags(["a"], Purge::Soft).await.expect("it is purged");
    });
    let expected = ["kind=hard: 2", "kind=soft: 1"];
    let expected = expected.map(|line| format!("cachette_tag_purges_total cache=pages {line}"));
    assert_eq!(purges, expected);
}

#[test]
fn operations_publish_the_counts_of_those_in_memory_after_a_second() {
    let recorder = recorded(|| async {
        let time = ManualClock::new();
        let observed = Observed::new("pages", stores()[0].clone(), ObserveOptions::default());
        let cache = CacheHandle::new(
            "pages",
            Arc::new(observed.with_clock(time.clock())),
            Settings::default(),
        );
        cache.get::<u8>(KEY).await.expect("a miss");
        cache.get::<u8>(KEY).await.expect("a miss");
        time.advance(Duration::from_secs(1));
        cache.ttl(KEY).await.expect("a miss");
    });
    let misses = "cachette_lookups_total cache=pages store=locmem outcome=miss";
    assert_eq!(recorder.counter(misses), 2);
}

#[cfg(feature = "fetch")]
#[test]
fn stale_values_are_counted_by_their_reason() {
    let recorder = recorded(|| async {
        let time = ManualClock::new();
        let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
        let store = Arc::new(store.expect("the options are valid"));
        let observed = Observed::new("pages", store, ObserveOptions::default());
        let observed = Arc::new(observed.with_clock(time.clock()));
        let cache = CacheHandle::new("pages", observed, Settings::default());
        let cache = cache.with_clock(time.clock());
        let fetch = |is_ok: bool, soft_timeout: u64| {
            cache
                .try_fetch(KEY, async move |_| if is_ok { Ok(1_u8) } else { Err(()) })
                .ttl(Duration::from_secs(60))
                .jitter(0.0)
                .early(0.0)
                .stale_for(Duration::from_secs(600))
                .soft_timeout(Duration::from_secs(soft_timeout))
        };
        fetch(true, 0).await.expect("a value");
        time.advance(Duration::from_secs(61));
        // The producer fails while the caller waits, and then nobody tries again for a while.
        fetch(false, 1).await.expect("a stale value");
        fetch(false, 1).await.expect("a stale value");
        time.advance(Duration::from_secs(2));
        fetch(false, 0).await.expect("a stale value");
        cache.get::<u8>(KEY).await.expect("a miss");
        publish(&cache).await;
    });
    let expected = [
        "cachette_stale_served_total cache=pages reason=failed: 2",
        "cachette_stale_served_total cache=pages reason=refreshing: 1",
    ];
    assert_eq!(recorder.counted("cachette_stale"), expected);
    let stale = "cachette_lookups_total cache=pages store=locmem outcome=stale";
    assert_eq!(recorder.counter(stale), 4);
}

#[test]
fn every_metric_is_described_and_has_the_labels_of_the_list() {
    let recorder = recorded(|| async {
        for store in stores() {
            let cache = handle(store);
            call_all(&**cache.store()).await.expect("the store works");
            cache.get_or_set(KEY, Timeout::Default, async || 1).await.expect("a value");
            cache.get::<String>(KEY).await.expect("undecodable");
            publish(&cache).await;
        }
    });
    let listed: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(*recorder.described.lock().expect("no panic"), listed);
    for key in recorder.keys.lock().expect("no panic").iter() {
        let metric = METRICS.iter().find(|metric| metric.name == key.name());
        let Metric { labels, .. } = metric.unwrap_or_else(|| panic!("{} is listed", key.name()));
        assert_eq!(key.labels().map(metrics::Label::key).collect::<Vec<_>>(), *labels, "{key}");
    }
}

#[test]
fn no_label_has_a_value_that_comes_from_a_key() {
    let recorder = recorded(|| async {
        let cache = handle(stores()[0].clone());
        call_all(&**cache.store()).await.expect("the store works");
        cache.get_or_set(KEY, Timeout::Default, async || 1).await.expect("a value");
        cache.get::<String>(KEY).await.expect("undecodable");
        publish(&cache).await;
    });
    let keys = recorder.keys.lock().expect("no panic");
    assert!(keys.len() > 50);
    for label in keys.iter().flat_map(Key::labels) {
        assert!(!label.value().contains(KEY), "{} = {}", label.key(), label.value());
    }
}

#[test]
fn nothing_is_registered_before_the_first_operation() {
    let recorder = recorded(|| async {
        let cache = handle(stores()[0].clone());
        assert_eq!(cache.alias(), "pages");
    });
    assert!(recorder.keys.lock().expect("no panic").is_empty());
}

/// Names and labels are an interface: dashboards and alerts of users depend on them.
#[test]
fn names_and_labels_are_unchanged() {
    let listed: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
                _ => "new kind",
            };
            format!("{} {kind} {}", metric.name, metric.labels.join(" ")).trim_end().to_owned()
        })
        .collect();
    let golden = [
        "cachette_lookups_total counter cache store outcome",
        "cachette_operations_total counter cache store op outcome",
        "cachette_operation_seconds histogram cache store op",
        "cachette_fills_total counter cache outcome",
        "cachette_fill_seconds histogram cache",
        "cachette_stale_served_total counter cache reason",
        "cachette_waits_total counter cache where",
        "cachette_wait_seconds histogram cache where",
        "cachette_breaker_open gauge cache",
        "cachette_entries gauge cache",
        "cachette_bytes gauge cache",
        "cachette_evictions_total counter cache cause",
        "cachette_undecodable_total counter cache",
        "cachette_fills_lost_total counter cache",
        "cachette_failed_fetches_total counter cache",
        "cachette_tag_purges_total counter cache kind",
        "cachette_outage_errors_total counter cache",
        "cachette_unusable_total counter store reason",
        "cachette_memcached_foreign_total counter",
        "cachette_memcached_marked_down_total counter server",
        "cachette_http_requests_total counter cache result reason",
        "cachette_http_responses_total counter cache result reason",
    ];
    assert_eq!(listed, golden);
}
