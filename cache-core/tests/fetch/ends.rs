//! The table of ends: what callers get by how the task ends.

use serde::{Deserialize, Serialize, Serializer};

use super::*;

/// Two callers of a stale or missing value, the first of which has started the task.
async fn two_callers(cache: &CacheHandle) -> [Caller; 2] {
    let callers = [Caller::start(cache).await, Caller::start(cache).await];
    assert!(callers[0].has_begun() && !callers[1].has_begun());
    callers
}

#[tokio::test]
async fn value_is_stored_for_its_time_to_live_and_the_stale_time() {
    for (_time, cache) in [cache(), stale_cache().await] {
        let [mut first, second] = two_callers(&cache).await;
        first.answer(Answer::Value("new")).await;
        assert_eq!([first.value().await, second.value().await], ["new", "new"]);
        let left = cache.ttl("k").await.expect("locmem does not fail");
        assert_eq!(left, Some(cache_core::Ttl::Left(TTL + STALE_FOR)));
    }
}

#[tokio::test]
async fn value_is_returned_but_not_stored_if_the_key_was_deleted_meanwhile() {
    for (_time, cache) in [cache(), stale_cache().await] {
        let [mut first, second] = two_callers(&cache).await;
        cache.delete("k").await.expect("locmem does not fail");
        first.answer(Answer::Value("late")).await;
        assert_eq!([first.value().await, second.value().await], ["late", "late"]);
        assert!(!cache.contains("k").await.expect("locmem does not fail"));
    }
}

#[tokio::test]
async fn value_is_returned_but_not_stored_if_the_key_was_set_meanwhile() {
    for (_time, cache) in [cache(), stale_cache().await] {
        let [mut first, _second] = two_callers(&cache).await;
        cache.set("k", "newer", TTL).await.expect("it is stored");
        first.answer(Answer::Value("late")).await;
        assert_eq!(first.value().await, "late");
        assert_eq!(cached(&cache).await.as_deref(), Some("newer"));
    }
}

#[tokio::test]
async fn private_value_is_for_its_own_caller_and_the_others_produce() {
    for (_time, cache) in [cache(), stale_cache().await] {
        let before = cached(&cache).await;
        let [mut first, mut second] = two_callers(&cache).await;
        first.answer(Answer::Private("mine")).await;
        assert_eq!(first.value().await, "mine");
        assert!(second.has_begun());
        second.answer(Answer::Private("yours")).await;
        assert_eq!(second.value().await, "yours");
        assert_eq!(cached(&cache).await, before);
    }
}

#[tokio::test]
async fn caller_that_produces_because_a_value_was_private_gets_the_stale_one_if_it_fails() {
    for failure in [Answer::FailedWith("fallback"), Answer::Error("down")] {
        let (_time, cache) = stale_cache().await;
        let [mut first, mut second] = two_callers(&cache).await;
        first.answer(Answer::Private("secret")).await;
        assert_eq!(first.value().await, "secret");
        second.answer(failure).await;
        assert_eq!(second.value().await, "old");
    }
}

#[tokio::test]
async fn private_value_is_returned_although_its_producer_has_failed() {
    let (_time, cache) = stale_cache().await;
    let produce = async |fill: Fill| {
        fill.do_not_store();
        fill.failed_with("secret".to_owned())
    };
    let fetched = cache.fetch("k", produce).soft_timeout(SOFT).await;
    assert_eq!(fetched.expect("produced"), "secret");
}

#[tokio::test]
async fn error_is_shared_by_the_callers_of_a_missing_value() {
    let (_time, cache) = cache();
    let [mut first, second] = two_callers(&cache).await;
    first.answer(Answer::Error("down")).await;
    for caller in [first, second] {
        assert!(
            matches!(caller.result().await, Err(FetchError::Produce(error)) if *error == "down")
        );
    }
    assert!(Caller::start(&cache).await.has_begun(), "the next caller tries again");
}

#[tokio::test]
async fn stale_value_is_returned_if_the_producer_fails() {
    for answer in [|| Answer::Error("down"), || Answer::Panic, || Answer::FailedWith("default")] {
        let (_time, cache) = stale_cache().await;
        let [mut first, second] = two_callers(&cache).await;
        first.answer(answer()).await;
        assert_eq!([first.value().await, second.value().await], ["old", "old"]);
    }
}

#[tokio::test]
async fn nobody_tries_again_for_a_while_after_a_refresh_has_failed() {
    for answer in [|| Answer::Error("down"), || Answer::Panic, || Answer::FailedWith("default")] {
        let (time, cache) = stale_cache().await;
        let mut caller = Caller::start(&cache).await;
        caller.answer(answer()).await;
        time.advance(RETRY_AFTER - MILLISECOND);
        for cache in [&cache, &other_process(&cache)] {
            let caller = Caller::start(cache).await;
            assert!(!caller.has_begun());
            assert_eq!(caller.value().await, "old");
        }
        time.advance(MILLISECOND);
        assert!(Caller::start(&cache).await.has_begun());
    }
}

