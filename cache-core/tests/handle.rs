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
    Bytes, Cache, CacheHandle, Error, ErrorKind, KeyCheck, KeyFunction, Result, Settings, Timeout,
    Ttl, Undecodable, Value,
};
use cache_locmem::LocMemCache;
use serde::{Serialize, Serializer, ser};

/// A store that notes what it is asked, and fails or refuses where it is told to.
#[derive(Debug, Default)]
struct Spy {
    calls: Mutex<Vec<String>>,
    fails: bool,
    refuses: Vec<usize>,
}

impl Spy {
    fn note(&self, call: &str) -> Result<()> {
        self.calls.lock().expect("nobody panics").push(call.into());
        if self.fails {
            Err(Error::new(ErrorKind::Unavailable, "no answer within 1 s"))
        } else {
            Ok(())
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("nobody panics").clone()
    }
}

#[async_trait]
impl Cache for Spy {
    fn name(&self) -> &str {
        "spy"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.note(&format!("get {key}")).map(|()| None)
    }
    async fn set(&self, key: &str, _: Value, ttl: Option<Duration>) -> Result<()> {
        self.note(&format!("set {key} {ttl:?}"))
    }
    async fn add(&self, key: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        self.note(&format!("add {key}")).map(|()| true)
    }
    async fn touch(&self, key: &str, _: Option<Duration>) -> Result<bool> {
        self.note(&format!("touch {key}")).map(|()| true)
    }
    async fn incr(&self, key: &str, _: i64) -> Result<Option<i64>> {
        self.note(&format!("incr {key}")).map(|()| None)
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.note(&format!("delete {key}")).map(|()| true)
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.note(&format!("ttl {key}")).map(|()| None)
    }
    async fn clear(&self) -> Result<()> {
        self.note("clear")
    }
    async fn set_many(&self, entries: &[(&str, Value)], _: Option<Duration>) -> Result<Vec<usize>> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        self.note(&format!("set_many {}", keys.join(" "))).map(|()| self.refuses.clone())
    }
}

fn on_spy(spy: Spy, settings: Settings) -> (Arc<Spy>, CacheHandle) {
    let spy = Arc::new(spy);
    (Arc::clone(&spy), CacheHandle::new("default", spy, settings))
}

fn on_memory() -> CacheHandle {
    CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default())
}

/// A value that no codec can write.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("not today"))
    }
}

