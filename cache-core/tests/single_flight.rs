//! What concurrent callers of `get_or_set` do.

use std::{
    future::pending,
    io,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, CacheHandle, Error, ErrorKind, Leases, ManualClock, OnOutage, Result, Settings, Share,
    Timeout, Value, forward_cache,
};
use cache_locmem::{LocMemCache, LocMemOptions};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use tokio::{sync::oneshot, task::JoinSet};
use tracing_subscriber::fmt::MakeWriter;

const PATIENCE: Duration = Duration::from_secs(5);

fn settings() -> Settings {
    Settings { patience: PATIENCE, ..Settings::default() }
}

fn cache() -> CacheHandle {
    CacheHandle::new("default", Arc::new(LocMemCache::default()), settings())
}

/// Counts the producers of a test.
#[derive(Clone, Default)]
struct Producers {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Producers {
    async fn run<T>(&self, producer: impl Future<Output = T>) -> T {
        self.begun.fetch_add(1, SeqCst);
        let value = producer.await;
        self.ended.fetch_add(1, SeqCst);
        value
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
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

type Call<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

fn poll<T>(call: &mut Call<'_, T>) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn ready<T>(call: &mut Call<'_, T>) -> T {
    match poll(call) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the call waits"),
    }
}

/// A call whose producer returns what is sent to it.
fn call<'a>(cache: &'a CacheHandle, key: &'a str) -> (oneshot::Sender<u32>, Call<'a, Result<u32>>) {
    let (sender, receiver) = oneshot::channel();
    let produce = async || receiver.await.expect("the test sends a value");
    (sender, Box::pin(async move { cache.get_or_set(key, Timeout::Default, produce).await }))
}

type Produced = Result<u32, &'static str>;

/// Like [`call`], with a producer that can fail.
fn try_call<'a>(
    cache: &'a CacheHandle,
    key: &'a str,
) -> (oneshot::Sender<Produced>, Call<'a, Result<Produced>>) {
    let (sender, receiver) = oneshot::channel();
    let produce = async || receiver.await.expect("the test sends a result");
    (sender, Box::pin(async move { cache.try_get_or_set(key, Timeout::Default, produce).await }))
}

#[tokio::test]
async fn thousand_callers_produce_once() {
    let (cache, producers) = (cache(), Producers::default());
    let mut callers = JoinSet::new();
    for number in 0..1000_u32 {
        let (cache, producers) = (cache.clone(), producers.clone());
        callers.spawn(async move {
            let produce = async || {
                producers.run(tokio::task::yield_now()).await;
                number
            };
            cache.get_or_set("k", Timeout::Default, produce).await.expect("locmem does not fail")
        });
    }
    let values = callers.join_all().await;
    assert_eq!(producers.begun(), 1);
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
}

#[tokio::test]
async fn one_of_a_thousand_callers_takes_over_from_a_dropped_leader() {
    let (cache, producers) = (cache(), Producers::default());
    let leader = tokio::spawn({
        let (cache, producers) = (cache.clone(), producers.clone());
        async move {
            let produce = async || producers.run(pending::<u32>()).await;
            cache.get_or_set("k", Timeout::Default, produce).await
        }
    });
    tokio::task::yield_now().await;
    assert_eq!(producers.begun(), 1);
    let mut callers = JoinSet::new();
    for number in 1..1000_u32 {
        let (cache, producers) = (cache.clone(), producers.clone());
        callers.spawn(async move {
            let produce = async || {
                producers.run(tokio::task::yield_now()).await;
                number
            };
            cache.get_or_set("k", Timeout::Default, produce).await.expect("locmem does not fail")
        });
    }
    tokio::task::yield_now().await;
    leader.abort();
    let values = callers.join_all().await;
    assert_eq!((producers.begun(), producers.ended()), (2, 1));
    assert_eq!(values.len(), 999);
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
}

#[test]
fn hit_does_not_wait_for_a_producer() {
    let cache = cache();
    let (_sender, mut leader) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    let mut set: Call<'_, _> = Box::pin(cache.set("k", &7_u32, Timeout::Default));
    ready(&mut set).expect("it is stored");
    let (_other, mut reader) = call(&cache, "k");
    assert_eq!(ready(&mut reader).expect("a hit"), 7);
}

