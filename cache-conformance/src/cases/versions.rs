//! Versions of a handle.

use cache_core::{CacheHandle, ErrorKind, Timeout, Ttl};

use crate::Harness;

async fn text(cache: &CacheHandle) -> Option<String> {
    cache.get("k").await.unwrap()
}

pub(super) async fn versions_separate_entries(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "one", Timeout::Default).await.unwrap();
    cache.version(2).set("k", "two", Timeout::Default).await.unwrap();
    cache.version("next").set("k", "named", Timeout::Default).await.unwrap();
    assert_eq!(text(&cache).await.as_deref(), Some("one"));
    assert_eq!(text(&cache.version(2)).await.as_deref(), Some("two"));
    assert_eq!(text(&cache.version(2).version(1)).await.as_deref(), Some("one"));
    assert_eq!(text(&cache.version("next")).await.as_deref(), Some("named"));
    assert_eq!(text(&cache.version(3)).await, None);
}

pub(super) async fn incr_version_moves_the_entry(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.incr_version("k", 2).await.unwrap(), 3);
    assert_eq!(text(&cache).await, None);
    assert_eq!(text(&cache.version(3)).await.as_deref(), Some("v"));
}

pub(super) async fn incr_version_keeps_the_ttl(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::secs(1000)).await.unwrap();
    cache.incr_version("k", 1).await.unwrap();
    let Some(Ttl::Left(left)) = cache.version(2).ttl("k").await.unwrap() else {
        panic!("the entry has a deadline")
    };
    assert!((900..=1000).contains(&left.as_secs()), "{left:?}");

    cache.set("k", "v", Timeout::Never).await.unwrap();
    cache.incr_version("k", 1).await.unwrap();
    assert_eq!(cache.version(2).ttl("k").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn incr_version_overwrites_the_target(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "new", Timeout::Default).await.unwrap();
    cache.version(2).set("k", "old", Timeout::Default).await.unwrap();
    cache.incr_version("k", 1).await.unwrap();
    assert_eq!(text(&cache.version(2)).await.as_deref(), Some("new"));
}

pub(super) async fn incr_version_by_zero_keeps_the_entry(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.incr_version("k", 0).await.unwrap(), 1);
    assert_eq!(text(&cache).await.as_deref(), Some("v"));
}

pub(super) async fn incr_version_of_an_absent_key_is_not_found(h: Harness) {
    let cache = h.cache().await;
    for delta in [1, 0, -1] {
        assert_eq!(cache.incr_version("k", delta).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

pub(super) async fn decr_version_moves_the_entry_back(h: Harness) {
    let cache = h.cache().await.version(5);
    cache.set("k", "v", Timeout::Default).await.unwrap();
    assert_eq!(cache.decr_version("k", 2).await.unwrap(), 3);
    assert_eq!(text(&cache).await, None);
    assert_eq!(text(&cache.version(3)).await.as_deref(), Some("v"));
}
