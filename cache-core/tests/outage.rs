//! What a handle does while its store is unavailable.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, CacheHandle, Error, ErrorKind, Leases, ManualClock, OnOutage, Result, Settings, Share,
    Timeout, Value, forward_cache,
};
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
    assert_eq!(cache.get_and_touch::<u8>("k", Timeout::Default).await.expect("a miss"), None);
    assert_eq!(cache.get_and_touch::<u8>("k", Timeout::EXPIRED).await.expect("a miss"), None);
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
async fn incr_or_set_returns_the_initial_value() {
    let cache = unavailable();
    for timeout in [Timeout::Default, Timeout::Never, Timeout::EXPIRED] {
        assert_eq!(cache.incr_or_set("k", 1, 5, timeout).await.expect("the first call"), 5);
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
    xtask::run_alone!();
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

/// A store on two servers, that of the keys that start with `a` and another, whose reads and adds
/// fail on request. It has no leases, so that values are stored by adding them.
#[derive(Debug, Default)]
struct TwoServers {
    store: LocMemCache,
    reads: AtomicUsize,
    fails_to_read: Mutex<Option<ErrorKind>>,
    fails_to_add: Mutex<Option<ErrorKind>>,
}

impl TwoServers {
    fn new() -> (Arc<Self>, ManualClock, CacheHandle) {
        let (store, time) = (Arc::<Self>::default(), ManualClock::new());
        let settings = Settings { share: Share::Process, ..Settings::default() };
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, settings);
        (store, time.clone(), cache.with_clock(time.clock()))
    }

    fn fail_to_read(&self, kind: impl Into<Option<ErrorKind>>) {
        *self.fails_to_read.lock().expect("no panic") = kind.into();
    }
}

fn fail_with(kind: &Mutex<Option<ErrorKind>>) -> Result<()> {
    let kind = *kind.lock().expect("no panic");
    kind.map_or(Ok(()), |kind| Err(Error::new(kind, "no reply within 1 s")))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for TwoServers {
    forward_cache!(self.store, except get, get_now, add, server_of, leases);

    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    fn server_of(&self, key: &str) -> usize {
        usize::from(!key.starts_with(":1:a"))
    }

    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.reads.fetch_add(1, SeqCst);
        if self.server_of(key) == 0 {
            fail_with(&self.fails_to_read)?;
        }
        self.store.get(key).await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        fail_with(&self.fails_to_add)?;
        self.store.add(key, value, ttl).await
    }
}

async fn produce(cache: &CacheHandle, key: &str, value: u8) -> Result<u8> {
    cache.get_or_set(key, Timeout::Default, async || value).await
}

#[tokio::test]
async fn produce_is_the_default_and_other_verbs_return_the_error() {
    let cache = unavailable().with_on_outage(Settings::default().on_outage);
    assert_eq!(produce(&cache, "k", 7).await.expect("produced"), 7);
    let shared = cache.get_or_set_shared("k", Timeout::Default, async || 7).await;
    assert_eq!(*shared.expect("produced"), 7);
    let result = cache.try_get_or_set("k", Timeout::Default, async || Err::<u8, _>("down")).await;
    assert_eq!(result.expect("no error of the cache"), Err("down"));
    for result in [
        cache.get::<u8>("k").await.map(drop),
        cache.set("k", &7, Timeout::Default).await,
        cache.delete("k").await.map(drop),
    ] {
        assert_eq!(result.expect_err("an error").kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn value_is_not_stored_if_the_store_could_not_be_read() {
    let (store, _, cache) = TwoServers::new();
    store.fail_to_read(ErrorKind::Unavailable);
    assert_eq!(produce(&cache, "a", 7).await.expect("produced"), 7);
    store.fail_to_read(None);
    assert!(!cache.contains("a").await.expect("the store replies"));
}

#[tokio::test]
async fn value_is_returned_if_it_cannot_be_stored() {
    let (store, _, cache) = TwoServers::new();
    for kind in [ErrorKind::Unavailable, ErrorKind::StorageFull, ErrorKind::TooLarge] {
        *store.fails_to_add.lock().expect("no panic") = Some(kind);
        assert_eq!(produce(&cache, "k", 7).await.expect("produced"), 7, "{kind:?}");
    }
    let strict = cache.with_on_outage(OnOutage::Error);
    let error = produce(&strict, "k", 7).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn lasting_errors_are_returned_although_outages_are_produced_through() {
    let (store, _, cache) = TwoServers::new();
    for kind in [ErrorKind::Config, ErrorKind::InvalidKey, ErrorKind::Backend] {
        store.fail_to_read(kind);
        assert_eq!(produce(&cache, "a", 7).await.expect_err("an error").kind(), kind);
        store.fail_to_read(None);
        *store.fails_to_add.lock().expect("no panic") = Some(kind);
        assert_eq!(produce(&cache, "k", 7).await.expect_err("an error").kind(), kind);
        *store.fails_to_add.lock().expect("no panic") = None;
    }
}

#[tokio::test]
async fn server_that_is_away_is_not_read_until_a_probe_succeeds() {
    xtask::run_alone!();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (store, time, cache) = TwoServers::new();
    store.fail_to_read(ErrorKind::Unavailable);
    let reads = || store.reads.swap(0, SeqCst);
    for number in 0..10 {
        assert_eq!(produce(&cache, "a", number).await.expect("produced"), number);
    }
    assert_eq!(reads(), 3);
    for _ in 0..2 {
        time.advance(Duration::from_secs(1));
        for number in 0..10 {
            assert_eq!(produce(&cache, "a", number).await.expect("produced"), number);
        }
        assert_eq!(reads(), 1, "one probe");
    }
    store.fail_to_read(None);
    assert_eq!(produce(&cache, "a", 1).await.expect("produced"), 1);
    assert_eq!(reads(), 0);
    time.advance(Duration::from_secs(1));
    assert_eq!(produce(&cache, "a", 2).await.expect("produced"), 2);
    assert_eq!(produce(&cache, "a", 3).await.expect("a hit"), 2);
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    assert_eq!(text.matches("does not read the store for a while").count(), 1, "{text}");
    assert_eq!(text.matches("reads the store again").count(), 1, "{text}");
}

#[tokio::test]
async fn other_servers_are_read_while_one_is_away() {
    let (store, _, cache) = TwoServers::new();
    cache.set("b", &7, Timeout::Default).await.expect("it is stored");
    store.fail_to_read(ErrorKind::Unavailable);
    for number in 0..10 {
        assert_eq!(produce(&cache, "a", number).await.expect("produced"), number);
        assert_eq!(produce(&cache, "b", number).await.expect("a hit"), 7);
    }
}

#[tokio::test]
async fn other_verbs_are_attempted_while_the_server_is_not_read() {
    let (store, _, cache) = TwoServers::new();
    store.fail_to_read(ErrorKind::Unavailable);
    for number in 0..4 {
        assert_eq!(produce(&cache, "a", number).await.expect("produced"), number);
    }
    cache.set("a", &7, Timeout::Default).await.expect("it is stored");
    assert!(cache.delete("a").await.expect("it is deleted"));
}
