//! What an operator sees and does.

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn what_a_store_tells_of_its_entries_is_so(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("value"), LONG).await.unwrap();
    store.set("b", bytes("value"), None).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert!(stats.entries.is_none_or(|entries| entries == 2), "{stats:?}");
    assert!(stats.expired.is_none_or(|expired| expired == 0), "{stats:?}");
    assert!(stats.bytes.is_none_or(|bytes| bytes >= 12), "two keys and two values: {stats:?}");
}

pub(super) async fn what_has_expired_is_told_from_what_has_not(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("v"), Some(h.moment())).await.unwrap();
    store.set("b", bytes("v"), LONG).await.unwrap();
    h.outlive(h.moment()).await;
    let stats = store.stats().await.unwrap();
    if let (Some(entries), Some(expired)) = (stats.entries, stats.expired) {
        assert!(expired <= 1 && entries == 1 + expired, "{stats:?}");
    }
}

pub(super) async fn a_purge_removes_what_has_expired_and_nothing_else(h: Harness) {
    let store = h.store().await;
    for key in ["a", "b"] {
        store.set(key, bytes("v"), Some(h.moment())).await.unwrap();
    }
    store.set("c", bytes("v"), LONG).await.unwrap();
    store.set("d", bytes("v"), None).await.unwrap();
    h.outlive(h.moment()).await;
    let purged = store.purge_expired(u64::MAX).await.unwrap();
    assert!(purged.is_none_or(|purged| purged <= 2), "{purged:?}");
    assert!(store.purge_expired(u64::MAX).await.unwrap().is_none_or(|more| more == 0), "twice");
    assert_eq!(
        store.get_many(&["a", "c", "d"]).await.unwrap(),
        [None, Some(bytes("v")), Some(bytes("v"))]
    );
    if purged.is_some() {
        assert!(store.stats().await.unwrap().expired.is_none_or(|expired| expired == 0));
    }
}

pub(super) async fn a_purge_ends_where_it_is_told_to(h: Harness) {
    let store = h.store().await;
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("v"))).collect();
    store.set_many(&entries, Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    let purged = store.purge_expired(5).await.unwrap();
    assert!(purged.is_none_or(|purged| purged <= 5), "{purged:?}");
}
