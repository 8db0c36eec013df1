//! Clocks that disagree by an hour: only freshness depends on them.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Two processes with clocks of their own, on a store with a third one.
struct Processes {
    store_time: ManualClock,
    one: (ManualClock, CacheHandle),
    two: (ManualClock, CacheHandle),
}

impl Processes {
    fn new() -> Self {
        let store_time = ManualClock::new();
        let store = locmem(&store_time);
        let process = || {
            let time = ManualClock::new();
            let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
            (time.clone(), cache.with_clock(time.clock()))
        };
        Self { one: process(), two: process(), store_time }
    }
}

#[tokio::test]
async fn value_is_stale_but_not_missing_if_the_clock_of_the_reader_jumps_ahead() {
    let Processes { one, two, .. } = Processes::new();
    store(&one.1, "old").await;
    two.0.advance(HOUR);
    let mut caller = Caller::start(&two.1).await;
    assert!(caller.has_begun());
    caller.answer(Answer::Error("down")).await;
    assert_eq!(caller.value().await, "old");
}

#[tokio::test]
async fn value_of_a_clock_that_is_ahead_is_fresh_and_ends_with_the_store() {
    let Processes { one, two, store_time } = Processes::new();
    one.0.advance(HOUR);
    store(&one.1, "old").await;
    assert_eq!(cached(&two.1).await.as_deref(), Some("old"));
    store_time.advance(TTL + STALE_FOR);
    two.0.advance(TTL + STALE_FOR);
    let caller = Caller::start(&two.1).await;
    advance(&two.0, SOFT).await;
    assert!(caller.has_begun() && caller.is_waiting(), "it is missing");
}

#[tokio::test]
async fn jump_of_the_clock_ends_no_call_without_a_result() {
    let (time, cache) = stale_cache().await;
    let mut caller = Caller::start(&cache).await;
    let missing = Caller::start(&cache).await;
    advance(&time, HOUR / 2).await;
    assert_eq!(missing.value().await, "old");
    caller.answer(Answer::Value("late")).await;
    assert_eq!(caller.value().await, "old");
}
