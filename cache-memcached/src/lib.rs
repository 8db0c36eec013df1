//! The memcached store of cachette: one or many servers as one cache.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! use cache_memcached::{MemcachedCache, MemcachedOptions};
//!
//! let store = MemcachedCache::new(&["10.0.0.1:11211", "10.0.0.2:11211"], &MemcachedOptions::default())?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! LOCATION is one or many servers, as a list or with `,` or `;` between them: `host:port`, `[IPv6]:port`, or `unix:/path`.
//! They have to speak the meta protocol: memcached 1.6 or later.
//!
//! - **Placement.** Rendezvous hashing as pymemcache does it, so that a Django beside us finds a key on the same
//!   server: the server with the highest `murmur3_32("<server>-<key>")` has the key, and `<server>` is as it is written
//!   in LOCATION, without brackets, with its port. The order of LOCATION does not matter, the spelling does:
//!   `localhost` is not `127.0.0.1`. Another server takes its part of the keys from all others, and moves no other key.
//!   (pylibmc places keys otherwise.)
//! - **Connections.** One for each server, which all tasks share: requests are gathered and written together, and their
//!   replies come in the same order. A call that is dropped leaves its reply to nobody. What is no reply, or not the
//!   one expected, ends the connection; so does silence. Connections are made when they are needed, on the tokio
//!   runtime of whoever needs them, and names are resolved each time.
//! - **Errors.** A server that is away or silent is [`ErrorKind::Unavailable`](cache_core::ErrorKind), with its
//!   address, after `connect_timeout` plus `timeout` at most, and an eighth of it; twice that where a connection broke
//!   and a new one was tried. A call that failed so may have been carried out. Once a connection cannot be made, the
//!   server is set aside, and its calls fail at once: for 50 ms at first, then twice as long each time, up to
//!   `dead_timeout`. Then the next call tries it. What a dead server's keys do meanwhile is the option
//!   [`when_dead`](MemcachedOptions::when_dead); those of the other servers do not notice. Reads, `set` and `touch` are
//!   sent again where a connection broke; `add`, `incr` and `delete` are not.
//! - **Keys** are at most [`MAX_KEY_BYTES`] bytes without control characters and spaces; others are refused before
//!   anything is sent. The KEY_FUNCTION `hashed` makes keys that always pass.
//! - **Time to live.** The server counts in whole seconds and by its own clock: an entry may go up to a second early. A
//!   fraction is rounded up, so an entry may also stay up to a second longer than it should. More than 30 days are sent
//!   as a date, by this machine's clock; what would end after January 2038 never does.
//! - **Counters** are the server's: atomic, never below zero, where `decr` stops without an error. A negative integer
//!   comes back, but can't be counted ([`NotAnInteger`](cache_core::ErrorKind::NotAnInteger)). The server counts beyond
//!   an `i64`: such a sum is an [`Overflow`](cache_core::ErrorKind::Overflow) and taken back at once. A reader at that
//!   very moment misses the entry, and so do all later ones if the call is dropped or the connection breaks just then.
//! - **Size.** The server's limit, a mebibyte unless it was started with `-I`, is learnt when connecting. What is
//!   larger is [`TooLarge`](cache_core::ErrorKind::TooLarge), with the sizes, and the key holds nothing then, unless it
//!   was to be added where something is. With the feature `compression`, long values can be sent as LZ4 blocks.
//! - **Many keys** go to all servers at once, 256 keys or a mebibyte at a time; each such part has the time limit for
//!   itself. Where a server is dead, the call is an error after the others have done their part, unless `when_dead`
//!   says otherwise.
//! - **`clear` is `flush_all` on every server**: it empties them of everything, whoever wrote it and under whatever
//!   prefix.
//! - **What others wrote** there is a miss that is counted and logged, save integers as pymemcache and pylibmc write
//!   them, as far as they fit an `i64`. Integers are written as theirs: flags 2, decimal digits. Other values have the
//!   flags 256 (and 512, 1024), which neither of them uses: pymemcache hands out such an entry's bytes, header and all, as
//!   if they were a value. So a Django shares counters with us, and other values want a KEY_PREFIX or VERSION of their own.
//! - **Encryption** is the feature `tls` and the option `tls_ca`. Without it, memcached should not be reachable but
//!   from a private network: anybody who reaches it can read and write everything. Passwords work with servers that
//!   were started with an authentication file (`-Y`); SASL (`-S`) needs the binary protocol, which is not spoken here.
//! - **Cost.** A call is one round trip, and some two microseconds of processor time when many are at work.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod backend;
mod batch;
mod cache;
mod connection;
mod dial;
mod expiry;
mod incoming;
mod item;
mod join;
mod options;
mod ring;
mod server;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use self::{
    backend::MemcachedBackend,
    cache::{MAX_KEY_BYTES, MemcachedCache},
    options::{MemcachedOptions, WhenDead},
};
