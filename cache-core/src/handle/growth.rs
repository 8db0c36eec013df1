//! What many keys leave behind: nothing that grows with their number.

use std::{
    future::pending,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use super::step_store::StepStore;
use crate::{CacheHandle, ManualClock, Settings, Share, Timeout};

const KEYS: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);
/// At most twice the leases that are held at a time, and 16. Callers hold them for 30 seconds.
const FEW: usize = 2 * 31 + 16;

/// Handles with leases of the store, and within this process with and without a record.
fn caches() -> [(ManualClock, CacheHandle); 3] {
    [(true, Share::Store), (false, Share::Store), (false, Share::Process)].map(create)
}

fn create((has_leases, share): (bool, Share)) -> (ManualClock, CacheHandle) {
    let time = ManualClock::new();
    let store = match has_leases {
        true => StepStore::with_leases(time.clock()),
        false => StepStore::without_leases(time.clock()),
    };
    let settings = Settings { share, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::new(store), settings).with_clock(time.clock());
    (time, cache)
}

#[track_caller]
fn assert_at_most(leases: usize, time: &ManualClock, cache: &CacheHandle) {
    let view = &cache.view;
    assert_eq!(view.fills.in_flight(), 0);
    assert!(!view.epochs.has_any(), "an epoch is left");
    let (held, local) = (view.held_leases.len(), view.local_leases.len());
    assert!(held <= leases && local <= leases, "{held} and {local} leases");
    time.with_alarms(|alarms, _| assert!(alarms.is_empty(), "an alarm is left"));
}

#[tokio::test]
async fn producers_that_fail_leave_nothing() {
    for (time, cache) in caches() {
        for number in 0..KEYS {
            let (key, fail) = (number.to_string(), async || Err::<u8, _>("down"));
            let failed = cache.try_get_or_set(&key, Timeout::Default, fail).await;
            assert_eq!(failed.expect("the store does not fail"), Err("down"));
        }
        assert_at_most(0, &time, &cache);
    }
}

#[test]
fn callers_that_are_dropped_leave_only_leases_that_have_not_ended() {
    for (time, cache) in caches() {
        for number in 0..KEYS {
            let key = number.to_string();
            let mut call = pin!(cache.get_or_set(&key, Timeout::Default, pending::<u8>));
            for _ in 0..=number % 12 {
                let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
            }
            time.advance(SECOND);
        }
        assert_at_most(FEW, &time, &cache);
    }
}

#[cfg(feature = "fetch")]
#[tokio::test]
async fn refreshes_that_fail_leave_only_keys_that_are_not_tried_again() {
    for (time, cache) in caches() {
        // A tenth, because each key takes two tasks.
        for number in 0..KEYS / 10 {
            let key = number.to_string();
            let fetch = |result| {
                let fetch = cache.try_fetch(&key, async move |_| result).ttl(SECOND).jitter(0.0);
                fetch.stale_for(60 * SECOND).retry_after(SECOND)
            };
            assert_eq!(fetch(Ok::<_, &str>(7)).await.expect("produced"), 7);
            time.advance(SECOND);
            assert_eq!(fetch(Err("down")).await.expect("the stale value"), 7);
        }
        cache.finish_tasks(60 * SECOND).await;
        let [flights, tasks, throttled] = cache.view.fetches.counts();
        assert_eq!((flights, tasks), (0, 0));
        assert!(throttled <= FEW, "{throttled} throttled keys");
        assert_at_most(FEW, &time, &cache);
    }
}
