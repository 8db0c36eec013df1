//! What a user would choose instead, used as its documentation says.

use async_memcached::AsciiProtocol;
use cache_core::async_trait;
use cachette_benches::{Client, workload::VALUE};
use memcache::exp::{AsyncMetaClient, Get, GetResult, Set, Ttl};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A pool of clients of `async-memcached`, each of which serves one call at a time.
pub(crate) struct Pool {
    free: Semaphore,
    clients: Mutex<Vec<async_memcached::Client>>,
}

impl Pool {
    pub(crate) async fn connect(port: u16, connections: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let client = async_memcached::Client::new(format!("tcp://127.0.0.1:{port}")).await;
            clients.push(client.expect("it connects"));
        }
        Self { free: Semaphore::new(connections), clients: Mutex::new(clients) }
    }

    fn take(&self) -> async_memcached::Client {
        self.clients.lock().pop().expect("a free client")
    }
}

#[async_trait]
impl Client for Pool {
    async fn get(&self, key: &str) {
        let _free = self.free.acquire().await.expect("it is open");
        let mut client = self.take();
        assert!(client.get(key).await.expect("no error").is_some());
        self.clients.lock().push(client);
    }

    async fn set(&self, key: &str) {
        let _free = self.free.acquire().await.expect("it is open");
        let mut client = self.take();
        client.set(key, &VALUE[..], Some(3600), Some(256)).await.expect("no error");
        self.clients.lock().push(client);
    }

    async fn get_many(&self, keys: &[&str]) {
        let _free = self.free.acquire().await.expect("it is open");
        let mut client = self.take();
        assert_eq!(client.get_multi(keys).await.expect("no error").len(), keys.len());
        self.clients.lock().push(client);
    }

    async fn set_many(&self, keys: &[&str]) {
        let _free = self.free.acquire().await.expect("it is open");
        let mut client = self.take();
        let entries: Vec<(&str, &[u8])> = keys.iter().map(|key| (*key, &VALUE[..])).collect();
        let stored = client.set_multi(&entries, Some(3600), Some(256)).await.expect("no error");
        assert!(stored.values().all(Result::is_ok));
        drop(stored);
        self.clients.lock().push(client);
    }
}

/// The asynchronous client of `memcache`.
pub(crate) struct Exp(AsyncMetaClient);

impl Exp {
    pub(crate) async fn connect(port: u16) -> Self {
        Self(AsyncMetaClient::connect(("127.0.0.1", port)).await.expect("it connects"))
    }
}

#[async_trait]
impl Client for Exp {
    async fn get(&self, key: &str) {
        assert!(self.0.get(key).send().await.expect("no error").hit());
    }

    async fn get_many(&self, keys: &[&str]) {
        let values = self.0.run_many(keys.iter().map(Get::new)).await.expect("no error");
        assert!(values.iter().all(|value| value.as_ref().is_ok_and(GetResult::hit)));
    }

    async fn set_many(&self, keys: &[&str]) {
        let sets = keys.iter().map(|key| Set::new(key, VALUE).ttl(Ttl::secs(3600)));
        let stored = self.0.run_many(sets).await.expect("no error");
        assert!(stored.iter().all(Result::is_ok));
    }
}
