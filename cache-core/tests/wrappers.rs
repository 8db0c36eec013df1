//! Wrappers of stores.

use std::sync::Arc;

use cache_core::{
    Cache, CacheHandle, Codec, Object, Result, Settings, Timeout, Value, async_trait, forward_cache,
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
fn downcast_walks_through_nested_wrappers() {
    let store = nested();
    assert!(store.downcast_ref::<LocMemCache>().is_some());
    assert!(store.downcast_ref::<KeepsAll>().is_some());
    assert!(store.downcast_ref::<Forwarding<KeepsAll>>().is_some());
    assert!(store.downcast_ref::<Forwarding<Forwarding<LocMemCache>>>().is_none());
}

#[test]
fn inner_is_the_store_directly_within() {
    let store = nested();
    let inner = (*store).inner().expect("the outermost is a wrapper");
    assert!((inner as &dyn std::any::Any).is::<KeepsAll>());
}

#[test]
fn innermost_is_the_store_without_wrappers() {
    let store = nested();
    assert!((store.innermost() as &dyn std::any::Any).is::<LocMemCache>());
    let bare: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    assert!((bare.innermost() as &dyn std::any::Any).is::<LocMemCache>());
}

#[test]
fn downcast_walks_through_arcs() {
    let store: Arc<dyn Cache> = Arc::new(Arc::new(nested()));
    assert!(store.downcast_ref::<LocMemCache>().is_some());
}

#[tokio::test]
async fn excepted_methods_are_the_wrappers_own_and_others_reach_the_store() {
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
