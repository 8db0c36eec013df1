//! A store that is used on several runtimes, of which one stalls.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, Error, Value};
use cache_memcached::MemcachedOptions;
use common::{HOUR, patient, proxy, server, store_at};
use xtask::{
    Stalled,
    proxy::{Mode, Proxy},
};

/// The longest time that a call takes with the options of these tests, plus a margin for a busy
/// machine. A call that waits for the stalled runtime would not end.
const LIMIT: Duration = Duration::from_secs(22 + 20);

/// Options for an attempt to connect that stalls. There is time to connect after it.
fn stalled_attempt() -> MemcachedOptions {
    patient().connect_timeout(Duration::from_secs(2))
}

/// Options for a call without a reply.
fn stalled_call() -> MemcachedOptions {
    patient().timeout(Duration::from_secs(2))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let result = tokio::time::timeout(LIMIT, call).await;
    result.unwrap_or_else(|_| panic!("the call did not end within {:?}", start.elapsed()))
}

/// Waits until a connection was opened.
async fn begins_to_connect(proxy: &Proxy) {
    while proxy.accepted() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn call_ends_in_time_if_the_runtime_of_its_connection_stalls() {
    let server = server();
    let store = store_at(&[server.port()], &stalled_call());
    let stalled = Stalled::after({
        let store = store.clone();
        async move || store.set("k", Value::Int(1), HOUR).await.expect("stored")
    });
    in_time(store.get("k")).await.expect_err("no reply can be read");
    assert_eq!(
        in_time(store.get("k")).await.expect("a connection of its own"),
        Some(Value::Int(1))
    );
    let many = in_time(store.get_many(&["k", "l"])).await.expect("a reply");
    assert_eq!(many, [Some(Value::Int(1)), None]);
    drop(stalled);
    assert_eq!(in_time(store.get("k")).await.expect("a reply"), Some(Value::Int(1)));
}

#[tokio::test]
async fn caller_connects_itself_if_the_runtime_of_the_attempt_stalls() {
    let server = server();
    let proxy = Arc::new(proxy(&server));
    let store = store_at(&[proxy.port()], &stalled_attempt());
    proxy.switch(Mode::Blackhole);
    let _stalled = Stalled::after({
        let (store, proxy) = (store.clone(), Arc::clone(&proxy));
        async move || {
            // The attempt has begun, but has received no reply when the thread is blocked.
            tokio::select! {
                result = store.get("k") => panic!("no reply can arrive: {result:?}"),
                () = begins_to_connect(&proxy) => {}
            }
        }
    });
    proxy.switch(Mode::Pass);
    in_time(store.set("k", Value::Int(1), HOUR)).await.expect("a connection of its own");
    assert_eq!(proxy.accepted(), 2);
}
