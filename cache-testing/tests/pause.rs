//! Held calls.

use std::{sync::Arc, task::Poll, time::Duration};

use cache_core::{Ask, Cache, Leases, Value};
use cache_locmem::LocMemCache;
use cache_testing::{Pause, Verb, Verbs};
use tokio::time::timeout;

const TTL: Option<Duration> = None;
const ONE: Value = Value::Int(1);
const TWO: Value = Value::Int(2);

fn pause() -> Pause {
    Pause::new(Arc::new(LocMemCache::default()))
}

async fn get(store: &dyn Cache, key: &str) -> Option<Value> {
    store.get(key).await.expect("the store works")
}

#[tokio::test]
async fn call_held_before_the_store_sees_what_happens_meanwhile() {
    let pause = pause();
    let held = pause.before(Verb::Get, 1);
    let (read, set) = tokio::join!(get(&pause, "k"), held.during(pause.set("k", ONE, TTL)));
    set.expect("the store works");
    assert_eq!(read, Some(ONE));
}

#[tokio::test]
async fn call_held_after_the_store_does_not() {
    let pause = pause();
    let held = pause.after(Verb::Get, 1);
    let (read, set) = tokio::join!(get(&pause, "k"), held.during(pause.set("k", ONE, TTL)));
    set.expect("the store works");
    assert_eq!(read, None);
    assert_eq!(get(&pause, "k").await, Some(ONE));
}

#[tokio::test]
async fn held_fill_stores_nothing_after_a_delete() {
    let pause = pause();
    let hold = Duration::from_secs(30);
    let acquired = pause.acquire("k", Ask::Missing, hold).await.expect("the store works");
    let lease = acquired.lease.expect("nobody holds a lease");
    let held = pause.before(Verb::Fill, 1);
    let (filled, deleted) =
        tokio::join!(pause.fill("k", lease, ONE, TTL), held.during(pause.delete("k")));
    deleted.expect("the store works");
    assert!(!filled.expect("the store works"));
    assert_eq!(get(&pause, "k").await, None);
}

#[tokio::test]
async fn nth_call_of_the_verbs_is_held() {
    let pause = pause();
    let held = pause.before([Verb::Set, Verb::Add], 3);
    pause.set("a", ONE, TTL).await.expect("the first is not held");
    pause.add("b", ONE, TTL).await.expect("the second is not held");
    assert_eq!(get(&pause, "a").await, Some(ONE), "another verb does not count");
    let third = tokio::spawn({
        let pause = pause.clone();
        async move { pause.set("a", TWO, TTL).await }
    });
    held.reached().await;
    assert!(held.is_reached());
    pause.set("c", ONE, TTL).await.expect("the fourth is not held");
    assert_eq!(get(&pause, "a").await, Some(ONE));
    held.release();
    third.await.expect("no panic").expect("the store works");
    assert_eq!(get(&pause, "a").await, Some(TWO));
}

#[tokio::test(start_paused = true)]
async fn call_is_held_until_it_is_released() {
    let pause = pause();
    let held = pause.before(Verb::Clear, 1);
    let mut clear = pause.clear();
    assert!(timeout(Duration::from_secs(86_400), &mut clear).await.is_err());
    held.release();
    clear.await.expect("the store works");
}

#[tokio::test]
async fn held_verb_is_not_answered_without_waiting_until_it_was_reached() {
    let pause = pause();
    assert!(pause.get_now("k").is_some());
    let held = pause.before(Verbs::READS, 2);
    assert!(pause.get_now("k").is_none());
    assert!(pause.set_now("k", ONE, TTL).is_ok(), "writes are not held");
    assert!(pause.contains("k").await.expect("the first is not held"));
    let (read, ()) = tokio::join!(get(&pause, "k"), held.during(async {}));
    assert_eq!(read, Some(ONE));
    assert!(pause.get_now("k").is_some());
}

#[tokio::test]
async fn dropping_the_hold_cancels_it() {
    let pause = pause();
    let held = pause.before(Verb::Get, 1);
    assert!(!held.is_reached());
    drop(held);
    assert!(pause.get_now("k").is_some());
    assert_eq!(get(&pause, "k").await, None);
}

#[tokio::test]
async fn two_holds_of_one_call_are_released_one_by_one() {
    let pause = pause();
    let (request, reply) = (pause.before(Verb::Add, 1), pause.after(Verb::Add, 1));
    let mut add = std::pin::pin!(pause.add("k", ONE, TTL));
    assert!(poll_once(&mut add).await.is_pending());
    assert!(request.is_reached() && !reply.is_reached());
    request.release();
    assert!(poll_once(&mut add).await.is_pending());
    assert!(reply.is_reached());
    assert_eq!(get(&pause, "k").await, Some(ONE));
    reply.release();
    assert!(add.await.expect("the store works"));
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context)))
        .await
}

#[test]
#[should_panic(expected = "counted from 1")]
fn call_number_zero_is_a_panic() {
    let _ = pause().before(Verb::Get, 0);
}