#[tokio::test]
async fn value_that_was_stored_after_a_failed_refresh_is_refreshed_when_it_is_stale() {
    let (time, cache) = stale_cache().await;
    let mut failing = Caller::start_with(&cache, |fetch| fetch.retry_after(10 * TTL)).await;
    failing.answer(Answer::Error("down")).await;
    cache.delete("k").await.expect("locmem does not fail");
    store(&cache, "new").await;
    time.advance(TTL);
    assert!(Caller::start(&cache).await.has_begun());
}

#[tokio::test]
async fn nobody_waits_for_the_next_try_after_the_stale_time() {
    for in_other_process in [false, true] {
        let (time, cache) = stale_cache().await;
        let mut caller = Caller::start_with(&cache, |fetch| fetch.retry_after(2 * STALE_FOR)).await;
        caller.answer(Answer::Error("down")).await;
        time.advance(STALE_FOR);
        let next = if in_other_process { other_process(&cache) } else { cache };
        assert!(Caller::start(&next).await.has_begun(), "the value is missing");
    }
}

#[tokio::test]
async fn failed_refresh_does_not_make_the_entry_fresh() {
    let (_time, cache) = stale_cache().await;
    let mut caller = Caller::start(&cache).await;
    caller.answer(Answer::Error("down")).await;
    assert_eq!(cached(&cache).await, None);
}

#[tokio::test]
async fn value_of_a_failed_producer_is_returned_but_not_stored() {
    let (_time, cache) = cache();
    let [mut first, second] = two_callers(&cache).await;
    first.answer(Answer::FailedWith("default")).await;
    assert_eq!([first.value().await, second.value().await], ["default", "default"]);
    assert!(!cache.contains("k").await.expect("locmem does not fail"));
}

#[tokio::test]
async fn panic_is_an_error_of_all_callers_of_a_missing_value() {
    let (_time, cache) = cache();
    let [mut first, second] = two_callers(&cache).await;
    first.answer(Answer::Panic).await;
    for caller in [first, second] {
        assert!(matches!(caller.result().await, Err(FetchError::Panicked)));
    }
    assert!(Caller::start(&cache).await.has_begun(), "the flight has ended");
}

/// A number that can be encoded unless it is 13.
#[derive(Debug, PartialEq, Deserialize)]
struct Fragile(u8);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 13, "the test wants a panic");
        serializer.serialize_newtype_struct("Fragile", &self.0)
    }
}

#[tokio::test]
async fn panic_while_the_value_is_encoded_is_one_of_its_producer() {
    let (_time, cache) = cache();
    let fetch = || cache.fetch("k", async |_| Fragile(13)).ttl(TTL).stale_for(STALE_FOR);
    let (first, second) = tokio::join!(fetch(), fetch());
    for result in [first, second] {
        assert!(matches!(result, Err(FetchError::Panicked)), "{result:?}");
    }
}

#[tokio::test]
async fn stale_value_is_returned_if_encoding_panics() {
    let (time, cache) = cache();
    let fetch = |number| {
        let fetch = cache.fetch("k", async move |_| Fragile(number)).jitter(0.0);
        fetch.ttl(TTL).stale_for(STALE_FOR).retry_after(RETRY_AFTER)
    };
    fetch(1).await.expect("it is stored");
    time.advance(TTL);
    assert_eq!(fetch(13).await.expect("the stale value"), Fragile(1));
    assert_eq!(fetch(2).await.expect("nobody tries again"), Fragile(1));
    time.advance(RETRY_AFTER);
    assert_eq!(fetch(2).await.expect("the lease has ended"), Fragile(2));
}

#[tokio::test]
async fn deleted_value_is_missing_and_not_stale() {
    let (time, cache) = stale_cache().await;
    cache.delete("k").await.expect("locmem does not fail");
    let mut caller = Caller::start(&cache).await;
    advance(&time, SOFT).await;
    caller.answer(Answer::Error("down")).await;
    assert!(matches!(caller.result().await, Err(FetchError::Produce(_))));
}

#[tokio::test]
async fn cleared_value_is_missing_and_not_stale() {
    let (_time, cache) = stale_cache().await;
    cache.clear().await.expect("locmem does not fail");
    let mut caller = Caller::start(&cache).await;
    caller.answer(Answer::Error("down")).await;
    assert!(matches!(caller.result().await, Err(FetchError::Produce(_))));
}
