//! How often a caller waits for a store on a server.

use cache_core::Share;
use cache_testing::{Recorder, Remote};

use super::*;

fn recorded(store: Arc<dyn Cache>, share: Share) -> (Recorder, CacheHandle) {
    let recorder = Recorder::new(store);
    let settings = Settings { share, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::new(recorder.clone()), settings);
    (recorder, cache)
}

fn remote() -> Arc<dyn Cache> {
    Arc::new(Remote::new(locmem(&ManualClock::new())))
}

/// Checks the calls since the last check, each of which waits for the one before.
#[track_caller]
fn assert_round_trips(recorder: &Recorder, calls: &[&str]) {
    assert_eq!(recorder.calls(), calls);
    assert_eq!(recorder.round_trips(), calls.len());
    recorder.reset();
}

#[tokio::test]
async fn hit_is_one_round_trip() {
    let (recorder, cache) = recorded(remote(), Share::Store);
    cache.set("k", &7_i64, TTL).await.expect("stored");
    recorder.reset();
    for verb in Producing::ALL {
        assert_eq!(verb.produce(&cache, 1).await.expect("a hit"), 7);
        assert_round_trips(&recorder, &["get :1:k"]);
    }
    let hit = cache.try_get_or_set("k", TTL, async || Err::<i64, _>("a hit")).await;
    assert_eq!(hit.expect("a hit"), Ok(7));
    assert_round_trips(&recorder, &["get :1:k"]);
    let hit = cache.get_or_set_shared("k", TTL, async || 1_i64).await;
    assert_eq!(*hit.expect("a hit"), 7);
    assert_round_trips(&recorder, &["get :1:k"]);
}

#[tokio::test]
async fn hit_of_a_value_that_fetch_has_stored_is_one_round_trip() {
    let (recorder, cache) = recorded(remote(), Share::Store);
    Producing::Fetch.produce(&cache, 7).await.expect("produced");
    recorder.reset();
    for verb in Producing::ALL {
        assert_eq!(verb.produce(&cache, 1).await.expect("a hit"), 7);
        assert_round_trips(&recorder, &["get :1:k"]);
    }
}

#[tokio::test]
async fn miss_is_three_round_trips() {
    for verb in Producing::ALL {
        let (recorder, cache) = recorded(remote(), Share::Store);
        assert_eq!(verb.produce(&cache, 7).await.expect("produced"), 7);
        assert_round_trips(&recorder, &["get :1:k", "acquire :1:k", "fill :1:k"]);
    }
}

#[tokio::test]
async fn refresh_of_a_stale_value_is_three_round_trips() {
    let time = ManualClock::new();
    let (recorder, cache) = recorded(Arc::new(Remote::new(locmem(&time))), Share::Store);
    let cache = cache.with_clock(time.clock());
    let fetch = async |value: i64| {
        let fetch = cache.fetch("k", async move |_| value).ttl(TTL).stale_for(TTL);
        fetch.await.expect("produced")
    };
    fetch(1).await;
    time.advance(TTL);
    recorder.reset();
    assert_eq!(fetch(2).await, 2);
    assert_round_trips(&recorder, &["get :1:k", "acquire :1:k", "fill :1:k"]);
}

#[tokio::test]
async fn failed_producer_costs_the_round_trip_that_ends_its_lease() {
    let (recorder, cache) = recorded(remote(), Share::Store);
    let failed = cache.try_get_or_set("k", TTL, async || Err::<i64, _>("down")).await;
    assert_eq!(failed.expect("no error of the cache"), Err("down"));
    assert_round_trips(&recorder, &["get :1:k", "acquire :1:k", "release :1:k"]);
    let failed = cache.try_fetch("k", async |_| Err::<i64, _>("down")).await;
    assert!(matches!(failed, Err(FetchError::Produce(_))));
    assert_round_trips(&recorder, &["get :1:k", "acquire :1:k", "release :1:k"]);
}

#[tokio::test]
async fn value_that_was_overtaken_by_a_write_costs_another_look() {
    let (recorder, cache) = recorded(remote(), Share::Store);
    let writer = cache.clone();
    let meanwhile = async move || writer.set("k", &2_i64, TTL).await.expect("stored");
    let value = Producing::GetOrSet.call(&cache, 1, meanwhile).await;
    assert_eq!(value.expect("the newer value"), 2);
    let calls = ["get :1:k", "acquire :1:k", "set :1:k", "fill :1:k", "get :1:k"];
    assert_round_trips(&recorder, &calls);
}

#[tokio::test]
async fn callers_that_wait_for_a_value_only_look_it_up() {
    for verb in Producing::ALL {
        let (recorder, cache) = recorded(remote(), Share::Store);
        let (one, other) = tokio::join!(verb.produce(&cache, 1), verb.produce(&cache, 2));
        assert_eq!(one.expect("produced"), other.expect("produced"));
        assert_eq!(recorder.calls(), ["get :1:k", "get :1:k", "acquire :1:k", "fill :1:k"]);
        assert_eq!(recorder.round_trips(), 3);
    }
}

#[tokio::test]
async fn miss_on_a_store_without_leases_is_three_round_trips_within_the_process() {
    for verb in Producing::ALL {
        let (recorder, cache) = recorded(Arc::new(Leaseless(remote())), Share::Process);
        assert_eq!(verb.produce(&cache, 7).await.expect("produced"), 7);
        assert_round_trips(&recorder, &["get :1:k", "get :1:k", "add :1:k"]);
    }
}

#[tokio::test]
async fn miss_on_a_store_without_leases_costs_two_more_for_other_processes() {
    const SIDE: &str = ":~:lease:1:k";
    for verb in Producing::ALL {
        let (recorder, cache) = recorded(Arc::new(Leaseless(remote())), Share::Store);
        assert_eq!(verb.produce(&cache, 7).await.expect("produced"), 7);
        let (lease, end) = (format!("add {SIDE}"), format!("delete {SIDE}"));
        assert_round_trips(&recorder, &["get :1:k", &lease, "get :1:k", "add :1:k", &end]);
    }
}

#[tokio::test]
async fn lock_update_and_counters_cost_what_they_say() {
    let (recorder, cache) = recorded(remote(), Share::Store);
    let guard = cache.lock("report").hold(TTL).await.expect("the store works").expect("it is free");
    guard.release().await.expect("the store works");
    assert_round_trips(&recorder, &["acquire :~:lock:report", "release :~:lock:report"]);
    cache.update("k", TTL, |old: Option<i64>| old.unwrap_or(0) + 1).await.expect("updated");
    assert_round_trips(&recorder, &["acquire :1:k", "fill :1:k"]);
    cache.incr_or_set("visits", 1, 1, TTL).await.expect("counted");
    assert_round_trips(&recorder, &["incr_or_set :1:visits"]);
    cache.get_and_touch::<i64>("k", TTL).await.expect("the store works").expect("a hit");
    assert_round_trips(&recorder, &["get_and_touch :1:k"]);
}
