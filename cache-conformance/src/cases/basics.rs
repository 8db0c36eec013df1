//! `get`, `set`, `add`, `delete`, `contains`, `clear`, `close`, `get_now` and `set_now`.

use std::sync::Arc;

use cache_core::{Cache, Ttl, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn unset_key_is_a_miss(h: Harness) {
    assert_eq!(h.store().await.get("k").await.unwrap(), None);
}

pub(super) async fn get_returns_the_stored_value(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("one"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("one")));
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("one")), "the second time");
}

pub(super) async fn set_overwrites_the_value(h: Harness) {
    let store = h.store().await;
    for text in ["one", "the second one", "3"] {
        store.set("k", bytes(text), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(text)));
    }
}

pub(super) async fn keys_are_independent(h: Harness) {
    let store = h.store().await;
    store.set("one", bytes("1st"), LONG).await.unwrap();
    store.set("other", bytes("2nd"), LONG).await.unwrap();
    store.delete("one").await.unwrap();
    assert_eq!(store.get("one").await.unwrap(), None);
    assert_eq!(store.get("other").await.unwrap(), Some(bytes("2nd")));
}

pub(super) async fn delete_returns_whether_the_key_existed(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert!(store.delete("k").await.unwrap());
    assert!(!store.delete("k").await.unwrap());
    assert!(!store.delete("never-set").await.unwrap());
}

pub(super) async fn deleted_key_is_a_miss(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    store.delete("k").await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), None);
    assert!(!store.contains("k").await.unwrap());
}

pub(super) async fn contains_returns_whether_the_key_exists(h: Harness) {
    let store = h.store().await;
    assert!(!store.contains("k").await.unwrap());
    store.set("k", bytes(""), LONG).await.unwrap();
    assert!(store.contains("k").await.unwrap());
}

pub(super) async fn add_stores_an_absent_key(h: Harness) {
    let store = h.store().await;
    assert!(store.add("k", bytes("v"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
}

pub(super) async fn add_leaves_an_existing_entry_unchanged(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("first"), None).await.unwrap();
    assert!(!store.add("k", bytes("second"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("first")));
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Never), "its time to live");
}

pub(super) async fn add_succeeds_after_delete(h: Harness) {
    let store = h.store().await;
    store.add("k", bytes("first"), LONG).await.unwrap();
    store.delete("k").await.unwrap();
    assert!(store.add("k", bytes("second"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("second")));
}

pub(super) async fn clear_removes_every_entry(h: Harness) {
    let store = h.store().await;
    for key in ["a", "b", ":1:c", "prefix:2:d"] {
        store.set(key, bytes("v"), LONG).await.unwrap();
    }
    store.clear().await.unwrap();
    for key in ["a", "b", ":1:c", "prefix:2:d"] {
        assert_eq!(store.get(key).await.unwrap(), None, "{key}");
        assert!(store.add(key, bytes("again"), LONG).await.unwrap(), "{key}");
    }
}

pub(super) async fn clear_of_an_empty_store_succeeds(h: Harness) {
    let store = h.store().await;
    store.clear().await.unwrap();
    store.clear().await.unwrap();
}

pub(super) async fn get_now_returns_what_get_returns(h: Harness) {
    let store = h.store().await;
    for value in [Some(bytes("one")), Some(bytes("other")), None] {
        match &value {
            Some(value) => store.set("k", value.clone(), LONG).await.unwrap(),
            None => assert!(store.delete("k").await.unwrap()),
        }
        if let Some(result) = store.get_now("k") {
            assert_eq!(result.unwrap(), value);
        }
    }
}

pub(super) async fn set_now_stores_what_set_stores(h: Harness) {
    let store = h.store().await;
    for (value, ttl, former_ttl) in [(bytes("new"), LONG, None), (Value::Int(7), None, LONG)] {
        store.set("k", bytes("old"), former_ttl).await.unwrap();
        match store.set_now("k", value.clone(), ttl) {
            Ok(stored) => {
                stored.unwrap();
                assert_eq!(store.get("k").await.unwrap(), Some(value));
                assert_eq!(store.ttl("k").await.unwrap() == Some(Ttl::Never), ttl.is_none());
            }
            Err(returned) => {
                assert_eq!(returned, value, "unchanged");
                assert_eq!(store.get("k").await.unwrap(), Some(bytes("old")), "nothing was stored");
            }
        }
    }
}

pub(super) async fn closed_store_reopens_on_use(h: Harness) {
    let store = h.store().await;
    store.close().await.unwrap();
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
    store.close().await.unwrap();
    store.close().await.unwrap();
}

pub(super) async fn arc_forwards_to_the_store(h: Harness) {
    let store = h.store().await;
    let same: Arc<Arc<dyn Cache>> = Arc::new(Arc::clone(&store));
    Cache::set(&same, "k", bytes("v"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
    assert_eq!(Cache::name(&same), store.name());
}