#[test]
fn waiter_gets_what_the_leader_has_stored() {
    let cache = cache();
    let (sender, mut leader) = call(&cache, "k");
    let (_unused, mut waiter) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending());
    sender.send(7).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect("produced"), 7);
    assert_eq!(ready(&mut waiter).expect("produced"), 7);
}

type Write = for<'a> fn(&'a CacheHandle) -> Call<'a, ()>;

macro_rules! verb {
    (|$cache:ident| $call:expr) => {
        |$cache| Box::pin(async move { assert!($call.await.is_ok()) })
    };
}

/// How long what the writes below store is kept.
const SHORT: Duration = Duration::from_secs(1);

const WRITES: [Write; 7] = [
    verb!(|cache| cache.delete("k")),
    verb!(|cache| cache.delete_many(["other", "k"])),
    verb!(|cache| cache.clear()),
    verb!(|cache| cache.set("k", &0, SHORT)),
    verb!(|cache| cache.set_many([("k", 0)], SHORT)),
    verb!(|cache| cache.add("k", &0, SHORT)),
    verb!(|cache| cache.incr_or_set("k", 1, 0, SHORT)),
];

/// A cache with a clock for its store and its waits.
fn cache_with_time(share: Share) -> (ManualClock, CacheHandle) {
    let time = ManualClock::new();
    let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
    let store = Arc::new(store.expect("the options are valid"));
    let cache = CacheHandle::new("default", store, Settings { share, ..settings() });
    let cache = cache.with_clock(time.clock());
    (time, cache)
}

#[test]
fn caller_that_begins_after_a_write_does_not_wait_for_an_older_producer() {
    for share in [Share::Store, Share::Process] {
        let (time, cache) = cache_with_time(share);
        for write in WRITES {
            let (older_sender, mut older) = call(&cache, "k");
            assert!(poll(&mut older).is_pending());
            ready(&mut write(&cache));
            time.advance(SHORT);
            let (newer_sender, mut newer) = call(&cache, "k");
            let (_unused, mut waiter) = call(&cache, "k");
            assert!(poll(&mut newer).is_pending());
            assert!(poll(&mut waiter).is_pending());
            older_sender.send(1).expect("its producer runs");
            assert_eq!(ready(&mut older).expect("produced"), 1);
            newer_sender.send(2).expect("its producer runs");
            assert_eq!(ready(&mut newer).expect("produced"), 2);
            assert_eq!(ready(&mut waiter).expect("produced"), 2);
            assert_eq!(ready(&mut call(&cache, "k").1).expect("a hit"), 2);
            ready(&mut WRITES[0](&cache));
        }
    }
}

#[test]
fn caller_that_begins_after_an_update_does_not_wait_for_an_older_producer() {
    let (time, cache) = cache_with_time(Share::Store);
    let (older_sender, mut older) = call(&cache, "k");
    assert!(poll(&mut older).is_pending());
    // Another process ends the lease of the older producer.
    let other = cache.with_store(Arc::clone(cache.store()));
    ready(&mut WRITES[0](&other));
    let mut update: Call<'_, _> = Box::pin(cache.update("k", SHORT, |_| 7_u32));
    assert_eq!(ready(&mut update).expect("nobody holds a lease"), 7);
    time.advance(SHORT);
    let (newer_sender, mut newer) = call(&cache, "k");
    assert!(poll(&mut newer).is_pending());
    older_sender.send(1).expect("its producer runs");
    newer_sender.send(2).expect("its producer runs");
    assert_eq!(ready(&mut older).expect("produced"), 1);
    assert_eq!(ready(&mut newer).expect("produced"), 2);
}

