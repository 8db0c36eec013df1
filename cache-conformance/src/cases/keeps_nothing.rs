//! The behaviour of a store that keeps nothing.

use std::{sync::Arc, time::Duration};

use cache_core::{Acquired, Ask, ErrorKind, Timeout, Value};

use crate::Harness;

pub(super) async fn every_read_misses(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(cache.get_shared::<String>("k").await.unwrap(), None);
    assert!(cache.get_many::<String, _>(["k"]).await.unwrap().is_empty());
    assert!(!cache.contains("k").await.unwrap());
    assert_eq!(cache.ttl("k").await.unwrap(), None);
    assert_eq!(cache.get_and_touch::<String>("k", Timeout::Default).await.unwrap(), None);
}

pub(super) async fn every_write_succeeds(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Never).await.unwrap();
    cache.set_shared("k", &Arc::new(String::from("v")), Timeout::Never).await.unwrap();
    assert!(cache.add("k", "v", Timeout::Never).await.unwrap());
    assert!(cache.add("k", "v", Timeout::Never).await.unwrap(), "again");
    assert!(cache.set_many([("k", "v")], Timeout::Never).await.unwrap().is_empty());
    assert_eq!(cache.incr_or_set("k", 1, 5, Timeout::Never).await.unwrap(), 5);
    assert_eq!(cache.incr_or_set("k", 1, 5, Timeout::Never).await.unwrap(), 5, "again");
    cache.clear().await.unwrap();
    cache.close().await.unwrap();
}

pub(super) async fn no_entry_can_be_changed(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &1, Timeout::Never).await.unwrap();
    assert!(!cache.touch("k", Timeout::Never).await.unwrap());
    assert!(!cache.delete("k").await.unwrap());
    assert_eq!(cache.delete_many(["k"]).await.unwrap(), 0);
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(cache.incr_version("k", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(super) async fn get_or_set_produces_every_time(h: Harness) {
    let cache = h.cache().await;
    for expected in 1..3 {
        let produced: u32 = cache.get_or_set("k", Timeout::Never, async || expected).await.unwrap();
        assert_eq!(produced, expected);
    }
}

/// Otherwise callers would wait for each other in vain.
pub(super) async fn every_lease_is_granted(h: Harness) {
    const HOLD: Duration = Duration::from_secs(60);
    let store = h.store().await;
    let Some(leases) = store.leases() else {
        assert!(!h.has_leases().await, "the wrapper loses the leases of the store");
        return;
    };
    for ask in [Ask::Missing, Ask::Any { side: "side" }, Ask::Missing] {
        let Acquired { value, lease } = leases.acquire("k", ask, HOLD).await.unwrap();
        assert_eq!(value, None);
        let filled = leases.fill("k", lease.expect("it is granted"), Value::Int(1), None).await;
        assert!(filled.unwrap());
        let Acquired { value, lease } = leases.acquire("k", ask, HOLD).await.unwrap();
        assert_eq!(value, None);
        leases.release("k", lease.expect("it is granted again"), HOLD).await.unwrap();
    }
}

pub(super) async fn every_lock_is_granted(h: Harness) {
    const HOLD: Duration = Duration::from_secs(60);
    let cache = h.cache().await;
    let guards = [
        cache.lock("report").hold(HOLD).await.unwrap(),
        cache.lock("report").hold(HOLD).await.unwrap(),
    ];
    for guard in guards {
        guard.expect("it is granted").release().await.unwrap();
    }
    let add = |old: Option<i32>| old.unwrap_or(0) + 1;
    for _ in 0..2 {
        assert_eq!(cache.update("k", Timeout::Default, add).await.unwrap(), 1);
    }
}
