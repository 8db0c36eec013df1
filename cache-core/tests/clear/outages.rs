//! Stores that fail while the generation is read or replaced.

use std::sync::Arc;

use cache_core::{CacheHandle, ErrorKind, OnOutage, Settings, Tags};
use cache_testing::{Chaos, Fault, Verb};

use super::{Fixture, MEMO, TTL};

/// A store that does not return the generation.
async fn without_generation(on_outage: OnOutage) -> (Fixture, Chaos, CacheHandle) {
    let fixture = Fixture::remote();
    let chaos = Chaos::new(Arc::clone(fixture.cache.store()));
    let settings = Settings { on_outage, ..fixture.settings() };
    let cache = CacheHandle::new("shop", Arc::new(chaos.clone()), settings);
    let cache = cache.with_clock(fixture.time.clock());
    cache.set("k", "v", TTL).await.expect("the store works");
    fixture.time.advance(MEMO);
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::GetMany));
    (fixture, chaos, cache)
}

#[tokio::test]
async fn generation_that_cannot_be_read_is_an_outage_of_every_verb() {
    for on_outage in [OnOutage::Produce, OnOutage::Error] {
        let (_fixture, _chaos, cache) = without_generation(on_outage).await;
        macro_rules! assert_unavailable {
            ($($call:expr),+ $(,)?) => {$(
                let error = $call.await.map(drop).expect_err("the store is away");
                assert_eq!(error.kind(), ErrorKind::Unavailable, stringify!($call));
                assert!(error.to_string().contains("\"shop\""), "{error}");
            )+};
        }
        assert_unavailable!(
            cache.get::<String>("k"),
            cache.get_shared::<String>("k"),
            cache.get_many::<String, _>(["k"]),
            cache.get_and_touch::<String>("k", TTL),
            cache.set("k", "w", TTL),
            cache.set_many([("k", "w")], TTL),
            cache.set_with("k", "w", TTL, &Tags::of(["t"])),
            cache.add("k", "w", TTL),
            cache.touch("k", TTL),
            cache.contains("k"),
            cache.ttl("k"),
            cache.delete("k"),
            cache.delete_many(["k"]),
            cache.incr("k", 1),
            cache.incr_or_set("k", 1, 1, TTL),
            cache.incr_version("k", 1),
            cache.update("k", TTL, |_: Option<u8>| 1),
            cache.inspect("k"),
            cache.tags(["t"]),
        );
        let produced = cache.get_or_set("k", TTL, async || String::from("new")).await;
        assert_eq!(produced.is_ok(), on_outage == OnOutage::Produce);
        #[cfg(feature = "fetch")]
        {
            let fetched = cache.fetch("k", async |_| String::from("new")).await;
            assert_eq!(fetched.is_ok(), on_outage == OnOutage::Produce);
        }
    }
}

#[tokio::test]
async fn cache_behaves_like_an_empty_store_if_it_is_configured_so() {
    let (fixture, chaos, cache) = without_generation(OnOutage::Miss).await;
    assert_eq!(cache.get::<String>("k").await.expect("a miss"), None);
    assert!(cache.get_many::<String, _>(["k"]).await.expect("a miss").is_empty());
    assert!(!cache.add("k", "w", TTL).await.expect("a miss"));
    assert!(!cache.delete("k").await.expect("a miss"));
    assert_eq!(cache.set_many([("k", "w")], TTL).await.expect("a miss"), [("k")]);
    assert_eq!(cache.incr("n", 1).await.expect_err("a miss").kind(), ErrorKind::NotFound);
    assert_eq!(cache.incr_or_set("n", 1, 5, TTL).await.expect("a miss"), 5);
    let updated = cache.update("k", TTL, |old: Option<String>| format!("{old:?}")).await;
    assert_eq!(updated.expect("a miss"), "None");
    cache.set("k", "w", TTL).await.expect("a miss");
    let tags = cache.tags(["t"]).await.expect("a miss");
    chaos.heal();
    cache.set_with("k", "w", TTL, &tags).await.expect("the store works");
    fixture.time.advance(MEMO);
    let found = cache.get::<String>("k").await.expect("the store works");
    assert_eq!(found.as_deref(), Some("v"), "nothing was stored or deleted");
}

#[tokio::test]
async fn value_that_is_produced_while_the_generation_is_unknown_is_not_stored() {
    let (fixture, chaos, cache) = without_generation(OnOutage::Produce).await;
    let produced = cache.get_or_set("k", TTL, async || String::from("new")).await;
    assert_eq!(produced.expect("it is produced"), "new");
    chaos.heal();
    fixture.time.advance(MEMO);
    let found = cache.get::<String>("k").await.expect("the store works");
    assert_eq!(found.as_deref(), Some("v"));
}

#[tokio::test]
async fn clear_that_fails_is_an_error_under_every_policy() {
    for on_outage in [OnOutage::Produce, OnOutage::Error, OnOutage::Miss] {
        let (_fixture, chaos, cache) = without_generation(on_outage).await;
        chaos.heal();
        chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::SetMany));
        let error = cache.clear().await.expect_err("the store is away");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("\"shop\""), "{error}");
    }
}

#[tokio::test]
async fn clear_whose_reply_is_lost_is_seen_at_once() {
    let (fixture, chaos, cache) = without_generation(OnOutage::Produce).await;
    chaos.heal();
    assert!(cache.get::<String>("k").await.expect("the store works").is_some());
    chaos.inject(Fault::lost_reply().on(Verb::SetMany));
    cache.clear().await.expect_err("the reply is lost");
    chaos.heal();
    assert_eq!(cache.get::<String>("k").await.expect("the store works"), None);
    drop(fixture);
}
