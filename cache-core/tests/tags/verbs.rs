//! What the verbs return for entries with tags.

use std::{sync::Arc, time::Duration};

use cache_core::{
    CacheHandle, Error, ErrorKind, KeyCheck, OnOutage, Purge, Settings, Tags, Timeout, Ttl,
};
use cache_testing::{Chaos, Fault, Remote, Verb};

use super::{Fixture, TTL, locmem};

#[tokio::test]
async fn hard_purge_removes_the_entries_of_its_tag_only() {
    for fixture in Fixture::both() {
        fixture.set("a", "1", &["t", "u"]).await;
        fixture.set("b", "2", &["u"]).await;
        fixture.set("c", "3", &[]).await;
        assert_eq!(fixture.get("a").await.as_deref(), Some("1"));
        fixture.cache.purge_tags(["t"], Purge::Hard).await.expect("the store works");
        let found = [fixture.get("a").await, fixture.get("b").await, fixture.get("c").await];
        assert_eq!(found.each_ref().map(Option::as_deref), [None, Some("2"), Some("3")]);
        fixture.set("a", "4", &["t"]).await;
        assert_eq!(fixture.get("a").await.as_deref(), Some("4"));
    }
}

#[tokio::test]
async fn every_verb_that_reads_misses_a_purged_entry() {
    for fixture in Fixture::both() {
        for purge in [Purge::Hard, Purge::Soft] {
            let cache = &fixture.cache;
            for key in ["a", "b"] {
                let (object, tags) = (Arc::new(String::from("old")), Tags::of(["t"]));
                cache.set_shared_with(key, &object, TTL, &tags).await.expect("the store works");
            }
            let many = async || {
                let found = cache.get_many::<String, _>(["a", "b"]).await;
                found.expect("the store works").len()
            };
            assert_eq!(many().await, 2);
            assert!(cache.get_shared::<String>("a").await.expect("the store works").is_some());
            cache.purge_tags(["t"], purge).await.expect("the store works");
            assert_eq!(fixture.get("a").await, None);
            assert_eq!(cache.get_shared::<String>("a").await.expect("the store works"), None);
            let touched = cache.get_and_touch::<String>("a", TTL).await;
            assert_eq!(touched.expect("the store works"), None);
            assert_eq!(many().await, 0);
            let produced = cache.get_or_set("a", TTL, async || String::from("new")).await;
            assert_eq!(produced.expect("the store works"), "new");
            assert_eq!(fixture.get("a").await.as_deref(), Some("new"));
            let updated = cache.update("b", TTL, |old| old.unwrap_or_else(|| String::from("new")));
            assert_eq!(updated.await.expect("the store works"), "new");
        }
    }
}

#[tokio::test]
async fn value_is_used_after_a_soft_purge_if_its_producer_fails_and_not_after_a_hard_one() {
    for fixture in Fixture::both() {
        fixture.set("k", "old", &["t"]).await;
        for (purge, found) in [(Purge::Soft, Some("old")), (Purge::Hard, None)] {
            fixture.cache.purge_tags(["t"], purge).await.expect("the store works");
            let produce = async || Err::<String, _>("failed");
            let produced = fixture.cache.try_get_or_set("k", TTL, produce).await;
            let produced = produced.expect("the store works").ok();
            assert_eq!(produced.as_deref(), found, "{purge:?}");
        }
    }
}

#[tokio::test]
async fn verbs_that_do_not_return_the_value_treat_a_purged_entry_as_existing() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    fixture.set("k", "v", &["t"]).await;
    cache.purge_tags(["t"], Purge::Hard).await.expect("the store works");
    assert!(cache.contains("k").await.expect("the store works"));
    assert_eq!(cache.ttl("k").await.expect("the store works"), Some(Ttl::Left(TTL)));
    assert!(cache.touch("k", TTL).await.expect("the store works"));
    assert!(!cache.add("k", "w", TTL).await.expect("the store works"));
    assert!(cache.delete("k").await.expect("the store works"));
}

#[tokio::test]
async fn purge_between_the_reads_of_tags_and_data_and_the_set_wins() {
    for fixture in Fixture::both() {
        for purge in [Purge::Hard, Purge::Soft] {
            let seen = fixture.cache.tags(["t"]).await.expect("the store works");
            fixture.other().purge_tags(["t"], purge).await.expect("the store works");
            fixture.cache.set_with("k", "old", TTL, &seen).await.expect("the store works");
            assert_eq!(fixture.get("k").await, None);
            // Named only, the tags are read when the entry is stored.
            fixture.set("k", "new", &["t"]).await;
            assert_eq!(fixture.get("k").await.as_deref(), Some("new"));
        }
    }
}

#[tokio::test]
async fn purge_reaches_all_versions_and_processes_but_no_other_prefix() {
    let fixture = Fixture::remote();
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let shop = CacheHandle::new("shop", Arc::clone(fixture.cache.store()), settings);
    let caches = [fixture.cache.clone(), fixture.cache.version(2), shop.clone()];
    for cache in &caches {
        cache.set_with("k", "v", TTL, &Tags::of(["t"])).await.expect("the store works");
    }
    fixture.other().purge_tags(["t"], Purge::Hard).await.expect("the store works");
    for (cache, is_kept) in caches.iter().zip([false, false, true]) {
        let found = cache.get::<String>("k").await.expect("the store works");
        assert_eq!(found.is_some(), is_kept, "{cache:?}");
    }
}

