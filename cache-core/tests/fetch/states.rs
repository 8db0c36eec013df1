//! The table of states: what a caller does by the state of the entry and by who produces.

use super::*;

#[tokio::test]
async fn fresh_value_is_returned_without_a_task() {
    let (time, cache) = cache();
    store(&cache, "old").await;
    time.advance(EARLY);
    let caller = Caller::start(&cache).await;
    assert!(!caller.has_begun());
    assert_eq!(caller.value().await, "old");
}

#[tokio::test]
async fn value_of_another_verb_is_fresh() {
    let (_time, cache) = cache();
    cache.set("k", "set", TTL).await.expect("it is stored");
    assert_eq!(Caller::start(&cache).await.value().await, "set");
}

#[tokio::test]
async fn early_hit_starts_one_task_and_returns_at_once() {
    let (time, cache) = cache();
    store(&cache, "old").await;
    time.advance(EARLY + MILLISECOND);
    let mut first = Caller::start(&cache).await;
    let second = Caller::start(&cache).await;
    assert!(first.has_begun() && !second.has_begun());
    assert_eq!(second.value().await, "old");
    first.answer(Answer::Value("new")).await;
    assert_eq!(first.value().await, "old");
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
    time.advance(EARLY);
    assert!(!Caller::start(&cache).await.has_begun(), "the new value is fresh");
}

#[tokio::test]
async fn early_hit_starts_no_task_while_another_process_produces() {
    let (time, cache) = cache();
    store(&cache, "old").await;
    time.advance(EARLY + MILLISECOND);
    let mut other = Caller::start(&other_process(&cache)).await;
    let caller = Caller::start(&cache).await;
    assert!(other.has_begun() && !caller.has_begun());
    assert_eq!(caller.value().await, "old");
    other.answer(Answer::Value("new")).await;
    assert_eq!(Caller::start(&cache).await.value().await, "new");
}

