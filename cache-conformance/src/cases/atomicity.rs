//! Concurrent and cancelled operations.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use tokio::{sync::Barrier, task::JoinSet};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn concurrent_add_has_one_winner(h: Harness) {
    let store = h.store().await;
    for round in 0..20 {
        let key = format!("k{round}");
        let added = at_once(32, &store, async move |store, number| {
            store.add(&key, Value::Int(number), LONG).await.unwrap().then_some(number)
        });
        let winners: Vec<i64> = added.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(store.get(&format!("k{round}")).await.unwrap(), Some(Value::Int(winners[0])));
    }
}

pub(super) async fn concurrent_add_over_an_expired_entry_has_one_winner(h: Harness) {
    let store = h.store().await;
    for round in 0..5 {
        let key = format!("k{round}");
        store.set(&key, bytes("old"), Some(h.moment())).await.unwrap();
        h.outlive(h.moment()).await;
        let added = at_once(32, &store, async move |store, number| {
            store.add(&key, Value::Int(number), LONG).await.unwrap()
        });
        assert_eq!(added.await.into_iter().filter(|&added| added).count(), 1, "round {round}");
    }
}

pub(super) async fn concurrent_delete_has_one_winner(h: Harness) {
    let store = h.store().await;
    for round in 0..20 {
        store.set("k", bytes("v"), LONG).await.unwrap();
        let deleted = at_once(32, &store, async |store, _| store.delete("k").await.unwrap());
        assert_eq!(
            deleted.await.into_iter().filter(|&deleted| deleted).count(),
            1,
            "round {round}"
        );
    }
}

pub(super) async fn concurrent_increments_are_not_lost(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(0), LONG).await.unwrap();
    let sums = at_once(64, &store, async |store, _| {
        let mut sums = Vec::with_capacity(200);
        for _ in 0..200 {
            sums.push(store.incr("k", 1).await.unwrap().expect("the counter exists"));
        }
        sums
    });
    let mut sums: Vec<i64> = sums.await.into_iter().flatten().collect();
    sums.sort_unstable();
    assert!(sums.iter().copied().eq(1..=64 * 200), "each sum is returned once");
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(64 * 200)));
}

pub(super) async fn concurrent_incr_or_set_loses_no_count(h: Harness) {
    let store = h.store().await;
    for round in 0..10 {
        let key = format!("k{round}");
        let sums = at_once(32, &store, async move |store, _| {
            let mut sums = Vec::with_capacity(20);
            for _ in 0..20 {
                sums.push(store.incr_or_set(&key, 1, 1, LONG).await.unwrap());
            }
            sums
        });
        let mut sums: Vec<i64> = sums.await.into_iter().flatten().collect();
        sums.sort_unstable();
        assert!(sums.iter().copied().eq(1..=32 * 20), "round {round}: each sum is returned once");
    }
}

/// Counters of callers that meet the end of a window: each window counts from one, without a gap.
pub(super) async fn incr_or_set_racing_expiry_loses_no_count(h: Harness) {
    const WINDOWS: u32 = 3;
    let store = h.store().await;
    let time = h.clone();
    let sums = at_once(8, &store, async move |store, number| {
        let mut sums = Vec::new();
        let end = Instant::now() + WINDOWS * (time.moment() + time.profile().expiry_granularity);
        for step in 0.. {
            let is_over = match time.has_manual_time() {
                true => step == 40 * WINDOWS,
                false => Instant::now() >= end,
            };
            if is_over {
                break;
            }
            if number == 0 && time.has_manual_time() && step % 20 == 0 {
                time.outlive(time.moment()).await;
            }
            sums.push(store.incr_or_set("k", 1, 1, Some(time.moment())).await.unwrap());
            tokio::task::yield_now().await;
        }
        sums
    });
    let sums: Vec<i64> = sums.await.into_iter().flatten().collect();
    let mut returned = BTreeMap::new();
    for sum in &sums {
        *returned.entry(*sum).or_insert(0) += 1;
    }
    assert!(returned[&1] >= 2, "the counter never expired");
    let mut windows = returned[&1];
    for (expected, (sum, count)) in (1..).zip(returned) {
        assert_eq!(sum, expected, "a sum was skipped");
        assert!(count <= windows, "{sum} was returned {count} times, {} {windows} times", sum - 1);
        windows = count;
    }
}

