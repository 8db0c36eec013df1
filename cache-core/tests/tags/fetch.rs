//! Tags of `fetch`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    CacheHandle, ErrorKind, FetchError, Fill, OnOutage, Purge, Settings, TagOptions, Tags, Timeout,
};
use cache_testing::{Chaos, Fault, Pause, Remote, Verb, Verbs};

use super::{DAY, Fixture, TTL, locmem};

const STALE_FOR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// Fetches `k` with the tag `t`, and others that the producer adds.
async fn fetch(cache: &CacheHandle, value: &'static str, added: &'static [&str]) -> String {
    let produce = move |fill: Fill| async move {
        added.iter().for_each(|tag| fill.tag(*tag));
        value.to_owned()
    };
    let fetch = cache.fetch("k", produce).ttl(TTL).stale_for(STALE_FOR).early(0.0).jitter(0.0);
    fetch.tags(["t"]).await.expect("the store works")
}

/// Returns what is stored, if it is fresh.
async fn stored(cache: &CacheHandle) -> Option<String> {
    cache.get("k").await.expect("the store works")
}

#[tokio::test]
async fn hit_costs_one_round_trip_if_the_caller_names_all_tags() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    assert_eq!(fixture.round_trips(fetch(cache, "v", &[])).await, 4, "creates the record");
    assert_eq!(fixture.round_trips(fetch(cache, "w", &[])).await, 1);
    assert_eq!(fixture.recorder.calls(), ["get_many :1:k :~:tag:t"]);
    cache.delete("k").await.expect("the store works");
    assert_eq!(fixture.round_trips(fetch(cache, "v", &[])).await, 3, "looks up, leases, stores");
}

#[tokio::test]
async fn hit_costs_two_round_trips_if_the_producer_has_added_tags() {
    let fixture = Fixture::remote();
    fetch(&fixture.cache, "v", &["u", "w"]).await;
    assert_eq!(fixture.round_trips(fetch(&fixture.cache, "w", &[])).await, 2);
    assert_eq!(fixture.recorder.calls(), ["get_many :1:k :~:tag:t", "get_many :~:tag:u :~:tag:w"]);
}

#[tokio::test]
async fn hit_without_tags_costs_one_round_trip() {
    let fixture = Fixture::remote();
    let fetch = || fixture.cache.fetch("k", async |_| 1_u8);
    fetch().await.expect("the store works");
    assert_eq!(fixture.round_trips(async { fetch().await }).await, 1);
    assert_eq!(fixture.recorder.calls(), ["get :1:k"]);
}

#[tokio::test]
async fn object_in_this_process_is_looked_up_once_while_nobody_purges() {
    let fixture = Fixture::local();
    let fetch = async || {
        fixture.recorder.reset();
        let fetch = fixture.cache.fetch("k", async |_| String::from("v")).early(0.0);
        fetch.tags(["one of fetch", "other of fetch"]).shared().await.expect("the store works");
        fixture.recorder.count(Verbs::READS)
    };
    fetch().await;
    assert_eq!([fetch().await, fetch().await], [3, 1]);
}

#[tokio::test]
async fn hard_purge_makes_the_entry_missing_and_a_soft_one_stale() {
    for fixture in Fixture::both() {
        for tag in ["t", "u"] {
            let cache = &fixture.cache;
            cache.delete("k").await.expect("the store works");
            fixture.time.advance(2 * SECOND);
            assert_eq!(fetch(cache, "1", &["u"]).await, "1");
            let failing = async || {
                let fetch = cache.try_fetch("k", async |_| Err::<String, _>("failed"));
                fetch.tags(["t"]).retry_after(Duration::ZERO).await.ok()
            };
            cache.purge_tags([tag], Purge::Soft).await.expect("the store works");
            assert_eq!(failing().await.as_deref(), Some("1"), "the stale value");
            cache.purge_tags([tag], Purge::Hard).await.expect("the store works");
            assert_eq!(failing().await, None);
        }
    }
}

#[tokio::test]
async fn stale_value_is_replaced_after_a_soft_purge() {
    for fixture in Fixture::both() {
        fetch(&fixture.cache, "1", &[]).await;
        fixture.cache.purge_tags(["t"], Purge::Soft).await.expect("the store works");
        assert_eq!(fetch(&fixture.cache, "2", &[]).await, "2");
        assert_eq!(stored(&fixture.cache).await.as_deref(), Some("2"));
    }
}

