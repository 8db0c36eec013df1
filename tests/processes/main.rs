//! Processes that produce, write and delete the same keys in each store that they can share.
#![cfg(all(
    unix,
    feature = "filebased",
    feature = "db-sqlite",
    feature = "memcached",
    feature = "redis",
    feature = "fetch",
    feature = "testing",
    feature = "toml"
))]

mod cancellations;
mod child;
mod clocks;
mod killed;
mod locks;
mod race;
mod restart;
mod source;
mod stores;

use std::time::Duration;

use cachette::{CacheHandle, Caches, Clock};
use tokio::runtime::Runtime;

/// Longer than the difference between the clocks of the processes.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a lease is held if its holder is killed.
const HOLD: Duration = Duration::from_secs(30);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the runtime starts")
}

/// Opens the cache of a section.
async fn open(config: &str) -> CacheHandle {
    open_with_clock(config, Clock::system()).await
}

async fn open_with_clock(config: &str, clock: Clock) -> CacheHandle {
    let caches = Caches::builder().toml(&format!("[default]\n{config}")).clock(clock).build().await;
    caches.expect("valid configuration")["default"].clone()
}

async fn set(cache: &CacheHandle, key: &str, value: i64) {
    cache.set(key, &value, DAY).await.expect("stored");
}

async fn get(cache: &CacheHandle, key: &str) -> Option<i64> {
    cache.get(key).await.expect("the store replies")
}