#[tokio::test]
async fn update_keeps_the_tags() {
    for fixture in Fixture::both() {
        fixture.set("k", "a", &["t", "u"]).await;
        let append = |old: Option<String>| old.unwrap_or_default() + "b";
        for (tag, updated) in [("t", "ab"), ("u", "b")] {
            let found = fixture.cache.update("k", TTL, append).await.expect("the store works");
            assert_eq!(found, updated);
            let is_tagged = tag == "t";
            fixture.cache.purge_tags([tag], Purge::Hard).await.expect("the store works");
            assert_eq!(fixture.get("k").await.is_none(), is_tagged, "{tag}");
        }
    }
}

#[tokio::test]
async fn integer_with_tags_is_returned_and_cannot_be_counted() {
    let fixture = Fixture::remote();
    fixture.cache.set_with("n", &7, TTL, &Tags::of(["t"])).await.expect("the store works");
    assert_eq!(fixture.cache.get::<u8>("n").await.expect("the store works"), Some(7));
    let error = fixture.cache.incr("n", 1).await.expect_err("it is not stored as an integer");
    assert_eq!(error.kind(), ErrorKind::NotAnInteger);
}

#[tokio::test]
async fn set_with_a_timeout_of_zero_deletes_the_entry() {
    let fixture = Fixture::remote();
    fixture.set("k", "v", &["t"]).await;
    let tags = Tags::of(["t"]);
    fixture.cache.set_with("k", "v", Duration::ZERO, &tags).await.expect("the store works");
    assert!(!fixture.cache.contains("k").await.expect("the store works"));
}

#[tokio::test]
async fn too_many_too_long_and_invalid_tags_are_rejected() {
    let settings = Settings { key_check: KeyCheck::Error, ..Settings::default() };
    let fixture = Fixture::remote();
    let cache = CacheHandle::new("strict", Arc::clone(fixture.cache.store()), settings);
    let many: Vec<String> = (0..65).map(|tag| tag.to_string()).collect();
    let kind = async |names: &[String]| {
        let set = cache.set_with("k", "v", TTL, &Tags::of(names)).await;
        let seen = cache.tags(names).await.map(drop);
        let kinds = [set, seen].map(|result| result.err().map(|error| error.kind()));
        assert_eq!(kinds[0], kinds[1]);
        kinds[0]
    };
    assert_eq!(kind(&many).await, Some(ErrorKind::TooLarge));
    assert_eq!(kind(&many[..64]).await, None);
    assert_eq!(kind(&["t".repeat(256)]).await, Some(ErrorKind::TooLarge));
    assert_eq!(kind(&["two words".into()]).await, Some(ErrorKind::InvalidKey));
    let purged = cache.purge_tags(["two words"], Purge::Hard).await;
    assert_eq!(purged.expect_err("the name is invalid").kind(), ErrorKind::InvalidKey);
    // A tag that is named twice counts once.
    assert_eq!(kind(&[&many[..64], &many[..64]].concat()).await, None);
}

/// A store whose records of tags cannot be read, with an entry that has a tag.
async fn without_records(on_outage: OnOutage) -> (Chaos, CacheHandle) {
    let chaos = Chaos::new(Arc::new(Remote::new(locmem(&cache_core::ManualClock::new()))));
    let settings = Settings { on_outage, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::new(chaos.clone()), settings);
    cache.set_with("k", &1, Timeout::Never, &Tags::of(["t"])).await.expect("the store works");
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::GetMany));
    (chaos, cache)
}

#[tokio::test]
async fn record_that_cannot_be_read_is_an_outage() {
    for (on_outage, fails) in
        [(OnOutage::Produce, true), (OnOutage::Error, true), (OnOutage::Miss, false)]
    {
        let (chaos, cache) = without_records(on_outage).await;
        let found = cache.get::<u8>("k").await;
        assert_eq!(found.as_ref().is_err_and(Error::is_temporary), fails);
        assert_eq!(found.ok().flatten(), None);
        let produced = cache.get_or_set("k", TTL, async || 2_u8).await;
        assert_eq!(produced.ok(), (on_outage != OnOutage::Error).then_some(2));
        let updated = cache.update("k", TTL, |old: Option<u8>| old.unwrap_or(3)).await;
        assert_eq!(updated.as_ref().is_err_and(Error::is_temporary), fails);
        assert_eq!(updated.ok(), (!fails).then_some(3));
        chaos.heal();
        let found = cache.get::<u8>("k").await.expect("the store works");
        assert_eq!(found, Some(1), "what was produced is not stored");
    }
}

#[tokio::test]
async fn purge_that_fails_is_an_error_under_every_policy() {
    for on_outage in [OnOutage::Produce, OnOutage::Error, OnOutage::Miss] {
        let (chaos, cache) = without_records(on_outage).await;
        chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::SetMany));
        for purge in [Purge::Hard, Purge::Soft] {
            let error = cache.purge_tags(["t"], purge).await.expect_err("the store is away");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("default"), "{error}");
        }
    }
}

#[tokio::test]
async fn entry_whose_tags_cannot_be_read_is_not_stored() {
    let (chaos, cache) = without_records(OnOutage::Miss).await;
    let seen = cache.tags(["t"]).await.expect("an outage is a miss");
    cache.set_with("k", &2, TTL, &Tags::of(["t"])).await.expect("an outage is a miss");
    chaos.heal();
    cache.set_with("k", &3, TTL, &seen).await.expect("the store works");
    assert_eq!(cache.get::<u8>("k").await.expect("the store works"), Some(1));
}
