//! What is removed, and what is not.

use std::{sync::Arc, time::Duration};

use cache_core::{CacheHandle, Clear, KeyFunction, Purge, Settings, Share, Tags, Timeout};
use cache_testing::{Pause, Verb};

use super::{Fixture, MEMO, TTL, get};

#[tokio::test]
async fn clear_removes_the_entries_of_its_prefix_in_all_versions() {
    let fixture = Fixture::remote();
    let store = || Arc::clone(fixture.cache.store());
    let blog = Settings { key_prefix: format!("{}-blog", fixture.prefix), ..fixture.settings() };
    let plain = Settings { clear: Clear::Store, ..fixture.settings() };
    let cleared = [fixture.cache.clone(), fixture.cache.version(2)];
    let kept = [blog, plain].map(|settings| CacheHandle::new("kept", store(), settings));
    for cache in cleared.iter().chain(&kept) {
        cache.set("k", "v", TTL).await.expect("the store works");
    }
    fixture.cache.clear().await.expect("the store works");
    for cache in &cleared {
        assert_eq!(get(cache, "k").await, None, "{cache:?}");
    }
    for cache in &kept {
        assert!(get(cache, "k").await.is_some(), "{cache:?}");
    }
}

#[tokio::test]
async fn every_verb_misses_a_cleared_entry() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    let refill = async || {
        fixture.set("k", "v").await;
        cache.set("n", &1, TTL).await.expect("the store works");
        cache.clear().await.expect("the store works");
    };
    refill().await;
    assert!(!cache.contains("k").await.expect("the store works"));
    assert!(!cache.touch("k", TTL).await.expect("the store works"));
    assert!(!cache.delete("k").await.expect("the store works"));
    assert_eq!(cache.delete_many(["k", "n"]).await.expect("the store works"), 0);
    assert_eq!(cache.ttl("k").await.expect("the store works"), None);
    assert_eq!(cache.get_shared::<String>("k").await.expect("the store works"), None);
    let touched = cache.get_and_touch::<String>("k", TTL).await;
    assert_eq!(touched.expect("the store works"), None);
    let found = cache.get_many::<String, _>(["k", "n"]).await;
    assert!(found.expect("the store works").is_empty());
    cache.incr("n", 1).await.expect_err("the counter is gone");
    cache.incr_version("k", 1).await.expect_err("the entry is gone");
    assert!(cache.inspect("k").await.expect("the store works").entry.is_none());
    assert!(cache.add("k", "new", TTL).await.expect("the store works"));
    assert_eq!(cache.incr_or_set("n", 1, 7, TTL).await.expect("the store works"), 7);
    refill().await;
    let updated = cache.update("k", TTL, |old: Option<String>| format!("{old:?}"));
    assert_eq!(updated.await.expect("the store works"), "None");
    let rejected = cache.set_many([("k", "v"), ("l", "w")], TTL).await;
    assert!(rejected.expect("the store works").is_empty());
    assert_eq!(get(cache, "l").await.as_deref(), Some("w"));
    cache.incr_version("l", 1).await.expect("the store works");
    assert_eq!(get(&cache.version(2), "l").await.as_deref(), Some("w"));
}

