//! Records of tags: how long they live, and what happens if one is lost.

use std::sync::Arc;

use cache_core::{Purge, Tags, Timeout, Ttl};
use cache_testing::{Pause, Verb};

use super::{DAY, Fixture, TTL};

#[tokio::test]
async fn lost_record_makes_entries_missing_and_none_comes_back() {
    for fixture in Fixture::both() {
        fixture.set("old", "1", &["t"]).await;
        assert!(fixture.evict("t").await);
        assert_eq!(fixture.get("old").await, None);
        fixture.set("new", "2", &["t"]).await;
        assert_eq!(fixture.get("new").await.as_deref(), Some("2"));
        assert_eq!(fixture.get("old").await, None);
    }
}

#[tokio::test]
async fn purge_of_a_lost_record_does_not_bring_entries_back() {
    for fixture in Fixture::both() {
        for purge in [Purge::Hard, Purge::Soft] {
            fixture.set("k", "v", &["t"]).await;
            fixture.evict("t").await;
            fixture.cache.purge_tags(["t"], purge).await.expect("the store works");
            assert_eq!(fixture.get("k").await, None);
        }
    }
}

/// The lifetime of a tag was shorter than that of the entry, so purged entries came back: Symfony
/// issue 21330.
#[tokio::test]
async fn record_outlives_every_entry() {
    for fixture in Fixture::both() {
        let (cache, tags) = (&fixture.cache, Tags::of(["t"]));
        let set = async |key: &str, timeout: Timeout| {
            cache.set_with(key, "v", timeout, &tags).await.expect("the store works");
        };
        set("minutes", TTL.into()).await;
        set("month", (30 * DAY).into()).await;
        set("minutes", TTL.into()).await;
        fixture.time.advance(30 * DAY - TTL);
        assert!(fixture.get("month").await.is_some());
        set("forever", Timeout::Never).await;
        set("minutes", TTL.into()).await;
        fixture.time.advance(1000 * DAY);
        assert!(fixture.get("forever").await.is_some());
        cache.purge_tags(["t"], Purge::Soft).await.expect("the store works");
        fixture.time.advance(1000 * DAY);
        assert_eq!(fixture.get("forever").await, None);
    }
}

#[tokio::test]
async fn record_lives_for_twice_the_time_of_an_entry_and_at_least_a_day() {
    let fixture = Fixture::remote();
    let ttl = async || {
        let record = fixture.cache.tag_record("t");
        fixture.cache.store().ttl(&record).await.expect("the store works")
    };
    let tags = Tags::of(["t"]);
    for (entry, record) in [
        (TTL.into(), Some(Ttl::Left(DAY))),
        ((3 * DAY).into(), Some(Ttl::Left(6 * DAY))),
        (DAY.into(), Some(Ttl::Left(6 * DAY))),
        (Timeout::Never, Some(Ttl::Never)),
        (TTL.into(), Some(Ttl::Never)),
    ] {
        fixture.cache.set_with("k", "v", entry, &tags).await.expect("the store works");
        assert_eq!(ttl().await, record, "{entry:?}");
    }
    fixture.cache.purge_tags(["t"], Purge::Soft).await.expect("the store works");
    assert_eq!(ttl().await, Some(Ttl::Never), "the entries are stale, and still there");
    fixture.cache.purge_tags(["t"], Purge::Hard).await.expect("the store works");
    assert_eq!(ttl().await, Some(Ttl::Left(DAY)), "no entry has the new generation");
}

#[tokio::test]
async fn record_outlives_an_entry_that_was_updated() {
    for fixture in Fixture::both() {
        let append = |old: Option<String>| old.unwrap_or_default() + "b";
        for (timeout, days) in [((30 * DAY).into(), 29), (Timeout::Never, 1000)] {
            fixture.set("k", "a", &["t"]).await;
            fixture.cache.update("k", timeout, append).await.expect("the store works");
            fixture.time.advance(days * DAY);
            assert_eq!(fixture.get("k").await.as_deref(), Some("ab"), "{timeout:?}");
        }
    }
}

#[tokio::test]
async fn of_two_processes_that_create_a_record_one_reads_that_of_the_other() {
    let fixture = Fixture::remote();
    let pause = Pause::new(Arc::clone(fixture.cache.store()));
    let one = fixture.cache.with_store(Arc::new(pause.clone()));
    let held = pause.before(Verb::Add, 1);
    let tags = Tags::of(["t"]);
    let (stored, ()) = tokio::join!(
        one.set_with("a", "1", TTL, &tags),
        held.during(fixture.set("b", "2", &["t"])),
    );
    stored.expect("the store works");
    assert!(fixture.get("a").await.is_some() && fixture.get("b").await.is_some());
}

#[tokio::test]
async fn undecodable_record_is_replaced() {
    for fixture in Fixture::both() {
        let record = fixture.cache.tag_record("t");
        let store = fixture.cache.store();
        store.set(&record, 7.into(), None).await.expect("the store works");
        fixture.set("k", "v", &["t"]).await;
        assert!(fixture.get("k").await.is_some());
        store.set(&record, 7.into(), None).await.expect("the store works");
        assert_eq!(fixture.get("k").await, None);
    }
}
