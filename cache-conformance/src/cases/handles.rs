//! Timeouts, prefixes and keys as a caller gives them.

use std::time::Duration;

use cache_core::{CacheHandle, ErrorKind, Settings, Timeout, Ttl};

use crate::Harness;

pub(super) async fn timeout_zero_deletes_on_set(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "old", Timeout::Default).await.unwrap();
    cache.set("k", "new", Duration::ZERO).await.unwrap();
    assert!(!cache.contains("k").await.unwrap());
}

pub(super) async fn timeout_zero_on_add_answers_but_leaves_nothing(h: Harness) {
    let cache = h.cache().await;
    assert!(cache.add("k", "v", Timeout::EXPIRED).await.unwrap());
    assert!(!cache.contains("k").await.unwrap());

    cache.set("k", "old", Timeout::Default).await.unwrap();
    assert!(!cache.add("k", "new", Timeout::EXPIRED).await.unwrap());
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("old"));
}

pub(super) async fn timeout_zero_deletes_on_touch(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert!(cache.touch("k", Timeout::EXPIRED).await.unwrap());
    assert!(!cache.contains("k").await.unwrap());
    assert!(!cache.touch("k", Timeout::EXPIRED).await.unwrap());
}

pub(super) async fn timeout_zero_on_set_many_deletes(h: Harness) {
    let cache = h.cache().await;
    cache.set("a", "old", Timeout::Default).await.unwrap();
    let refused = cache.set_many([("a", "new"), ("b", "new")], Timeout::EXPIRED).await.unwrap();
    assert!(refused.is_empty());
    assert!(cache.get_many::<String, _>(["a", "b"]).await.unwrap().is_empty());
}

pub(super) async fn the_default_timeout_is_the_alias_s(h: Harness) {
    for (configured, least, most) in
        [(Timeout::Default, 200, 300), (Timeout::secs(1000), 900, 1000)]
    {
        let cache = h.cache_with(Settings { timeout: configured, ..Settings::default() }).await;
        cache.set("k", "v", Timeout::Default).await.unwrap();
        assert!((least..=most).contains(&seconds_left(&cache).await), "{configured:?}");
    }
    let cache = h.cache_with(Settings { timeout: Timeout::Never, ..Settings::default() }).await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Never));

    let cache = h.cache_with(Settings { timeout: Timeout::EXPIRED, ..Settings::default() }).await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert!(!cache.contains("k").await.unwrap(), "everything expires at once");
}

pub(super) async fn touch_without_a_timeout_takes_the_default(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Never).await.unwrap();
    assert!(cache.touch("k", Timeout::Default).await.unwrap());
    assert!((200..=300).contains(&seconds_left(&cache).await));
}

async fn seconds_left(cache: &CacheHandle) -> u64 {
    match cache.ttl("k").await.unwrap() {
        Some(Ttl::Left(left)) => left.as_secs_f64().ceil() as u64,
        other => panic!("it does not expire: {other:?}"),
    }
}

pub(super) async fn a_timeout_of_none_is_never(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", None).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn prefixes_keep_entries_apart(h: Harness) {
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

pub(super) async fn clear_empties_every_prefix_and_version(h: Harness) {
    let store = h.store().await;
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let shop = CacheHandle::new("shop", store.clone(), settings);
    let other = CacheHandle::new("other", store, Settings::default());
    shop.version(2).set("k", "v", Timeout::Never).await.unwrap();
    other.clear().await.unwrap();
    assert!(!shop.version(2).contains("k").await.unwrap());
}

pub(super) async fn get_many_answers_by_the_callers_keys(h: Harness) {
    let cache = h.cache_with(Settings { key_prefix: "shop".into(), ..Settings::default() }).await;
    cache.set("a", &1, Timeout::Default).await.unwrap();
    cache.set("b", &2, Timeout::Default).await.unwrap();
    let found = cache
        .get_many::<i32, _>([String::from("a"), "b".into(), "a".into(), "c".into()])
        .await
        .unwrap();
    assert_eq!(found, [(String::from("a"), 1), ("b".into(), 2)].into());
}

pub(super) async fn set_many_answers_no_keys_when_all_is_well(h: Harness) {
    let cache = h.cache().await;
    let refused = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
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

pub(super) async fn incr_of_a_missing_key_is_not_found(h: Harness) {
    let cache = h.cache().await;
    let error = cache.incr("missing", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(":1:missing"), "{error}");
}

pub(super) async fn the_ttl_of_a_missing_key_is_none(h: Harness) {
    assert_eq!(h.cache().await.ttl("missing").await.unwrap(), None);
}