#[test]
fn callers_that_began_before_a_write_finish_among_themselves() {
    let cache = cache();
    let (_first, mut older) = call(&cache, "k");
    let (sender, mut waiter) = call(&cache, "k");
    let (_second, mut other) = call(&cache, "k");
    assert!(poll(&mut older).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    ready(&mut WRITES[0](&cache));
    drop(older);
    sender.send(7).expect("the waiter has its producer");
    assert_eq!(ready(&mut waiter).expect("produced"), 7);
    assert_eq!(ready(&mut other).expect("produced"), 7);
}

#[test]
fn verb_that_changes_nothing_does_not_separate_callers() {
    let cache = cache();
    let calls: [Write; 2] = [
        |cache| Box::pin(async move { assert!(cache.incr("k", 1).await.is_err()) }),
        verb!(|cache| cache.set("other", &0, Timeout::Never)),
    ];
    for change in calls {
        let (sender, mut leader) = call(&cache, "k");
        assert!(poll(&mut leader).is_pending());
        ready(&mut change(&cache));
        let (_unused, mut waiter) = call(&cache, "k");
        assert!(poll(&mut waiter).is_pending());
        sender.send(7).expect("the leader waits");
        assert_eq!(ready(&mut leader).expect("produced"), 7);
        assert_eq!(ready(&mut waiter).expect("produced"), 7);
        ready(&mut WRITES[0](&cache));
    }
}

#[test]
fn producer_that_writes_its_own_key_may_ask_for_it() {
    let cache = cache();
    let mut outer: Call<'_, Result<u32>> =
        Box::pin(cache.get_or_set("k", Timeout::Default, async || {
            cache.delete("k").await.expect("locmem does not fail");
            cache.get_or_set("k", Timeout::Default, async || 7).await.expect("produced") + 1
        }));
    assert_eq!(ready(&mut outer).expect("the value that was stored"), 7);
}

#[test]
fn waiters_share_the_object_of_the_leader() {
    let cache = cache();
    let (sender, receiver) = oneshot::channel::<String>();
    let mut leader: Call<'_, _> =
        Box::pin(cache.get_or_set_shared("k", Timeout::Default, async || {
            receiver.await.expect("the test sends a value")
        }));
    let mut waiter: Call<'_, _> =
        Box::pin(cache.get_or_set_shared("k", Timeout::Default, async || unreachable!("waits")));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending());
    sender.send("page".into()).expect("the leader waits");
    let produced = ready(&mut leader).expect("produced");
    assert!(Arc::ptr_eq(&produced, &ready(&mut waiter).expect("produced")));
}

#[test]
fn waiter_takes_over_from_a_leader_that_panics() {
    let cache = cache();
    let mut leader: Call<'_, Result<u32>> =
        Box::pin(cache.get_or_set("k", Timeout::Default, async || {
            tokio::task::yield_now().await;
            panic!("the producer panics")
        }));
    let (sender, mut waiter) = call(&cache, "k");
    let (_unused, mut other) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| poll(&mut leader)));
    assert!(panicked.is_err());
    drop(leader);
    sender.send(7).expect("the waiter has its producer");
    assert!(poll(&mut other).is_pending(), "only the first waiter leads");
    assert_eq!(ready(&mut waiter).expect("produced"), 7);
    assert_eq!(ready(&mut other).expect("produced"), 7);
}

#[test]
fn waiter_that_was_chosen_and_dropped_passes_the_lead_on() {
    let cache = cache();
    let (_first, mut leader) = call(&cache, "k");
    let (_second, mut chosen) = call(&cache, "k");
    let (sender, mut other) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut chosen).is_pending() && poll(&mut other).is_pending());
    drop(leader);
    drop(chosen);
    sender.send(7).expect("the waiter has its producer");
    assert_eq!(ready(&mut other).expect("produced"), 7);
}

/// A flight that is left would make the last callers wait.
#[test]
fn ten_thousand_cancelled_calls_of_several_threads_leave_no_flight() {
    const KEYS: [&str; 3] = ["a", "b", "c"];
    let cache = cache();
    thread::scope(|scope| {
        for number in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut calls: Vec<(_, Call<'_, _>)> = Vec::new();
                for round in 0..2_500_usize {
                    calls.push(call(cache, KEYS[round % KEYS.len()]));
                    // An order without a period that the keys share.
                    let index = (round * round + number) % calls.len();
                    assert!(poll(&mut calls[index].1).is_pending());
                    if calls.len() > 7 {
                        drop(calls.swap_remove((round * 31 + number) % 7));
                    }
                }
            });
        }
    });
    for key in KEYS {
        let (sender, mut last) = call(&cache, key);
        sender.send(7).expect("the caller has its producer");
        assert_eq!(ready(&mut last).expect("produced"), 7);
    }
}

