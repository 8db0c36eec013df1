//! `get`, `set`, `add`, `delete`, `contains`, `clear`, `close`.

use std::sync::Arc;

use cache_core::{Cache, Ttl, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn a_key_that_was_never_set_is_a_miss(h: Harness) {
    assert_eq!(h.store().await.get("k").await.unwrap(), None);
}

pub(super) async fn a_value_that_was_set_is_got_back(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("one"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("one")));
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("one")), "the second time");
}

pub(super) async fn a_second_set_overwrites_the_value(h: Harness) {
    let store = h.store().await;
    for text in ["one", "the second one", "3"] {
        store.set("k", bytes(text), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(text)));
    }
}

pub(super) async fn keys_do_not_see_each_other(h: Harness) {
    let store = h.store().await;
    store.set("one", bytes("1st"), LONG).await.unwrap();
    store.set("other", bytes("2nd"), LONG).await.unwrap();
    store.delete("one").await.unwrap();
    assert_eq!(store.get("one").await.unwrap(), None);
    assert_eq!(store.get("other").await.unwrap(), Some(bytes("2nd")));
}

pub(super) async fn delete_says_whether_there_was_an_entry(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert!(store.delete("k").await.unwrap());
    assert!(!store.delete("k").await.unwrap());
    assert!(!store.delete("never-set").await.unwrap());
}

pub(super) async fn a_deleted_key_is_a_miss(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("v"), LONG).await.unwrap();
    store.delete("k").await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), None);
    assert!(!store.contains("k").await.unwrap());
}

pub(super) async fn contains_tells_whether_the_key_is_there(h: Harness) {
    let store = h.store().await;
    assert!(!store.contains("k").await.unwrap());
    store.set("k", bytes(""), LONG).await.unwrap();
    assert!(store.contains("k").await.unwrap());
}

pub(super) async fn add_stores_where_there_is_nothing(h: Harness) {
    let store = h.store().await;
    assert!(store.add("k", bytes("v"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
}

pub(super) async fn add_leaves_an_entry_as_it_is(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes("first"), None).await.unwrap();
    assert!(!store.add("k", bytes("second"), LONG).await.unwrap());
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("first")));
    assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Never), "its time to live");
}

pub(super) async fn add_works_again_after_delete(h: Harness) {
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

pub(super) async fn clear_of_an_empty_store_is_fine(h: Harness) {
    let store = h.store().await;
    store.clear().await.unwrap();
    store.clear().await.unwrap();
}

pub(super) async fn an_answer_without_waiting_is_the_same_answer(h: Harness) {
    let store = h.store().await;
    for value in [Some(bytes("one")), Some(bytes("other")), None] {
        match &value {
            Some(value) => store.set("k", value.clone(), LONG).await.unwrap(),
            None => assert!(store.delete("k").await.unwrap()),
        }
        if let Some(answer) = store.get_now("k") {
            assert_eq!(answer.unwrap(), value);
        }
    }
}

pub(super) async fn a_write_without_waiting_is_the_same_write(h: Harness) {
    let store = h.store().await;
    for (value, ttl, former_ttl) in [(bytes("new"), LONG, None), (Value::Int(7), None, LONG)] {
        store.set("k", bytes("old"), former_ttl).await.unwrap();
        match store.set_now("k", value.clone(), ttl) {
            Ok(stored) => {
                stored.unwrap();
                assert_eq!(store.get("k").await.unwrap(), Some(value));
                assert_eq!(store.ttl("k").await.unwrap() == Some(Ttl::Never), ttl.is_none());
            }
            Err(back) => {
                assert_eq!(back, value, "as it was");
                assert_eq!(store.get("k").await.unwrap(), Some(bytes("old")), "nothing was stored");
            }
        }
    }
}

pub(super) async fn a_closed_store_is_usable_again(h: Harness) {
    let store = h.store().await;
    store.close().await.unwrap();
    store.set("k", bytes("v"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
    store.close().await.unwrap();
    store.close().await.unwrap();
}

pub(super) async fn an_arc_of_a_store_is_the_store(h: Harness) {
    let store = h.store().await;
    let same: Arc<Arc<dyn Cache>> = Arc::new(Arc::clone(&store));
    Cache::set(&same, "k", bytes("v"), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("v")));
    assert_eq!(Cache::name(&same), store.name());
}
