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
//! LOCATION is the name of the table, which may be any name that the database accepts. The option
//! `url` is the database, whose scheme decides which kind it is. The features `sqlite`, `postgres`
//! and `mysql` enable the databases. The table is created once, by
//! [`create_table`](DbCache::create_table) or if the option `create_table` is set. A configuration
//! can give names to databases ([`DbOptions::database`]), and an application can pass in its own
//! pools and a router ([`DbBackend`]).
//!
//! The table cannot be shared with Django, whose table has other columns and stores pickles. If
//! LOCATION names a table of Django or of another application, every operation that reads, stores
//! or clears returns an error and changes nothing.
//!
//! - **Atomicity.** `set`, `add`, `touch`, `incr` and `delete` are one statement each and therefore
//!   atomic among all processes that use the table. MySQL has no single statement for `add`, which
//!   takes up to three, each in its own transaction; of concurrent calls, one succeeds. `set_many`
//!   and `delete_many` are one transaction.
//! - **Keys** are stored as bytes, at most [`MAX_KEY_BYTES`], and no database changes their case or
//!   their spaces. Longer keys are rejected.
//! - **Time** is the application's clock, in microseconds since 1970 UTC. An expired row counts as
//!   absent, even before it is removed. If several machines share a table, the lifetime of an entry
//!   varies by the difference of their clocks: synchronise them, for example with NTP.
//! - **Capacity.** Expired rows are removed in the background, in batches, in proportion to the
//!   writes. Every `max_entries / 10` writes of a process, at least every write, the rows are
//!   counted in the background and culled if there are more than `max_entries`. A table therefore
//!   holds at most `max_entries`, plus a tenth for each process that writes to it, plus what is
//!   written during the count. A cull removes the rows that expire first, then those that were
//!   written first.
//! - **Errors.** If a database cannot be reached or does not respond, calls return
//!   [`ErrorKind::Unavailable`](cache_core::ErrorKind::Unavailable) after at most `connect_timeout`
//!   plus `statement_timeout`, and the next call tries again. A write that returned this error may
//!   have been executed. Calls are retried after locks and deadlocks, which have changed nothing,
//!   and after a lost connection if the operation is safe to repeat. `add`, `incr` and `delete` are
//!   not retried after a lost connection.
//! - **Cancel safety.** If the future of a write is dropped after the statement was sent, the write
//!   is executed. The next write of the same store waits for its end, for at most a quarter of
//!   `connect_timeout`, so that a value that it removes does not come back.
//! - **Performance.** A call is one round trip on a pooled connection, with a prepared statement.
//!   Only `clear`, `stats` and `entries` take time in proportion to the table while the caller
//!   waits.
//!
//! # TLS
//!
//! With the feature `tls` (`db-tls` of cachette), the URL decides whether connections to PostgreSQL
//! and MySQL are encrypted:
//!
//! - `postgres://…/database?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem`
//! - `mysql://…/database?ssl-mode=VERIFY_IDENTITY&ssl-ca=/etc/ssl/ca.pem`
//!
//! These two modes check that the certificate names the host and is signed by a trusted authority:
//! one that the operating system trusts, or the one in the file. A relative path starts at the
//! working directory. `verify-ca` does not check the name. `require` encrypts but trusts any
//! server, even if `sslrootcert` is set, in contrast to libpq. Without a mode, the connection is
//! encrypted if the server offers TLS, and nothing is checked. `sslcert` and `sslkey` (`ssl-cert`,
//! `ssl-key`) name a client certificate. If the server fails a check, calls return
//! [`ErrorKind::Config`](cache_core::ErrorKind::Config).
//!
//! Without the feature, a URL that requires TLS is an error and all other connections are
//! unencrypted: use a Unix socket, a private network, or your own pool ([`Database`]).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        unused_variables,
        unreachable_code,
        reason = "some code is used by one database only"
    )
)]

mod backend;
mod bulk;
mod cache;
mod database;
mod dialect;
mod entry;
mod error;
mod fault;
mod limits;
mod options;
mod router;
mod schema;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
mod shared;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod statements;
mod sweeper;
mod table;

pub use self::{
    backend::DbBackend,
    cache::DbCache,
    database::Database,
    entry::MAX_KEY_BYTES,
    options::DbOptions,
    router::{ReadFromReplica, Router},
    schema::{SCHEMA_VERSION, TableCreation, TableState},
};
