//! A store that is used on several runtimes, of which one stalls or ends.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::{sync::Arc, time::Duration};

use cache_core::Cache;
use cache_db::{DbCache, DbOptions};
use xtask::{
    Stalled,
    proxy::{Mode, Proxy},
    servers::{Kind, Server},
};

/// A server with a table, a proxy in front of it, and a store that uses the proxy.
///
/// A call waits for at most ten seconds for a connection, and for a quarter of that for another
/// runtime.
async fn behind_proxy(kind: Kind) -> (Server, Arc<Proxy>, DbCache) {
    let server = Server::start(kind).unwrap_or_else(|error| panic!("{error}"));
    let store = |url: String| {
        let limit = Duration::from_secs(10);
        let options = DbOptions::new(url).connect_timeout(limit).statement_timeout(limit);
        DbCache::new("cache", options).expect("valid options")
    };
    store(server.url()).create_table(false).await.expect("the table is created");
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    (server, Arc::new(proxy), store(url))
}

/// Waits until a connection was opened.
async fn begins_to_connect(proxy: &Proxy) {
    while proxy.accepted() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const KINDS: [Kind; 2] = [Kind::Postgres, Kind::Mariadb];

#[tokio::test]
async fn caller_connects_itself_if_the_runtime_of_an_attempt_stalls() {
    for kind in KINDS {
        let (_server, proxy, store) = behind_proxy(kind).await;
        proxy.switch(Mode::Blackhole);
        let stalled = Stalled::after({
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
        assert_eq!(store.get("k").await.expect("a connection of its own"), None);
        assert_eq!(proxy.accepted(), 2);
        drop(stalled);
    }
}

#[tokio::test]
async fn caller_connects_itself_if_the_runtime_of_an_attempt_ends() {
    for kind in KINDS {
        let (_server, proxy, store) = behind_proxy(kind).await;
        proxy.switch(Mode::Blackhole);
        let other = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let other = other.expect("the runtime starts");
        let call = other.spawn({
            let store = store.clone();
            async move { store.get("k").await }
        });
        begins_to_connect(&proxy).await;
        other.shutdown_background();
        assert!(call.await.is_err(), "the call ends with its runtime");
        proxy.switch(Mode::Pass);
        assert_eq!(store.get("k").await.expect("a connection of its own"), None);
        assert_eq!(proxy.accepted(), 2);
    }
}

/// The connection of the stalled runtime is idle and looks usable.
#[tokio::test]
async fn call_succeeds_although_the_runtime_of_the_idle_connection_stalls() {
    for kind in KINDS {
        let (_server, proxy, store) = behind_proxy(kind).await;
        let stalled = Stalled::after({
            let store = store.clone();
            async move || assert_eq!(store.get("k").await.expect("get succeeds"), None)
        });
        assert_eq!(store.get("k").await.expect("a connection of its own"), None);
        assert_eq!(proxy.accepted(), 2);
        drop(stalled);
    }
}