#[tokio::test]
async fn empty_input_asks_the_store_nothing() {
    let (spy, cache) = on_spy(Spy::default(), Settings::default());
    let none: [&str; 0] = [];
    assert!(cache.get_many::<u8, _>(none).await.expect("it answers").is_empty());
    assert!(cache.set_many([("", 1); 0], Timeout::Default).await.expect("it answers").is_empty());
    assert_eq!(cache.delete_many(none).await.expect("it answers"), 0);
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn a_batch_with_one_bad_key_asks_the_store_nothing() {
    let (spy, cache) =
        on_spy(Spy::default(), Settings { key_check: KeyCheck::Error, ..Settings::default() });
    let answers = [
        cache.get_many::<u8, _>(["fine", "not fine"]).await.map(drop),
        cache.set_many([("fine", 1), ("not fine", 2)], Timeout::Default).await.map(drop),
        cache.delete_many(["fine", "not fine"]).await.map(drop),
        cache.incr_version("not fine", 1).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.expect_err("a key has a space").kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn a_value_that_cannot_be_written_is_an_error_and_nothing_is_stored() {
    let (spy, cache) = on_spy(Spy::default(), Settings::default());
    let answers = [
        cache.set("k", &Unwritable, Timeout::Default).await,
        cache.add("k", &Unwritable, Timeout::Default).await.map(drop),
        cache.set_many([("k", Unwritable)], Timeout::Default).await.map(drop),
        cache.set_shared("k", &Arc::new(Unwritable), Timeout::Default).await,
    ];
    for answer in answers {
        let error = answer.expect_err("it cannot be written");
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("Unwritable"), "{error}");
        assert!(!error.to_string().contains("not today"), "the source's text is repeated: {error}");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("not today"));
    }
    assert_eq!(spy.calls(), [""; 0]);
}

#[tokio::test]
async fn set_many_answers_the_keys_that_the_store_refused_as_they_were_given() {
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let (_, cache) = on_spy(Spy { refuses: vec![0, 2], ..Spy::default() }, settings);
    let refused =
        cache.set_many([("a", 1), ("b", 2), ("c", 3)], Timeout::Default).await.expect("it answers");
    assert_eq!(refused, ["a", "c"]);
}

#[tokio::test]
async fn an_error_of_the_store_names_the_alias_and_the_store() {
    let (_, cache) = on_spy(Spy { fails: true, ..Spy::default() }, Settings::default());
    let answers = [
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
    for answer in answers {
        let error = answer.expect_err("the store is away");
        assert_eq!(error.to_string(), "cache \"default\" (spy): no answer within 1 s");
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
async fn nothing_is_produced_while_the_store_is_away() {
    let (_, cache) = on_spy(Spy { fails: true, ..Spy::default() }, Settings::default());
    let answer =
        cache.get_or_set::<u8, _>("k", Timeout::Default, async || panic!("produced")).await;
    assert_eq!(answer.expect_err("the store is away").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_store_gets_the_timeout_with_the_default_put_in_and_never_zero() {
    let (spy, cache) =
        on_spy(Spy::default(), Settings { timeout: Timeout::secs(7), ..Settings::default() });
    for timeout in [Timeout::Default, Timeout::Never, Timeout::secs(1), Timeout::EXPIRED] {
        cache.set("k", &1, timeout).await.expect("it answers");
    }
    assert_eq!(
        spy.calls(),
        ["set :1:k Some(7s)", "set :1:k None", "set :1:k Some(1s)", "delete :1:k"]
    );
}

#[tokio::test]
async fn a_key_function_without_versions_loses_no_entry_when_versions_are_counted() {
    let settings = Settings {
        key_function: KeyFunction::custom(|key, _, _| key.into()),
        ..Settings::default()
    };
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), settings);
    cache.set("k", "v", Timeout::Default).await.expect("it is stored");
    assert_eq!(cache.incr_version("k", 1).await.expect("it moves nowhere"), 2);
    assert!(cache.contains("k").await.expect("it answers"));
}

#[tokio::test]
async fn a_version_by_name_cannot_be_counted() {
    let cache = on_memory().version("spring");
    cache.set("k", "v", Timeout::Default).await.expect("it is stored");
    let error = cache.incr_version("k", 1).await.expect_err("spring + 1");
    assert_eq!(error.kind(), ErrorKind::NotAnInteger);
    assert_eq!(
        error.to_string(),
        "cache \"default\" (locmem): the version \"spring\" is a name, not a number to count on"
    );
}

#[tokio::test]
async fn on_another_store_a_handle_keeps_its_settings() {
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
async fn bytes_are_handed_out_without_a_copy() {
    let cache = on_memory();
    cache
        .set("k", &Bytes::from_static(b"a long page"), Timeout::Default)
        .await
        .expect("it is stored");
    let one = cache.get::<Bytes>("k").await.expect("it answers").expect("a hit");
    let other = cache.get::<Bytes>("k").await.expect("it answers").expect("a hit");
    assert_eq!(one, "a long page");
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[tokio::test]
async fn an_entry_of_another_maker_is_a_miss_that_is_counted_for_all_views() {
    let cache = on_memory();
    for bytes in ["", "\u{c1}", "plain text", "\x01\x02"] {
        let bytes = Value::Bytes(Bytes::from_static(bytes.as_bytes()));
        cache.store().set(":1:k", bytes, None).await.expect("it is stored");
        assert_eq!(cache.get::<String>("k").await.expect("it answers"), None);
    }
    assert_eq!(cache.clone().version(2).undecodable_seen(), 4);
}

/// Counts what is told to the `metrics` facade.
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
fn an_entry_that_does_not_read_is_told_to_the_metrics_facade() {
    let counts = Counts::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    metrics::with_local_recorder(&counts, || {
        runtime.block_on(async {
            let cache = on_memory();
            cache.set("k", "text", Timeout::Default).await.expect("it is stored");
            assert_eq!(cache.get::<u8>("k").await.expect("it answers"), None);
        });
    });
    assert_eq!(counts.0.load(Ordering::SeqCst), 1);
}

#[test]
fn handles_errors_and_every_future_are_send() {
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
fn a_handle_is_three_words_wide_and_its_clones_share_the_store() {
    let cache = on_memory();
    assert_eq!(size_of::<CacheHandle>(), 3 * size_of::<usize>());
    assert!(Arc::ptr_eq(cache.store(), cache.clone().store()));
}
