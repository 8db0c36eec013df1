//! The memcached store of cachette: one or many servers as one cache.
//!
//! # Examples
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! use cache_memcached::{MemcachedCache, MemcachedOptions};
//!
//! let servers = ["10.0.0.1:11211", "10.0.0.2:11211"];
//! let store = MemcachedCache::new(&servers, &MemcachedOptions::default())?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! # Servers
//!
//! LOCATION is one or many servers, as a list or separated by `,` or `;`: `host:port`,
//! `[IPv6]:port` or `unix:/path`. A link-local address has its zone: `[fe80::1%eth0]:11211`. The
//! servers must support the meta protocol, which memcached does since version 1.6.
//!
//! Keys are placed with rendezvous hashing, as in pymemcache, so that a Django site finds a key on
//! the same server. The server with the highest `murmur3_32("<server>-<key>")` holds the key.
//! `<server>` is the server as written in LOCATION, without brackets and with its port. The order
//! of LOCATION does not matter, but the spelling does: `localhost` is not `127.0.0.1`. A new server
//! takes its share of the keys from all others and moves no other key. pylibmc places keys
//! differently.
//!
//! All tasks share one connection to each server. It is made when it is needed, on the tokio
//! runtime of the caller, and the host name is resolved each time.
//!
//! # Keys and values
//!
//! - **Keys** have at most [`MAX_KEY_BYTES`] bytes and contain no control characters or spaces.
//!   Other keys are rejected before anything is sent. The KEY_FUNCTION `hashed` creates keys that
//!   are always valid.
//! - **Time to live.** The server counts whole seconds by its own clock, so an entry may expire up
//!   to one second early. A fraction is rounded up, so it may also expire up to one second late. A
//!   time to live of more than 30 days is sent as a date, computed with the clock of this machine.
//!   An entry that would expire after January 2038 never expires.
//! - **Size.** The size limit of the server, 1 MiB unless it was started with `-I`, is read when
//!   connecting. With the feature `compression`, long values can be sent as LZ4 blocks.
//! - **Many keys** are sent to all servers concurrently, at most 256 keys or 1 MiB at a time. The
//!   option [`timeout`](field@MemcachedOptions::timeout) applies to each of these parts.
//! - **`clear`** sends `flush_all` to every server. It removes all entries, including those of
//!   other applications and other prefixes.
//!
//! # Leases
//!
//! The store has [leases](cache_core::Leases), which work across processes. The lease of an absent
//! key is a stub stored under the key itself: an empty item with the flags 0, which the server
//! creates (`mg` with the flag `N`, since memcached 1.6). Every write ends it, also one of another
//! application, and `get`, `set` and `delete` cost nothing more. A stub and an entry are compared
//! by their CAS tokens. The lease of an entry has a stub under the key of
//! [`Ask::Any`](cache_core::Ask::Any), which excludes other callers. If a write ends the lease of
//! an entry, that stub still keeps others from refreshing the entry until the holder fills or
//! releases, or `hold` ends.
//!
//! - **Time.** A lease has whole seconds, at least one and at most 30 days.
//! - **Restarts.** A server that restarts gives the same CAS tokens again. A fill is therefore sent
//!   on the connection on which its lease was acquired, and is lost if that was closed. A proxy
//!   hides a restart: do not use leases behind one.
//! - **Dead servers.** With [`when_dead`](field@MemcachedOptions::when_dead)` = "miss"`, `acquire`
//!   grants a lease whose fill stores nothing. With `"next"`, it is granted by the next server.
//! - **Other applications.** A classic `get` returns a stub as an empty value: Django would read
//!   `b""`. Do not fill keys through leases that a Django site reads. A `touch` by another
//!   application extends a stub; `acquire` removes one that has more than ten minutes left, and
//!   more than its own time.
//! - `delete` and `delete_many` count a stub, and `stats` counts it as an entry. A `touch` of a
//!   leased key ends the lease, and so does a `get_and_touch`.
//! - A release of this crate without leases reads a stub as an entry of another application, a
//!   counted miss. Its `add` stores nothing until the lease ends; its `set` and `delete` end the
//!   lease.
//!
//! # Sharing servers with Django
//!
//! Integers are stored as pymemcache and pylibmc store them: flags 2, decimal digits. A Django site
//! can therefore share counters. Integers of other applications are decoded if they fit an `i64`;
//! their other entries are misses, which are counted and logged. A counter that `incr_or_set` has
//! started has flags 0, because the server creates it: pymemcache counts it, and reads it as bytes.
//!
//! Other values have the flags 256 (and 512, 1024), which neither client uses. pymemcache would
//! return the bytes of such an entry, including its header, as a value. Use a different KEY_PREFIX
//! or VERSION for them.
//!
//! # Errors
//!
//! - [`ErrorKind::Unavailable`] if a server cannot be reached or does not reply. The message
//!   contains its address. The error is returned at most `connect_timeout` plus `timeout` plus one
//!   eighth of `timeout` after the call; twice that if a connection was lost and another one was
//!   tried. The command may have been executed.
//! - [`ErrorKind::TooLarge`] if a value exceeds the size limit of the server. The message contains
//!   both sizes. The key then holds nothing, except that `add` keeps an existing entry.
//! - [`ErrorKind::InvalidKey`] if a key is too long or contains a forbidden character.
//! - [`ErrorKind::NotAnInteger`] if `incr` finds something else, or a negative integer, which the
//!   server cannot count.
//! - [`ErrorKind::Overflow`] if a sum does not fit an `i64`.
//!
//! When a connection attempt fails, the server is marked down and its calls fail immediately: for
//! 50 ms at first, then twice as long after each failed attempt, up to `dead_timeout`. The first
//! call after that tries again. The option [`when_dead`](field@MemcachedOptions::when_dead)
//! controls what happens to the keys of such a server; the keys of other servers are not affected.
//! An operation on many keys reports the error after the other servers have executed their part.
//!
//! When a connection is lost, reads, `set`, `touch` and `get_and_touch` are sent again. `add`,
//! `incr`, `incr_or_set` and `delete` are not, because they must not be executed twice.
//!
//! # Atomicity
//!
//! `add`, `incr` and `incr_or_set` are atomic on the server, and so is `fill`. Counters are never
//! negative: `decr` stops at zero without an error. The server counts beyond an `i64`, so a sum
//! that overflows is stored for a moment and then taken back. A reader misses the entry in that
//! moment. If the call is dropped or the connection lost just then, later readers miss it as well.
//!
//! # Cancel safety
//!
//! Any call can be dropped at any time. Its command may still be executed, its reply is discarded,
//! and other calls on the same connection are not affected. An `incr` that overflows is the one
//! exception, see above.
//!
//! # Performance
//!
//! A call is one round trip. An `add` that stores nothing takes two, and one of a leased key three.
//! `incr_or_set` takes up to three more if the key is leased, if it stores a negative number, or if
//! it adds more than 2^32. Requests of concurrent tasks are sent with one write, and replies are
//! read with one read. With 64 tasks, a call takes about 2 µs of processor time (measured by
//! `benches/memcached`).
//!
//! # Security
//!
//! Anyone who can reach memcached can read and write everything. Expose it only on a private
//! network or a Unix socket, or use TLS (the feature `tls` and the option `tls_ca`). Passwords work
//! with servers that were started with an authentication file (`-Y`). SASL (`-S`) needs the binary
//! protocol, which is not supported.
//!
//! [`ErrorKind::InvalidKey`]: cache_core::ErrorKind::InvalidKey
//! [`ErrorKind::NotAnInteger`]: cache_core::ErrorKind::NotAnInteger
//! [`ErrorKind::Overflow`]: cache_core::ErrorKind::Overflow
//! [`ErrorKind::TooLarge`]: cache_core::ErrorKind::TooLarge
//! [`ErrorKind::Unavailable`]: cache_core::ErrorKind::Unavailable

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod backend;
mod batch;
mod cache;
mod connect;
mod connection;
mod diagnosis;
mod dump;
mod error_line;
mod expiry;
mod incoming;
mod item;
mod options;
mod rendezvous;
mod server;
mod stream;
mod tls;
mod wire;

pub use self::{
    backend::MemcachedBackend,
    cache::{MAX_KEY_BYTES, MemcachedCache},
    options::{MemcachedOptions, WhenDead},
};
