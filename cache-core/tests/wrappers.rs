//! Wrappers of stores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_core::{
    Cache, CacheHandle, Codec, Inspector, Leases, Object, Result, Settings, Stats, Timeout, Ttl,
    Value, async_trait, forward_cache,
};
use cache_locmem::LocMemCache;

#[derive(Debug)]
struct Forwarding<C>(C);

#[deny(clippy::missing_trait_methods)]
impl<C: Cache> Cache for Forwarding<C> {
    forward_cache!(self.0);
}

#[derive(Debug)]
struct KeepsAll {
    store: Arc<dyn Cache>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for KeepsAll {
    forward_cache!(self.store, except delete, delete_many);

    async fn delete(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn delete_many(&self, _: &[&str]) -> Result<usize> {
        Ok(0)
    }
}

fn nested() -> Arc<dyn Cache> {
    let store: Arc<dyn Cache> = Arc::new(Forwarding(LocMemCache::default()));
    Arc::new(Forwarding(KeepsAll { store }))
}

#[test]
fn downcast_ref_walks_through_nested_wrappers() {
    let store = nested();
    assert!(store.downcast_ref::<LocMemCache>().is_some());
    assert!(store.downcast_ref::<KeepsAll>().is_some());
    assert!(store.downcast_ref::<Forwarding<KeepsAll>>().is_some());
    assert!(store.downcast_ref::<Forwarding<Forwarding<LocMemCache>>>().is_none());
}

#[test]
fn inner_is_the_store_directly_inside() {
    let store = nested();
    let inner = (*store).inner().expect("the outermost is a wrapper");
    assert!((inner as &dyn std::any::Any).is::<KeepsAll>());
}

#[test]
fn max_entries_are_those_of_the_wrapped_store() {
    assert_eq!(nested().max_entries(), Some(300));
    assert_eq!(Arc::new(nested()).max_entries(), Some(300));
}

#[test]
fn leases_are_those_of_the_wrapped_store() {
    let bare = LocMemCache::default();
    assert_eq!(nested().leases().is_some(), bare.leases().is_some());
    assert!(Forwarding(AllByHand(bare)).leases().is_none());
}

#[test]
fn innermost_is_the_store_without_wrappers() {
    let store = nested();
    assert!((store.innermost() as &dyn std::any::Any).is::<LocMemCache>());
    let bare: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    assert!((bare.innermost() as &dyn std::any::Any).is::<LocMemCache>());
}

#[test]
fn downcast_ref_walks_through_arcs() {
    let store: Arc<dyn Cache> = Arc::new(Arc::new(nested()));
    assert!(store.downcast_ref::<LocMemCache>().is_some());
}

#[tokio::test]
async fn excepted_methods_are_the_wrappers_own_and_others_are_forwarded() {
    let store = nested();
    let cache = CacheHandle::new("default", Arc::clone(&store), Settings::default());
    cache.set("key", "value", Timeout::Default).await.expect("it is stored");
    assert!(!cache.delete("key").await.expect("the wrapper ignores it"));
    assert_eq!(cache.delete_many(["key"]).await.expect("the wrapper ignores it"), 0);
    assert_eq!(cache.get::<String>("key").await.expect("a hit").as_deref(), Some("value"));
    assert!(store.get_now(&cache.composed_key("key")).is_some());
    let entries = store.downcast_ref().map(LocMemCache::entries);
    assert_eq!(entries, Some(1));
}

#[test]
fn wrapper_can_encode_an_object() {
    let object = Object::new(Arc::new(String::from("Ada")));
    let Ok(Value::Bytes(encoded)) = object.encode(Codec::default()) else { panic!("no bytes") };
    assert!(encoded.ends_with(b"Ada"));
    let number = Object::new(Arc::new(7_u8)).encode(Codec::default());
    assert_eq!(number.expect("it is encoded"), Value::Int(7));
}

/// The macro must compile wherever it is used, whatever names are in scope there.
mod shadowed_names {
    #![allow(dead_code, reason = "the names only have to be in scope")]

    struct Option;
    struct Vec;
    struct Result;
    struct Some;
    struct Box;
    struct Duration;
    trait Future {}

    #[derive(Debug)]
    struct Wrapper<C>(C);

    impl<C: cache_core::Cache> cache_core::Cache for Wrapper<C> {
        cache_core::forward_cache!(self.0,);
    }
}

/// Excepts and writes every method, so each must have its rule in the macro.
#[derive(Debug)]
struct AllByHand(LocMemCache);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for AllByHand {
    forward_cache!(
        self.0,
        except name, get, set, add, touch, incr, delete, ttl, clear, get_now, set_now,
        keeps_objects, max_entries, server_of, contains, incr_or_set, get_and_touch, get_many,
        set_many, delete_many, stats, purge_expired, close, leases, inspector, inner,
    );

    fn name(&self) -> &str {
        "by hand"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.0.get(key).await
    }
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.0.set(key, value, ttl).await
    }
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        self.0.add(key, value, ttl).await
    }
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        self.0.touch(key, ttl).await
    }
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        self.0.incr(key, delta).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.0.delete(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.0.ttl(key).await
    }
    async fn clear(&self) -> Result<()> {
        self.0.clear().await
    }
    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        None
    }
    fn set_now(&self, _: &str, value: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Err(value)
    }
    fn keeps_objects(&self) -> bool {
        false
    }
    fn max_entries(&self) -> Option<u64> {
        None
    }
    fn server_of(&self, _: &str) -> usize {
        0
    }
    async fn contains(&self, key: &str) -> Result<bool> {
        self.0.contains(key).await
    }
    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        self.0.incr_or_set(key, delta, initial, ttl).await
    }
    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        self.0.get_and_touch(key, ttl).await
    }
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.0.get_many(keys).await
    }
    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        self.0.set_many(entries, ttl).await
    }
    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.0.delete_many(keys).await
    }
    async fn stats(&self) -> Result<Stats> {
        self.0.stats().await
    }
    async fn purge_expired(&self, max: u64) -> Result<Option<u64>> {
        self.0.purge_expired(max).await
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
    fn inspector(&self) -> Option<&dyn Inspector> {
        None
    }
    fn inner(&self) -> Option<&dyn Cache> {
        None
    }
}

