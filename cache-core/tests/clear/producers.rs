//! Values whose production began before a clear.

use std::sync::Arc;

use cache_core::{CacheHandle, Settings, Share, Tags};

use super::{Fixture, MEMO, TTL, get};

/// Handles with leases of the store and with those of the process.
fn both(fixture: &Fixture) -> [CacheHandle; 2] {
    [Share::Store, Share::Process].map(|share| {
        let settings = Settings { share, ..fixture.settings() };
        let cache = CacheHandle::new("shop", Arc::clone(fixture.cache.store()), settings);
        cache.with_clock(fixture.time.clock())
    })
}

#[tokio::test]
async fn value_that_get_or_set_produces_while_the_cache_is_cleared_is_not_stored() {
    let fixture = Fixture::remote();
    for cache in both(&fixture) {
        for is_elsewhere in [false, true] {
            let key = format!("k{is_elsewhere}");
            let produce = async || {
                match is_elsewhere {
                    true => fixture.clear_elsewhere().await,
                    false => cache.clear().await.expect("the store works"),
                }
                String::from("old")
            };
            let produced = cache.get_or_set(&key, TTL, produce).await;
            assert_eq!(produced.expect("the store works"), "old");
            fixture.time.advance(MEMO);
            assert_eq!(get(&cache, &key).await, None, "{is_elsewhere}");
        }
    }
}

#[cfg(feature = "fetch")]
#[tokio::test]
async fn value_that_fetch_produces_while_the_cache_is_cleared_is_not_stored() {
    let fixture = Fixture::remote();
    for cache in both(&fixture) {
        cache.clear().await.expect("the store works");
        let clearing = cache.clone();
        let produce = move |_| async move {
            clearing.clear().await.expect("the store works");
            String::from("old")
        };
        let fetched = cache.fetch("k", produce).ttl(TTL).await;
        assert_eq!(fetched.expect("the store works"), "old");
        assert_eq!(get(&cache, "k").await, None);
        let fetched = cache.fetch("k", async |_| String::from("new")).ttl(TTL).await;
        assert_eq!(fetched.expect("the store works"), "new");
        assert_eq!(get(&cache, "k").await.as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn caller_after_a_clear_does_not_wait_for_a_producer_from_before_it() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    let produce = async || {
        cache.clear().await.expect("the store works");
        let inner = cache.get_or_set("k", TTL, async || String::from("new")).await;
        assert_eq!(inner.expect("the store works"), "new");
        String::from("old")
    };
    assert_eq!(cache.get_or_set("k", TTL, produce).await.expect("the store works"), "old");
    assert_eq!(get(cache, "k").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn value_whose_tags_were_read_before_a_clear_is_not_found() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    for is_elsewhere in [false, true] {
        let tags = cache.tags(["t"]).await.expect("the store works");
        match is_elsewhere {
            true => fixture.clear_elsewhere().await,
            false => cache.clear().await.expect("the store works"),
        }
        fixture.time.advance(MEMO);
        cache.set("k", "another", TTL).await.expect("the store works");
        cache.set_with("k", "old", TTL, &tags).await.expect("the store works");
        assert_eq!(get(cache, "k").await, None);
        cache.set_with("k", "new", TTL, &Tags::of(["t"])).await.expect("the store works");
        assert_eq!(get(cache, "k").await.as_deref(), Some("new"));
        cache.delete("k").await.expect("the store works");
    }
}
