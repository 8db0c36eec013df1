//! `get_or_set` and its variants.

use std::{sync::Arc, time::Duration};

use cache_core::{CacheHandle, ManualClock, Settings, Share, Timeout, Ttl};
use tokio::{
    sync::{Barrier, Notify},
    task::JoinSet,
};

use super::pass_a_pause;
use crate::Harness;

pub(super) async fn get_or_set_stores_on_a_miss(h: Harness) {
    let cache = h.cache().await;
    let produced: String =
        cache.get_or_set("k", Timeout::secs(1000), async || "produced".into()).await.unwrap();
    assert_eq!(produced, "produced");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("produced"));
    let Some(Ttl::Left(left)) = cache.ttl("k").await.unwrap() else {
        panic!("the entry has a deadline")
    };
    assert!((900..=1000).contains(&left.as_secs()), "{left:?}");
}

pub(super) async fn get_or_set_does_not_produce_on_a_hit(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "stored", Timeout::Default).await.unwrap();
    let found: String = cache
        .get_or_set("k", Timeout::Default, async || panic!("the producer must not run"))
        .await
        .unwrap();
    assert_eq!(found, "stored");
}

pub(super) async fn get_or_set_treats_a_stored_none_as_a_hit(h: Harness) {
    let cache = h.cache().await;
    let produced: Option<u32> =
        cache.get_or_set("k", Timeout::Default, async || None).await.unwrap();
    assert_eq!(produced, None);
    let found: Option<u32> = cache
        .get_or_set("k", Timeout::Default, async || panic!("the producer must not run"))
        .await
        .unwrap();
    assert_eq!(found, None);
}

pub(super) async fn get_or_set_returns_a_concurrently_stored_value(h: Harness) {
    let cache = h.cache().await;
    let produced: String = cache
        .get_or_set("k", Timeout::Default, async || {
            cache.set("k", "other", Timeout::Default).await.unwrap();
            "own".into()
        })
        .await
        .unwrap();
    assert_eq!(produced, "other");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("other"));
}

pub(super) async fn failed_producer_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    let failed =
        cache.try_get_or_set("k", Timeout::Default, async || Err::<String, _>(7)).await.unwrap();
    assert_eq!(failed, Err(7));
    assert!(!cache.contains("k").await.unwrap());

    let produced = cache
        .try_get_or_set("k", Timeout::Default, async || Ok::<_, u8>("produced".to_owned()))
        .await
        .unwrap();
    assert_eq!(produced, Ok("produced".to_owned()));
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("produced"));
}

pub(super) async fn get_or_set_with_timeout_zero_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    let produced: u32 = cache.get_or_set("k", Timeout::EXPIRED, async || 7).await.unwrap();
    assert_eq!(produced, 7);
    assert!(!cache.contains("k").await.unwrap());
}

pub(super) async fn get_or_set_replaces_an_entry_of_another_type(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "not a number", Timeout::Default).await.unwrap();
    let produced: u32 = cache.get_or_set("k", Timeout::Default, async || 7).await.unwrap();
    assert_eq!(produced, 7);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7));
}

pub(super) async fn concurrent_misses_return_one_value(h: Harness) {
    let cache = h.cache().await;
    let all_begin = Arc::new(Barrier::new(8));
    let mut running = JoinSet::new();
    for number in 0..8_u32 {
        // A handle of its own, like that of another process: callers of one handle wait for each
        // other.
        let cache = cache.with_store(Arc::clone(cache.store()));
        let all_begin = Arc::clone(&all_begin);
        running.spawn(async move {
            all_begin.wait().await;
            cache.get_or_set("k", Timeout::Default, async || number).await.unwrap()
        });
    }
    let stored = running.join_all().await;
    assert!(stored.iter().all(|number| *number == stored[0]), "{stored:?}");
}

/// Creates the handles of two processes, or of one if the store has no leases.
async fn handles(h: &Harness) -> (CacheHandle, CacheHandle) {
    let (one, other) = h.clients().await;
    let has_leases = one.leases().is_some();
    let one = CacheHandle::new("conformance", one, Settings::default());
    let other = match has_leases {
        true => CacheHandle::new("conformance", other, Settings::default()),
        false => one.clone(),
    };
    (one, other)
}

pub(super) async fn value_produced_before_a_set_is_not_stored(h: Harness) {
    let (one, other) = handles(&h).await;
    let produce = async || {
        other.set("k", "newer", Timeout::Default).await.unwrap();
        "late".to_owned()
    };
    assert_eq!(one.get_or_set("k", Timeout::Default, produce).await.unwrap(), "newer");
    assert_eq!(other.get::<String>("k").await.unwrap().as_deref(), Some("newer"));
}

