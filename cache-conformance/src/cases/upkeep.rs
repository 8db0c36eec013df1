//! Statistics, purging and culling.

use std::time::Duration;

use cache_core::{Cache, Value, entries_after_cull};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn stats_count_the_entries(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("value"), LONG).await.unwrap();
    store.set("b", bytes("value"), None).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert!(stats.entries.is_none_or(|entries| entries == 2), "{stats:?}");
    assert!(stats.expired.is_none_or(|expired| expired == 0), "{stats:?}");
    assert!(
        stats.bytes.is_none_or(|bytes| bytes >= 12),
        "less than the keys and values: {stats:?}"
    );
}

pub(super) async fn stats_distinguish_expired_entries(h: Harness) {
    let store = h.store().await;
    store.set("a", bytes("v"), Some(h.moment())).await.unwrap();
    store.set("b", bytes("v"), LONG).await.unwrap();
    h.outlive(h.moment()).await;
    let stats = store.stats().await.unwrap();
    if let (Some(entries), Some(expired)) = (stats.entries, stats.expired) {
        assert!(expired <= 1 && entries == 1 + expired, "{stats:?}");
    }
}

pub(super) async fn purge_expired_removes_only_expired_entries(h: Harness) {
    let store = h.store().await;
    for key in ["a", "b"] {
        store.set(key, bytes("v"), Some(h.moment())).await.unwrap();
    }
    store.set("c", bytes("v"), LONG).await.unwrap();
    store.set("d", bytes("v"), None).await.unwrap();
    h.outlive(h.moment()).await;
    let purged = store.purge_expired(u64::MAX).await.unwrap();
    assert!(purged.is_none_or(|purged| purged <= 2), "{purged:?}");
    assert!(
        store.purge_expired(u64::MAX).await.unwrap().is_none_or(|more| more == 0),
        "the second purge finds nothing"
    );
    assert_eq!(
        store.get_many(&["a", "c", "d"]).await.unwrap(),
        [None, Some(bytes("v")), Some(bytes("v"))]
    );
    if purged.is_some() {
        assert!(store.stats().await.unwrap().expired.is_none_or(|expired| expired == 0));
    }
}

pub(super) async fn purge_expired_stops_at_the_maximum(h: Harness) {
    let store = h.store().await;
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("v"))).collect();
    store.set_many(&entries, Some(h.moment())).await.unwrap();
    h.outlive(h.moment()).await;
    let purged = store.purge_expired(5).await.unwrap();
    assert!(purged.is_none_or(|purged| purged <= 5), "{purged:?}");
}

pub(super) async fn cull_leaves_two_thirds_at_frequency_3(h: Harness) {
    assert_cull_leaves(&h, 3).await;
}

pub(super) async fn cull_clears_the_store_at_frequency_0(h: Harness) {
    assert_cull_leaves(&h, 0).await;
}

/// Writes entries until the store has culled.
///
/// A store may cull in the background. So each write beyond MAX_ENTRIES gives it time to finish
/// before the next one, which could otherwise add entries that the cull has not seen.
async fn assert_cull_leaves(h: &Harness, cull_frequency: u64) {
    const MAX_ENTRIES: u64 = 300;
    let store = h.bounded_store(MAX_ENTRIES, cull_frequency).await;
    // The entry that is written when the cull happens stays.
    let expected = entries_after_cull(MAX_ENTRIES, cull_frequency) + 1;
    let mut entries = 0;
    let culled = async {
        for number in 0_i64.. {
            let before = entries;
            store.set(&format!("k{number}"), Value::Int(number), LONG).await.unwrap();
            entries = entries_of(&*store).await;
            let is_full = number.unsigned_abs() >= MAX_ENTRIES || entries < before;
            for _ in 0..20 {
                if !is_full {
                    break;
                }
                if entries <= expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                entries = entries_of(&*store).await;
            }
        }
    };
    // Ends a little before the limit of the case, to report the number of entries.
    if tokio::time::timeout(h.limit() / 10 * 9, culled).await.is_err() {
        panic!(
            "{entries} entries at MAX_ENTRIES {MAX_ENTRIES} and CULL_FREQUENCY {cull_frequency}: \
             expected at most {expected} after a cull"
        );
    }
}

async fn entries_of(store: &dyn Cache) -> u64 {
    let stats = store.stats().await.unwrap();
    stats.entries.expect("a store with limits reports its entries")
}
