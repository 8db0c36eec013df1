//! Faults of the store between the lookup and the end of a fill.
//!
//! The caller gets its value, nothing older replaces something newer, and the next caller of the
//! process can store at once: no time passes unless the test advances it.

use cache_testing::{Chaos, Fault, Verb};
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// A process whose calls of the store can fail, and another one.
struct Setup {
    time: ManualClock,
    chaos: Chaos,
    cache: CacheHandle,
    other: CacheHandle,
}

impl Setup {
    fn new() -> Self {
        let time = ManualClock::new();
        let store = locmem(&time);
        let chaos = Chaos::new(Arc::clone(&store));
        let faulty: Arc<dyn Cache> = Arc::new(chaos.clone());
        let (cache, other) = (process(&faulty, &time), process(&store, &time));
        Self { time, chaos, cache, other }
    }

    /// Checks that the next callers of the key `k`, which is absent, produce and store at once.
    async fn assert_next_callers_store(&self) {
        self.chaos.heal();
        for (value, verb) in [(101, Producing::GetOrSet), (102, Producing::Fetch)] {
            let produced = verb.produce(&self.cache, value).await;
            assert_eq!(produced.expect("produced"), value);
            assert_eq!(cached(&self.other).await, Some(value));
            self.other.delete("k").await.expect("the store works");
        }
    }

    /// Runs `call` in a task, until it waits.
    async fn start(&self, verb: Producing, value: i64) -> JoinHandle<Result<i64>> {
        let cache = self.cache.clone();
        let call = tokio::spawn(async move { verb.produce(&cache, value).await });
        settle().await;
        call
    }
}

/// Lets all tasks run until they wait. The store replies at once, or never.
async fn settle() {
    for _ in 0..32 {
        yield_now().await;
    }
}

fn unavailable() -> Fault {
    Fault::error(ErrorKind::Unavailable)
}

#[tokio::test]
async fn value_is_returned_and_not_stored_if_the_fill_fails() {
    for verb in Producing::ALL {
        let setup = Setup::new();
        setup.chaos.inject(unavailable().on(Verb::Fill).times(1));
        assert_eq!(verb.produce(&setup.cache, 1).await.expect("produced"), 1);
        assert_eq!(cached(&setup.other).await, None, "{verb:?}");
        setup.assert_next_callers_store().await;
    }
}

#[tokio::test]
async fn value_is_returned_and_stored_if_the_reply_to_the_fill_is_lost() {
    for verb in Producing::ALL {
        let setup = Setup::new();
        setup.chaos.inject(Fault::lost_reply().on(Verb::Fill).times(1));
        assert_eq!(verb.produce(&setup.cache, 1).await.expect("produced"), 1);
        assert_eq!(cached(&setup.other).await, Some(1), "{verb:?}");
        setup.other.delete("k").await.expect("the store works");
        setup.assert_next_callers_store().await;
    }
}

#[tokio::test]
async fn value_is_returned_and_not_stored_if_the_lease_is_not_granted_because_of_a_fault() {
    for fault in [unavailable, Fault::lost_reply] {
        for verb in Producing::ALL {
            let setup = Setup::new();
            setup.chaos.inject(fault().on(Verb::Acquire).times(1));
            assert_eq!(verb.produce(&setup.cache, 1).await.expect("produced"), 1);
            assert_eq!(cached(&setup.other).await, None, "{verb:?}");
            setup.assert_next_callers_store().await;
        }
    }
}

#[tokio::test]
async fn error_of_a_producer_is_returned_if_its_lease_cannot_be_released() {
    for fault in [unavailable, Fault::lost_reply] {
        let setup = Setup::new();
        setup.chaos.inject(fault().on(Verb::Release).times(2));
        let failed = setup.cache.try_get_or_set("k", TTL, async || Err::<i64, _>("down")).await;
        assert_eq!(failed.expect("no error of the cache"), Err("down"));
        let failed = setup.cache.try_fetch("k", async |_| Err::<i64, _>("down")).await;
        assert!(matches!(failed, Err(FetchError::Produce(_))), "{failed:?}");
        setup.assert_next_callers_store().await;
    }
}

/// The write may happen before the fill or between the fill and its reply.
#[tokio::test]
async fn newer_value_of_another_process_stays_whatever_happens_to_the_fill() {
    for fault in [unavailable, Fault::lost_reply] {
        for verb in Producing::ALL {
            let setup = Setup::new();
            setup.chaos.inject(fault().on(Verb::Fill).times(1));
            let writer = setup.other.clone();
            let write = async move || writer.set("k", &2_i64, TTL).await.expect("stored");
            let produced = verb.call(&setup.cache, 1, write).await;
            assert_eq!(produced.expect("produced"), 1);
            assert_eq!(cached(&setup.other).await, Some(2), "{verb:?}");
            let found = verb.produce(&setup.cache, 3).await;
            assert_eq!(found.expect("a hit"), 2);
        }
    }
}