#[tokio::test]
async fn handles_on_one_store_in_a_process_see_a_clear_at_once() {
    let fixture = Fixture::remote();
    let other = fixture.other();
    fixture.set("k", "v").await;
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"));
    fixture.cache.clear().await.expect("the store works");
    assert_eq!(get(&other, "k").await, None);
    other.set("k", "new", TTL).await.expect("the store works");
    assert_eq!(fixture.get("k").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn clear_by_another_process_is_seen_a_second_later() {
    let fixture = Fixture::remote();
    fixture.set("k", "v").await;
    fixture.clear_elsewhere().await;
    fixture.time.advance(MEMO - Duration::from_nanos(1));
    assert_eq!(fixture.get("k").await.as_deref(), Some("v"));
    fixture.time.advance(Duration::from_nanos(1));
    assert_eq!(fixture.get("k").await, None);
}

#[tokio::test]
async fn lost_generation_brings_no_entry_back() {
    let fixture = Fixture::remote();
    fixture.set("old", "v").await;
    fixture.evict().await;
    fixture.time.advance(MEMO);
    assert_eq!(fixture.get("old").await, None);
    fixture.set("new", "v").await;
    fixture.evict().await;
    fixture.cache.clear().await.expect("the store works");
    fixture.evict().await;
    fixture.time.advance(MEMO);
    assert_eq!((fixture.get("old").await, fixture.get("new").await), (None, None));
}

#[tokio::test]
async fn generation_never_expires() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    cache.set("k", "v", Timeout::Never).await.expect("the store works");
    for is_cleared in [false, true] {
        if is_cleared {
            cache.clear().await.expect("the store works");
            cache.set("k", "v", Timeout::Never).await.expect("the store works");
        }
        fixture.time.advance(Duration::from_secs(10 * 365 * 86_400));
        assert!(fixture.get("k").await.is_some(), "{is_cleared}");
    }
}

#[tokio::test]
async fn read_of_the_generation_that_began_before_a_clear_is_not_used_after_it() {
    let fixture = Fixture::remote();
    fixture.set("k", "v").await;
    let pause = Pause::new(Arc::clone(fixture.cache.store()));
    let cache = fixture.cache.with_store(Arc::new(pause.clone()));
    let held = pause.after(Verb::GetMany, 1);
    let clear = async { fixture.cache.clear().await.expect("the store works") };
    tokio::join!(get(&cache, "k"), held.during(clear));
    assert_eq!(get(&cache, "k").await, None);
    // Nor if another caller has read the new one meanwhile.
    cache.set("k", "v", TTL).await.expect("the store works");
    fixture.time.advance(MEMO);
    let held = pause.after(Verb::GetMany, 1);
    let clear_and_read = async {
        cache.clear().await.expect("the store works");
        assert_eq!(get(&cache, "k").await, None);
    };
    tokio::join!(get(&cache, "k"), held.during(clear_and_read));
    let known = cache.key_generation();
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!(cache.key_generation(), known);
}

#[tokio::test]
async fn purge_by_a_process_that_has_not_seen_a_clear_reaches_newer_entries() {
    let fixture = Fixture::remote();
    let stale = fixture.cache.clone();
    assert_eq!(get(&stale, "k").await, None);
    fixture.clear_elsewhere().await;
    let other = fixture.other();
    other.set_with("k", "v", TTL, &Tags::of(["t"])).await.expect("the store works");
    assert!(get(&other, "k").await.is_some());
    stale.purge_tags(["t"], Purge::Hard).await.expect("the store works");
    assert_eq!(get(&other, "k").await, None);
}

#[tokio::test]
async fn locks_outlive_a_clear() {
    let fixture = Fixture::remote();
    let lock = fixture.cache.lock("report");
    let guard = lock.hold(TTL).await.expect("the store works").expect("nobody holds it");
    fixture.cache.clear().await.expect("the store works");
    assert!(lock.hold(TTL).await.expect("the store works").is_none());
    guard.release().await.expect("the store works");
    assert!(lock.hold(TTL).await.expect("the store works").is_some());
}

#[tokio::test]
async fn locks_within_a_process_outlive_a_clear() {
    let fixture = Fixture::remote();
    let settings = Settings { share: Share::Process, ..fixture.settings() };
    let cache = CacheHandle::new("shop", Arc::clone(fixture.cache.store()), settings);
    let lock = cache.lock("report");
    let guard = lock.hold(TTL).await.expect("the store works").expect("nobody holds it");
    cache.clear().await.expect("the store works");
    assert!(lock.hold(TTL).await.expect("the store works").is_none());
    guard.release().await.expect("the store works");
    assert!(lock.hold(TTL).await.expect("the store works").is_some());
}

#[tokio::test]
async fn handle_that_has_read_nothing_inspects_the_current_generation() {
    let fixture = Fixture::remote();
    fixture.cache.clear().await.expect("the store works");
    fixture.set("k", "v").await;
    let inspection = fixture.other().inspect("k").await.expect("the store works");
    assert!(inspection.entry.is_some());
    assert_eq!(inspection.composed_key, fixture.cache.composed_key("k"));
}

#[tokio::test]
async fn every_key_function_receives_the_generation() {
    let joined = |key: &str, prefix: &str, version: &_| format!("{version}/{prefix}/{key}");
    let functions = [KeyFunction::Default, KeyFunction::Hashed, KeyFunction::custom(joined)];
    for function in functions {
        for key in ["k", &"k".repeat(250), "käse"] {
            let fixture = Fixture::remote();
            let settings = Settings { key_function: function.clone(), ..fixture.settings() };
            let cache = CacheHandle::new("shop", Arc::clone(fixture.cache.store()), settings);
            cache.set(key, "v", TTL).await.expect("the store works");
            assert!(get(&cache, key).await.is_some());
            let old = cache.composed_key(key);
            cache.clear().await.expect("the store works");
            assert_eq!(get(&cache, key).await, None, "{function:?} {key}");
            assert_ne!(cache.composed_key(key), old);
        }
    }
}

#[tokio::test]
async fn composed_key_has_the_generation_after_the_prefix() {
    let fixture = Fixture::remote();
    fixture.set("k", "v").await;
    let key = fixture.cache.composed_key("k");
    let generation = fixture.cache.key_generation().expect("it is configured");
    assert_eq!(key, format!("{}:g{generation:016x}:1:k", fixture.prefix));
    assert!(fixture.cache.store().contains(&key).await.expect("the store works"));
    assert!(fixture.cache.store().contains(&fixture.record()).await.expect("the store works"));
}
