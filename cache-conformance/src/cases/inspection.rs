//! What operators see: the keys in the store, and the place and the lease of an entry.

use std::{collections::BTreeMap, time::Duration};

use cache_core::{Ask, Cache, CacheHandle, Clear, KeyState, ListedKey, Location, Settings};

use super::{LONG, bytes};
use crate::Harness;

/// The side key of `k`, as a handle composes it.
const SIDE: &str = "shop:~:lease:1:k";

/// Lists all keys that begin with the prefix. A key may be listed more than once.
async fn list(store: &dyn Cache, prefix: &str) -> BTreeMap<String, KeyState> {
    let inspector = store.inspector().expect("a wrapper forwards the inspector");
    let mut pages = inspector.keys(prefix);
    let mut keys = BTreeMap::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        for ListedKey { key, state } in page {
            let known = keys.insert(key.clone(), state);
            assert!(known.is_none_or(|known| known == state), "{key} is {known:?} and {state:?}");
        }
    }
    keys
}

async fn live(store: &dyn Cache, prefix: &str) -> Vec<String> {
    let keys = list(store, prefix).await.into_iter();
    keys.filter(|(_, state)| *state == KeyState::Live).map(|(key, _)| key).collect()
}

async fn locate(store: &dyn Cache, key: &str) -> Location {
    let inspector = store.inspector().expect("a wrapper forwards the inspector");
    inspector.locate(key, SIDE).await.unwrap()
}

pub(super) async fn empty_store_lists_no_keys(h: Harness) {
    let store = h.store().await;
    assert!(list(&*store, "").await.is_empty());
    store.set("k", bytes("v"), LONG).await.unwrap();
    store.delete("k").await.unwrap();
    assert!(live(&*store, "").await.is_empty(), "after a delete");
}

pub(super) async fn every_key_is_listed(h: Harness) {
    let store = h.store().await;
    let mut keys: Vec<String> = (0..250).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("v"))).collect();
    assert!(store.set_many(&entries, LONG).await.unwrap().is_empty());
    store.set("never", bytes("v"), None).await.unwrap();
    keys.push("never".into());
    keys.sort();
    assert_eq!(live(&*store, "").await, keys);
}

pub(super) async fn prefix_is_compared_byte_by_byte(h: Harness) {
    let store = h.store().await;
    let keys = ["user:1", "user:2", "USER:3", "use", "usr:*", "a*b", "a*", "axb", "a%b", "a_b"];
    let keys = keys.into_iter().chain(["[a]:1", "a:1", "a\\b", "ž:1", "ž:2", "z:1", "{t}:1"]);
    for key in keys.clone() {
        store.set(key, bytes("v"), LONG).await.unwrap();
    }
    for prefix in ["user:", "use", "a*", "a%", "a_", "[a]", "a\\", "ž", "{t}", "none", ""] {
        let mut expected: Vec<_> = keys.clone().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(live(&*store, prefix).await, expected, "{prefix:?}");
    }
}

pub(super) async fn expired_key_is_not_listed_as_live(h: Harness) {
    let store = h.store().await;
    store.set("gone", bytes("v"), Some(h.moment())).await.unwrap();
    store.set("here", bytes("v"), LONG).await.unwrap();
    // memcached lists an entry during the second in which it expires.
    h.outlive(h.moment() + h.profile().expiry_granularity).await;
    let keys = list(&*store, "").await;
    assert_eq!(keys.get("here"), Some(&KeyState::Live));
    assert!(keys.get("gone").is_none_or(|state| *state == KeyState::Expired), "{keys:?}");
}

pub(super) async fn lease_is_not_listed_as_an_entry(h: Harness) {
    let store = h.store().await;
    let Some(leases) = store.leases() else { return };
    store.set("k", bytes("v"), LONG).await.unwrap();
    let hold = Duration::from_secs(60);
    let absent = leases.acquire("absent", Ask::Missing, hold).await.unwrap();
    let present = leases.acquire("k", Ask::Any { side: SIDE }, hold).await.unwrap();
    assert!(absent.lease.is_some() && present.lease.is_some());
    assert_eq!(live(&*store, "").await, ["k"]);
}

