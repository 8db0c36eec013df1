//! One cache API over many stores, configured as [Django's caches](https://docs.djangoproject.com/en/5.2/topics/cache/)
//! are: moving from memory to another store is a change in a file, not in code.
//!
//! ```
//! # async fn run() -> cachette::Result<()> {
//! use std::time::Duration;
//! use cachette::{Caches, Timeout};
//!
//! let caches = Caches::from_toml(r#"
//!     [default]
//!     backend = "locmem"
//!     options = { max_entries = 10_000 }
//! "#).await?;
//! let cache = caches.get("default")?;
//!
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! cache.set("visits", &41, Duration::from_secs(30)).await?;
//! assert_eq!(cache.get::<String>("greeting").await?.as_deref(), Some("hello"));
//! assert_eq!(cache.incr("visits", 1).await?, 42);
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! - [`Caches`] holds what is configured; [`config`] tells how to write it down.
//! - [`CacheHandle`] is what an application works with.
//! - [`Cache`] is what a store implements: see [`CachesBuilder::backend`] for one of your own.

mod backends;
mod builder;
mod caches;
pub mod config;
#[cfg(any(feature = "db-sqlite", feature = "db-postgres", feature = "db-mysql"))]
mod tables;

pub use cache_core::{
    Bytes, Cache, CacheHandle, Clock, Codec, Error, ErrorKind, KeyCheck, KeyFunction, ManualClock,
    Moment, Object, Result, Settings, Stats, Timeout, Ttl, Undecodable, Value, Version,
    async_trait,
};

pub use self::{builder::CachesBuilder, caches::Caches};

/// Whole pages and parts of pages in a cache, as `tower` layers.
#[cfg(feature = "http")]
pub use cache_http as http;

/// The stores that this build has, for making one in code.
pub mod stores {
    #[cfg(any(feature = "db-sqlite", feature = "db-postgres", feature = "db-mysql"))]
    pub use crate::tables::CreateTables;
    #[cfg(any(feature = "db-sqlite", feature = "db-postgres", feature = "db-mysql"))]
    pub use cache_db::{
        Database, DbBackend, DbCache, DbOptions, ReadFromReplica, Router, TableCreation, TableState,
    };
    #[cfg(feature = "dummy")]
    pub use cache_dummy::DummyCache;
    #[cfg(feature = "filebased")]
    pub use cache_filebased::{FileBasedCache, FileBasedOptions, Swept};
    #[cfg(feature = "locmem")]
    pub use cache_locmem::{LocMemCache, LocMemOptions, Policy};
    #[cfg(feature = "memcached")]
    pub use cache_memcached::{MemcachedCache, MemcachedOptions, WhenDead};
    #[cfg(feature = "redis")]
    pub use cache_redis::{CertReqs, RedisBackend, RedisCache, RedisOptions};
}

/// The README's examples are compiled and run.
#[cfg(all(doctest, feature = "locmem", feature = "toml", feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
