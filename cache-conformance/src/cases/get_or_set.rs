//! `get_or_set` and its variants.

use std::sync::Arc;

use cache_core::{Timeout, Ttl};
use tokio::{sync::Barrier, task::JoinSet};

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
    let all_missed = Arc::new(Barrier::new(8));
    let mut running = JoinSet::new();
    for number in 0..8_u32 {
        // A handle of its own, like that of another process: callers of one handle wait for each
        // other.
        let cache = cache.with_store(Arc::clone(cache.store()));
        let all_missed = Arc::clone(&all_missed);
        running.spawn(async move {
            let produce = async || {
                all_missed.wait().await;
                number
            };
            cache.get_or_set("k", Timeout::Default, produce).await.unwrap()
        });
    }
    let stored = running.join_all().await;
    assert!(stored.iter().all(|number| *number == stored[0]), "{stored:?}");
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
