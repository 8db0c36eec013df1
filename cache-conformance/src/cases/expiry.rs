//! Times to live.

use std::time::Duration;

use cache_core::{Ttl, Value};

use super::{LONG, bytes, for_each};
use crate::Harness;

pub(super) async fn expired_entry_is_a_miss(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

/// Uses a long time to live with a real clock, which could otherwise pass the deadline meanwhile.
pub(super) async fn entry_is_a_hit_until_it_expires(h: Harness) {
    let store = h.store().await;
    let ttl = if h.has_manual_time() { 3 * h.moment() } else { Duration::from_secs(60) };
    store.set("k", bytes("v"), Some(ttl)).await.unwrap();
    h.pass(2 * h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
}

pub(super) async fn entry_without_ttl_never_expires(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), None).await.unwrap();
    let years =
        if h.has_manual_time() { Duration::from_secs(100 * 365 * 86400) } else { 2 * h.moment() };
    h.pass(years).await;
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
}

pub(super) async fn expired_entry_is_absent_for_every_operation(h: Harness) {
    let store = h.store().await;
    for key in ["get", "contains", "ttl", "touch", "read", "incr", "delete", "many", "now"] {
        store.set(key, Value::Int(1), Some(h.moment())).await.unwrap();
    }
    h.outlive(h.moment()).await;
    assert_eq!(store.get("get").await.unwrap(), None);
    assert!(!store.contains("contains").await.unwrap());
    assert_eq!(store.ttl("ttl").await.unwrap(), None);
    assert!(!store.touch("touch", LONG).await.unwrap());
    assert_eq!(store.get_and_touch("read", LONG).await.unwrap(), None);
    assert_eq!(store.incr("incr", 1).await.unwrap(), None);
    assert!(!store.delete("delete").await.unwrap());
    assert_eq!(store.get_many(&["many"]).await.unwrap(), [None]);
    assert_eq!(store.delete_many(&["many"]).await.unwrap(), 0);
    if let Some(result) = store.get_now("now") {
        assert_eq!(result.unwrap(), None);
    }
}

