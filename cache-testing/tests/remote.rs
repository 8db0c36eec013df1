//! A store in memory that behaves like a server.

use std::{sync::Arc, time::Duration};

use cache_core::{Ask, Cache, CacheHandle, Leases, Settings, Timeout, Value};
use cache_locmem::LocMemCache;
use cache_testing::Remote;

fn server() -> Arc<dyn Cache> {
    Arc::new(LocMemCache::default())
}

#[tokio::test]
async fn nothing_is_answered_without_waiting() {
    let store = Remote::new(server());
    assert_eq!(store.set_now("k", Value::Int(1), None).err(), Some(Value::Int(1)));
    assert_eq!(store.get("k").await.expect("the store works"), None, "nothing was stored");
    assert!(store.get_now("k").is_none());
}

#[tokio::test]
async fn objects_are_encoded() {
    let server = server();
    let cache = |store| CacheHandle::new("default", store, Settings::default());
    let value = Arc::new(String::from("Ada"));
    let remote = cache(Arc::new(Remote::new(Arc::clone(&server))));
    remote.set_shared("remote", &value, Timeout::Default).await.expect("the store works");
    cache(Arc::clone(&server)).set_shared("local", &value, Timeout::Default).await.expect("works");
    assert!(matches!(server.get(":1:local").await, Ok(Some(Value::Object(_)))));
    assert!(matches!(server.get(":1:remote").await, Ok(Some(Value::Bytes(_)))));
}

#[tokio::test]
async fn two_of_them_are_two_stores_with_the_same_entries() {
    let server = server();
    let [here, there]: [Arc<dyn Cache>; 2] =
        [(); 2].map(|()| Arc::new(Remote::new(Arc::clone(&server))) as Arc<dyn Cache>);
    here.set("k", Value::Int(1), None).await.expect("the store works");
    assert_eq!(there.get("k").await.expect("the store works"), Some(Value::Int(1)));
    assert!(!std::ptr::addr_eq(here.innermost(), there.innermost()));
}

#[tokio::test]
async fn two_of_them_share_leases() {
    let server = server();
    let [here, there] = [(); 2].map(|()| Remote::new(Arc::clone(&server)));
    let hold = Duration::from_secs(30);
    let acquire = async |store: &Remote| {
        store.acquire("k", Ask::Missing, hold).await.expect("the store works").lease
    };
    let lease = acquire(&here).await.expect("nobody holds a lease");
    assert!(acquire(&there).await.is_none());
    there.delete("k").await.expect("the store works");
    let filled = here.fill("k", lease, Value::Int(1), None).await.expect("the store works");
    assert!(!filled, "the other one has deleted the key");
}
