//! Locks and updates, by handles on two clients of one store.

use std::time::Duration;

use cache_core::{CacheHandle, LockGuard, ManualClock, Settings, Timeout, Ttl};
use tokio::task::JoinSet;

use super::pass_a_pause;
use crate::Harness;

/// A time that no case reaches.
const HOLD: Duration = Duration::from_secs(60);

/// Creates handles on two clients of an empty store.
async fn caches(h: &Harness) -> (CacheHandle, CacheHandle) {
    let (one, other) = h.clients().await;
    let cache = |store| CacheHandle::new("conformance", store, Settings::default());
    (cache(one), cache(other))
}

async fn hold(cache: &CacheHandle, time: Duration) -> Option<LockGuard> {
    cache.lock("report").hold(time).await.unwrap()
}

pub(super) async fn held_lock_excludes_all_other_callers(h: Harness) {
    let (one, other) = caches(&h).await;
    for time in [HOLD, Duration::MAX] {
        let guard = hold(&one, time).await.expect("nobody holds it");
        for cache in [&one, &other, &other.version(2)] {
            assert!(hold(cache, time).await.is_none(), "{time:?}");
        }
        assert!(other.lock("another").hold(time).await.unwrap().is_some());
        guard.release().await.unwrap();
    }
}

pub(super) async fn one_of_16_racers_gets_the_lock(h: Harness) {
    let (one, other) = caches(&h).await;
    for round in 0..5 {
        let mut racers = JoinSet::new();
        for racer in 0..16 {
            let lock = if racer % 2 == 0 { &one } else { &other }.lock(&format!("lock {round}"));
            racers.spawn(async move { lock.hold(HOLD).await.unwrap() });
        }
        let guards: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(guards.len(), 1, "round {round}");
    }
}

pub(super) async fn released_lock_is_free(h: Harness) {
    let (one, other) = caches(&h).await;
    for cache in [&one, &other, &one] {
        let guard = hold(cache, HOLD).await.expect("the last holder has released it");
        guard.release().await.unwrap();
    }
}

pub(super) async fn lock_ends_by_time(h: Harness) {
    let (one, other) = h.clients().await;
    let cache =
        |store| CacheHandle::new("conformance", store, Settings::default()).with_clock(h.clock());
    let (one, other) = (cache(one), cache(other));
    let late = hold(&one, h.moment()).await.expect("nobody holds it");
    h.outlive_lease(h.moment()).await;
    let _guard = hold(&other, HOLD).await.expect("the time of the first holder has ended");
    late.release().await.unwrap();
    assert!(hold(&one, HOLD).await.is_none(), "a late release frees no other holder's lock");
}

pub(super) async fn waiting_caller_gets_the_released_lock(h: Harness) {
    const WAIT: Duration = Duration::from_secs(365 * 86400);
    let (one, other) = caches(&h).await;
    let time = ManualClock::new();
    let other = other.with_clock(time.clock());
    let guard = hold(&one, HOLD).await.expect("nobody holds it");
    let waiting = tokio::spawn(async move { other.lock("report").wait(WAIT).hold(HOLD).await });
    for _ in 0..20 {
        pass_a_pause(&time).await;
    }
    assert!(!waiting.is_finished());
    guard.release().await.unwrap();
    while !waiting.is_finished() {
        pass_a_pause(&time).await;
    }
    assert!(waiting.await.expect("no panic").unwrap().is_some());
}

pub(super) async fn wait_for_a_held_lock_ends(h: Harness) {
    const WAIT: Duration = Duration::from_millis(300);
    let (one, other) = caches(&h).await;
    let time = ManualClock::new();
    let (other, start) = (other.with_clock(time.clock()), time.clock().now());
    let _guard = hold(&one, HOLD).await.expect("nobody holds it");
    let waiting = tokio::spawn(async move { other.lock("report").wait(WAIT).hold(HOLD).await });
    while !waiting.is_finished() {
        pass_a_pause(&time).await;
    }
    assert!(waiting.await.expect("no panic").unwrap().is_none());
    assert!(time.clock().now().since(start) >= WAIT);
}

pub(super) async fn dropped_guard_frees_the_lock_for_its_handle(h: Harness) {
    let (one, _) = caches(&h).await;
    for cache in [&one, &one.clone(), &one.version(2)] {
        drop(hold(cache, HOLD).await.expect("the last guard was dropped"));
    }
}

pub(super) async fn lock_and_entry_of_the_same_name_are_independent(h: Harness) {
    let (one, other) = caches(&h).await;
    let _guard = hold(&one, HOLD).await.expect("nobody holds it");
    assert_eq!(other.get::<i32>("report").await.unwrap(), None);
    assert!(other.add("report", &7, Timeout::Default).await.unwrap());
    assert!(other.delete("report").await.unwrap());
    assert!(hold(&other, HOLD).await.is_none(), "a write of the entry does not end the lock");
}

pub(super) async fn update_replaces_the_value(h: Harness) {
    let (one, other) = caches(&h).await;
    let add = |number: i32| move |old: Option<i32>| old.unwrap_or(100) + number;
    assert_eq!(one.update("k", Timeout::Default, add(1)).await.unwrap(), 101);
    assert_eq!(other.update("k", Timeout::Default, add(2)).await.unwrap(), 103);
    assert_eq!(one.get("k").await.unwrap(), Some(103));
    assert!(matches!(one.ttl("k").await.unwrap(), Some(Ttl::Left(_))));
    assert_eq!(one.update("k", Timeout::Never, add(0)).await.unwrap(), 103);
    assert_eq!(one.ttl("k").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn update_with_timeout_zero_deletes(h: Harness) {
    let (one, _) = caches(&h).await;
    one.set("k", &1, Timeout::Default).await.unwrap();
    for expected in [2, 1] {
        let add = |old: Option<i32>| old.unwrap_or(0) + 1;
        assert_eq!(one.update("k", Timeout::EXPIRED, add).await.unwrap(), expected);
        assert!(!one.contains("k").await.unwrap());
    }
}

pub(super) async fn concurrent_updates_are_not_lost(h: Harness) {
    let (one, other) = caches(&h).await;
    let mut tasks = JoinSet::new();
    for task in 0..8_u32 {
        let cache = if task % 2 == 0 { one.clone() } else { other.clone() };
        tasks.spawn(async move {
            for number in 0..50_u32 {
                let push = |old: Option<Vec<(u32, u32)>>| {
                    let mut all = old.unwrap_or_default();
                    all.push((task, number));
                    all
                };
                cache.update("k", Timeout::Default, push).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let mut all: Vec<(u32, u32)> = one.get("k").await.unwrap().expect("the entry exists");
    all.sort_unstable();
    assert!(all.into_iter().eq((0..8).flat_map(|task| (0..50).map(move |number| (task, number)))));
}

pub(super) async fn updates_racing_deletes_are_not_lost(h: Harness) {
    let (one, other) = caches(&h).await;
    let updates = tokio::spawn(async move {
        for number in 1..=50_u32 {
            let push = |old: Option<Vec<u32>>| {
                let mut all = old.unwrap_or_default();
                all.push(number);
                all
            };
            let all = one.update("k", Timeout::Default, push).await.unwrap();
            let first = number + 1 - u32::try_from(all.len()).expect("it is short");
            assert!(all.iter().copied().eq(first..=number), "an update was lost: {all:?}");
        }
    });
    while !updates.is_finished() {
        other.delete("k").await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    updates.await.expect("no assertion fails");
}
