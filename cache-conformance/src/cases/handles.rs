//! Timeouts, prefixes and keys of a handle.

use std::time::Duration;

use cache_core::{CacheHandle, ErrorKind, Settings, Timeout, Ttl};

use crate::Harness;

pub(super) async fn set_with_timeout_zero_deletes(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "old", Timeout::Default).await.unwrap();
    cache.set("k", "new", Duration::ZERO).await.unwrap();
    assert!(!cache.contains("k").await.unwrap());
}

pub(super) async fn add_with_timeout_zero_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    assert!(cache.add("k", "v", Timeout::EXPIRED).await.unwrap());
    assert!(!cache.contains("k").await.unwrap());

    cache.set("k", "old", Timeout::Default).await.unwrap();
    assert!(!cache.add("k", "new", Timeout::EXPIRED).await.unwrap());
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("old"));
}

pub(super) async fn touch_with_timeout_zero_deletes(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert!(cache.touch("k", Timeout::EXPIRED).await.unwrap());
    assert!(!cache.contains("k").await.unwrap());
    assert!(!cache.touch("k", Timeout::EXPIRED).await.unwrap());
}

pub(super) async fn set_many_with_timeout_zero_deletes(h: Harness) {
    let cache = h.cache().await;
    cache.set("a", "old", Timeout::Default).await.unwrap();
    let rejected = cache.set_many([("a", "new"), ("b", "new")], Timeout::EXPIRED).await.unwrap();
    assert!(rejected.is_empty());
    assert!(cache.get_many::<String, _>(["a", "b"]).await.unwrap().is_empty());
}

pub(super) async fn default_timeout_comes_from_the_settings(h: Harness) {
    for (configured, min, max) in [(Timeout::Default, 200, 300), (Timeout::secs(1000), 900, 1000)] {
        let cache = h.cache_with(Settings { timeout: configured, ..Settings::default() }).await;
        cache.set("k", "v", Timeout::Default).await.unwrap();
        assert!((min..=max).contains(&remaining_seconds(&cache).await), "{configured:?}");
    }
    let cache = h.cache_with(Settings { timeout: Timeout::Never, ..Settings::default() }).await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Never));

    let cache = h.cache_with(Settings { timeout: Timeout::EXPIRED, ..Settings::default() }).await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert!(!cache.contains("k").await.unwrap(), "the entry must not be stored");
}

pub(super) async fn touch_with_timeout_default_uses_the_settings(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Never).await.unwrap();
    assert!(cache.touch("k", Timeout::Default).await.unwrap());
    assert!((200..=300).contains(&remaining_seconds(&cache).await));
}

async fn remaining_seconds(cache: &CacheHandle) -> u64 {
    match cache.ttl("k").await.unwrap() {
        Some(Ttl::Left(left)) => left.as_secs_f64().ceil() as u64,
        other => panic!("the entry does not expire: {other:?}"),
    }
}

pub(super) async fn timeout_of_none_never_expires(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", None).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn key_prefixes_separate_entries(h: Harness) {
    let store = h.store().await;
    let with_prefix = |prefix: &str| {
        let settings = Settings { key_prefix: prefix.into(), ..Settings::default() };
        CacheHandle::new("conformance", store.clone(), settings)
    };
    let (shop, blog) = (with_prefix("shop"), with_prefix("blog"));
    shop.set("k", "shop's", Timeout::Default).await.unwrap();
    assert!(!blog.contains("k").await.unwrap());
    blog.set("k", "blog's", Timeout::Default).await.unwrap();
    blog.delete("k").await.unwrap();
    assert_eq!(shop.get::<String>("k").await.unwrap().as_deref(), Some("shop's"));
}

pub(super) async fn clear_removes_every_prefix_and_version(h: Harness) {
    let store = h.store().await;
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let shop = CacheHandle::new("shop", store.clone(), settings);
    let other = CacheHandle::new("other", store, Settings::default());
    shop.version(2).set("k", "v", Timeout::Never).await.unwrap();
    other.clear().await.unwrap();
    assert!(!shop.version(2).contains("k").await.unwrap());
}

pub(super) async fn get_many_returns_the_callers_keys(h: Harness) {
    let cache = h.cache_with(Settings { key_prefix: "shop".into(), ..Settings::default() }).await;
    cache.set("a", &1, Timeout::Default).await.unwrap();
    cache.set("b", &2, Timeout::Default).await.unwrap();
    let found = cache
        .get_many::<i32, _>([String::from("a"), "b".into(), "a".into(), "c".into()])
        .await
        .unwrap();
    assert_eq!(found, [(String::from("a"), 1), ("b".into(), 2)].into());
}

pub(super) async fn set_many_returns_no_keys_on_success(h: Harness) {
    let cache = h.cache().await;
    let rejected = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await.unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(cache.incr("b", 1).await.unwrap(), 3);
    assert_eq!(cache.delete_many(["a", "b", "c"]).await.unwrap(), 2);
}

pub(super) async fn decr_subtracts(h: Harness) {
    let cache = h.cache().await;
    cache.set("n", &10, Timeout::Default).await.unwrap();
    assert_eq!(cache.decr("n", 3).await.unwrap(), 7);
    assert_eq!(cache.decr("n", -3).await.unwrap(), 10);
    assert_eq!(cache.decr("n", i64::MIN).await.unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(cache.decr("missing", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(super) async fn incr_of_an_absent_key_is_not_found(h: Harness) {
    let cache = h.cache().await;
    let error = cache.incr("missing", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(":1:missing"), "{error}");
}

pub(super) async fn ttl_of_an_absent_key_is_none(h: Harness) {
    assert_eq!(h.cache().await.ttl("missing").await.unwrap(), None);
}

pub(super) async fn incr_or_set_with_timeout_zero_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    assert_eq!(cache.incr_or_set("k", 1, 5, Timeout::EXPIRED).await.unwrap(), 5);
    assert!(!cache.contains("k").await.unwrap());

    cache.set("k", &40, Timeout::Default).await.unwrap();
    assert_eq!(cache.incr_or_set("k", 2, 5, Timeout::EXPIRED).await.unwrap(), 42);
    assert!(cache.contains("k").await.unwrap());
}

pub(super) async fn incr_or_set_with_timeout_default_uses_the_settings(h: Harness) {
    let cache = h.cache().await;
    cache.incr_or_set("k", 1, 1, Timeout::Default).await.unwrap();
    assert!((200..=300).contains(&remaining_seconds(&cache).await));
    assert_eq!(cache.incr_or_set("k", 1, 1, Timeout::Never).await.unwrap(), 2);
    assert!((200..=300).contains(&remaining_seconds(&cache).await));
}

pub(super) async fn get_and_touch_with_timeout_zero_deletes(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    let taken: Option<String> = cache.get_and_touch("k", Timeout::EXPIRED).await.unwrap();
    assert_eq!(taken.as_deref(), Some("v"));
    assert!(!cache.contains("k").await.unwrap());
    assert_eq!(cache.get_and_touch::<String>("k", Timeout::EXPIRED).await.unwrap(), None);
}

pub(super) async fn get_and_touch_with_timeout_default_uses_the_settings(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Never).await.unwrap();
    let value: Option<String> = cache.get_and_touch("k", Timeout::Default).await.unwrap();
    assert_eq!(value.as_deref(), Some("v"));
    assert!((200..=300).contains(&remaining_seconds(&cache).await));
}