#[test]
fn failed_producer_returns_its_error_and_one_waiter_makes_a_new_attempt() {
    let cache = cache();
    let (first, mut leader) = try_call(&cache, "k");
    let (second, mut waiter) = try_call(&cache, "k");
    let (_third, mut other) = try_call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    first.send(Err("down")).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect("no error of the cache"), Err("down"));
    assert!(poll(&mut other).is_pending(), "only the first waiter leads");
    second.send(Ok(7)).expect("the waiter has its producer");
    assert_eq!(ready(&mut waiter).expect("no error of the cache"), Ok(7));
    assert_eq!(ready(&mut other).expect("no error of the cache"), Ok(7));
}

#[test]
fn waiter_of_two_failed_attempts_gets_a_temporary_error() {
    let cache = cache();
    let (first, mut leader) = try_call(&cache, "k");
    let (second, mut waiter) = try_call(&cache, "k");
    let (_third, mut patient) = try_call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut patient).is_pending());
    first.send(Err("down")).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect("no error of the cache"), Err("down"));
    assert!(poll(&mut waiter).is_pending());
    let (fourth, mut late) = try_call(&cache, "k");
    assert!(poll(&mut late).is_pending());
    second.send(Err("still down")).expect("the waiter produces");
    assert_eq!(ready(&mut waiter).expect("no error of the cache"), Err("still down"));

    let error = ready(&mut patient).expect_err("two attempts have failed");
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::FillFailed, true));
    assert!(error.to_string().contains(":1:k"), "{error}");
    fourth.send(Ok(7)).expect("the late caller has its producer");
    assert_eq!(ready(&mut late).expect("it has waited for one failure"), Ok(7));
}

#[test]
fn one_waiter_leads_as_well_when_the_patience_has_passed() {
    let time = ManualClock::new();
    let cache = cache().with_clock(time.clock());
    let (slow_sender, mut slow) = call(&cache, "k");
    let (sender, mut waiter) = call(&cache, "k");
    let (_unused, mut other) = call(&cache, "k");
    assert!(poll(&mut slow).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    time.advance(PATIENCE - Duration::from_millis(1));
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    time.advance(Duration::from_millis(1));
    sender.send(7).expect("the waiter has its producer");
    assert_eq!(ready(&mut waiter).expect("produced"), 7);
    assert_eq!(ready(&mut other).expect("produced"), 7);
    slow_sender.send(8).expect("the slow leader goes on");
    assert_eq!(ready(&mut slow).expect("the value that was stored"), 7);
}

#[test]
fn patience_counts_from_the_beginning_of_the_last_leader() {
    let time = ManualClock::new();
    let cache = cache().with_clock(time.clock());
    let (_first, mut leader) = call(&cache, "k");
    let (_second, mut successor) = call(&cache, "k");
    let (sender, mut other) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut successor).is_pending() && poll(&mut other).is_pending());
    time.advance(PATIENCE - Duration::from_secs(1));
    drop(leader);
    assert!(poll(&mut successor).is_pending());
    sender.send(7).expect("the waiter has its producer");
    time.advance(PATIENCE - Duration::from_secs(1));
    assert!(poll(&mut other).is_pending());
    time.advance(Duration::from_secs(1));
    assert_eq!(ready(&mut other).expect("produced"), 7);
}

#[test]
fn without_patience_every_caller_produces() {
    let settings = Settings { patience: Duration::ZERO, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), settings);
    let (_unused, mut first) = call(&cache, "k");
    let (sender, mut second) = call(&cache, "k");
    assert!(poll(&mut first).is_pending());
    sender.send(7).expect("the caller has its producer");
    assert_eq!(ready(&mut second).expect("produced"), 7);
}

#[test]
fn producer_that_asks_for_its_own_key_produces() {
    let cache = cache();
    let mut outer: Call<'_, Result<u32>> =
        Box::pin(cache.get_or_set("k", Timeout::Default, async || {
            tokio::task::yield_now().await;
            let inner = cache.get_or_set("k", Timeout::Default, async || 7);
            inner.await.expect("locmem does not fail")
        }));
    assert!(poll(&mut outer).is_pending());
    assert_eq!(ready(&mut outer).expect("produced"), 7);
}

