//! What `get_or_set` does with stale entries, which `fetch` has stored.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use cache_core::{Result as CacheResult, Timeout, Undecodable};

use super::*;

/// For how long a caller may hold its lease.
const HOLD: Duration = Duration::from_secs(30);

type Produced = Result<String, &'static str>;
type Call<'a, T> = Pin<Box<dyn Future<Output = CacheResult<T>> + 'a>>;

/// A call of `try_get_or_set`, whose producer returns what is sent to it.
fn call(cache: &CacheHandle) -> (oneshot::Sender<Produced>, Call<'_, Produced>) {
    let (sender, receiver) = oneshot::channel();
    let produce = async || receiver.await.expect("the test answers");
    (sender, Box::pin(cache.try_get_or_set("k", TTL, produce)))
}

fn poll<T>(call: &mut Call<'_, T>) -> Poll<CacheResult<T>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns what a call gets that does not wait.
#[track_caller]
fn ready<T>(call: &mut Call<'_, T>) -> T {
    match poll(call) {
        Poll::Ready(value) => value.expect("locmem does not fail"),
        Poll::Pending => panic!("the call waits"),
    }
}

fn value(value: &str) -> Produced {
    Ok(value.to_owned())
}

#[tokio::test]
async fn leader_replaces_the_stale_value_and_all_others_get_it_at_once() {
    let (_time, cache) = stale_cache().await;
    let other = other_process(&cache);
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    for cache in [&cache, &other] {
        let (_answer, mut follower) = call(cache);
        assert_eq!(ready(&mut follower), value("old"));
        let produce = async || panic!("another caller produces");
        let mut shared: Call<'_, Arc<String>> =
            Box::pin(cache.get_or_set_shared("k", TTL, produce));
        assert_eq!(*ready(&mut shared), "old");
    }
    answer.send(value("new")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("new"));
    for cache in [&cache, &other] {
        assert_eq!(cached(cache).await.as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn stale_value_is_returned_at_once_while_fetch_replaces_it() {
    let (_time, cache) = stale_cache().await;
    let mut fetch = Caller::start(&cache).await;
    assert!(fetch.has_begun());
    for cache in [&cache, &other_process(&cache)] {
        assert_eq!(ready(&mut call(cache).1), value("old"));
    }
    fetch.answer(Answer::Value("new")).await;
    assert_eq!(ready(&mut call(&cache).1), value("new"));
}

#[tokio::test]
async fn fetch_returns_the_stale_value_while_get_or_set_replaces_it() {
    let (_time, cache) = stale_cache().await;
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    for cache in [&cache, &other_process(&cache)] {
        let fetch = Caller::start(cache).await;
        assert!(!fetch.has_begun());
        assert_eq!(fetch.value().await, "old");
    }
    answer.send(value("new")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("new"));
}

#[tokio::test]
async fn stale_value_is_returned_if_the_producer_fails() {
    let (_time, cache) = stale_cache().await;
    for _ in 0..3 {
        let (answer, mut leader) = call(&cache);
        assert!(poll(&mut leader).is_pending(), "every caller tries");
        answer.send(Err("down")).expect("the producer waits");
        assert_eq!(ready(&mut leader), value("old"));
    }
    assert_eq!(cached(&cache).await, None, "it is still stale");
}

#[tokio::test]
async fn deleted_value_is_not_returned_if_the_producer_fails() {
    let (_time, cache) = stale_cache().await;
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    other_process(&cache).delete("k").await.expect("locmem does not fail");
    answer.send(Err("down")).expect("the producer waits");
    assert_eq!(ready(&mut leader), Err("down"));
}

#[tokio::test]
async fn newer_value_is_returned_if_the_producer_fails() {
    let (_time, cache) = stale_cache().await;
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    cache.set("k", "newer", TTL).await.expect("it is stored");
    answer.send(Err("down")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("newer"));
}

#[tokio::test]
async fn missing_value_is_waited_for_while_fetch_produces_it() {
    let (time, cache) = cache();
    let mut fetch = Caller::start(&cache).await;
    let (_answer, mut waiting) = call(&cache);
    assert!(poll(&mut waiting).is_pending());
    fetch.answer(Answer::Value("new")).await;
    time.advance(200 * MILLISECOND);
    assert_eq!(ready(&mut waiting), value("new"));
}

#[tokio::test]
async fn missing_value_that_fetch_takes_long_for_is_produced_and_stored_after_the_patience() {
    let (time, cache) = cache();
    let mut fetch = Caller::start(&cache).await;
    let (answer, mut call) = call(&cache);
    assert!(poll(&mut call).is_pending());
    answer.send(value("new")).expect("the producer may begin later");
    assert!(poll(&mut call).is_pending());
    time.advance(PATIENCE);
    assert_eq!(ready(&mut call), value("new"));
    fetch.answer(Answer::Value("late")).await;
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn fetch_waits_for_a_missing_value_while_get_or_set_produces_it() {
    let (time, cache) = cache();
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    let fetch = Caller::start(&cache).await;
    answer.send(value("new")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("new"));
    advance(&time, 200 * MILLISECOND).await;
    assert!(!fetch.has_begun());
    assert_eq!(fetch.value().await, "new");
}

#[tokio::test]
async fn next_caller_leads_after_the_leader_was_dropped() {
    let (_time, cache) = stale_cache().await;
    let (_answer, mut dropped) = call(&cache);
    assert!(poll(&mut dropped).is_pending());
    drop(dropped);
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    answer.send(value("new")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("new"));
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn leader_that_hangs_is_replaced_after_its_lease_has_ended() {
    let (time, cache) = stale_cache().await;
    let (_answer, mut hanging) = call(&cache);
    assert!(poll(&mut hanging).is_pending());
    time.advance(HOLD - MILLISECOND);
    assert_eq!(ready(&mut call(&cache).1), value("old"));
    time.advance(MILLISECOND);
    let (answer, mut leader) = call(&cache);
    assert!(poll(&mut leader).is_pending());
    assert_eq!(ready(&mut call(&cache).1), value("old"), "one caller leads as well");
    answer.send(value("new")).expect("the producer waits");
    assert_eq!(ready(&mut leader), value("new"));
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn producer_that_asks_for_its_own_key_gets_the_stale_value() {
    let (_time, cache) = stale_cache().await;
    let produce = async || {
        let produce = async || panic!("the outer call produces");
        let old: String = cache.get_or_set("k", TTL, produce).await.expect("a stale value");
        format!("{old} and new")
    };
    let new: String = cache.get_or_set("k", TTL, produce).await.expect("it is produced");
    assert_eq!(new, "old and new");
    assert_eq!(cached(&cache).await, Some(new));
}

#[tokio::test]
async fn stale_value_of_another_type_is_reported_once_and_replaced() {
    let (_time, cache) = stale_cache().await;
    let mut fetch = Caller::start(&cache).await;
    let produce = async || 7_u8;
    let strict = cache.with_undecodable(Undecodable::Error);
    assert!(pin!(strict.get_or_set("k", TTL, produce)).await.is_err());
    let before = cache.undecodable_seen();
    let mut call: Call<'_, u8> = Box::pin(cache.get_or_set("k", TTL, produce));
    assert_eq!(ready(&mut call), 7);
    assert_eq!(cache.undecodable_seen() - before, 1);
    fetch.answer(Answer::Value("late")).await;
}

#[tokio::test]
async fn timeout_of_zero_removes_the_stale_value() {
    let (_time, cache) = stale_cache().await;
    let produce = async || "new".to_owned();
    let produced: String =
        cache.get_or_set("k", Timeout::EXPIRED, produce).await.expect("no error");
    assert_eq!(produced, "new");
    assert!(!cache.contains("k").await.expect("locmem does not fail"));
}
