//! `fetch` on a store with leases, which hold for all its clients.

use std::time::Duration;

use super::fetch::{STALE_FOR, fetch, stale, start};
use crate::Harness;

pub(super) async fn missing_value_is_not_stored_after_a_delete_by_another_client(h: Harness) {
    let (one, other) = h.handles().await;
    let (value, call) = start(&one).await;
    other.delete("k").await.unwrap();
    value.send(2).expect("the producer waits");
    assert_eq!(call.await.unwrap(), 2);
    assert!(!other.contains("k").await.unwrap());
}

pub(super) async fn stale_value_is_not_replaced_after_a_set_by_another_client(h: Harness) {
    let (one, other) = stale(&h).await;
    let (value, call) = start(&one).await;
    other.set("k", &3, STALE_FOR).await.unwrap();
    value.send(2).expect("the producer waits");
    assert_eq!(call.await.unwrap(), 2);
    assert_eq!(other.get::<i64>("k").await.unwrap(), Some(3));
}

pub(super) async fn stale_value_is_returned_at_once_while_another_client_produces(h: Harness) {
    let (one, other) = stale(&h).await;
    let (value, call) = start(&one).await;
    let found: i64 = other
        .fetch("k", async |_| panic!("the producer must not run"))
        .soft_timeout(Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(found, 1);
    value.send(2).expect("the producer waits");
    assert_eq!(call.await.unwrap(), 2);
}

pub(super) async fn missing_value_of_another_client_is_found(h: Harness) {
    let (one, other) = h.handles().await;
    let (value, call) = start(&one).await;
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { fetch(&other, Err("the producer must not run")).await }
    });
    tokio::task::yield_now().await;
    value.send(2).expect("the producer waits");
    assert_eq!(call.await.unwrap(), 2);
    while !waiting.is_finished() {
        // Not faster than the time in which the store works.
        h.pass(Duration::from_millis(1)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}
