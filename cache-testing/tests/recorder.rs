//! Recorded calls and round trips.

use std::{sync::Arc, time::Duration};

use cache_core::{Ask, Cache, CacheHandle, ErrorKind, Leases, Settings, Timeout, Value};
use cache_locmem::LocMemCache;
use cache_testing::{Chaos, Fault, Pause, Recorder, Remote, Verb, Verbs};

const TTL: Option<Duration> = Some(Duration::from_secs(60));
const HOLD: Duration = Duration::from_secs(30);
const ONE: Value = Value::Int(1);

fn in_memory() -> Recorder {
    Recorder::new(Arc::new(LocMemCache::default()))
}

fn remote() -> Recorder {
    Recorder::new(Arc::new(Remote::new(Arc::new(LocMemCache::default()))))
}

async fn call_every_verb(store: &dyn Cache) -> cache_core::Result<()> {
    store.set("a", ONE, TTL).await?;
    store.add("b", ONE, TTL).await?;
    store.get("a").await?;
    store.get_many(&["a", "b"]).await?;
    store.contains("a").await?;
    store.ttl("a").await?;
    store.set_many(&[("c", ONE), ("d", ONE)], TTL).await?;
    store.touch("a", TTL).await?;
    store.incr("a", 1).await?;
    store.incr_or_set("a", 1, 1, TTL).await?;
    store.get_and_touch("a", TTL).await?;
    store.delete("a").await?;
    store.delete_many(&["b", "c"]).await?;
    store.clear().await?;
    let leases = store.leases().expect("the store has leases");
    for is_produced in [true, false] {
        let acquired = leases.acquire("e", Ask::Missing, HOLD).await?;
        let lease = acquired.lease.expect("nobody holds a lease");
        if is_produced {
            leases.fill("e", lease, ONE, TTL).await?;
            store.delete("e").await?;
        } else {
            leases.release("e", lease, Duration::ZERO).await?;
        }
    }
    store.stats().await?;
    store.purge_expired(10).await?;
    store.close().await
}

#[tokio::test]
async fn every_verb_is_recorded_with_its_keys() {
    for recorder in [in_memory(), remote()] {
        call_every_verb(&recorder).await.expect("the store works");
        let expected = [
            "set a",
            "add b",
            "get a",
            "get_many a b",
            "contains a",
            "ttl a",
            "set_many c d",
            "touch a",
            "incr a",
            "incr_or_set a",
            "get_and_touch a",
            "delete a",
            "delete_many b c",
            "clear",
            "acquire e",
            "fill e",
            "delete e",
            "acquire e",
            "release e",
            "stats",
            "purge_expired",
            "close",
        ];
        assert_eq!(recorder.calls(), expected);
        assert_eq!(recorder.count(Verbs::ALL), expected.len());
        assert_eq!(recorder.count([Verb::Add, Verb::Incr]), 2);
        assert_eq!(recorder.round_trips(), expected.len());
    }
}

#[tokio::test]
async fn ttl_is_recorded() {
    let recorder = in_memory();
    recorder.set("a", ONE, TTL).await.expect("the store works");
    recorder.set("a", ONE, None).await.expect("the store works");
    let acquired = recorder.acquire("b", Ask::Missing, HOLD).await.expect("the store works");
    let lease = acquired.lease.expect("nobody holds a lease");
    recorder.fill("b", lease, ONE, TTL).await.expect("the store works");
    let ttls: Vec<_> = recorder.calls().iter().map(|call| call.ttl).collect();
    assert_eq!(ttls, [TTL, None, None, TTL]);
}

#[tokio::test]
async fn call_answered_without_waiting_is_recorded_once_and_is_no_round_trip() {
    let recorder = in_memory();
    let cache = CacheHandle::new("default", Arc::new(recorder.clone()), Settings::default());
    cache.set("k", &1, Timeout::Default).await.expect("the store works");
    assert_eq!(cache.get::<u32>("k").await.expect("a hit"), Some(1));
    assert_eq!(recorder.calls(), ["set :1:k", "get :1:k"]);
    assert_eq!(recorder.round_trips(), 0);
}

#[tokio::test]
async fn calls_side_by_side_are_one_round_trip() {
    let recorder = remote();
    let (a, b, c) = tokio::join!(recorder.get("a"), recorder.get("b"), recorder.get("c"));
    assert!([a, b, c].iter().all(Result::is_ok));
    assert_eq!((recorder.calls().len(), recorder.round_trips()), (3, 1));
}

#[tokio::test]
async fn call_after_one_of_two_is_another_round_trip() {
    let pause = Pause::new(Arc::new(LocMemCache::default()));
    let recorder = Recorder::new(Arc::new(pause.clone()));
    let held = pause.before(Verb::Get, 1);
    let in_a_row = async {
        recorder.ttl("b").await?;
        recorder.ttl("c").await
    };
    let (slow, quick) = tokio::join!(recorder.get("a"), held.during(in_a_row));
    assert!(slow.is_ok() && quick.is_ok());
    assert_eq!(recorder.round_trips(), 2);
}

#[tokio::test]
async fn failed_and_dropped_calls_count() {
    let chaos = Chaos::new(Arc::new(LocMemCache::default()));
    let recorder = Recorder::new(Arc::new(chaos.clone()));
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::Get));
    chaos.inject(Fault::hang().on(Verb::Set));
    recorder.get("k").await.expect_err("an injected error");
    let hanging = recorder.set("k", ONE, TTL);
    tokio::select! {
        biased;
        _ = hanging => panic!("the call hangs"),
        () = std::future::ready(()) => {}
    }
    recorder.delete("k").await.expect("the store works");
    assert_eq!(recorder.calls(), ["get k", "set k", "delete k"]);
    assert_eq!(recorder.round_trips(), 3);
}

#[tokio::test]
async fn call_that_began_before_a_reset_does_not_count_after_it() {
    let pause = Pause::new(Arc::new(LocMemCache::default()));
    let recorder = Recorder::new(Arc::new(pause.clone()));
    recorder.get("a").await.expect("the store works");
    let held = pause.before(Verb::Get, 1);
    let after_reset = async {
        recorder.reset();
        assert_eq!((recorder.calls().len(), recorder.round_trips()), (0, 0));
        recorder.ttl("b").await
    };
    let (before, after) = tokio::join!(recorder.get("a"), held.during(after_reset));
    assert!(before.is_ok() && after.is_ok());
    assert_eq!(recorder.calls(), ["ttl b"]);
    assert_eq!(recorder.round_trips(), 1);
}