#[test]
fn every_method_can_be_excepted() {
    let store: Arc<dyn Cache> = Arc::new(AllByHand(LocMemCache::default()));
    assert_eq!(Cache::name(&store), "by hand");
    assert!(store.downcast_ref::<LocMemCache>().is_none(), "inner is the wrapper's own");
}

#[test]
fn arc_returns_its_store_from_inner() {
    let store: Arc<dyn Cache> = Arc::new(Arc::new(LocMemCache::default()));
    let inner = (*store).inner().expect("an Arc is a wrapper");
    assert!((inner as &dyn std::any::Any).is::<LocMemCache>());
}

/// A store that never finds or stores anything at once, and counts how often it was asked to.
#[derive(Debug, Default)]
struct MustBeAwaited {
    store: LocMemCache,
    gets: AtomicUsize,
    sets: AtomicUsize,
}

impl Cache for MustBeAwaited {
    forward_cache!(self.store, except get_now, set_now);

    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn set_now(&self, _: &str, value: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        self.sets.fetch_add(1, Ordering::Relaxed);
        Err(value)
    }
}

#[tokio::test]
async fn store_that_must_be_awaited_is_asked_once_not_to_wait() {
    for key in ["short", &"long".repeat(50)] {
        let store = Arc::new(MustBeAwaited::default());
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
        cache.set(key, &1, Timeout::Default).await.expect("no error");
        assert_eq!(cache.get(key).await.expect("no error"), Some(1));
        let asked = [&store.gets, &store.sets].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(asked, [1, 1], "key of {} bytes", key.len());
    }
}