#[tokio::test]
async fn stale_value_is_returned_after_the_soft_timeout() {
    let (time, cache) = stale_cache().await;
    let mut first = Caller::start(&cache).await;
    let second = Caller::start(&cache).await;
    assert!(first.has_begun() && !second.has_begun());
    advance(&time, SOFT - MILLISECOND).await;
    assert!(first.is_waiting() && second.is_waiting());
    advance(&time, MILLISECOND).await;
    assert_eq!(second.value().await, "old");
    first.answer(Answer::Value("new")).await;
    assert_eq!(first.value().await, "old");
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn new_value_is_returned_if_it_comes_before_the_soft_timeout() {
    let (_time, cache) = stale_cache().await;
    let mut first = Caller::start(&cache).await;
    let second = Caller::start(&cache).await;
    first.answer(Answer::Value("new")).await;
    assert_eq!([first.value().await, second.value().await], ["new", "new"]);
}

#[tokio::test]
async fn soft_timeout_of_zero_returns_the_stale_value_at_once() {
    let (_time, cache) = stale_cache().await;
    let mut caller = Caller::start_with(&cache, |fetch| fetch.soft_timeout(Duration::ZERO)).await;
    assert!(caller.has_begun() && !caller.is_waiting());
    caller.answer(Answer::Value("new")).await;
    assert_eq!(caller.value().await, "old");
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn stale_value_is_returned_at_once_while_another_process_produces() {
    let (_time, cache) = stale_cache().await;
    let mut other = Caller::start(&other_process(&cache)).await;
    let caller = Caller::start(&cache).await;
    assert!(other.has_begun() && !caller.has_begun());
    assert_eq!(caller.value().await, "old");
    other.answer(Answer::Value("new")).await;
    assert_eq!(Caller::start(&cache).await.value().await, "new");
}

#[tokio::test]
async fn caller_takes_over_a_refresh_of_a_killed_process_however_long_its_failures_are_remembered()
{
    let (time, cache) = stale_cache().await;
    let hanging = other_process(&cache);
    let _hanging = Caller::start(&hanging).await;
    let start = || Caller::start_with(&cache, |fetch| fetch.retry_after(STALE_FOR));
    assert_eq!(start().await.value().await, "old");
    time.advance(Duration::from_secs(30));
    assert!(start().await.has_begun(), "the lease has ended");
}

#[tokio::test]
async fn value_is_missing_after_the_stale_time() {
    let (time, cache) = stale_cache().await;
    time.advance(STALE_FOR);
    let caller = Caller::start(&cache).await;
    advance(&time, SOFT).await;
    assert!(caller.has_begun() && caller.is_waiting());
}

#[tokio::test]
async fn missing_value_is_waited_for_until_the_hard_timeout_and_stored_later() {
    let (time, cache) = cache();
    let mut first = Caller::start(&cache).await;
    advance(&time, SOFT).await;
    let second = Caller::start(&cache).await;
    assert!(first.has_begun() && !second.has_begun());
    advance(&time, HARD - SOFT - MILLISECOND).await;
    assert!(first.is_waiting() && second.is_waiting());
    advance(&time, MILLISECOND).await;
    first.answer(Answer::Value("late")).await;
    assert!(matches!(first.result().await, Err(FetchError::TimedOut)));
    assert_eq!(second.value().await, "late");
    assert_eq!(cached(&cache).await.as_deref(), Some("late"));
}

#[tokio::test]
async fn missing_value_of_another_process_is_found() {
    let (time, cache) = cache();
    let mut other = Caller::start(&other_process(&cache)).await;
    let caller = Caller::start(&cache).await;
    other.answer(Answer::Value("other")).await;
    assert!(!caller.has_begun() && caller.is_waiting());
    advance(&time, Duration::from_millis(10)).await;
    assert_eq!(caller.value().await, "other");
}

#[tokio::test]
async fn caller_takes_over_from_another_process_whose_lease_has_ended() {
    let (time, cache) = cache();
    let mut other = Caller::start(&other_process(&cache)).await;
    let mut caller = Caller::start(&cache).await;
    other.answer(Answer::Error("down")).await;
    advance(&time, Duration::from_millis(10)).await;
    assert!(caller.has_begun());
    caller.answer(Answer::Value("own")).await;
    assert_eq!(caller.value().await, "own");
    assert_eq!(cached(&cache).await.as_deref(), Some("own"));
}

#[tokio::test]
async fn caller_produces_without_storing_after_the_patience_with_another_process() {
    let (time, cache) = cache();
    let mut other = Caller::start(&other_process(&cache)).await;
    let mut caller = Caller::start(&cache).await;
    for _ in 0..PATIENCE.as_millis() / 200 - 1 {
        advance(&time, Duration::from_millis(200)).await;
    }
    assert!(!caller.has_begun(), "before the patience has ended");
    advance(&time, Duration::from_millis(400)).await;
    assert!(caller.has_begun());
    caller.answer(Answer::Value("own")).await;
    assert_eq!(caller.value().await, "own");
    assert_eq!(cached(&cache).await, None);
    other.answer(Answer::Value("other")).await;
    assert_eq!(cached(&cache).await.as_deref(), Some("other"));
}

#[tokio::test]
async fn caller_that_waits_for_another_process_times_out() {
    let (time, cache) = cache();
    let _other = Caller::start(&other_process(&cache)).await;
    let caller =
        Caller::start_with(&cache, |fetch| fetch.hard_timeout(Duration::from_secs(1))).await;
    for _ in 0..5 {
        advance(&time, Duration::from_millis(200)).await;
    }
    assert!(!caller.has_begun());
    assert!(matches!(caller.result().await, Err(FetchError::TimedOut)));
}

#[tokio::test]
async fn undecodable_entry_is_missing() {
    let (time, cache) = cache();
    cache.set("k", &[1.5], TTL).await.expect("it is stored");
    let mut caller = Caller::start(&cache).await;
    advance(&time, SOFT).await;
    caller.answer(Answer::Value("new")).await;
    assert_eq!(caller.value().await, "new");
    assert_eq!(cached(&cache).await.as_deref(), Some("new"));
}
