//! The tasks that producers run in.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use cache_core::Share;
use serde::{Serialize, de::DeserializeOwned};

use super::*;

#[tokio::test]
async fn task_continues_if_its_callers_are_dropped() {
    let (_time, cache) = cache();
    let [mut first, second] = [Caller::start(&cache).await, Caller::start(&cache).await];
    first.cancel().await;
    second.cancel().await;
    first.answer(Answer::Value("late")).await;
    assert_eq!(cached(&cache).await.as_deref(), Some("late"));
}

#[tokio::test]
async fn caller_that_starts_the_task_is_not_needed_by_the_others() {
    let (_time, cache) = cache();
    let [mut first, second] = [Caller::start(&cache).await, Caller::start(&cache).await];
    first.cancel().await;
    first.answer(Answer::Value("new")).await;
    assert_eq!(second.value().await, "new");
    assert!(!second_has_begun(&cache).await);
}

async fn second_has_begun(cache: &CacheHandle) -> bool {
    Caller::start(cache).await.has_begun()
}

#[tokio::test]
async fn thousand_callers_produce_once() {
    let (_time, cache) = cache();
    let mut callers = Vec::new();
    for _ in 0..1000 {
        callers.push(Caller::start(&cache).await);
    }
    assert_eq!(callers.iter().filter(|caller| caller.has_begun()).count(), 1);
    callers[0].answer(Answer::Value("one")).await;
    for caller in callers {
        assert_eq!(caller.value().await, "one");
    }
}

