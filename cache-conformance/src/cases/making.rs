//! `get_or_set`.

use std::sync::Arc;

use cache_core::{Timeout, Ttl};
use tokio::{sync::Barrier, task::JoinSet};

use crate::Harness;

pub(super) async fn get_or_set_stores_what_was_missing(h: Harness) {
    let cache = h.cache().await;
    let made: String =
        cache.get_or_set("k", Timeout::secs(1000), async || "made".into()).await.unwrap();
    assert_eq!(made, "made");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("made"));
    let Some(Ttl::Left(left)) = cache.ttl("k").await.unwrap() else { panic!("it expires") };
    assert!((900..=1000).contains(&left.as_secs()), "{left:?}");
}

pub(super) async fn get_or_set_of_a_hit_produces_nothing(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "stored", Timeout::Default).await.unwrap();
    let found: String =
        cache.get_or_set("k", Timeout::Default, async || panic!("not asked for")).await.unwrap();
    assert_eq!(found, "stored");
}

pub(super) async fn get_or_set_takes_a_stored_none_for_a_hit(h: Harness) {
    let cache = h.cache().await;
    let made: Option<u32> = cache.get_or_set("k", Timeout::Default, async || None).await.unwrap();
    assert_eq!(made, None);
    let found: Option<u32> =
        cache.get_or_set("k", Timeout::Default, async || panic!("not asked for")).await.unwrap();
    assert_eq!(found, None);
}

pub(super) async fn what_somebody_else_stored_meanwhile_wins(h: Harness) {
    let cache = h.cache().await;
    let made: String = cache
        .get_or_set("k", Timeout::Default, async || {
            cache.set("k", "theirs", Timeout::Default).await.unwrap();
            "mine".into()
        })
        .await
        .unwrap();
    assert_eq!(made, "theirs");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("theirs"));
}

pub(super) async fn a_producer_that_fails_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    let failed =
        cache.try_get_or_set("k", Timeout::Default, async || Err::<String, _>(7)).await.unwrap();
    assert_eq!(failed, Err(7));
    assert!(!cache.contains("k").await.unwrap());

    let made = cache
        .try_get_or_set("k", Timeout::Default, async || Ok::<_, u8>("made".to_owned()))
        .await
        .unwrap();
    assert_eq!(made, Ok("made".to_owned()));
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("made"));
}

pub(super) async fn get_or_set_with_timeout_zero_answers_and_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    let made: u32 = cache.get_or_set("k", Timeout::EXPIRED, async || 7).await.unwrap();
    assert_eq!(made, 7);
    assert!(!cache.contains("k").await.unwrap());
}

pub(super) async fn get_or_set_replaces_an_entry_of_another_type(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "no number", Timeout::Default).await.unwrap();
    let made: u32 = cache.get_or_set("k", Timeout::Default, async || 7).await.unwrap();
    assert_eq!(made, 7);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7));
}

pub(super) async fn all_who_miss_at_once_end_with_one_value(h: Harness) {
    let cache = h.cache().await;
    let all_missed = Arc::new(Barrier::new(8));
    let mut running = JoinSet::new();
    for number in 0..8_u32 {
        let (cache, all_missed) = (cache.clone(), Arc::clone(&all_missed));
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

pub(super) async fn an_object_is_made_once_and_shared(h: Harness) {
    let cache = h.cache().await;
    let made =
        cache.get_or_set_shared("k", Timeout::Default, async || "made".to_owned()).await.unwrap();
    let found = cache
        .get_or_set_shared("k", Timeout::Default, async || panic!("not asked for"))
        .await
        .unwrap();
    assert_eq!(made, found);
    assert_eq!(Arc::ptr_eq(&made, &found), cache.store().keeps_objects());

    cache.set("other", "theirs", Timeout::Default).await.unwrap();
    let replaced = cache.get_or_set_shared("other", Timeout::Default, async || 7).await.unwrap();
    assert_eq!(*replaced, 7);
    assert_eq!(cache.get::<u8>("other").await.unwrap(), Some(7));
}