#[test]
fn producer_that_asks_for_its_key_through_another_key_produces() {
    let cache = cache();
    let mut outer: Call<'_, Result<u32>> =
        Box::pin(cache.get_or_set("a", Timeout::Default, async || {
            let other = cache.get_or_set("b", Timeout::Default, async || {
                let inner = cache.get_or_set("a", Timeout::Default, async || 7);
                inner.await.expect("locmem does not fail")
            });
            other.await.expect("locmem does not fail")
        }));
    assert_eq!(ready(&mut outer).expect("produced"), 7);
}

/// Returns a producer of `key` that asks for `other`.
fn crossed<'a>(
    cache: &'a CacheHandle,
    key: &'static str,
    other: &'static str,
) -> Call<'a, Result<u32>> {
    Box::pin(cache.get_or_set(key, Timeout::Default, async move || {
        tokio::task::yield_now().await;
        let inner = cache.get_or_set(other, Timeout::Default, async || 7);
        inner.await.expect("locmem does not fail")
    }))
}

#[test]
fn producers_of_two_keys_that_ask_for_each_other_end_by_patience() {
    xtask::run_alone!();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let time = ManualClock::new();
    let cache = cache().with_clock(time.clock());
    let (mut one, mut other) = (crossed(&cache, "one", "other"), crossed(&cache, "other", "one"));
    for _ in 0..2 {
        assert!(poll(&mut one).is_pending());
        assert!(poll(&mut other).is_pending());
    }
    time.advance(PATIENCE);
    assert_eq!(ready(&mut one).expect("produced"), 7);
    assert_eq!(ready(&mut other).expect("produced"), 7);
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    assert!(text.contains(":1:one") && text.contains(":1:other"), "{text}");
}

#[test]
fn callers_of_another_type_key_or_version_do_not_wait() {
    let cache = cache();
    let (_sender, mut leader) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    let next = cache.version(2);
    let mut text: Call<'_, Result<String>> =
        Box::pin(cache.get_or_set("k", Timeout::Default, async || "text".into()));
    let mut other_key: Call<'_, Result<u32>> =
        Box::pin(cache.get_or_set("l", Timeout::Default, async || 7));
    let mut other_version: Call<'_, Result<u32>> =
        Box::pin(next.get_or_set("k", Timeout::Default, async || 7));
    assert_eq!(ready(&mut text).expect("produced"), "text");
    assert_eq!(ready(&mut other_key).expect("produced"), 7);
    assert_eq!(ready(&mut other_version).expect("produced"), 7);
}

#[test]
fn caller_on_another_store_does_not_wait() {
    let cache = cache();
    let (_sender, mut leader) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    let other = cache.with_store(Arc::new(LocMemCache::default()));
    let mut caller: Call<'_, Result<u32>> =
        Box::pin(other.get_or_set("k", Timeout::Default, async || 7));
    assert_eq!(ready(&mut caller).expect("produced"), 7);
}

/// A type that does not decode what it has encoded.
#[derive(Debug, PartialEq)]
struct OneWay(u32);

impl Serialize for OneWay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("one way")
    }
}

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

#[test]
fn waiter_that_cannot_decode_the_value_produces_its_own() {
    let cache = cache();
    let (sender, receiver) = oneshot::channel::<u32>();
    let mut leader: Call<'_, _> = Box::pin(cache.get_or_set("k", Timeout::Default, async || {
        OneWay(receiver.await.expect("the test sends a value"))
    }));
    let mut waiter: Call<'_, _> =
        Box::pin(cache.get_or_set("k", Timeout::Default, async || OneWay(8)));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending());
    sender.send(7).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect("produced"), OneWay(7));
    assert_eq!(ready(&mut waiter).expect("produced"), OneWay(8));
}

/// A store that rejects every value as too large.
#[derive(Debug, Default)]
struct Rejecting(LocMemCache);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Rejecting {
    forward_cache!(self.0, except add, leases);

