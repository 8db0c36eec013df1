//! `fetch`, by two handles on two clients of one store, as in two processes.

use std::time::Duration;

use cache_core::{CacheHandle, Fetch, FetchError, Ttl};
use tokio::sync::oneshot;

use crate::Harness;

/// How long an entry is fresh, by the clocks of the handles.
const FRESH: Duration = Duration::from_millis(1);
pub(super) const STALE_FOR: Duration = Duration::from_secs(1000);

type Failed = &'static str;

pub(super) fn fetch(cache: &CacheHandle, result: Result<i64, Failed>) -> Fetch<'_, i64, Failed> {
    cache.try_fetch("k", async move |_| result).ttl(FRESH).stale_for(STALE_FOR)
}

/// Creates two handles on a store with a stale entry of 1.
pub(super) async fn stale(h: &Harness) -> (CacheHandle, CacheHandle) {
    let (one, other) = h.handles().await;
    assert_eq!(fetch(&one, Ok(1)).await.unwrap(), 1);
    h.pass(2 * FRESH).await;
    (one, other)
}

/// Starts a call whose producer ends when the test sends its value.
pub(super) async fn start(
    cache: &CacheHandle,
) -> (oneshot::Sender<i64>, tokio::task::JoinHandle<i64>) {
    let (begun, has_begun) = oneshot::channel();
    let (value, receiver) = oneshot::channel();
    let cache = cache.clone();
    let produce = async move |_| {
        begun.send(()).expect("the test waits");
        receiver.await.expect("the test sends a value")
    };
    let call = tokio::spawn(async move {
        let fetch = cache.fetch("k", produce).ttl(STALE_FOR);
        fetch.soft_timeout(Duration::from_secs(10)).await.unwrap()
    });
    has_begun.await.expect("the producer begins");
    (value, call)
}

pub(super) async fn fetched_value_is_stored_for_its_time_to_live_and_the_stale_time(h: Harness) {
    let (one, other) = h.handles().await;
    let ttl = Duration::from_secs(1000);
    let value: String =
        one.fetch("k", async |_| "produced".into()).ttl(ttl).stale_for(STALE_FOR).await.unwrap();
    assert_eq!(value, "produced");
    let found: String =
        other.fetch("k", async |_| panic!("the producer must not run")).await.unwrap();
    assert_eq!(found, "produced");
    assert_eq!(other.get::<String>("k").await.unwrap().as_deref(), Some("produced"));
    let Some(Ttl::Left(left)) = other.ttl("k").await.unwrap() else {
        panic!("the entry has a deadline")
    };
    assert!((1900..=2000).contains(&left.as_secs()), "{left:?}");
}

pub(super) async fn stale_value_is_a_miss_for_get(h: Harness) {
    let (_, other) = stale(&h).await;
    assert_eq!(other.get::<i64>("k").await.unwrap(), None);
    assert!(other.contains("k").await.unwrap());
}

pub(super) async fn stale_value_is_replaced(h: Harness) {
    let (one, other) = stale(&h).await;
    let slow = Duration::from_secs(10);
    assert_eq!(fetch(&other, Ok(2)).ttl(STALE_FOR).soft_timeout(slow).await.unwrap(), 2);
    assert_eq!(one.get::<i64>("k").await.unwrap(), Some(2));
}

pub(super) async fn stale_value_is_returned_if_the_producer_fails(h: Harness) {
    let (one, other) = stale(&h).await;
    let slow = Duration::from_secs(10);
    for cache in [&one, &other] {
        assert_eq!(fetch(cache, Err("down")).soft_timeout(slow).await.unwrap(), 1);
    }
}

pub(super) async fn error_of_the_producer_stores_nothing(h: Harness) {
    let (one, other) = h.handles().await;
    let Err(FetchError::Produce(error)) = fetch(&one, Err("down")).await else {
        panic!("the producer has failed")
    };
    assert_eq!(*error, "down");
    assert!(!other.contains("k").await.unwrap());
    assert_eq!(fetch(&other, Ok(2)).ttl(STALE_FOR).await.unwrap(), 2);
    assert_eq!(one.get::<i64>("k").await.unwrap(), Some(2));
}