/// Fetches a value whose producer runs `meanwhile`.
async fn fetch_while(
    cache: &CacheHandle,
    added: &'static [&str],
    meanwhile: impl Future<Output = ()> + Send + 'static,
) {
    let produce = move |fill: Fill| async move {
        meanwhile.await;
        added.iter().for_each(|tag| fill.tag(*tag));
        "old".to_owned()
    };
    let fetched = cache.fetch("k", produce).tags(["t"]).ttl(TTL).stale_for(STALE_FOR).await;
    assert_eq!(fetched.expect("the store works"), "old");
}

#[tokio::test]
async fn purge_while_the_value_is_produced_wins() {
    for (tag, added) in [("t", &[][..]), ("u", &["u"]), ("t", &["u"])] {
        for is_known in [false, true] {
            for purge in [Purge::Hard, Purge::Soft] {
                for fixture in Fixture::both() {
                    let other = fixture.other();
                    if is_known {
                        fixture.set("another", "v", &["t", "u"]).await;
                        fixture.time.advance(DAY / 2);
                    }
                    fetch_while(&fixture.cache, added, async move {
                        other.purge_tags([tag], purge).await.expect("the store works");
                    })
                    .await;
                    assert_eq!(stored(&fixture.cache).await, None, "{tag} {added:?} {purge:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn tag_that_the_producer_adds_may_have_been_purged_a_second_before() {
    let fixture = Fixture::remote();
    for (age, is_stored) in [(SECOND - Duration::from_nanos(1), false), (SECOND, true)] {
        fixture.cache.purge_tags(["u"], Purge::Hard).await.expect("the store works");
        fixture.time.advance(age);
        assert_eq!(fetch(&fixture.cache, "v", &["u"]).await, "v");
        assert_eq!(stored(&fixture.cache).await.is_some(), is_stored, "{age:?}");
    }
}

#[tokio::test]
async fn configured_skew_replaces_that_of_a_second() {
    for skew in [Duration::ZERO, 60 * SECOND] {
        let fixture = Fixture::remote();
        let settings = Settings { tags: TagOptions { skew }, ..Settings::default() };
        let cache = CacheHandle::new("default", Arc::clone(fixture.cache.store()), settings);
        let cache = cache.with_clock(fixture.time.clock());
        for (age, is_stored) in [(skew.saturating_sub(SECOND), skew.is_zero()), (skew, true)] {
            cache.purge_tags(["u"], Purge::Hard).await.expect("the store works");
            fixture.time.advance(age);
            fetch(&cache, "v", &["u"]).await;
            assert_eq!(stored(&cache).await.is_some(), is_stored, "{skew:?} {age:?}");
        }
    }
}

#[tokio::test]
async fn purge_of_another_tag_does_not_keep_a_value_from_being_stored() {
    for fixture in Fixture::both() {
        let other = fixture.other();
        fetch_while(&fixture.cache, &["u"], async move {
            other.purge_tags(["w"], Purge::Hard).await.expect("the store works");
        })
        .await;
        assert_eq!(stored(&fixture.cache).await.as_deref(), Some("old"));
    }
}

/// A purge runs between any two calls of a `fetch` on the store. The data changes before the purge,
/// so that a value of before it must not be returned afterwards.
#[tokio::test]
async fn purge_between_any_two_store_calls_of_a_fetch_leaves_no_old_value() {
    for (tag, added) in [("t", &["u"][..]), ("u", &["u"])] {
        for purge in [Purge::Hard, Purge::Soft] {
            for is_stale in [false, true] {
                for calls in 1.. {
                    let fixture = Fixture::remote();
                    let pause = Pause::new(Arc::clone(fixture.cache.store()));
                    let cache = fixture.cache.with_store(Arc::new(pause.clone()));
                    if is_stale {
                        fetch(&cache, "0", added).await;
                        fixture.time.advance(TTL);
                    }
                    let data = Arc::new(AtomicUsize::new(0));
                    let (shown, other) = (Arc::clone(&data), fixture.other());
                    let held = pause.before(Verbs::ALL, calls);
                    let interruption = tokio::spawn(held.during(async move {
                        shown.store(1, SeqCst);
                        other.purge_tags([tag], purge).await.expect("the store works");
                    }));
                    let next = async || {
                        let shown = Arc::clone(&data);
                        let produce = move |fill: Fill| async move {
                            added.iter().for_each(|tag| fill.tag(*tag));
                            shown.load(SeqCst).to_string()
                        };
                        let fetch = cache.fetch("k", produce).tags(["t"]).ttl(TTL);
                        fetch.stale_for(STALE_FOR).await.expect("the store works")
                    };
                    next().await;
                    if !interruption.is_finished() {
                        assert!(calls > 4, "{calls} store calls");
                        break;
                    }
                    interruption.await.expect("it does not panic");
                    let found = stored(&fixture.cache).await;
                    assert_ne!(found.as_deref(), Some("0"), "{tag} {purge:?} after {calls} calls");
                    assert_eq!(next().await, "1", "{tag} {purge:?} after {calls} calls");
                }
            }
        }
    }
}

#[tokio::test]
async fn too_many_tags_are_an_error() {
    let fixture = Fixture::remote();
    let names = |range: std::ops::Range<u32>| range.map(|tag| tag.to_string());
    let kind = async |named: u32, added: u32| {
        let produce =
            async move |fill: Fill| names(named..named + added).for_each(|tag| fill.tag(tag));
        let fetched = fixture.cache.fetch("k", produce).tags(names(0..named)).await;
        match fetched {
            Ok(()) => None,
            Err(FetchError::Cache(error)) => Some(error.kind()),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(kind(65, 0).await, Some(ErrorKind::TooLarge));
    assert_eq!(kind(60, 5).await, Some(ErrorKind::TooLarge));
    assert_eq!(kind(60, 4).await, None);
}

#[tokio::test]
async fn value_is_returned_and_not_stored_if_the_generations_of_its_tags_cannot_be_read() {
    let chaos = Chaos::new(Arc::new(Remote::new(locmem(&cache_core::ManualClock::new()))));
    for added in [&[][..], &["u"]] {
        // The lookup fails, or the read of the tags that the producer adds.
        let skip = if added.is_empty() { 1 } else { 2 };
        let cache = CacheHandle::new("default", Arc::new(chaos.clone()), Settings::default());
        chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::GetMany).skip(skip));
        assert_eq!(fetch(&cache, "v", added).await, "v");
        chaos.heal();
        assert_eq!(stored(&cache).await, None);
        assert_eq!(fetch(&cache, "w", added).await, "w", "the lease has ended");
        cache.delete("k").await.expect("the store works");
    }
}

#[tokio::test]
async fn error_of_the_tags_is_returned_if_the_policy_says_so() {
    let chaos = Chaos::new(Arc::new(Remote::new(locmem(&cache_core::ManualClock::new()))));
    let settings = Settings { on_outage: OnOutage::Error, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::new(chaos.clone()), settings);
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::GetMany).skip(1));
    let fetched = cache.fetch("k", async |_| 1_u8).tags(["t"]).await;
    let Err(FetchError::Cache(error)) = fetched else { panic!("{fetched:?}") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    chaos.heal();
    assert_eq!(cache.fetch("k", async |_| 2_u8).tags(["t"]).await.expect("the store works"), 2);
}

#[tokio::test]
async fn records_outlive_the_stale_time_of_a_fetched_entry() {
    let fixture = Fixture::remote();
    let produce = async |fill: Fill| {
        fill.tag("u");
        fill.ttl(Timeout::After(10 * DAY));
    };
    let fetched = fixture.cache.fetch("k", produce).tags(["t"]).stale_for(10 * DAY).await;
    fetched.expect("the store works");
    fixture.time.advance(20 * DAY - SECOND);
    let stale = fixture.cache.try_fetch("k", async |_| Err::<(), _>("failed")).tags(["t"]).await;
    assert!(stale.is_ok(), "{stale:?}");
}

#[tokio::test]
async fn stored_tags_are_those_of_the_caller_and_of_the_producer() {
    let fixture = Fixture::remote();
    for tag in ["t", "u"] {
        fetch(&fixture.cache, "v", &["u", "t"]).await;
        assert!(stored(&fixture.cache).await.is_some());
        fixture.cache.purge_tags([tag], Purge::Hard).await.expect("the store works");
        assert!(stored(&fixture.cache).await.is_none(), "{tag}");
        fixture.time.advance(2 * SECOND);
    }
    let tags = Tags::of(["u", "t", "u"]);
    assert_eq!(tags.names().collect::<Vec<_>>(), ["t", "u"]);
}
