//! The Redis and Valkey store of cachette: one server, replicas, sentinels or a cluster.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # async fn run() -> Result<()> {
//! use cache_redis::{RedisCache, RedisOptions};
//!
//! let urls = ["redis://:password@localhost:6379/0"];
//! let store = RedisCache::new(&urls, RedisOptions::default().namespace("shop|"))?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! # Servers
//!
//! LOCATION is the URL of a server or a list of URLs. One string may contain several URLs,
//! separated by `,` or `;`:
//!
//! - `redis://user:password@host:6379/0`
//! - `rediss://user:password@host:6379/0` for TLS, with the feature `tls`
//! - `unix:///path/of/socket?db=0`
//!
//! An IPv6 address is in brackets, and a link-local one has its zone: `[fe80::1%eth0]`.
//!
//! The [options](RedisOptions) say how the servers are related:
//!
//! - By default, LOCATION lists a primary and then its replicas. The primary receives the writes,
//!   and `get`, `get_many` and `contains` are sent to the replicas in turn. A replica may lag
//!   behind, so a `get` can miss what was just set. A replica that fails is marked down for one
//!   second, and the primary executes the read.
//! - With `cluster = true`, LOCATION lists some servers of a cluster. Each key is on the primary of
//!   its slot. If a primary fails, its replica takes over. Replicas are not read.
//! - With `sentinel = "name"`, LOCATION lists the sentinels. All commands are sent to the primary
//!   that they know by this name.
//!
//! All calls share one connection to each server, and none waits for the reply of another. A large
//! value still delays the calls behind it while it is transmitted.
//!
//! # Values
//!
//! Integers are stored as decimal text, as in Redis and Django. Bytes are stored as they are,
//! except that bytes which are empty, look like an integer or begin with the byte `0x1B` get a byte
//! `0x1B` in front. What a `CacheHandle` encodes never needs that byte. Values above the option
//! `max_value_bytes`, or above the server's lower `proto-max-bulk-len`, are rejected with
//! [`ErrorKind::TooLarge`](cache_core::ErrorKind::TooLarge) and are not sent.
//!
//! What a server sends is bounded as well, so that a broken server, or what is mistaken for one,
//! does not fill the memory: a value by `max_value_bytes`, but not below 1 MiB, and a reply with
//! several values by 512 MiB. If a reply is longer, or claims to be, the connection is closed and
//! the call returns [`ErrorKind::Backend`](cache_core::ErrorKind::Backend) without receiving the
//! rest. If this happens in `get_many`, request fewer keys at once.
//!
//! # Leases
//!
//! The store has [leases](cache_core::Leases), which work across processes, on one server, on a
//! cluster and behind sentinels. The lease of an absent key is a mark stored under the key itself:
//! the bytes `0x1B` `T` and a random token. Every write ends it, also one of another client, and
//! `get`, `set` and `delete` cost nothing more. The lease of an entry is the entry's bytes (for an
//! entry with a stamp, only these), with a mark under the key of [`Ask::Any`](cache_core::Ask::Any)
//! that excludes other callers. If another client replaces the entry by equal bytes, the lease does
//! not notice. If a write ends the lease of an entry, that mark still keeps others from refreshing
//! the entry until the holder fills or releases, or `hold` ends.
//!
//! A mark looks like a value to those that do not know it:
//!
//! - `delete` and `delete_many` count it, and `stats` counts it as an entry.
//! - A release of this crate without leases reads it as an undecodable entry, a counted miss. If it
//!   replaces the mark, the lease ends, and the late fill is not stored.
//! - Django raises an `UnpicklingError`. Do not fill keys through leases that a Django site reads.
//! - `EXPIRE` by another client extends it.
//!
//! Reading a key of another type than a string for a lease replaces it, as `set` does.
//!
//! Leases are on the primary. A failover may lose the latest of them, together with the latest
//! writes: two callers then produce, and at most one fill is stored. The server ends the lease of
//! an absent key by its clock. That of an entry is compared with the clock of this process before
//! the fill is sent.
//!
//! # Sharing with Django
//!
//! Django composes the same keys. Integers that fit an `i64` are shared, and both sides can
//! increment them. Other values of Django are pickles: reading one is a miss that is counted and
//! logged. If Django reads another value of this store, it raises an `UnpicklingError`. Give such
//! values their own KEY_PREFIX or VERSION.
//!
//! Some options of Django and redis-py have no effect here: those of connection pools, parsers,
//! retries and serializers. They are accepted with a warning, so that a configuration of Django
//! loads unchanged.
//!
//! # Expiry
//!
//! The server expires entries by its own clock, in milliseconds. A fraction of a millisecond is
//! rounded up.
//!
//! # Clearing
//!
//! `clear` removes the keys of this cache with SCAN and UNLINK, a thousand at a time. It takes time
//! in proportion to all keys in the database. The keys of this cache are those that begin with the
//! option `namespace` or, without it, with KEY_PREFIX and a colon. With an empty KEY_PREFIX, these
//! are the keys that begin with a colon, including those of other caches without a prefix. A key
//! that begins with the longer prefix of another alias in the same configuration is kept.
//!
//! With a custom KEY_FUNCTION and no `namespace`, `clear` returns
//! [`ErrorKind::Config`](cache_core::ErrorKind::Config), because it cannot tell the keys apart. It
//! empties the whole database only if `clear_database` is set.
//!
//! # Errors
//!
//! If a server cannot be reached or does not reply, a call returns
//! [`ErrorKind::Unavailable`](cache_core::ErrorKind::Unavailable) with the server's address after
//! at most `socket_connect_timeout` plus `socket_timeout`. A read takes at most twice as long if
//! there are replicas. Batches have this limit for every 5,000 keys or 4 MiB. The next call
//! connects again.
//!
//! If the connection breaks, a command that is safe to repeat is retried once. `add`, `incr`,
//! `incr_or_set` and `delete` are retried only if they were not sent: if they return an error, they
//! may have been executed.
//!
//! If the server reports that it is not the primary (`READONLY`, `MASTERDOWN`, `NOREPLICAS`) or has
//! forgotten the login (`NOAUTH`), the connection is closed, and the command, which was not
//! executed, is retried once on a new one. After a failover behind one address, it reaches the new
//! primary.
//!
//! If the server is out of memory (`OOM`) or cannot write to its disk (`MISCONF`), a call that
//! stores returns [`ErrorKind::StorageFull`](cache_core::ErrorKind::StorageFull), which is
//! temporary.
//!
//! If the server is one of several servers of a cluster and the option `cluster` is not set, a call
//! returns [`ErrorKind::Config`](cache_core::ErrorKind::Config).
//!
//! At connecting, the store sends its name (CLIENT SETINFO and SETNAME) and asks for the largest
//! value and the size of the cluster (CONFIG GET, CLUSTER INFO). If the server rejects these
//! commands, the store works without them. If a proxy closes the connection because of them, it
//! connects again without them.
//!
//! If no reply arrives in time, the connection is replaced. If a reply has an unexpected type, the
//! connection is closed and all calls on it fail.
//!
//! # Atomicity
//!
//! `set`, `touch`, `get_and_touch`, `incr`, `incr_or_set`, `delete` and `fill` are one command or
//! one script, which the server executes atomically. `add` is one command, and a script after it if
//! the key has a lease. `set_many` and `delete_many` are atomic for each key only.
//!
//! # Cancel safety
//!
//! If a future is dropped after its command was sent, the server still executes the command. The
//! reply is discarded, and replies of other calls are not affected. An attempt to connect continues
//! and serves the next call.
//!
//! # Performance
//!
//! A call is one round trip, also one of a lease. `add` of a leased key takes two. `get_many`,
//! `set_many` and `delete_many` are one round trip to each server that has any of the keys, for
//! every 5,000 keys or 4 MiB. Concurrent calls share system calls.
//!
//! # Permissions
//!
//! With access control lists, the user needs these commands:
//!
//! - always: GET, SET, MGET, GETRANGE, UNLINK, EVAL, EVALSHA, and EXISTS, PEXPIRE, PTTL, PERSIST
//!   and INCRBY inside scripts
//! - for `clear`: SCAN, and FLUSHDB with `clear_database`
//! - for `stats`: INFO, DBSIZE and SCAN
//! - for a cluster: CLUSTER SLOTS and ASKING
//! - for a database other than 0: SELECT
//! - with sentinels: ROLE, and SENTINEL on the sentinels
//! - optionally: CLIENT SETINFO, CLIENT SETNAME, CONFIG GET and CLUSTER INFO

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod bounded_replies;
mod cache;
mod coalescing_writer;
mod connection;
mod diagnosis;
mod failure;
mod handshake;
mod keyspace;
mod location;
mod node;
mod options;
mod scan;
mod script;
mod stats;
mod tls;
mod topology;
mod value;

pub use self::{
    backend::RedisBackend,
    cache::RedisCache,
    options::{CertReqs, RedisOptions},
    value::MAX_VALUE_BYTES,
};
