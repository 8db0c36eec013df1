//! Servers and stores for tests.
#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::config::StoreConfig;
use cache_redis::{RedisBackend, RedisCache, RedisOptions};
use serde_json::{Map, Value as Json, json};
use xtask::servers::{Kind, RedisCluster, Server, outlive};

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// More than the timeouts, for a machine that is busy with others.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// The URL of a server that all tests of this binary share, as each keeps to a namespace of its own.
pub(crate) fn shared_server() -> Vec<String> {
    static URL: OnceLock<String> = OnceLock::new();
    vec![URL.get_or_init(|| outlive(|| Server::start(Kind::Redis), Server::url)).clone()]
}

/// The URLs of a cluster of three, shared in the same way.
pub(crate) fn shared_cluster() -> Vec<String> {
    static URLS: OnceLock<Vec<String>> = OnceLock::new();
    let urls = |cluster: &RedisCluster| cluster.servers.iter().map(Server::url).collect();
    URLS.get_or_init(|| outlive(|| RedisCluster::start(3, false), urls)).clone()
}

/// A namespace that no other test has.
pub(crate) fn fresh_namespace() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("test {}|", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// With time for a machine that is busy with others.
pub(crate) fn patient() -> RedisOptions {
    let mut options = RedisOptions::default();
    options.socket_connect_timeout = Duration::from_secs(20);
    options.socket_timeout = Duration::from_secs(20);
    options
}

/// With limits that a test can wait for.
pub(crate) fn impatient() -> RedisOptions {
    let mut options = RedisOptions::default();
    options.socket_connect_timeout = Duration::from_millis(500);
    options.socket_timeout = Duration::from_millis(500);
    options
}

/// A store in a namespace of its own.
pub(crate) fn fresh(urls: &[String], mut options: RedisOptions) -> RedisCache {
    options.namespace = fresh_namespace();
    RedisCache::new(urls, options).expect("the options are fine")
}

pub(crate) fn server() -> Server {
    server_with(&[])
}

pub(crate) fn server_with(arguments: &[&str]) -> Server {
    Server::start_with(Kind::Redis, arguments).unwrap_or_else(|why| panic!("{why}"))
}

/// The store of an alias, as a configuration makes it.
pub(crate) fn alias(backend: &RedisBackend, url: &str, head: &str, options: Json) -> RedisCache {
    let mut all = json!({"socket_timeout": 20, "socket_connect_timeout": 20});
    let (Json::Object(all), Json::Object(options)) = (&mut all, options) else { panic!("tables") };
    all.extend(options);
    let mut config = StoreConfig::new("default", Map::clone(all));
    config.location = vec![url.into()];
    config.common_key_prefix = (!head.is_empty()).then(|| head.into());
    backend.open_store(&config).expect("it is fine")
}

/// Waits until it is so, as long as anybody would.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} is still not so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
