//! Servers and stores for tests.
#![allow(dead_code, reason = "no test uses all of it")]

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
use xtask::servers::{Kind, RedisCluster, RedisSentinels, Server, outlive};

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// Time that calls may take beyond their timeouts on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(15);

/// Returns the URL of a server that all tests of a binary share. Each test has its own namespace.
pub(crate) fn shared_server() -> Vec<String> {
    static URL: OnceLock<String> = OnceLock::new();
    vec![URL.get_or_init(|| outlive(|| Server::start(Kind::Redis), Server::url)).clone()]
}

/// Returns the URLs of a cluster of three servers, shared in the same way.
pub(crate) fn shared_cluster() -> Vec<String> {
    static URLS: OnceLock<Vec<String>> = OnceLock::new();
    let urls = |cluster: &RedisCluster| cluster.servers.iter().map(Server::url).collect();
    URLS.get_or_init(|| outlive(|| RedisCluster::start(3, false), urls)).clone()
}

/// Returns the URLs of sentinels, shared in the same way.
pub(crate) fn shared_sentinels() -> Vec<String> {
    static URLS: OnceLock<Vec<String>> = OnceLock::new();
    let urls = |set: &RedisSentinels| set.sentinels.iter().map(Server::url).collect();
    URLS.get_or_init(|| outlive(RedisSentinels::start, urls)).clone()
}

/// Returns a namespace that no other test uses.
pub(crate) fn fresh_namespace() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("test {}|", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Returns options with timeouts that are long enough for a busy machine.
pub(crate) fn patient() -> RedisOptions {
    with_timeouts(Duration::from_secs(20))
}

/// Returns options for calls that time out. On a busy machine, others may time out as well.
pub(crate) fn impatient() -> RedisOptions {
    with_timeouts(Duration::from_millis(500))
}

/// Returns options with timeouts that a test can wait for, and that a busy machine keeps.
pub(crate) fn moderate() -> RedisOptions {
    with_timeouts(Duration::from_secs(3))
}

fn with_timeouts(timeout: Duration) -> RedisOptions {
    RedisOptions::default().socket_connect_timeout(timeout).socket_timeout(timeout)
}

/// Creates a store with its own namespace.
pub(crate) fn fresh(urls: &[String], options: RedisOptions) -> RedisCache {
    RedisCache::new(urls, options.namespace(fresh_namespace())).expect("valid options")
}

pub(crate) fn server() -> Server {
    server_with(&[])
}

pub(crate) fn server_with(arguments: &[&str]) -> Server {
    Server::start_with(Kind::Redis, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Creates the store of an alias, as a configuration does.
pub(crate) fn alias(
    backend: &RedisBackend,
    url: &str,
    key_prefix: &str,
    options: Json,
) -> RedisCache {
    let mut all = json!({"socket_timeout": 20, "socket_connect_timeout": 20});
    let (Json::Object(all), Json::Object(options)) = (&mut all, options) else {
        panic!("not a table")
    };
    all.extend(options);
    let mut config = StoreConfig::new("default", Map::clone(all));
    config.location = vec![url.into()];
    config.common_key_prefix = (!key_prefix.is_empty()).then(|| key_prefix.into());
    backend.open_store(&config).expect("a valid configuration")
}

/// Polls a condition until it is true. Panics after 30 seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    condition: &str,
    mut is_true: impl FnMut() -> F,
) {
    let start = Instant::now();
    while !is_true().await {
        assert!(start.elapsed() < Duration::from_secs(30), "still not true: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