    async fn add(&self, key: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        Err(Error::too_large(key, 2, 1))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
}

#[test]
fn store_error_that_is_returned_is_an_attempt_that_failed() {
    let settings = Settings { on_outage: OnOutage::Error, share: Share::Process, ..settings() };
    let cache = CacheHandle::new("default", Arc::new(Rejecting::default()), settings);
    let (first, mut leader) = call(&cache, "k");
    let (second, mut waiter) = call(&cache, "k");
    let (_third, mut other) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending() && poll(&mut other).is_pending());
    first.send(7).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect_err("too large").kind(), ErrorKind::TooLarge);
    second.send(7).expect("the waiter has its producer");
    assert_eq!(ready(&mut waiter).expect_err("too large").kind(), ErrorKind::TooLarge);
    assert_eq!(ready(&mut other).expect_err("two failures").kind(), ErrorKind::FillFailed);
}

#[test]
fn undecodable_entry_is_replaced_once_and_reported_once_for_each_caller() {
    let cache = cache();
    let mut set: Call<'_, _> = Box::pin(cache.set("k", "no number", Timeout::Default));
    ready(&mut set).expect("it is stored");
    let (sender, mut leader) = call(&cache, "k");
    let (_unused, mut waiter) = call(&cache, "k");
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut waiter).is_pending());
    sender.send(7).expect("the leader waits");
    assert_eq!(ready(&mut leader).expect("produced"), 7);
    assert_eq!(ready(&mut waiter).expect("produced"), 7);
    assert_eq!(cache.undecodable_seen(), 2);
    let mut get: Call<'_, Result<Option<u32>>> = Box::pin(cache.get("k"));
    assert_eq!(ready(&mut get).expect("a hit"), Some(7));
}

#[tokio::test]
async fn producers_may_borrow_and_need_not_be_send() {
    let cache = cache();
    let text = std::rc::Rc::new(String::from("borrowed"));
    let value = cache.get_or_set("k", Timeout::Default, async || {
        tokio::task::yield_now().await;
        text.as_str().to_owned()
    });
    assert_eq!(pin!(value).await.expect("produced"), "borrowed");
}

/// Returns a future that must be `Send`, as in a handler of a web framework.
fn send<F: Future + Send>(future: F) -> F {
    future
}

/// The compiler follows a limited number of nested types to find out whether a future is `Send`.
#[tokio::test]
async fn twelve_nested_producers_are_send() {
    macro_rules! nested {
        ($cache:ident) => { 7 };
        ($cache:ident $key:literal $($rest:literal)*) => {{
            let nested = $cache.get_or_set($key, Timeout::Default, async || nested!($cache $($rest)*));
            nested.await.expect("locmem does not fail")
        }};
    }
    let cache = cache();
    let value: u32 =
        send(async { nested!(cache "a" "b" "c" "d" "e" "f" "g" "h" "i" "j" "k" "l") }).await;
    assert_eq!(value, 7);
}

/// Checks that a caller that waits for two producers of this kind gets an error.
fn assert_two_panics_fail<T, F>(produce: impl Fn() -> F)
where
    T: Serialize + DeserializeOwned + std::fmt::Debug + 'static,
    F: Future<Output = T>,
{
    let cache = cache();
    let panicking =
        || -> Call<'_, Result<T>> { Box::pin(cache.get_or_set("k", Timeout::Default, &produce)) };
    let (mut leader, mut waiter, mut patient) = (panicking(), panicking(), panicking());
    for call in [&mut leader, &mut waiter, &mut patient] {
        assert!(poll(call).is_pending());
    }
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| poll(&mut leader))).is_err());
    drop(leader);
    assert!(poll(&mut waiter).is_pending());
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| poll(&mut waiter))).is_err());
    drop(waiter);
    let error = ready(&mut patient).expect_err("two attempts have failed");
    assert_eq!(error.kind(), ErrorKind::FillFailed);
}

#[test]
fn waiter_of_two_panics_gets_a_temporary_error() {
    assert_two_panics_fail::<u32, _>(async || {
        tokio::task::yield_now().await;
        panic!("the producer panics")
    });
}

#[test]
fn waiter_of_two_panics_while_encoding_gets_a_temporary_error() {
    #[derive(Debug, Deserialize)]
    struct Panics;

    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
            panic!("encoding panics")
        }
    }

    assert_two_panics_fail(async || {
        tokio::task::yield_now().await;
        Panics
    });
}
