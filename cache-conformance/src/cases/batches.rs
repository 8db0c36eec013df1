//! `get_many`, `set_many` and `delete_many`.

use cache_core::Value;

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn get_many_preserves_the_order_of_the_keys(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("A"), LONG).await.unwrap();
    store.set("c", Value::Int(3), LONG).await.unwrap();
    let values = store.get_many(&["c", "b", "a"]).await.unwrap();
    assert_eq!(values, [Some(Value::Int(3)), None, Some(bytes("A"))]);
}

pub(super) async fn get_many_returns_repeated_keys(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("A"), LONG).await.unwrap();
    let values = store.get_many(&["a", "b", "a"]).await.unwrap();
    assert_eq!(values, [Some(bytes("A")), None, Some(bytes("A"))]);
}

pub(super) async fn get_many_misses_expired_entries(h: Harness) {
    let store = h.store().await;
    store.set("short", bytes("S"), Some(h.moment())).await.unwrap();
    store.set("long", bytes("L"), LONG).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get_many(&["short", "long"]).await.unwrap(), [None, Some(bytes("L"))]);
}

pub(super) async fn set_many_stores_every_entry(h: Harness) {
    let store = h.store().await;
    let entries = [("a", bytes("A")), ("b", Value::Int(2)), ("c", bytes(""))];
    assert!(store.set_many(&entries, LONG).await.unwrap().is_empty());
    for (key, value) in entries {
        assert_eq!(store.get(key).await.unwrap(), Some(value), "{key}");
    }
}

pub(super) async fn set_many_overwrites_entries(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("old"), Some(h.moment())).await.unwrap();
    store.set_many(&[("a", bytes("new")), ("b", bytes("B"))], None).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("a").await.unwrap(), Some(bytes("new")));
}

pub(super) async fn set_many_applies_the_ttl_to_every_entry(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("old"), None).await.unwrap();
    store.set_many(&[("a", bytes("A")), ("b", bytes("B"))], Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get_many(&["a", "b"]).await.unwrap(), [None, None]);
}

pub(super) async fn set_many_returns_rejected_positions(h: Harness) {
    let Some(largest) = h.profile().largest_value else { return };
    let store = h.store().await;
    let giant = Value::Bytes(vec![7; 2 * largest].into());
    let rejected = store
        .set_many(&[("a", bytes("A")), ("giant", giant), ("b", bytes("B"))], LONG)
        .await
        .unwrap();
    assert_eq!(rejected, [1]);
    assert_eq!(
        store.get_many(&["a", "giant", "b"]).await.unwrap(),
        [Some(bytes("A")), None, Some(bytes("B"))]
    );
}

pub(super) async fn delete_many_returns_the_number_removed(h: Harness) {
    let store = h.store().await;
    store.set_many(&[("a", bytes("A")), ("b", bytes("B")), ("c", bytes("C"))], LONG).await.unwrap();
    assert_eq!(store.delete_many(&["a", "missing", "c"]).await.unwrap(), 2);
    assert_eq!(store.get_many(&["a", "b", "c"]).await.unwrap(), [None, Some(bytes("B")), None]);
}

/// 200 entries fit into a store with Django's default of 300.
pub(super) async fn batch_of_200_entries_is_accepted(h: Harness) {
    let store = h.store().await;
    let keys: Vec<String> =
        (0..200).map(|number| format!("key {number}").replace(' ', "-")).collect();
    let entries: Vec<(&str, Value)> =
        keys.iter().zip(0..).map(|(key, number)| (&**key, Value::Int(number))).collect();
    assert!(store.set_many(&entries, LONG).await.unwrap().is_empty());

    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let values: Vec<Option<Value>> = entries.into_iter().map(|(_, value)| Some(value)).collect();
    assert_eq!(store.get_many(&keys).await.unwrap(), values);
    assert_eq!(store.delete_many(&keys).await.unwrap(), 200);
}

/// 40,000 keys exceed the parameters of a statement and the replies in a pipeline of any server.
pub(super) async fn batch_of_40_000_keys_is_accepted(h: Harness) {
    let store = h.store().await;
    store.set("key-39999", bytes("the last"), LONG).await.unwrap();
    let keys: Vec<String> = (0..40_000).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let values = store.get_many(&keys).await.unwrap();
    assert_eq!(values.len(), keys.len());
    assert_eq!(values.iter().position(Option::is_some), Some(39_999));
    assert_eq!(store.delete_many(&keys).await.unwrap(), 1);
}
