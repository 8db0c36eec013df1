//! What a handle does while its store is unavailable.

use std::{
    io,
    sync::{Arc, Mutex},
};

use cache_core::{CacheHandle, Error, ErrorKind, OnOutage, Settings, Timeout};
use cache_locmem::LocMemCache;
use cache_testing::{Chaos, Fault};
use tracing_subscriber::fmt::MakeWriter;

/// A cache whose outages are misses, on a store that fails so in every method.
fn failing(kind: ErrorKind, temporary: bool) -> CacheHandle {
    let store = Chaos::new(Arc::new(LocMemCache::default()));
    store.inject(Fault::error_with(move || {
        Error::new(kind, "no reply within 1 s").temporary(temporary)
    }));
    let settings = Settings { on_outage: OnOutage::Miss, ..Settings::default() };
    CacheHandle::new("default", Arc::new(store), settings)
}

fn unavailable() -> CacheHandle {
    failing(ErrorKind::Unavailable, true)
}

#[tokio::test]
async fn reads_miss() {
    let cache = unavailable();
    assert_eq!(cache.get::<u8>("k").await.expect("a miss"), None);
    assert_eq!(cache.get_shared::<String>("k").await.expect("a miss"), None);
    assert!(cache.get_many::<u8, _>(["k", "l"]).await.expect("misses").is_empty());
    assert!(!cache.contains("k").await.expect("a miss"));
    assert_eq!(cache.ttl("k").await.expect("a miss"), None);
}

#[tokio::test]
async fn writes_report_that_nothing_was_stored() {
    let cache = unavailable();
    cache.set("k", &1, Timeout::Default).await.expect("does nothing");
    cache.set("k", &1, Timeout::EXPIRED).await.expect("does nothing");
    cache.set_shared("k", &Arc::new(1), Timeout::Default).await.expect("does nothing");
    assert!(!cache.add("k", &1, Timeout::Default).await.expect("not added"));
    assert!(!cache.touch("k", Timeout::Default).await.expect("not touched"));
    assert!(!cache.delete("k").await.expect("not deleted"));
    assert_eq!(cache.delete_many(["k", "l"]).await.expect("not deleted"), 0);
    let rejected = cache.set_many([("k", 1), ("l", 2)], Timeout::Default).await;
    assert_eq!(rejected.expect("not stored"), ["k", "l"]);
    assert!(cache.set_many([("k", 1)], Timeout::EXPIRED).await.expect("deletes").is_empty());
}

#[tokio::test]
async fn counters_and_versions_are_not_found() {
    let cache = unavailable();
    for result in [cache.incr("k", 1).await, cache.incr_version("k", 1).await] {
        assert_eq!(result.expect_err("a miss").kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn get_or_set_returns_the_value_that_it_produced() {
    let cache = unavailable();
    assert_eq!(cache.get_or_set("k", Timeout::Default, async || 7).await.expect("produced"), 7);
    let shared = cache.get_or_set_shared("k", Timeout::Default, async || 7).await;
    assert_eq!(*shared.expect("produced"), 7);
}

#[tokio::test]
async fn operations_on_the_whole_store_return_the_error() {
    let cache = unavailable();
    let results = [
        cache.clear().await,
        cache.stats().await.map(drop),
        cache.purge_expired(1).await.map(drop),
        cache.close().await,
    ];
    for result in results {
        assert_eq!(result.expect_err("an error").kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn only_errors_that_may_pass_are_misses() {
    for (kind, temporary, is_miss) in [
        (ErrorKind::Unavailable, true, true),
        (ErrorKind::Unavailable, false, true),
        (ErrorKind::Backend, true, true),
        (ErrorKind::Backend, false, false),
        (ErrorKind::Config, false, false),
        (ErrorKind::TooLarge, false, false),
        (ErrorKind::NotAnInteger, false, false),
    ] {
        let result = failing(kind, temporary).set("k", &1, Timeout::Default).await;
        assert_eq!(result.is_ok(), is_miss, "{kind:?}, temporary: {temporary}");
    }
}

#[tokio::test]
async fn handle_can_ask_for_errors() {
    let strict = unavailable().with_on_outage(OnOutage::Error);
    let error = strict.delete("k").await.expect_err("an error");
    assert_eq!((error.kind(), error.cache()), (ErrorKind::Unavailable, Some("default")));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no thread panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn outage_is_logged_once_for_many_calls_of_all_clones() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let cache = unavailable();
    for version in 1..100 {
        assert_eq!(cache.version(version).get::<u8>("k").await.expect("a miss"), None);
    }
    let text = String::from_utf8(log.0.lock().expect("no thread panicked").clone());
    let text = text.expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"default\"") && text.contains("no reply within 1 s"), "{text}");
}