#[tokio::test]
async fn deleted_value_stays_deleted_whatever_happens_to_the_fill() {
    for fault in [unavailable, Fault::lost_reply] {
        for verb in Producing::ALL {
            let setup = Setup::new();
            setup.chaos.inject(fault().on(Verb::Fill).times(1));
            let writer = setup.other.clone();
            let delete = async move || {
                writer.delete("k").await.expect("the store works");
            };
            let produced = verb.call(&setup.cache, 1, delete).await;
            assert_eq!(produced.expect("produced"), 1);
            assert_eq!(cached(&setup.other).await, None, "{verb:?}");
            setup.assert_next_callers_store().await;
        }
    }
}

/// The store itself ends a call that takes too long. This is what happens until then.
#[tokio::test]
async fn waiters_of_a_fill_that_hangs_produce_after_the_patience() {
    let setup = Setup::new();
    setup.chaos.inject(Fault::hang().on(Verb::Fill).times(1));
    let hanging = setup.start(Producing::GetOrSet, 1).await;
    let waiting = setup.start(Producing::GetOrSet, 2).await;
    // One patience for the caller that hangs, and one for its lease.
    for _ in 0..2 {
        assert!(!hanging.is_finished() && !waiting.is_finished());
        setup.time.advance(PATIENCE);
        settle().await;
    }
    assert!(waiting.is_finished());
    assert_eq!(waiting.await.expect("no panic").expect("produced"), 2);
    assert_eq!(cached(&setup.other).await, None, "the lease may still be used");
    hanging.abort();
    settle().await;
    setup.assert_next_callers_store().await;
}

#[tokio::test]
async fn lookup_or_lease_that_hangs_keeps_nobody_out_once_its_caller_is_dropped() {
    for hanging in [Verb::Get, Verb::Acquire] {
        let setup = Setup::new();
        setup.chaos.inject(Fault::hang().on(hanging).times(1));
        let call = setup.start(Producing::GetOrSet, 1).await;
        assert!(!call.is_finished());
        call.abort();
        settle().await;
        setup.assert_next_callers_store().await;
    }
}

#[tokio::test]
async fn fetch_returns_its_value_after_the_hard_timeout_if_storing_it_hangs() {
    const HARD: Duration = Duration::from_secs(10);
    let setup = Setup::new();
    setup.chaos.inject(Fault::hang().on(Verb::Fill).times(1));
    let cache = setup.cache.clone();
    let call =
        tokio::spawn(
            async move { cache.fetch("k", async |_| 1_i64).ttl(TTL).hard_timeout(HARD).await },
        );
    settle().await;
    assert!(!call.is_finished());
    setup.time.advance(HARD);
    settle().await;
    assert!(call.is_finished());
    assert_eq!(call.await.expect("no panic").expect("it was produced"), 1);
    assert_eq!(setup.cache.finish_tasks(Duration::ZERO).await, 1);
    settle().await;
    setup.assert_next_callers_store().await;
}

#[tokio::test]
async fn fetch_returns_its_value_instead_of_a_stale_one_if_storing_it_hangs() {
    const SOFT: Duration = Duration::from_millis(100);
    let setup = Setup::new();
    let fetch = async |cache: CacheHandle, value: i64| {
        let fetch = cache.fetch("k", async move |_| value).ttl(TTL).jitter(0.0);
        fetch.stale_for(TTL).soft_timeout(SOFT).await.expect("a value")
    };
    assert_eq!(fetch(setup.cache.clone(), 1).await, 1);
    setup.time.advance(TTL);
    setup.chaos.inject(Fault::hang().on(Verb::Fill).times(1));
    let call = tokio::spawn(fetch(setup.cache.clone(), 2));
    settle().await;
    assert!(!call.is_finished());
    setup.time.advance(SOFT);
    settle().await;
    assert_eq!(call.await.expect("no panic"), 2);
}

#[tokio::test]
async fn other_processes_wait_for_a_lost_lease_until_their_patience_has_passed() {
    for verb in Producing::ALL {
        let setup = Setup::new();
        setup.chaos.inject(Fault::lost_reply().on(Verb::Acquire).times(1));
        assert_eq!(verb.produce(&setup.cache, 1).await.expect("produced"), 1);
        let other = setup.other.clone();
        let call = tokio::spawn(async move { verb.produce(&other, 2).await });
        settle().await;
        assert!(!call.is_finished(), "{verb:?}");
        setup.time.advance(PATIENCE);
        settle().await;
        assert_eq!(call.await.expect("no panic").expect("produced"), 2);
        assert_eq!(cached(&setup.other).await, None);
    }
}