pub(super) async fn handle_lists_the_keys_of_its_generation(h: Harness) {
    let settings = Settings { clear: Clear::Generation, ..Settings::default() };
    let (one, other) = h.handles_with(settings).await;
    one.set("old", "v", None::<Duration>).await.unwrap();
    one.clear().await.unwrap();
    one.set("new", "v", None::<Duration>).await.unwrap();
    let mut keys = other.keys("").expect("the store lists its keys");
    let mut listed = Vec::new();
    while let Some(page) = keys.next_page().await.unwrap() {
        listed.extend(page.into_iter().map(|listed| listed.key));
    }
    assert_eq!(listed, ["new"]);
    assert!(other.inspect("new").await.unwrap().entry.is_some());
    assert!(other.inspect("old").await.unwrap().entry.is_none());
}

pub(super) async fn handle_lists_its_own_keys(h: Harness) {
    let store = h.store().await;
    let handle = |prefix: &str, version: i64| {
        let settings =
            Settings { key_prefix: prefix.into(), version: version.into(), ..Settings::default() };
        CacheHandle::new("conformance", store.clone(), settings)
    };
    for (prefix, version, key) in
        [("shop", 1, "user:1"), ("shop", 1, "page"), ("shop", 2, "user:2"), ("shopping", 1, "u")]
    {
        handle(prefix, version).set(key, "v", None::<Duration>).await.unwrap();
    }
    let cache = handle("shop", 1);
    // The lock is a record of cachette under the same prefix.
    let hold = Duration::from_secs(60);
    let _guard = cache.lock("report").hold(hold).await.unwrap().expect("nobody holds it");
    for (prefix, expected) in [("", &["page", "user:1"][..]), ("user:", &["user:1"]), ("x", &[])] {
        let mut keys = cache.keys(prefix).expect("the store lists its keys");
        let mut listed = Vec::new();
        while let Some(page) = keys.next_page().await.unwrap() {
            listed.extend(page.into_iter().map(|listed| listed.key));
        }
        listed.sort();
        assert_eq!(listed, expected, "{prefix:?}");
    }
}

pub(super) async fn entry_has_a_place_and_a_size(h: Harness) {
    let store = h.store().await;
    let absent = locate(&*store, "k").await;
    assert!(!absent.place.is_empty());
    assert_eq!(absent.size, None, "of an absent key");
    store.set("k", bytes("four"), LONG).await.unwrap();
    let present = locate(&*store, "k").await;
    assert_eq!(present.place, absent.place);
    assert!(present.size.is_none_or(|size| (4..40).contains(&size)), "{present:?}");
    assert_ne!(present.is_leased, Some(true));
    store.delete("k").await.unwrap();
    assert_eq!(locate(&*store, "k").await, absent, "after a delete");
}

pub(super) async fn held_lease_is_reported(h: Harness) {
    let store = h.store().await;
    let Some(leases) = store.leases() else { return };
    if locate(&*store, "k").await.is_leased.is_none() {
        return;
    }
    for is_present in [false, true] {
        if is_present {
            store.set("k", bytes("v"), LONG).await.unwrap();
        }
        let hold = Duration::from_secs(60);
        let acquired = leases.acquire("k", Ask::Any { side: SIDE }, hold).await.unwrap();
        let lease = acquired.lease.expect("nobody holds one");
        let held = locate(&*store, "k").await;
        assert_eq!(held.is_leased, Some(true), "with an entry: {is_present}");
        assert_eq!(held.size.is_some(), is_present, "{held:?}");
        leases.release("k", lease, Duration::ZERO).await.unwrap();
        assert_eq!(locate(&*store, "k").await.is_leased, Some(false), "after a release");
    }
}

pub(super) async fn ended_lease_is_not_reported(h: Harness) {
    let store = h.store().await;
    let Some(leases) = store.leases() else { return };
    let acquired = leases.acquire("k", Ask::Missing, h.moment()).await.unwrap();
    assert!(acquired.lease.is_some());
    h.outlive_lease(h.moment()).await;
    assert_ne!(locate(&*store, "k").await.is_leased, Some(true));
}