pub(super) async fn set_replaces_the_ttl(h: Harness) {
    let store = h.store().await;
    store.set("longer", bytes("old"), Some(h.moment())).await.unwrap();
    store.set("longer", bytes("new"), LONG).await.unwrap();
    store.set("shorter", bytes("old"), LONG).await.unwrap();
    store.set("shorter", bytes("new"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("longer").await.unwrap(), Some(bytes("new")));
    assert_eq!(store.get("shorter").await.unwrap(), None);
}

pub(super) async fn set_without_ttl_removes_the_expiry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("old"), Some(h.moment())).await.unwrap();
    store.set("k", bytes("new"), None).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("new")));
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn add_replaces_an_expired_entry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("old"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert!(store.add("k", bytes("new"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("new")));
}

pub(super) async fn added_entry_expires(h: Harness) {
    let store = h.store().await;
    store.add("k", bytes("v"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn touch_extends_the_ttl(h: Harness) {
    let store = h.store().await;
    let mut is_touched = false;
    for _ in 0..attempts(&h) {
        store.set("k", bytes("v"), Some(time_to_act(&h))).await.unwrap();
        is_touched = store.touch("k", LONG).await.unwrap();
        if is_touched {
            break;
        }
    }
    assert!(is_touched);
    h.outlive(time_to_act(&h)).await;
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
}

/// Returns a short time to live that usually suffices for two calls.
fn time_to_act(h: &Harness) -> Duration {
    if h.has_manual_time() { h.moment() } else { h.moment().max(Duration::from_secs(2)) }
}

/// Returns how often to set and touch an entry: on a busy machine, it may expire before it is
/// touched.
fn attempts(h: &Harness) -> usize {
    if h.has_manual_time() { 1 } else { 20 }
}

pub(super) async fn touch_shortens_the_ttl(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert!(store.touch("k", Some(h.moment())).await.unwrap());
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn touch_without_ttl_removes_the_expiry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert!(store.touch("k", None).await.unwrap());
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Never));
    assert!(store.touch("k", None).await.unwrap(), "the entry does not expire");
}

pub(super) async fn touch_sets_an_expiry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), None).await.unwrap();
    assert!(store.touch("k", Some(h.moment())).await.unwrap());
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn touch_keeps_the_value(h: Harness) {
    let store = h.store().await;
    for value in [bytes("v"), bytes(""), Value::Int(7)] {
        store.set("k", value.clone(), LONG).await.unwrap();
        store.touch("k", None).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}

pub(super) async fn touch_of_an_absent_key_returns_false(h: Harness) {
    let store = h.store().await;
    assert!(!store.touch("k", LONG).await.unwrap());
    assert!(!store.touch("k", None).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn touch_does_not_revive_an_expired_entry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert!(!store.touch("k", LONG).await.unwrap());
    assert!(!store.touch("k", None).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn ttl_returns_the_remaining_time(h: Harness) {
    let store = h.store().await;
    let ttl = Duration::from_secs(1000);
    store.set("k", bytes("v"), Some(ttl)).await.unwrap();
    store.set("never", bytes("v"), None).await.unwrap();
    h.pass(h.moment()).await;
    let Some(Ttl::Left(left)) = store.ttl("k").await.unwrap() else {
        panic!("the entry has a deadline")
    };
    assert!(left <= ttl, "{left:?} of {ttl:?} remain");
    assert!(left > ttl / 2, "{left:?} of {ttl:?} remain");
    if h.has_manual_time() {
        assert!(
            left.abs_diff(ttl - h.moment()) <= h.profile().expiry_granularity,
            "{left:?} of {ttl:?} remain"
        );
    }
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
    assert_eq!(store.ttl("missing").await.unwrap(), None);
}

/// memcached takes a time of more than 30 days for a date.
pub(super) async fn ttl_of_more_than_30_days_is_accepted(h: Harness) {
    let seconds = [30 * 86400, 30 * 86400 + 1, 60 * 86400];
    for_each(&h, seconds.map(Duration::from_secs), lives_for).await;
}

pub(super) async fn ttl_of_a_thousand_years_is_accepted(h: Harness) {
    for_each(&h, [Duration::from_secs(1000 * 366 * 86400), Duration::MAX], lives_for).await;
}

async fn lives_for(h: Harness, ttl: Duration) {
    let store = h.store().await;
    store.set("set", bytes("v"), Some(ttl)).await.unwrap();
    store.add("added", bytes("v"), Some(ttl)).await.unwrap();
    store.set("touched", bytes("v"), None).await.unwrap();
    store.touch("touched", Some(ttl)).await.unwrap();
    h.pass(h.moment()).await;
    for key in ["set", "added", "touched"] {
        assert_eq!(store.get(key).await.unwrap(), Some(bytes("v")), "{key} with {ttl:?}");
    }
}

pub(super) async fn get_and_touch_returns_the_value(h: Harness) {
    let store = h.store().await;
    for value in [bytes("v"), bytes(""), bytes("42"), Value::Int(42)] {
        for ttl in [LONG, None] {
            store.set("k", value.clone(), LONG).await.unwrap();
            assert_eq!(store.get_and_touch("k", ttl).await.unwrap(), Some(value.clone()));
            assert_eq!(store.get("k").await.unwrap(), Some(value.clone()), "it is kept");
        }
    }
}

pub(super) async fn get_and_touch_replaces_the_ttl(h: Harness) {
    let store = h.store().await;
    for (key, ttl) in [("longer", LONG), ("never", None)] {
        let mut is_touched = false;
        for _ in 0..attempts(&h) {
            store.set(key, bytes("v"), Some(time_to_act(&h))).await.unwrap();
            is_touched = store.get_and_touch(key, ttl).await.unwrap().is_some();
            if is_touched {
                break;
            }
        }
        assert!(is_touched, "{key}");
    }
    store.set("shorter", bytes("v"), LONG).await.unwrap();
    store.set("bounded", bytes("v"), None).await.unwrap();
    assert!(store.get_and_touch("shorter", Some(h.moment())).await.unwrap().is_some());
    assert!(store.get_and_touch("bounded", Some(h.moment())).await.unwrap().is_some());
    h.outlive(time_to_act(&h)).await;
    assert_eq!(store.get("longer").await.unwrap(), Some(bytes("v")));
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
    assert_eq!(store.get("shorter").await.unwrap(), None);
    assert_eq!(store.get("bounded").await.unwrap(), None);
}

pub(super) async fn get_and_touch_of_an_absent_key_is_a_miss(h: Harness) {
    let store = h.store().await;
    for ttl in [LONG, None] {
        assert_eq!(store.get_and_touch("k", ttl).await.unwrap(), None);
        assert!(!store.contains("k").await.unwrap());
    }
}

pub(super) async fn get_and_touch_does_not_revive_an_expired_entry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get_and_touch("k", LONG).await.unwrap(), None);
    assert_eq!(store.get("k").await.unwrap(), None);
}