pub(super) async fn concurrent_readers_see_whole_values(h: Harness) {
    let store = h.store().await;
    let value = |number: i64| Value::Bytes(Bytes::from(vec![number as u8; 16 << 10]));
    store.set("k", value(0), LONG).await.unwrap();
    let seen = at_once(8, &store, async move |store, number| {
        for step in 0..100 {
            if number < 2 {
                store.set("k", value(2 * step + number), LONG).await.unwrap();
                continue;
            }
            let Some(Value::Bytes(seen)) = store.get("k").await.unwrap() else {
                panic!("the entry must exist throughout")
            };
            assert_eq!(seen.len(), 16 << 10);
            assert!(seen.iter().all(|byte| *byte == seen[0]), "the value is a mix of two");
            tokio::task::yield_now().await;
        }
    });
    seen.await;
}

pub(super) async fn touch_racing_expiry_does_not_revive_the_entry(h: Harness) {
    race_expiry(h, async |store| store.touch("k", LONG).await.unwrap()).await;
}

pub(super) async fn get_and_touch_racing_expiry_does_not_revive_the_entry(h: Harness) {
    race_expiry(h, async |store| store.get_and_touch("k", LONG).await.unwrap().is_some()).await;
}

/// `touch` gives the entry more time and returns whether it did.
async fn race_expiry<F>(h: Harness, touch: impl FnOnce(Arc<dyn Cache>) -> F + Copy + Send + 'static)
where
    F: Future<Output = bool> + Send + 'static,
{
    let store = h.store().await;
    let rounds = if h.has_manual_time() { 200 } else { 4 };
    for round in 0..rounds {
        store.set("k", bytes("v"), Some(h.moment())).await.unwrap();
        let time = h.clone();
        let touched = at_once(4, &store, async move |store, number| {
            if number == 0 {
                time.outlive(time.moment()).await;
                return false;
            }
            if !time.has_manual_time() {
                let around_expiry = Duration::from_micros(400) * u32::try_from(number).unwrap();
                time.pass(time.moment() - Duration::from_millis(1) + around_expiry).await;
            }
            touch(store).await
        });
        let touched = touched.await.into_iter().any(|touched| touched);
        let exists = store.get("k").await.unwrap().is_some();
        assert_eq!(exists, touched, "round {round}: touch {touched}, but get {exists}");
        store.delete("k").await.unwrap();
    }
}

pub(super) async fn increments_racing_touches_are_not_lost(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(0), LONG).await.unwrap();
    let work = at_once(16, &store, async |store, number| {
        for step in 0..50 {
            match number % 2 {
                0 => assert!(store.incr("k", 1).await.unwrap().is_some()),
                _ => assert!(
                    store
                        .touch("k", (step % 2 == 0).then_some(Duration::from_secs(3600)))
                        .await
                        .unwrap()
                ),
            }
        }
    });
    work.await;
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(8 * 50)));
}

pub(super) async fn dropped_operation_does_not_affect_the_next(h: Harness) {
    let store = h.store().await;
    for _ in 0..5 {
        for operation in Operation::ALL {
            drop_at_each_await(&store, operation, DropAt::Await).await;
            drop_at_each_await(&store, operation, DropAt::Wake).await;
        }
    }
    abort_on_another_thread(&store).await;
}