pub(super) async fn value_produced_before_a_delete_is_not_stored(h: Harness) {
    let (one, other) = handles(&h).await;
    let produce = async || {
        other.delete("k").await.unwrap();
        "late".to_owned()
    };
    assert_eq!(one.get_or_set("k", Timeout::Default, produce).await.unwrap(), "late");
    assert!(!other.contains("k").await.unwrap());
}

pub(super) async fn value_produced_before_a_clear_is_not_stored(h: Harness) {
    let (one, other) = handles(&h).await;
    let produce = async || {
        other.clear().await.unwrap();
        "late".to_owned()
    };
    assert_eq!(one.get_or_set("k", Timeout::Default, produce).await.unwrap(), "late");
    assert!(!other.contains("k").await.unwrap());
}

pub(super) async fn value_produced_before_an_incr_is_not_stored(h: Harness) {
    let (one, other) = handles(&h).await;
    let produce = async || {
        other.add("k", &7, Timeout::Default).await.unwrap();
        other.incr("k", 1).await.unwrap();
        1
    };
    assert_eq!(one.get_or_set("k", Timeout::Default, produce).await.unwrap(), 8);
    assert_eq!(other.get::<i64>("k").await.unwrap(), Some(8));
}

pub(super) async fn caller_of_another_process_waits_for_the_value(h: Harness) {
    const PATIENCE: Duration = Duration::from_secs(365 * 86400);
    let (one, mut other) = handles(&h).await;
    let time = ManualClock::new();
    if other.store().leases().is_some() {
        let settings = Settings { patience: PATIENCE, ..Settings::default() };
        let store = Arc::clone(other.store());
        other = CacheHandle::new("conformance", store, settings).with_clock(time.clock());
    }
    let (produces, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, end) = (Arc::clone(&produces), Arc::clone(&may_end));
    let first = tokio::spawn(async move {
        let produce = async || {
            begun.notify_one();
            end.notified().await;
            "first".to_owned()
        };
        one.get_or_set("k", Timeout::Default, produce).await
    });
    produces.notified().await;
    let second = tokio::spawn(async move {
        let produce = async || -> String { panic!("it waits for the first") };
        other.get_or_set("k", Timeout::Default, produce).await
    });
    for _ in 0..20 {
        pass_a_pause(&time).await;
    }
    assert!(!second.is_finished());
    may_end.notify_one();
    while !second.is_finished() {
        pass_a_pause(&time).await;
    }
    let results = (first.await.expect("no panic"), second.await.expect("no panic"));
    assert_eq!((results.0.unwrap(), results.1.unwrap()), ("first".to_owned(), "first".to_owned()));
}

pub(super) async fn failed_producer_lets_another_process_produce(h: Harness) {
    let (one, other) = handles(&h).await;
    let failed = one.try_get_or_set("k", Timeout::Default, async || Err::<u8, _>("down")).await;
    assert_eq!(failed.unwrap(), Err("down"));
    assert_eq!(other.get_or_set("k", Timeout::Default, async || 7).await.unwrap(), 7);
    assert_eq!(one.get::<u8>("k").await.unwrap(), Some(7));
}

pub(super) async fn leases_of_this_process_protect_its_values(h: Harness) {
    let settings = Settings { share: Share::Process, ..Settings::default() };
    let cache = h.cache_with(settings).await;
    let produce = async || {
        cache.delete("k").await.unwrap();
        "late".to_owned()
    };
    assert_eq!(cache.get_or_set("k", Timeout::Default, produce).await.unwrap(), "late");
    assert!(!cache.contains("k").await.unwrap());
    assert_eq!(cache.get_or_set("k", Timeout::Default, async || 7).await.unwrap(), 7);
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(7));
}

pub(super) async fn get_or_set_shared_produces_once(h: Harness) {
    let cache = h.cache().await;
    let produced = cache
        .get_or_set_shared("k", Timeout::Default, async || "produced".to_owned())
        .await
        .unwrap();
    let found = cache
        .get_or_set_shared("k", Timeout::Default, async || panic!("the producer must not run"))
        .await
        .unwrap();
    assert_eq!(produced, found);
    assert_eq!(Arc::ptr_eq(&produced, &found), cache.store().keeps_objects());

    cache.set("other", "other", Timeout::Default).await.unwrap();
    let replaced = cache.get_or_set_shared("other", Timeout::Default, async || 7).await.unwrap();
    assert_eq!(*replaced, 7);
    assert_eq!(cache.get::<u8>("other").await.unwrap(), Some(7));
}
