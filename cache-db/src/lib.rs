//! The SQL store of cachette: one table in SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! ```
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! use cache_db::{DbCache, DbOptions};
//!
//! let store = DbCache::new("my cache", DbOptions::new("sqlite::memory:"))?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! # #[cfg(not(feature = "sqlite"))] fn main() {}
//! ```
//!
//! LOCATION is the name of the table, any name that the database takes; the database is the option `url`. The table is
//! made once, by [`create_table`](DbCache::create_table) or with the option `create_table`. The features
//! `sqlite`, `postgres` and `mysql` say which databases can be reached; which one is meant is told by the URL's scheme. In a
//! configuration, databases may have names ([`DbOptions::database`]), and an application may hand over pools and a router
//! ([`DbBackend`]).
//!
//! A table of Django's keeps pickles, in other columns: it can't be shared. Where LOCATION names one, or any other table
//! that is not a cache's of ours, reading, storing and `clear` are errors that say so, and nothing in it is changed.
//!
//! - **Atomicity.** `set`, `add`, `touch`, `incr` and `delete` are one statement each, so they are atomic among all processes
//!   that use the table. On MySQL, where no single statement can do an `add`, up to three are, each in its own
//!   transaction; of many who add at once, one succeeds. `set_many` and `delete_many` are one transaction.
//! - **Keys** are bytes, at most [`MAX_KEY_BYTES`]; no database folds their case or their blanks. Longer ones are refused.
//! - **Time** is that of the application's clock, in microseconds since 1970 UTC. A row that has expired is absent from that
//!   moment on, wherever it still lies. Where several machines share a table, an entry lives longer or shorter by as
//!   much as their clocks differ: keep them synchronised, as NTP does to some milliseconds.
//! - **Room.** Expired rows are removed in the background, in batches, in proportion to what is written. The number of rows
//!   is checked after every `max_entries / 10` writes of a process (every one, where that is less than one), in the background
//!   as well: so a table holds at most `max_entries`, and a tenth more for each process that writes to it, and what is
//!   written while the check runs. What goes is what expires next, then what was written longest ago.
//! - **Errors.** A database that is away or does not answer is [`ErrorKind::Unavailable`](cache_core::ErrorKind) after
//!   `connect_timeout` plus `statement_timeout` at most, and the next call tries again. A write that ended so may have
//!   happened. Locks and deadlocks are tried again, as they are known to have changed nothing; a lost connection only
//!   where doing it twice does no harm, so not in `add`, `incr` and `delete`.
//! - **Cancellation.** A write that is dropped once it was sent is done. The next write of this store waits for its end, for a
//!   quarter of `connect_timeout` at most, lest an old value come back that it removes.
//! - **Cost.** A call is one round trip on a connection of the pool, with a prepared statement. Nothing that grows with the
//!   table is done on the caller's path, but `clear`.
//!
//! # TLS
//!
//! With the feature `tls` (`db-tls` of cachette), connections to PostgreSQL and MySQL are encrypted as their URL says:
//!
//! - `postgres://…/database?sslmode=verify-full&sslrootcert=/etc/ssl/ours.pem`
//! - `mysql://…/database?ssl-mode=VERIFY_IDENTITY&ssl-ca=/etc/ssl/ours.pem`
//!
//! These two modes check that the certificate names the host and that a trusted authority has signed it: one that the
//! operating system trusts, or one in the file, a path as it is or from the working directory. `verify-ca` does not look at the
//! name. `require` encrypts and trusts whoever answers, even where an `sslrootcert` is given, which libpq would heed. Without a
//! mode, TLS is used where the server offers it, unchecked. `sslcert` and `sslkey` (`ssl-cert`, `ssl-key`) name a
//! certificate to show to the server. A server that is refused is an error of the kind
//! [`Config`](cache_core::ErrorKind::Config).
//!
//! Without the feature, a URL that demands TLS is an error, and all others connect unencrypted: use a unix socket, a private
//! network, or a pool of your own ([`Database`]).

#![cfg_attr(docsrs, feature(doc_cfg))]

#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        unreachable_code,
        reason = "what one database needs is idle without it"
    )
)]

mod backend;
mod cache;
mod database;
mod dialect;
mod error;
mod expiry;
mod options;
mod router;
mod schema;
mod statement;

pub use self::{
    backend::DbBackend,
    cache::{DbCache, MAX_KEY_BYTES},
    database::Database,
    options::DbOptions,
    router::{ReadFromReplica, Router},
    schema::{Creation, Found, SCHEMA_VERSION},
};
