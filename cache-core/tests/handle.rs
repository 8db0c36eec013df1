//! What a handle does before and after it calls its store.

use std::{
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Bytes, Cache, CacheHandle, Error, ErrorKind, KeyCheck, KeyFunction, ManualClock, OnOutage,
    Result, Settings, Timeout, Ttl, Undecodable, Value,
};
use cache_locmem::LocMemCache;
use serde::{Serialize, Serializer, ser};

/// A store that records its calls, and fails or rejects entries on request.
#[derive(Debug, Default)]
struct Spy {
    calls: Mutex<Vec<String>>,
    fails: bool,
    rejects: Vec<usize>,
}

impl Spy {
    fn record(&self, call: &str) -> Result<()> {
        self.calls.lock().expect("no thread panics while it holds the lock").push(call.into());
        if self.fails {
            Err(Error::new(ErrorKind::Unavailable, "no reply within 1 s"))
        } else {
            Ok(())
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no thread panics while it holds the lock").clone()
    }
}

#[async_trait]
impl Cache for Spy {
    fn name(&self) -> &str {
        "spy"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.record(&format!("get {key}")).map(|()| None)
    }
    async fn set(&self, key: &str, _: Value, ttl: Option<Duration>) -> Result<()> {
        self.record(&format!("set {key} {ttl:?}"))
    }
    async fn add(&self, key: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        self.record(&format!("add {key}")).map(|()| true)
    }
    async fn touch(&self, key: &str, _: Option<Duration>) -> Result<bool> {
        self.record(&format!("touch {key}")).map(|()| true)
    }
    async fn incr(&self, key: &str, _: i64) -> Result<Option<i64>> {
        self.record(&format!("incr {key}")).map(|()| None)
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.record(&format!("delete {key}")).map(|()| true)
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.record(&format!("ttl {key}")).map(|()| None)
    }
    async fn clear(&self) -> Result<()> {
        self.record("clear")
    }
    async fn set_many(&self, entries: &[(&str, Value)], _: Option<Duration>) -> Result<Vec<usize>> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        self.record(&format!("set_many {}", keys.join(" "))).map(|()| self.rejects.clone())
    }
}

fn on_spy(spy: Spy, settings: Settings) -> (Arc<Spy>, CacheHandle) {
    let spy = Arc::new(spy);
    (Arc::clone(&spy), CacheHandle::new("default", spy, settings))
}

fn on_memory() -> CacheHandle {
    CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default())
}

/// A value that no codec can encode.
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("not today"))
    }
}

