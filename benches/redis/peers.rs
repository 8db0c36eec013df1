//! The clients, each with one connection, which is made before it is asked for anything.

use std::{hint::black_box, pin::Pin, sync::Arc};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_redis::{RedisCache, RedisOptions};
use cachette_benches::workload::VALUE_LENGTH;
use fred::{
    clients::Client as FredClient,
    interfaces::{ClientLike, KeysInterface},
    types::{Builder, Expiration, config::Config},
};
use redis::aio::MultiplexedConnection;

use crate::HOUR;

pub(crate) static VALUE: [u8; VALUE_LENGTH] = [b'v'; VALUE_LENGTH];

/// A `get` whose answer is looked at.
pub(crate) type Getting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client under measurement: each call is answered, else it panics.
pub(crate) trait Client: Sized {
    async fn new(url: &str) -> Self;
    fn getter(&self) -> impl Fn(Box<str>) -> Getting + Clone + Send + 'static;
    async fn get_many(&self, keys: &[&str]);
    async fn set_many(&self, keys: &[&str]);
}

/// The store as a `CacheHandle` holds it, and calls it: what is in the `Arc`, as an `Arc` of a store is a store of its own, with
/// a future of its own around the other.
pub(crate) struct Ours(Arc<dyn Cache>);

impl Client for Ours {
    async fn new(url: &str) -> Self {
        let store = RedisCache::new(&[url], RedisOptions::default()).expect("the options are fine");
        store.contains("k").await.expect("it is there");
        Self(Arc::new(store))
    }

    fn getter(&self) -> impl Fn(Box<str>) -> Getting + Clone + Send + 'static {
        let store = Arc::clone(&self.0);
        move |key| {
            let store = Arc::clone(&store);
            Box::pin(
                async move { assert!((*store).get(&key).await.expect("it answers").is_some()) },
            )
        }
    }

    async fn get_many(&self, keys: &[&str]) {
        let found = (*self.0).get_many(keys).await.expect("it answers");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let value = Value::Bytes(Bytes::from_static(&VALUE));
        let entries: Vec<_> = keys.iter().map(|key| (*key, value.clone())).collect();
        (*self.0).set_many(&entries, Some(HOUR)).await.expect("it is stored");
    }
}

/// redis-rs, multiplexed, as it comes.
pub(crate) struct RedisRs(MultiplexedConnection);

impl Client for RedisRs {
    async fn new(url: &str) -> Self {
        let client = redis::Client::open(url).expect("it is a URL");
        Self(client.get_multiplexed_async_connection().await.expect("it is there"))
    }

    fn getter(&self) -> impl Fn(Box<str>) -> Getting + Clone + Send + 'static {
        let connection = self.0.clone();
        move |key| {
            let mut connection = connection.clone();
            Box::pin(async move {
                let found: Option<Vec<u8>> = redis::cmd("GET")
                    .arg(&*key)
                    .query_async(&mut connection)
                    .await
                    .expect("it answers");
                assert!(found.is_some());
            })
        }
    }

    async fn get_many(&self, keys: &[&str]) {
        let mut connection = self.0.clone();
        let found: Vec<Option<Vec<u8>>> =
            redis::cmd("MGET").arg(keys).query_async(&mut connection).await.expect("it answers");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let mut connection = self.0.clone();
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("SET").arg(*key).arg(&VALUE[..]).arg("PX").arg(millis()).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.expect("it is stored");
    }
}

/// fred, as it comes.
pub(crate) struct Fred(FredClient);

impl Client for Fred {
    async fn new(url: &str) -> Self {
        let config = Config::from_url(url).expect("it is a URL");
        let client = Builder::from_config(config).build().expect("it is fine");
        client.init().await.expect("it is there");
        Self(client)
    }

    fn getter(&self) -> impl Fn(Box<str>) -> Getting + Clone + Send + 'static {
        let client = self.0.clone();
        move |key| {
            let client = client.clone();
            Box::pin(async move {
                let found: Option<Bytes> = client.get(&*key).await.expect("it answers");
                assert!(found.is_some());
            })
        }
    }

    async fn get_many(&self, keys: &[&str]) {
        let found: Vec<Option<Bytes>> = self.0.mget(keys.to_vec()).await.expect("it answers");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let pipeline = self.0.pipeline();
        for key in keys {
            let expire = Some(Expiration::PX(millis()));
            let () = pipeline
                .set(*key, Bytes::from_static(&VALUE), expire, None, false)
                .await
                .expect("it is queued");
        }
        black_box(pipeline.all::<Vec<()>>().await.expect("it is stored"));
    }
}

pub(crate) fn millis() -> i64 {
    i64::try_from(HOUR.as_millis()).unwrap_or(i64::MAX)
}
