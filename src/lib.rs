//! One cache API over many stores: memory, files, SQL databases, memcached and Redis.
//!
//! Caches are configured by alias, as
//! [Django's caches](https://docs.djangoproject.com/en/5.2/topics/cache/) are. To move a cache to
//! another store, change the configuration; the code stays the same.
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
//! - [`Caches`] holds the configured caches. The module [`config`] describes the configuration.
//! - [`CacheHandle`] is one cache, with the methods that an application calls.
//! - [`Cache`] is the trait that stores implement. [`CachesBuilder::backend`] registers your own
//!   store, and [`CachesBuilder::wrap`] puts a wrapper around a store.
//!
//! # Stores
//!
//! | BACKEND | store | feature |
//! |---|---|---|
//! | `locmem` | the memory of the process, with LRU or S3-FIFO eviction | `locmem` (default) |
//! | `filebased` | one file per entry | `filebased` |
//! | `db` | a table in SQLite, PostgreSQL, MySQL or MariaDB | `db-sqlite`, `db-postgres`, `db-mysql` |
//! | `memcached` | one or more memcached servers | `memcached` |
//! | `redis` | Redis or Valkey: one server, replicas, sentinels or a cluster | `redis` |
//! | `dummy` | stores nothing, for development | `dummy` (default) |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `toml` (default) | configuration in TOML; JSON, URLs and the environment are always available |
//! | `fetch` | [`CacheHandle::fetch`]: stale values, early refresh and bounded waits, in tasks of tokio's |
//! | `http` | the module `http`: tower layers that cache responses, and fragments of pages |
//! | `axum` | `http` for nested axum routers: the cache key contains the whole URI |
//! | `sitemap` | `http` with sitemaps, which list the pages for a warm-up |
//! | `vary-check` | for development: reports pages that depend on headers missing from their `Vary` |
//! | `db-tls` | TLS connections to PostgreSQL and MySQL |
//! | `memcached-compression` | compression of large values on memcached |
//! | `memcached-tls` | TLS connections to memcached |
//! | `redis-tls` | TLS connections to Redis: `rediss://` |
//! | `postcard` | the codec `postcard`: compact, without field names |
//! | `testing` | the module `testing`: faults, records of calls and a manual clock for your tests |
//!
//! All features are additive.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backends;
mod builder;
mod caches;
pub mod config;
mod django;
mod mistakes;
#[cfg(any(feature = "db-sqlite", feature = "db-postgres", feature = "db-mysql"))]
mod tables;
mod wrappers;

pub use cache_core::{
    Acquired, Ask, Bytes, Cache, CacheHandle, Clear, Clock, Codec, Error, ErrorKind, FillOptions,
    Finding, Freshness, InspectedEntry, InspectedTag, Inspection, Inspector, KeyCheck, KeyFunction,
    KeyPages, KeyState, Keys, Lease, Leases, ListedKey, Location, Lock, LockGuard, ManualClock,
    Moment, Object, OnOutage, Purge, Result, Settings, Severity, Share, Stats, TagOptions,
    TagState, Tags, Timeout, Ttl, Undecodable, Value, Version, async_trait, forward_cache, observe,
};

#[cfg(feature = "fetch")]
pub use cache_core::{Fetch, FetchError, FetchShared, Fill};

pub use self::{builder::CachesBuilder, caches::Caches};

#[cfg(feature = "http")]
#[doc(inline)]
pub use cache_http as http;
#[cfg(feature = "testing")]
#[doc(inline)]
pub use cache_testing as testing;

/// The stores of this build and their options, to open a store in code.
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
    pub use cache_filebased::{FileBasedCache, FileBasedOptions, SweepReport};
    #[cfg(feature = "locmem")]
    pub use cache_locmem::{LocMemCache, LocMemOptions, MaxBytes, Policy};
    #[cfg(feature = "memcached")]
    pub use cache_memcached::{MemcachedCache, MemcachedOptions, WhenDead};
    #[cfg(feature = "redis")]
    pub use cache_redis::{CertReqs, RedisBackend, RedisCache, RedisOptions};
}

/// Compiles and runs the examples of the README.
#[cfg(all(doctest, feature = "locmem", feature = "toml", feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the examples of the page on misses.
#[cfg(all(doctest, feature = "locmem", feature = "fetch"))]
#[doc = include_str!("../docs/misses.md")]
struct Misses;

/// Compiles the examples of the page on tags.
#[cfg(doctest)]
#[doc = include_str!("../docs/tags.md")]
struct TagsPage;