/// Drops the operation at its first await, then at its second, until it completes before.
async fn drop_at_each_await(store: &Arc<dyn Cache>, operation: Operation, drop_at: DropAt) {
    for awaits in 1.. {
        let (one, other) = (format!("a{awaits}"), format!("b{awaits}"));
        store.set(&other, bytes(&other), LONG).await.unwrap();
        let completed = drop_at.poll(operation.run(&**store, &one), awaits).await;
        let next = store.get(&other).await.unwrap();
        assert_eq!(next, Some(bytes(&other)), "{operation:?}, {drop_at:?} {awaits}");
        assert_absent_or_whole(&**store, &one).await;
        if completed {
            return;
        }
    }
}

async fn assert_absent_or_whole(store: &dyn Cache, key: &str) {
    let found = store.get(key).await.unwrap();
    assert!(found.is_none() || found == Some(bytes(key)), "{found:?}");
}

/// Aborting a task drops its future at the await that it has reached, in parallel with the next
/// operation.
async fn abort_on_another_thread(store: &Arc<dyn Cache>) {
    for step in 0..200 {
        let (one, other) = (format!("a{step}"), format!("b{step}"));
        store.set(&other, bytes(&other), LONG).await.unwrap();
        let dropped = {
            let store = Arc::clone(store);
            let one = one.clone();
            tokio::spawn(async move {
                let _ = store.set(&one, bytes(&one), LONG).await;
                let _ = store.get(&one).await;
            })
        };
        for _ in 0..step % 4 {
            tokio::task::yield_now().await;
        }
        dropped.abort();
        assert_eq!(store.get(&other).await.unwrap(), Some(bytes(&other)));
        let _ = dropped.await;
        assert_absent_or_whole(&**store, &one).await;
    }
}

/// An operation that is dropped.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Set,
    Get,
    Add,
    Touch,
    Delete,
    SetMany,
    GetMany,
}

impl Operation {
    const ALL: [Self; 7] =
        [Self::Set, Self::Get, Self::Add, Self::Touch, Self::Delete, Self::SetMany, Self::GetMany];

    /// Ignores the result, which only a completed operation has.
    async fn run(self, store: &dyn Cache, key: &str) {
        match self {
            Self::Set => drop(store.set(key, bytes(key), LONG).await),
            Self::Get => drop(store.get(key).await),
            Self::Add => drop(store.add(key, bytes(key), LONG).await),
            Self::Touch => drop(store.touch(key, LONG).await),
            Self::Delete => drop(store.delete(key).await),
            Self::SetMany => drop(store.set_many(&[(key, bytes(key))], LONG).await),
            Self::GetMany => drop(store.get_many(&[key, key]).await),
        }
    }
}

/// When an operation is dropped.
#[derive(Clone, Copy, Debug)]
enum DropAt {
    /// As soon as it waits: a request is sent, and its answer is still to come.
    Await,
    /// When it could continue: the answer has come, and nobody has read it.
    Wake,
}

impl DropAt {
    /// Drops `operation` when it has waited `awaits` times. Returns whether it completed before.
    async fn poll(self, operation: impl Future<Output = ()>, awaits: usize) -> bool {
        let mut operation = pin!(operation);
        let mut waited = 0;
        poll_fn(|context| {
            if waited == awaits {
                return Poll::Ready(false);
            }
            if operation.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            waited += 1;
            match self {
                Self::Await if waited == awaits => Poll::Ready(false),
                Self::Await | Self::Wake => Poll::Pending,
            }
        })
        .await
    }
}

/// Runs `work` in concurrent tasks that start together, and returns their results.
pub(super) async fn at_once<T, F, W>(tasks: i64, store: &Arc<dyn Cache>, work: W) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: FnOnce(Arc<dyn Cache>, i64) -> F + Clone + Send + 'static,
{
    let start = Arc::new(Barrier::new(tasks.unsigned_abs() as usize));
    let mut running = JoinSet::new();
    for number in 0..tasks {
        let (store, start, work) = (Arc::clone(store), Arc::clone(&start), work.clone());
        running.spawn(async move {
            start.wait().await;
            work(store, number).await
        });
    }
    running.join_all().await
}
