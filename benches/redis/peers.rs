//! The clients, each with one connection that is open before it is measured.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use cache_core::{Cache, async_trait};
use cache_redis::{RedisCache, RedisOptions};
use cachette_benches::{
    Client, HandleClient, StoreClient,
    workload::{HOUR, VALUE},
};
use fred::{
    clients::Client as FredClient,
    interfaces::{ClientLike, KeysInterface},
    types::{Builder, Expiration, config::Config},
};
use redis::aio::MultiplexedConnection;

use crate::{HANDLE, REDIS_RS, STORE};

/// Connects the client of this name.
pub(crate) async fn connect(name: &str, url: &str) -> Arc<dyn Client> {
    if name == HANDLE || name == STORE {
        // The handle stores its own encoding, in a database of its own.
        let database = u8::from(name == HANDLE);
        let url = format!("{url}/{database}");
        let store = RedisCache::new(&[url], RedisOptions::default()).expect("valid options");
        store.contains("k").await.expect("no error");
        let store: Arc<dyn Cache> = Arc::new(store);
        return match name {
            HANDLE => Arc::new(HandleClient::new(store)),
            _ => Arc::new(StoreClient(store)),
        };
    }
    if name == REDIS_RS {
        let client = redis::Client::open(url).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        return Arc::new(RedisRs(connection.expect("it connects")));
    }
    let config = Config::from_url(url).expect("a URL");
    let client = Builder::from_config(config).build().expect("valid options");
    client.init().await.expect("it connects");
    Arc::new(Fred(client))
}

/// redis-rs, multiplexed, with its defaults.
struct RedisRs(MultiplexedConnection);

#[async_trait]
impl Client for RedisRs {
    async fn get(&self, key: &str) {
        let mut connection = self.0.clone();
        let found: Option<Vec<u8>> =
            redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("no error");
        assert!(found.is_some());
    }

    async fn set(&self, key: &str) {
        let mut connection = self.0.clone();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&VALUE[..]).arg("PX").arg(millis());
        set.query_async::<()>(&mut connection).await.expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let mut connection = self.0.clone();
        let found: Vec<Option<Vec<u8>>> =
            redis::cmd("MGET").arg(keys).query_async(&mut connection).await.expect("no error");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let mut connection = self.0.clone();
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("SET").arg(*key).arg(&VALUE[..]).arg("PX").arg(millis()).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.expect("no error");
    }
}

/// fred with its defaults.
struct Fred(FredClient);

#[async_trait]
impl Client for Fred {
    async fn get(&self, key: &str) {
        let found: Option<Bytes> = self.0.get(key).await.expect("no error");
        assert!(found.is_some());
    }

    async fn set(&self, key: &str) {
        let expire = Some(Expiration::PX(millis()));
        let set = self.0.set(key, Bytes::from_static(&VALUE), expire, None, false);
        let () = set.await.expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let found: Vec<Option<Bytes>> = self.0.mget(keys.to_vec()).await.expect("no error");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let pipeline = self.0.pipeline();
        for key in keys {
            let expire = Some(Expiration::PX(millis()));
            let set = pipeline.set(*key, Bytes::from_static(&VALUE), expire, None, false);
            let () = set.await.expect("no error");
        }
        black_box(pipeline.all::<Vec<()>>().await.expect("no error"));
    }
}

pub(crate) fn millis() -> i64 {
    i64::try_from(HOUR.as_millis()).unwrap_or(i64::MAX)
}
