//! What tags cost.

use std::{sync::Arc, time::Duration};

use cache_core::{Purge, Tags};
use cache_testing::Verbs;

use super::{Fixture, TTL};

#[tokio::test]
async fn entry_without_tags_costs_nothing() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    fixture.set("k", "v", &[]).await;
    assert_eq!(fixture.recorder.calls(), ["set :1:k"]);
    fixture.recorder.reset();
    fixture.get("k").await;
    cache.get_many::<String, _>(["k"]).await.expect("the store works");
    assert_eq!(fixture.recorder.calls(), ["get :1:k", "get_many :1:k"]);
}

#[tokio::test]
async fn entry_with_tags_costs_one_round_trip_more() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    for key in ["a", "b"] {
        fixture.set(key, "v", &["t", key]).await;
    }
    assert_eq!(fixture.round_trips(cache.get::<String>("a")).await, 2);
    assert_eq!(fixture.recorder.calls(), ["get :1:a", "get_many :~:tag:a :~:tag:t"]);
    // The union of the tags is read at once.
    assert_eq!(fixture.round_trips(cache.get_many::<String, _>(["a", "b", "c"])).await, 2);
    assert_eq!(
        fixture.recorder.calls(),
        ["get_many :1:a :1:b :1:c", "get_many :~:tag:a :~:tag:b :~:tag:t"]
    );
}

#[tokio::test]
async fn set_reads_named_tags_and_creates_missing_records_side_by_side() {
    let fixture = Fixture::remote();
    let (cache, tags) = (&fixture.cache, Tags::of(["t", "u"]));
    let set = || cache.set_with("k", "v", TTL, &tags);
    assert_eq!(fixture.round_trips(set()).await, 3, "reads, creates, stores");
    assert_eq!(fixture.round_trips(set()).await, 2, "reads, stores");
    assert_eq!(fixture.round_trips(cache.tags(["t", "u"])).await, 1);
    assert_eq!(fixture.round_trips(cache.tags(["t", "w"])).await, 2);
    let seen = cache.tags(["t", "u"]).await.expect("the store works");
    assert_eq!(fixture.round_trips(cache.set_with("k", "v", TTL, &seen)).await, 1);
}

#[tokio::test]
async fn purge_costs_one_round_trip_and_a_soft_one_two() {
    let fixture = Fixture::remote();
    fixture.set("k", "v", &["t"]).await;
    let purge = |tags: &'static [&str], purge| fixture.cache.purge_tags(tags, purge);
    assert_eq!(fixture.round_trips(purge(&["t"], Purge::Hard)).await, 1);
    assert_eq!(fixture.round_trips(purge(&["t", "u"], Purge::Hard)).await, 1);
    assert_eq!(fixture.round_trips(purge(&["t", "u"], Purge::Soft)).await, 2);
    assert_eq!(fixture.round_trips(purge(&[], Purge::Hard)).await, 0);
}

#[tokio::test]
async fn object_in_this_process_is_compared_with_a_counter_while_nobody_purges() {
    let fixture = Fixture::local();
    let (cache, tags) = (&fixture.cache, Tags::of(["of an object", "of others"]));
    let object = Arc::new(String::from("v"));
    cache.set_shared_with("k", &object, TTL, &tags).await.expect("the store works");
    let reads = async || {
        fixture.recorder.reset();
        let found = cache.get_shared::<String>("k").await.expect("the store works");
        (found.is_some(), fixture.recorder.count(Verbs::READS))
    };
    assert_eq!([reads().await, reads().await], [(true, 3), (true, 1)]);
    fixture.time.advance(Duration::from_secs(1));
    assert_eq!([reads().await, reads().await], [(true, 3), (true, 1)], "in the next second");
    let mut checked = 0;
    for tag in ["1", "2", "3", "4"] {
        cache.purge_tags([tag], Purge::Hard).await.expect("the store works");
        checked += usize::from(reads().await.1 > 1);
    }
    // Generations share 1024 counters.
    assert!(checked <= 1, "after {checked} of 4 purges of other tags");
    fixture.other().purge_tags(["of others"], Purge::Hard).await.expect("the store works");
    assert!(!reads().await.0);
}
