//! What callers of `fetch` get: the tables of its documentation, cell by cell.

mod clocks;
mod ends;
mod get_or_set;
mod options;
mod outages;
mod states;
mod tasks;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{CacheHandle, Fetch, FetchError, Fill, ManualClock, Settings};
use cache_locmem::{LocMemCache, LocMemOptions};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
};

const MILLISECOND: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(300);
const STALE_FOR: Duration = Duration::from_secs(3600);
const SOFT: Duration = Duration::from_millis(100);
const HARD: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const EARLY: Duration = Duration::from_secs(270);

type Fetched = Result<String, FetchError<&'static str>>;

fn locmem(time: &ManualClock) -> Arc<LocMemCache> {
    let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
    Arc::new(store.expect("the options are valid"))
}

/// A cache with a clock for its store, its handle and its waits.
fn cache() -> (ManualClock, CacheHandle) {
    let time = ManualClock::new();
    let settings = Settings { patience: PATIENCE, ..Settings::default() };
    let cache = CacheHandle::new("default", locmem(&time), settings).with_clock(time.clock());
    (time, cache)
}

/// A handle that shares nothing with this one but the store, like that of another process.
fn other_process(cache: &CacheHandle) -> CacheHandle {
    cache.with_store(Arc::clone(cache.store()))
}

/// How a producer ends.
enum Answer {
    Value(&'static str),
    Error(&'static str),
    Private(&'static str),
    FailedWith(&'static str),
    Panic,
}

/// A call in a task of its own, whose producer waits for its answer.
struct Caller {
    answer: Option<oneshot::Sender<Answer>>,
    has_begun: Arc<AtomicBool>,
    call: JoinHandle<Fetched>,
}

type StringFetch<'a> = Fetch<'a, String, &'static str>;

impl Caller {
    /// Calls with the options above, and lets all tasks run.
    async fn start(cache: &CacheHandle) -> Self {
        Self::start_with(cache, |fetch| fetch).await
    }

    async fn start_with(
        cache: &CacheHandle,
        options: impl FnOnce(StringFetch<'_>) -> StringFetch<'_> + Send + 'static,
    ) -> Self {
        let (answer, receiver) = oneshot::channel();
        let (cache, has_begun) = (cache.clone(), Arc::<AtomicBool>::default());
        let begun = Arc::clone(&has_begun);
        let produce = move |fill: Fill| async move {
            begun.store(true, SeqCst);
            match receiver.await.expect("the test answers") {
                Answer::Value(value) => Ok(value.to_owned()),
                Answer::Error(error) => Err(error),
                Answer::Private(value) => {
                    fill.do_not_store();
                    Ok(value.to_owned())
                }
                Answer::FailedWith(value) => Ok(fill.failed_with(value.to_owned())),
                Answer::Panic => panic!("the test wants a panic"),
            }
        };
        let call = tokio::spawn(async move {
            let fetch = cache
                .try_fetch("k", produce)
                .ttl(TTL)
                .stale_for(STALE_FOR)
                .soft_timeout(SOFT)
                .hard_timeout(HARD)
                .retry_after(RETRY_AFTER)
                .jitter(0.0);
            options(fetch).await
        });
        settle().await;
        Self { answer: Some(answer), has_begun, call }
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(SeqCst)
    }

    fn is_waiting(&self) -> bool {
        !self.call.is_finished()
    }

    /// Ends the producer and lets all tasks run.
    async fn answer(&mut self, answer: Answer) {
        let sender = self.answer.take().expect("the first answer");
        assert!(sender.send(answer).is_ok(), "the producer has ended");
        settle().await;
    }

    /// Returns the result of a call that has ended.
    async fn result(self) -> Fetched {
        assert!(!self.is_waiting(), "the call waits");
        self.call.await.expect("the call does not panic")
    }

    async fn value(self) -> String {
        self.result().await.expect("a value")
    }

    /// Drops the call.
    async fn cancel(&self) {
        self.call.abort();
        settle().await;
    }
}

/// Lets all tasks run until they wait. The store replies at once.
async fn settle() {
    for _ in 0..32 {
        yield_now().await;
    }
}

async fn advance(time: &ManualClock, duration: Duration) {
    time.advance(duration);
    settle().await;
}

/// Stores a value that is fresh for [`TTL`] from now.
async fn store(cache: &CacheHandle, value: &'static str) {
    let mut caller = Caller::start(cache).await;
    caller.answer(Answer::Value(value)).await;
    assert_eq!(caller.value().await, value);
}

/// Returns a cache with a stale value.
async fn stale_cache() -> (ManualClock, CacheHandle) {
    let (time, cache) = cache();
    store(&cache, "old").await;
    time.advance(TTL);
    (time, cache)
}

/// Returns what a new call gets from the cache, without a producer.
async fn cached(cache: &CacheHandle) -> Option<String> {
    cache.get("k").await.expect("locmem does not fail")
}
