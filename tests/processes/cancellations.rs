//! Callers that are dropped at any point of a miss, while their store works for them.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use cachette::CacheHandle;
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};

use crate::{
    DAY, HOLD, get, open,
    stores::{Shared, on_each_store},
};

const TASKS: usize = 8;
const KEYS: usize = 40;
/// The most polls after which a call is dropped. Lookup, lease and fill take at least two each.
const MAX_POLLS: usize = 10;

/// How many calls are dropped: fewer on files and databases, which take several times as long.
fn calls(shared: &Shared) -> usize {
    let is_fast = |backend| shared.config.contains(&format!("backend = '{backend}'"));
    if is_fast("memcached") || is_fast("redis") { 10_000 } else { 2_500 }
}

fn thousands_of_cancelled_calls_leave_nothing_behind(shared: &Shared) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the runtime starts").block_on(async {
        // A caller that has to wait for another one waits for longer than the test does.
        let cache = open(&format!("patience = 3600\n{}", shared.config)).await;
        let counts = Arc::<Counts>::default();
        let mut tasks = JoinSet::new();
        let calls = calls(shared);
        for seed in 0..TASKS {
            tasks.spawn(cancel_calls(cache.clone(), Arc::clone(&counts), seed, calls / TASKS));
        }
        tasks.join_all().await;
        assert_eq!(cache.finish_tasks(DAY).await, 0);
        assert_eq!(Arc::strong_count(&counts), 1, "a producer is left");
        // SQLite works in the thread of its caller, so that only producers can be dropped there.
        counts.assert_all_phases(calls / 100, !shared.config.contains("sqlite"));
        assert_keys_can_be_filled(&cache).await;
    });
}

on_each_store!(thousands_of_cancelled_calls_leave_nothing_behind);

/// How many calls were dropped in each phase.
#[derive(Debug, Default)]
struct Counts {
    before_producing: AtomicUsize,
    producing: AtomicUsize,
    storing: AtomicUsize,
}

impl Counts {
    fn count(&self, call: &Progress) {
        let phase = match (call.begun.load(Relaxed), call.ended.load(Relaxed)) {
            (0, _) => &self.before_producing,
            (_, 0) => &self.producing,
            _ => &self.storing,
        };
        phase.fetch_add(1, Relaxed);
    }

    /// Checks that at least `least` calls were dropped in each phase.
    #[track_caller]
    fn assert_all_phases(&self, least: usize, store_waits: bool) {
        let Self { before_producing, producing, storing } = self;
        let counts = [before_producing, producing, storing].map(|count| count.load(Relaxed));
        let expected = [store_waits, true, store_waits];
        for (count, expected) in counts.into_iter().zip(expected) {
            assert!(!expected || count >= least, "{counts:?}");
        }
    }
}

/// How far a call has come.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// Makes calls until this many were dropped.
async fn cancel_calls(cache: CacheHandle, counts: Arc<Counts>, seed: usize, calls: usize) {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let mut cancelled = 0;
    while cancelled < calls {
        let key = format!("{}", random.usize(..KEYS));
        if random.bool() {
            cache.delete(&key).await.expect("the store replies");
        }
        let (progress, waits) = (Arc::<Progress>::default(), random.u8(..4));
        // The producer owns a count, so that one that is left is noticed.
        let (own, running) = (Arc::clone(&counts), Arc::clone(&progress));
        let produce = async move || {
            let _own = own;
            running.begun.fetch_add(1, Relaxed);
            for _ in 0..waits {
                yield_now().await;
            }
            running.ended.fetch_add(1, Relaxed);
            1_i64
        };
        let polls = random.usize(1..=MAX_POLLS);
        let is_dropped = match random.u8(..4) {
            0 => {
                let fetch = cache.fetch(&key, async move |_| produce().await).ttl(DAY);
                is_dropped_after(polls, fetch.into_future()).await
            }
            _ => is_dropped_after(polls, cache.get_or_set(&key, DAY, produce)).await,
        };
        if is_dropped {
            counts.count(&progress);
            cancelled += 1;
        }
    }
}

/// Polls a call this many times and drops it. Returns `false` if it has ended before.
async fn is_dropped_after<T, E: std::fmt::Debug>(
    mut polls: usize,
    call: impl Future<Output = Result<T, E>>,
) -> bool {
    let mut call = pin!(call);
    let ended = poll_fn(|context| {
        if let Poll::Ready(result) = call.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        polls -= 1;
        if polls == 0 { Poll::Ready(None) } else { Poll::Pending }
    });
    match ended.await {
        Some(result) => {
            result.expect("the store replies");
            false
        }
        None => true,
    }
}

/// Checks that no flight and no lease is left: the next caller produces and stores, and does not
/// wait for anybody.
async fn assert_keys_can_be_filled(cache: &CacheHandle) {
    let at_once = HOLD / 2;
    let mut filled = 0;
    for number in 0..KEYS {
        let key = format!("{number}");
        let has_value = get(cache, &key).await.is_some();
        let value = timeout(at_once, cache.get_or_set(&key, DAY, async || 2_i64)).await;
        let value = value.expect("it does not wait").expect("the store replies");
        assert_eq!(value, if has_value { 1 } else { 2 });
        assert_eq!(get(cache, &key).await, Some(value), "it was not stored");
        filled += usize::from(!has_value);
        cache.delete(&key).await.expect("the store replies");
        let value = timeout(at_once, cache.fetch(&key, async |_| 3_i64).ttl(DAY).into_future());
        value.await.expect("it does not wait").expect("the store replies");
        assert_eq!(get(cache, &key).await, Some(3), "it was not stored");
    }
    assert!(filled > 0, "every key had a value");
}