#[tokio::test]
async fn task_that_hangs_is_replaced_after_its_lease_has_ended() {
    let (time, cache) = cache();
    let _hanging = Caller::start(&cache).await;
    advance(&time, Duration::from_secs(30) - MILLISECOND).await;
    assert!(!Caller::start(&cache).await.has_begun());
    advance(&time, MILLISECOND).await;
    let mut caller = Caller::start(&cache).await;
    assert!(caller.has_begun());
    caller.answer(Answer::Value("new")).await;
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn lease_lasts_for_a_longer_hard_timeout_but_not_forever() {
    const HOUR: Duration = Duration::from_secs(3600);
    const LONGEST: Duration = Duration::from_secs(2_147_483);
    for (hard_timeout, hold) in [(HOUR, HOUR), (Duration::MAX, LONGEST)] {
        let (time, cache) = cache();
        let start =
            |cache| Caller::start_with(cache, move |fetch| fetch.hard_timeout(hard_timeout));
        let _hanging = start(&cache).await;
        advance(&time, hold - MILLISECOND).await;
        assert!(!start(&cache).await.has_begun());
        advance(&time, MILLISECOND).await;
        assert!(start(&cache).await.has_begun(), "{hard_timeout:?}");
    }
}

#[tokio::test]
async fn finish_tasks_waits_for_tasks() {
    let (_time, cache) = cache();
    let mut caller = Caller::start(&cache).await;
    caller.cancel().await;
    let finished = tokio::spawn({
        let cache = cache.clone();
        async move { cache.finish_tasks(Duration::from_secs(60)).await }
    });
    settle().await;
    assert!(!finished.is_finished());
    caller.answer(Answer::Value("last")).await;
    assert_eq!(finished.await.expect("no panic"), 0);
    assert_eq!(cached(&cache).await.as_deref(), Some("last"));
}

#[tokio::test]
async fn finish_tasks_drops_tasks_after_its_limit() {
    let (_time, cache) = cache();
    let caller = Caller::start(&cache).await;
    assert_eq!(cache.finish_tasks(Duration::ZERO).await, 1);
    settle().await;
    assert!(matches!(caller.result().await, Err(FetchError::Cache(_))));
    assert_eq!(cache.finish_tasks(Duration::ZERO).await, 0);
    assert!(Caller::start(&cache).await.has_begun(), "the next caller leads");
}

#[tokio::test]
async fn caller_takes_over_from_a_task_that_was_dropped() {
    let (_time, cache) = cache();
    let [first, mut second] = [Caller::start(&cache).await, Caller::start(&cache).await];
    assert_eq!(cache.finish_tasks(Duration::ZERO).await, 1);
    settle().await;
    assert!(matches!(first.result().await, Err(FetchError::Cache(_))));
    assert!(second.has_begun());
    second.answer(Answer::Value("new")).await;
    assert_eq!(second.value().await, "new");
}

#[tokio::test]
async fn producer_may_fetch_its_own_key() {
    let (_time, cache) = cache();
    let inner = cache.clone();
    let outer = cache.fetch("k", async move |_| {
        inner.fetch("k", async |_| 7_u8).await.expect("the inner call produces") + 1
    });
    assert_eq!(outer.await.expect("produced"), 8);
    assert_eq!(cache.get("k").await.expect("locmem does not fail"), Some(8_u8));
}

/// A call for the key `k` by one of the verbs, for one of two types.
async fn call<T>(cache: CacheHandle, verb: usize, produce: impl Future<Output = T> + Send + 'static)
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    match verb {
        0 => cache.get_or_set("k", TTL, || produce).await.map(drop).expect("no error"),
        1 => cache.get_or_set_shared("k", TTL, || produce).await.map(drop).expect("no error"),
        _ => cache.fetch("k", |_| produce).await.map(drop).expect("no error"),
    }
}

#[tokio::test]
async fn producer_may_ask_for_its_own_key_with_each_verb_and_type() {
    for (outer, inner) in (0..3).flat_map(|outer| (0..3).map(move |inner| (outer, inner))) {
        for has_same_type in [true, false] {
            // Time does not pass, so a call that waits does not end.
            let (_time, cache) = cache();
            let same = cache.clone();
            let producer = async move {
                match has_same_type {
                    true => Box::pin(call(same, inner, async { 7_u8 })).await,
                    false => Box::pin(call(same, inner, async { "seven".to_owned() })).await,
                }
                8_u8
            };
            let call = tokio::spawn(call(cache, outer, producer));
            settle().await;
            assert!(call.is_finished(), "{outer} {inner} {has_same_type}");
            call.await.expect("no panic");
        }
    }
}

#[tokio::test]
async fn producer_may_update_its_own_key() {
    for (share, patience) in
        [(Share::Store, PATIENCE), (Share::Process, PATIENCE), (Share::Store, Duration::ZERO)]
    {
        for verb in 0..3 {
            // Time does not pass, so an update that waits does not end.
            let time = ManualClock::new();
            let settings = Settings { share, patience, ..Settings::default() };
            let cache = CacheHandle::new("default", locmem(&time), settings);
            let cache = cache.with_clock(time.clock());
            let same = cache.clone();
            let producer = async move {
                let updated = same.update("k", TTL, |old: Option<u8>| old.unwrap_or(7)).await;
                updated.expect("no other caller holds the key") + 1
            };
            let call = tokio::spawn(call(cache.clone(), verb, producer));
            settle().await;
            assert!(call.is_finished(), "{verb} {share:?} {patience:?}");
            call.await.expect("no panic");
            let stored = cache.get("k").await.expect("locmem does not fail");
            assert_eq!(stored, Some(7_u8), "the update was made after the producer had begun");
        }
    }
}

#[tokio::test]
async fn producer_may_fetch_the_same_key_of_another_cache() {
    let (time, near) = cache();
    let far = near.with_store(locmem(&time));
    let produce = async || far.fetch("k", async |_| 7_u8).await.expect("produced");
    assert_eq!(near.get_or_set("k", TTL, produce).await.expect("produced"), 7);
    assert_eq!(far.get("k").await.expect("locmem does not fail"), Some(7_u8), "it was stored");
}

#[test]
fn producer_runs_in_its_caller_without_a_runtime() {
    let (_time, cache) = cache();
    let mut context = Context::from_waker(Waker::noop());
    let mut call = pin!(cache.fetch("k", async |_| 7_u8).into_future());
    let Poll::Ready(value) = call.as_mut().poll(&mut context) else { panic!("the call waits") };
    assert_eq!(value.expect("produced"), 7);
}

#[test]
fn dropped_caller_without_a_runtime_leaves_its_key_to_the_next() {
    let (_time, cache) = cache();
    let mut context = Context::from_waker(Waker::noop());
    let pending = async |_| std::future::pending::<u8>().await;
    let mut first = cache.fetch("k", pending).into_future();
    assert!(first.as_mut().poll(&mut context).is_pending());
    drop(first);
    let mut call = pin!(cache.fetch("k", async |_| 7_u8).into_future());
    let Poll::Ready(value) = call.as_mut().poll(&mut context) else { panic!("the call waits") };
    assert_eq!(value.expect("produced"), 7);
}

#[tokio::test]
async fn caller_that_begins_after_a_delete_does_not_wait_for_an_older_task() {
    let (_time, cache) = cache();
    let mut older = Caller::start(&cache).await;
    cache.delete("k").await.expect("locmem does not fail");
    let mut newer = Caller::start(&cache).await;
    assert!(newer.has_begun());
    newer.answer(Answer::Value("new")).await;
    assert_eq!(newer.value().await, "new");
    older.answer(Answer::Value("old")).await;
    assert_eq!(older.value().await, "old");
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}