#[tokio::test]
async fn empty_input_does_not_call_the_store() {
    let (spy, cache) = on_spy(Spy::default(), Settings::default());
    let none: [&str; 0] = [];
    assert!(cache.get_many::<u8, _>(none).await.expect("the call succeeds").is_empty());
    assert!(
        cache.set_many([("", 1); 0], Timeout::Default).await.expect("the call succeeds").is_empty()
    );
    assert_eq!(cache.delete_many(none).await.expect("the call succeeds"), 0);
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn batch_with_an_invalid_key_does_not_call_the_store() {
    let (spy, cache) =
        on_spy(Spy::default(), Settings { key_check: KeyCheck::Error, ..Settings::default() });
    let results = [
        cache.get_many::<u8, _>(["fine", "not fine"]).await.map(drop),
        cache.set_many([("fine", 1), ("not fine", 2)], Timeout::Default).await.map(drop),
        cache.delete_many(["fine", "not fine"]).await.map(drop),
        cache.incr_version("not fine", 1).await.map(drop),
    ];
    for result in results {
        assert_eq!(result.expect_err("a key has a space").kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn unencodable_value_is_an_error_and_is_not_stored() {
    let (spy, cache) = on_spy(Spy::default(), Settings::default());
    let results = [
        cache.set("k", &Unencodable, Timeout::Default).await,
        cache.add("k", &Unencodable, Timeout::Default).await.map(drop),
        cache.set_many([("k", Unencodable)], Timeout::Default).await.map(drop),
        cache.set_shared("k", &Arc::new(Unencodable), Timeout::Default).await,
    ];
    for result in results {
        let error = result.expect_err("the value cannot be encoded");
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("Unencodable"), "{error}");
        assert!(!error.to_string().contains("not today"), "the source's text is repeated: {error}");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("not today"));
    }
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn set_many_returns_rejected_keys() {
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let (_, cache) = on_spy(Spy { rejects: vec![0, 2], ..Spy::default() }, settings);
    let rejected = cache
        .set_many([("a", 1), ("b", 2), ("c", 3)], Timeout::Default)
        .await
        .expect("the call succeeds");
    assert_eq!(rejected, ["a", "c"]);
}

#[tokio::test]
async fn error_of_the_store_names_the_alias_and_the_store() {
    let (_, cache) = on_spy(Spy { fails: true, ..Spy::default() }, Settings::default());
    let results = [
        cache.get::<u8>("k").await.map(drop),
        cache.set("k", &1, Timeout::Default).await,
        cache.add("k", &1, Timeout::Default).await.map(drop),
        cache.touch("k", Timeout::Default).await.map(drop),
        cache.incr("k", 1).await.map(drop),
        cache.delete("k").await.map(drop),
        cache.ttl("k").await.map(drop),
        cache.contains("k").await.map(drop),
        cache.get_many::<u8, _>(["k"]).await.map(drop),
        cache.set_many([("k", 1)], Timeout::Default).await.map(drop),
        cache.delete_many(["k"]).await.map(drop),
        cache.incr_version("k", 1).await.map(drop),
        cache.get_shared::<u8>("k").await.map(drop),
        cache.clear().await,
    ];
    for result in results {
        let error = result.expect_err("the store is unavailable");
        assert_eq!(error.to_string(), "cache \"default\" (spy): no reply within 1 s");
        assert!(error.is_temporary());
    }
}

#[tokio::test]
async fn decode_error_does_not_repeat_its_source() {
    let cache = on_memory().with_undecodable(Undecodable::Error);
    cache.set("k", &("Ada", 36), Timeout::Default).await.expect("it is stored");
    let error = cache.get::<Vec<bool>>("k").await.expect_err("it is something else");
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains(":1:k"), "{error}");
    let mut outer: &dyn std::error::Error = &error;
    let mut sources = 0;
    while let Some(source) = outer.source() {
        assert!(!outer.to_string().contains(&source.to_string()), "{outer} repeats {source}");
        (outer, sources) = (source, sources + 1);
    }
    assert_eq!(sources, 2, "which codec, and why");
    assert!(format!("{error:#}").contains("Vec<bool>"), "{error:#}");
}

#[tokio::test]
async fn get_or_set_does_not_produce_in_an_outage_that_is_an_error() {
    let settings = Settings { on_outage: OnOutage::Error, ..Settings::default() };
    let (_, cache) = on_spy(Spy { fails: true, ..Spy::default() }, settings);
    let result =
        cache.get_or_set::<u8, _>("k", Timeout::Default, async || panic!("produced")).await;
    assert_eq!(result.expect_err("the store is unavailable").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn store_receives_the_resolved_timeout_and_never_zero() {
    let (spy, cache) =
        on_spy(Spy::default(), Settings { timeout: Timeout::secs(7), ..Settings::default() });
    for timeout in [Timeout::Default, Timeout::Never, Timeout::secs(1), Timeout::EXPIRED] {
        cache.set("k", &1, timeout).await.expect("the call succeeds");
    }
    assert_eq!(
        spy.calls(),
        ["set :1:k Some(7s)", "set :1:k None", "set :1:k Some(1s)", "delete :1:k"]
    );
}

#[tokio::test]
async fn incr_version_keeps_the_entry_if_the_key_function_ignores_versions() {
    let settings = Settings {
        key_function: KeyFunction::custom(|key, _, _| key.into()),
        ..Settings::default()
    };
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), settings);
    cache.set("k", "v", Timeout::Default).await.expect("it is stored");
    assert_eq!(cache.incr_version("k", 1).await.expect("it moves nowhere"), 2);
    assert!(cache.contains("k").await.expect("the call succeeds"));
}

#[tokio::test]
async fn incr_version_of_a_named_version_is_an_error() {
    let cache = on_memory().version("spring");
    cache.set("k", "v", Timeout::Default).await.expect("it is stored");
    let error = cache.incr_version("k", 1).await.expect_err("spring + 1");
    assert_eq!(error.kind(), ErrorKind::NotAnInteger);
    assert!(error.to_string().contains(r#""spring""#), "{error}");
}

#[tokio::test]
async fn with_store_keeps_the_settings() {
    let settings = Settings {
        key_prefix: "shop".into(),
        timeout: Duration::from_secs(7).into(),
        ..Settings::default()
    };
    let (one, other) = (Arc::new(Spy::default()), Arc::new(Spy::default()));
    let handle = CacheHandle::new("pages", Arc::clone(&one) as _, settings)
        .with_store(Arc::clone(&other) as _);
    handle.set("k", &1, Timeout::Default).await.expect("it is stored");
    assert_eq!((one.calls(), handle.alias()), (vec![], "pages"));
    assert_eq!(other.calls(), ["set shop:1:k Some(7s)"]);
}

#[tokio::test]
async fn bytes_are_returned_without_a_copy() {
    let cache = on_memory();
    cache
        .set("k", &Bytes::from_static(b"a long page"), Timeout::Default)
        .await
        .expect("it is stored");
    let one = cache.get::<Bytes>("k").await.expect("the call succeeds").expect("a hit");
    let other = cache.get::<Bytes>("k").await.expect("the call succeeds").expect("a hit");
    assert_eq!(one, "a long page");
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[tokio::test]
async fn undecodable_entries_are_counted_for_all_views() {
    let cache = on_memory();
    for bytes in ["", "\u{c1}", "plain text", "\x01\x02"] {
        let bytes = Value::Bytes(Bytes::from_static(bytes.as_bytes()));
        cache.store().set(":1:k", bytes, None).await.expect("it is stored");
        assert_eq!(cache.get::<String>("k").await.expect("the call succeeds"), None);
    }
    assert_eq!(cache.clone().version(2).undecodable_seen(), 4);
}

/// A recorder for the `metrics` facade that counts increments.
#[derive(Debug, Default)]
struct Counts(Arc<AtomicU64>);

impl metrics::Recorder for Counts {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        assert_eq!(key.name(), "cachette_undecodable_total");
        assert_eq!(
            key.labels().map(|label| (label.key(), label.value())).collect::<Vec<_>>(),
            [("cache", "default")]
        );
        metrics::Counter::from_arc(Arc::clone(&self.0))
    }
    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[test]
fn undecodable_entry_increments_the_metric() {
    let counts = Counts::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    metrics::with_local_recorder(&counts, || {
        runtime.block_on(async {
            let cache = on_memory();
            cache.set("k", "text", Timeout::Default).await.expect("it is stored");
            assert_eq!(cache.get::<u8>("k").await.expect("the call succeeds"), None);
        });
    });
    assert_eq!(counts.0.load(Ordering::SeqCst), 1);
}

#[test]
fn handles_errors_and_futures_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<CacheHandle>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Arc<dyn Cache>>();

    let cache = on_memory();
    let object = Arc::new(String::new());
    drop(is_send(cache.get::<String>("k")));
    drop(is_send(cache.set("k", "v", Timeout::Default)));
    drop(is_send(cache.add("k", "v", Timeout::Default)));
    drop(is_send(cache.touch("k", Timeout::Default)));
    drop(is_send(cache.ttl("k")));
    drop(is_send(cache.delete("k")));
    drop(is_send(cache.contains("k")));
    drop(is_send(cache.clear()));
    drop(is_send(cache.close()));
    drop(is_send(cache.incr("k", 1)));
    drop(is_send(cache.decr("k", 1)));
    drop(is_send(cache.incr_version("k", 1)));
    drop(is_send(cache.decr_version("k", 1)));
    drop(is_send(cache.get_many::<String, _>(["k"])));
    drop(is_send(cache.set_many([("k", "v")], Timeout::Default)));
    drop(is_send(cache.delete_many(["k"])));
    drop(is_send(cache.get_shared::<String>("k")));
    drop(is_send(cache.set_shared("k", &object, Timeout::Default)));
    drop(is_send(cache.get_or_set("k", Timeout::Default, async || String::new())));
    drop(is_send(cache.get_or_set_shared("k", Timeout::Default, async || String::new())));
    drop(is_send(
        cache.try_get_or_set("k", Timeout::Default, async || Ok::<_, Error>(String::new())),
    ));
}

#[test]
fn handle_is_three_words_wide_and_clones_share_the_store() {
    let cache = on_memory();
    assert_eq!(size_of::<CacheHandle>(), 3 * size_of::<usize>());
    assert!(Arc::ptr_eq(cache.store(), cache.clone().store()));
}

#[test]
fn derived_handles_keep_the_clock() {
    let time = ManualClock::new();
    let cache = on_memory().with_clock(time.clock());
    let derived = [
        cache.clone(),
        cache.version(2),
        cache.with_undecodable(Undecodable::Error),
        cache.with_store(Arc::clone(cache.store())),
    ];
    for handle in derived {
        let start = handle.clock().now();
        time.advance(Duration::from_secs(60));
        assert_eq!(handle.clock().now().since(start), Duration::from_secs(60));
    }
}
