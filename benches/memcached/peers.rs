//! Ourselves, and what a user would pick instead, each used as its documentation says.

use std::{sync::Arc, time::Duration};

use async_memcached::AsciiProtocol;
use bytes::Bytes;
use cache_core::{Cache, Value};
use cachette_benches::workload::VALUE_LENGTH;
use memcache::exp::{AsyncMetaClient, Get, GetResult, Set, Ttl};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::load::Client;

const VALUE: [u8; VALUE_LENGTH] = [b'v'; VALUE_LENGTH];

/// The store as a `CacheHandle` holds it, and calls it: what is in the `Arc`.
pub(crate) struct Ours(pub(crate) Arc<dyn Cache>);

impl Client for Ours {
    async fn get(&self, key: &str) {
        assert!((*self.0).get(key).await.expect("it answers").is_some());
    }

    async fn get_many(&self, keys: &[&str]) {
        let values = (*self.0).get_many(keys).await.expect("it answers");
        assert!(values.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let value = Value::Bytes(Bytes::from_static(&VALUE));
        let entries: Vec<(&str, Value)> = keys.iter().map(|key| (*key, value.clone())).collect();
        let refused = (*self.0).set_many(&entries, Some(Duration::from_secs(3600))).await;
        assert!(refused.expect("it is stored").is_empty());
    }
}

/// Connections that are taken out for one call each: a client of `async-memcached` serves one at a time.
pub(crate) struct Pool {
    free: Semaphore,
    clients: Mutex<Vec<async_memcached::Client>>,
}

impl Pool {
    pub(crate) async fn connect(port: u16, connections: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(
                async_memcached::Client::new(format!("tcp://127.0.0.1:{port}"))
                    .await
                    .expect("it listens"),
            );
        }
        Self { free: Semaphore::new(connections), clients: Mutex::new(clients) }
    }

    fn take(&self) -> async_memcached::Client {
        self.clients.lock().pop().expect("one is free")
    }
}

impl Client for Pool {
    async fn get(&self, key: &str) {
        let _free = self.free.acquire().await.expect("it is never closed");
        let mut client = self.take();
        assert!(client.get(key).await.expect("it answers").is_some());
        self.clients.lock().push(client);
    }

    async fn get_many(&self, keys: &[&str]) {
        let _free = self.free.acquire().await.expect("it is never closed");
        let mut client = self.take();
        assert_eq!(client.get_multi(keys).await.expect("it answers").len(), keys.len());
        self.clients.lock().push(client);
    }

    async fn set_many(&self, keys: &[&str]) {
        let _free = self.free.acquire().await.expect("it is never closed");
        let mut client = self.take();
        let entries: Vec<(&str, &[u8])> = keys.iter().map(|key| (*key, &VALUE[..])).collect();
        let stored = client.set_multi(&entries, Some(3600), Some(256)).await.expect("it answers");
        assert!(stored.values().all(Result::is_ok));
        drop(stored);
        self.clients.lock().push(client);
    }
}

/// The asynchronous client of `memcache`.
pub(crate) struct Exp(AsyncMetaClient);

impl Exp {
    pub(crate) async fn connect(port: u16) -> Self {
        Self(AsyncMetaClient::connect(("127.0.0.1", port)).await.expect("it listens"))
    }
}

impl Client for Exp {
    async fn get(&self, key: &str) {
        assert!(self.0.get(key).send().await.expect("it answers").hit());
    }

    async fn get_many(&self, keys: &[&str]) {
        let values = self.0.run_many(keys.iter().map(Get::new)).await.expect("it answers");
        assert!(values.iter().all(|value| value.as_ref().is_ok_and(GetResult::hit)));
    }

    async fn set_many(&self, keys: &[&str]) {
        let sets = keys.iter().map(|key| Set::new(key, VALUE).ttl(Ttl::secs(3600)));
        let stored = self.0.run_many(sets).await.expect("it answers");
        assert!(stored.iter().all(Result::is_ok));
    }
}
