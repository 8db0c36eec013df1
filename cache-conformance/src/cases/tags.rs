//! Tags, by two handles on two clients of one store, as in two processes.

use std::time::Duration;

use cache_core::{CacheHandle, Fill, Purge, TagState, Tags, Ttl};
use tokio::{sync::oneshot, task::JoinSet};

use crate::Harness;

const TTL: Duration = Duration::from_secs(1000);
const DAY: Duration = Duration::from_secs(86_400);

async fn set(cache: &CacheHandle, key: &str, tags: &[&str]) {
    cache.set_with(key, "value", TTL, &Tags::of(tags)).await.unwrap();
}

async fn is_hit(cache: &CacheHandle, key: &str) -> bool {
    let found: Option<String> = cache.get(key).await.unwrap();
    assert!(found.as_deref().is_none_or(|value| value == "value"));
    found.is_some()
}

/// Fetches a value with the tag `a`, and `b` that the producer adds.
async fn fetch(cache: &CacheHandle, result: Result<&'static str, ()>) -> Option<String> {
    let produce = async move |fill: Fill| {
        fill.tag("b");
        result.map(str::to_owned)
    };
    let fetch = cache.try_fetch("k", produce).tags(["a"]).ttl(TTL).stale_for(TTL);
    fetch.soft_timeout(Duration::from_secs(10)).retry_after(Duration::ZERO).await.ok()
}

pub(super) async fn purge_by_another_client_removes_all_entries_of_the_tag(h: Harness) {
    let (one, other) = h.handles().await;
    set(&one, "k1", &["a"]).await;
    set(&other, "k2", &["a", "b"]).await;
    set(&one, "k3", &["b"]).await;
    one.set("k4", "value", TTL).await.unwrap();
    for key in ["k1", "k2", "k3", "k4"] {
        assert!(is_hit(&other, key).await, "{key}");
    }
    other.purge_tags(["a"], Purge::Hard).await.unwrap();
    for cache in [&one, &other] {
        for (key, is_kept) in [("k1", false), ("k2", false), ("k3", true), ("k4", true)] {
            assert_eq!(is_hit(cache, key).await, is_kept, "{key}");
        }
        let found = cache.get_many::<String, _>(["k1", "k2", "k3", "k4"]).await.unwrap();
        assert_eq!(found.len(), 2);
    }
}

pub(super) async fn purge_of_several_tags_removes_the_entries_of_each(h: Harness) {
    let (one, other) = h.handles().await;
    for purge in [Purge::Hard, Purge::Soft] {
        set(&one, "k1", &["a"]).await;
        set(&one, "k2", &["b"]).await;
        set(&one, "k3", &["c"]).await;
        other.purge_tags(["a", "b", "unknown"], purge).await.unwrap();
        assert!(!is_hit(&one, "k1").await && !is_hit(&one, "k2").await);
        assert!(is_hit(&one, "k3").await);
    }
}

pub(super) async fn soft_purge_makes_fetched_entries_stale_and_a_hard_one_missing(h: Harness) {
    let (one, other) = h.handles().await;
    assert_eq!(fetch(&one, Ok("value")).await.as_deref(), Some("value"));
    for tag in ["a", "b"] {
        other.purge_tags([tag], Purge::Soft).await.unwrap();
        assert!(!is_hit(&one, "k").await, "{tag}");
        assert_eq!(fetch(&one, Err(())).await.as_deref(), Some("value"), "{tag}");
    }
    other.purge_tags(["b"], Purge::Hard).await.unwrap();
    assert_eq!(fetch(&one, Err(())).await, None);
}

pub(super) async fn purge_after_the_read_of_tags_wins_over_the_set(h: Harness) {
    let (one, other) = h.handles().await;
    for purge in [Purge::Hard, Purge::Soft] {
        let tags = one.tags(["a", "b"]).await.unwrap();
        other.purge_tags(["b"], purge).await.unwrap();
        one.set_with("k", "value", TTL, &tags).await.unwrap();
        assert!(!is_hit(&one, "k").await && !is_hit(&other, "k").await);
    }
    let tags = one.tags(["a", "b"]).await.unwrap();
    one.set_with("k", "value", TTL, &tags).await.unwrap();
    assert!(is_hit(&one, "k").await && is_hit(&other, "k").await);
}

