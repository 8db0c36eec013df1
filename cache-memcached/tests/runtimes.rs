//! A store that is used on several runtimes, of which one stalls.

mod common;

use std::time::{Duration, Instant};

use cache_core::{Cache, Error, Value};
use cache_memcached::MemcachedOptions;
use common::{HOUR, impatient, proxy, server, store_at};
use xtask::{Stalled, proxy::Mode};

/// The longest time that a call takes with the [`options`], plus a margin for a busy machine.
const LIMIT: Duration = Duration::from_millis(2500 + 3000);

/// Leaves time to connect after another attempt has stalled.
fn options() -> MemcachedOptions {
    impatient().connect_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(2))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let result = tokio::time::timeout(2 * LIMIT, call).await.expect("the call ends");
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
    result
}

#[tokio::test]
async fn call_ends_in_time_if_the_runtime_of_its_connection_stalls() {
    let server = server();
    let store = store_at(&[server.port()], &options());
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
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &options());
    proxy.switch(Mode::Blackhole);
    let _stalled = Stalled::after({
        let store = store.clone();
        async move || {
            let call = store.get("k");
            // The attempt has begun, but has received no reply when the thread is blocked.
            let _ = tokio::time::timeout(Duration::from_millis(50), call).await;
        }
    });
    proxy.switch(Mode::Pass);
    in_time(store.set("k", Value::Int(1), HOUR)).await.expect("a connection of its own");
    assert_eq!(proxy.accepted(), 2);
}
