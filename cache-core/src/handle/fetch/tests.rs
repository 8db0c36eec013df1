//! Random cancellations, on a store whose calls of different tasks interleave.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::task::{JoinHandle, yield_now};

use super::Fill;
use crate::{CacheHandle, ManualClock, Settings, handle::step_store::StepStore};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TTL: Duration = Duration::from_millis(100);

/// How a producer ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Private,
    FailedWith,
    Error,
    Panic,
}

const ENDS: [End; 8] = [
    End::Value,
    End::Value,
    End::Value,
    End::Value,
    End::Private,
    End::FailedWith,
    End::Error,
    End::Panic,
];

async fn yield_times(count: u8) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Starts a call whose producer yields for a while.
fn start(cache: &CacheHandle, key: &'static str, end: End, yields: u8) -> JoinHandle<()> {
    let cache = cache.clone();
    let produce = move |fill: Fill| async move {
        yield_times(yields).await;
        match end {
            End::Value => {}
            End::Private => fill.do_not_store(),
            End::FailedWith => fill.failed_with(()),
            End::Error => return Err("down"),
            End::Panic => resume_unwind(Box::new("the test wants a panic")),
        }
        Ok(7_u8)
    };
    tokio::spawn(async move {
        let fetch = cache.try_fetch(key, produce).ttl(TTL).stale_for(TTL).retry_after(TTL / 4);
        if let Ok(value) = fetch.soft_timeout(TTL / 8).hard_timeout(TTL).await {
            assert_eq!(value, 7);
        }
    })
}

#[tokio::test]
async fn ten_thousand_cancelled_calls_leave_no_flight_no_task_and_no_lease() {
    let time = ManualClock::new();
    let store = Arc::new(StepStore::with_leases(time.clock()));
    let cache = CacheHandle::new("default", store, Settings::default()).with_clock(time.clock());
    let mut random = fastrand::Rng::with_seed(7);
    let mut calls = Vec::new();
    for _ in 0..20_000 {
        let (key, end) = (KEYS[random.usize(..KEYS.len())], ENDS[random.usize(..ENDS.len())]);
        calls.push(start(&cache, key, end, random.u8(..16)));
        yield_times(random.u8(..4)).await;
        if random.bool() {
            calls.swap_remove(random.usize(..calls.len())).abort();
        }
        if random.u8(..4) == 0 {
            time.advance(Duration::from_millis(random.u64(..20)));
        }
        if random.u8(..16) == 0 {
            cache.delete(key).await.expect("the store does not fail");
        }
    }
    let fetches = &cache.view.fetches;
    while calls.iter().any(|call| !call.is_finished()) || fetches.tasks.count() > 0 {
        time.advance(TTL);
        yield_now().await;
    }
    for call in calls {
        if let Err(error) = call.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
    assert_eq!(fetches.flights.in_flight(), 0);
    assert_eq!(cache.view.held_leases.len(), 0);
    time.with_alarms(|alarms, _| assert!(alarms.is_empty(), "an alarm is left"));
}