pub(super) async fn purge_while_a_value_is_produced_wins(h: Harness) {
    let (one, other) = h.handles().await;
    for tag in ["a", "b"] {
        let (begun, has_begun) = oneshot::channel();
        let (purged, is_purged) = oneshot::channel();
        let cache = one.clone();
        let produce = async move |fill: Fill| {
            begun.send(()).expect("the test waits");
            is_purged.await.expect("the test purges");
            fill.tag("b");
            String::from("value")
        };
        let call =
            tokio::spawn(async move { cache.fetch("k", produce).tags(["a"]).ttl(TTL).await });
        has_begun.await.expect("the producer begins");
        other.purge_tags([tag], Purge::Hard).await.unwrap();
        purged.send(()).expect("the producer waits");
        assert_eq!(call.await.unwrap().unwrap(), "value");
        assert!(!is_hit(&one, "k").await && !is_hit(&other, "k").await, "{tag}");
    }
}

pub(super) async fn lost_record_of_a_tag_brings_no_entry_back(h: Harness) {
    let (one, other) = h.handles().await;
    set(&one, "old", &["a"]).await;
    assert!(one.store().delete(&one.tag_record("a")).await.unwrap());
    assert!(!is_hit(&other, "old").await);
    set(&one, "new", &["a"]).await;
    assert!(is_hit(&other, "new").await && !is_hit(&other, "old").await);
    assert!(one.store().delete(&one.tag_record("a")).await.unwrap());
    other.purge_tags(["a"], Purge::Soft).await.unwrap();
    assert!(!is_hit(&one, "new").await && !is_hit(&one, "old").await);
}

pub(super) async fn record_of_a_tag_outlives_its_entries(h: Harness) {
    let (one, other) = h.handles().await;
    let record = one.tag_record("a");
    for (timeout, least) in
        [(Some(TTL), DAY), (Some(3 * DAY), 6 * DAY), (Some(TTL), 6 * DAY), (None, Duration::MAX)]
    {
        one.set_with("k", "value", timeout, &Tags::of(["a"])).await.unwrap();
        let left = match other.store().ttl(&record).await.unwrap() {
            Some(Ttl::Left(left)) => left + Duration::from_secs(60),
            Some(Ttl::Never) => Duration::MAX,
            None => panic!("the tag has a record"),
        };
        assert!(left >= least, "{left:?} for {timeout:?}");
    }
}

pub(super) async fn concurrent_creators_of_a_record_agree(h: Harness) {
    let (one, other) = h.handles().await;
    let mut sets = JoinSet::new();
    for number in 0..16 {
        let cache = if number % 2 == 0 { one.clone() } else { other.clone() };
        sets.spawn(async move { set(&cache, &format!("k{number}"), &["a", "b"]).await });
    }
    sets.join_all().await;
    for number in 0..16 {
        assert!(is_hit(&one, &format!("k{number}")).await, "{number}");
    }
}

pub(super) async fn inspection_reports_the_state_of_each_tag(h: Harness) {
    let (one, other) = h.handles().await;
    set(&one, "k", &["current", "hard", "lost", "replaced", "soft"]).await;
    other.purge_tags(["soft"], Purge::Soft).await.unwrap();
    other.purge_tags(["hard"], Purge::Soft).await.unwrap();
    other.purge_tags(["hard"], Purge::Hard).await.unwrap();
    for tag in ["lost", "replaced"] {
        assert!(other.store().delete(&other.tag_record(tag)).await.unwrap());
    }
    other.tags(["replaced"]).await.unwrap();
    let entry = one.inspect("k").await.unwrap().entry.expect("a purge leaves the entry");
    let found: Vec<_> = entry.tags.iter().map(|tag| (&*tag.name, tag.state)).collect();
    let expected = [
        ("current", TagState::Current),
        ("hard", TagState::PurgedHard),
        ("lost", TagState::Lost),
        ("replaced", TagState::Lost),
        ("soft", TagState::PurgedSoft),
    ];
    assert_eq!(found, expected.map(|(name, state)| (name, Some(state))));
    assert_eq!(entry.decode::<String>().unwrap(), "value");
}
