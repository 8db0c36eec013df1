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
//! pools of PostgreSQL and MySQL, and a router ([`DbBackend`]).
//!
//! The table cannot be shared with Django, whose table has other columns and stores pickles. If
//! LOCATION names a table of Django or of another application, every operation that reads, stores
//! or clears returns an error and changes nothing.
//!
//! - **Atomicity.** `set`, `add`, `touch`, `get_and_touch`, `incr`, `incr_or_set` and `delete` are
//!   one statement each and therefore atomic among all processes that use the table. MySQL has no
//!   single statement for three of them, and each of theirs is a transaction. `add` takes up to
//!   three; of concurrent calls, one succeeds. `incr_or_set` takes one if there is an entry, and
//!   otherwise up to three; no count is lost. `get_and_touch` takes two: it returns the entry that
//!   it touched, or one that replaced it since. `set_many` and `delete_many` are one transaction.
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
//!   have been executed. Calls are retried after locks and deadlocks, which have changed nothing;
//!   once on a new connection if the server rejected the call because it became a replica or ends
//!   the connection, so that calls follow an address to the new primary; and once after a lost
//!   connection if the operation is safe to repeat, which `add`, `incr`, `incr_or_set` and `delete`
//!   are not. If the disk of the database is full, calls that store return
//!   [`ErrorKind::StorageFull`](cache_core::ErrorKind::StorageFull), which is temporary. `set_many`
//!   has then stored nothing.
//! - **Sessions.** The store sets what it relies on when it connects, such as autocommit and the
//!   level of isolation. It does not change the sessions of a pool that the application passes in:
//!   if those would lose writes or values, calls return
//!   [`ErrorKind::Config`](cache_core::ErrorKind::Config) and name the setting.
//! - **Cancel safety.** If the future of a write is dropped after the statement was sent to a
//!   server, the write is executed. The next write of the same store waits for its end, for at most
//!   a quarter of `connect_timeout`, so that a value that it removes does not come back. In SQLite,
//!   writes that wait are executed in order, and one whose future is dropped before it has begun is
//!   not executed.
//! - **Performance.** On a server, a call is one round trip on a pooled connection, with a prepared
//!   statement; in SQLite, it is a statement on the caller's thread. Only `clear`, `stats` and
//!   `entries` take time in proportion to the table while the caller waits.
//!
//! # Leases
//!
//! All processes that use the table share its [leases](cache_core::Leases). A value that was
//! produced before a write, an increment or a delete of its key is never stored after it.
//!
//! The lease of an absent key is a row under the key: a mark without a value, with a random number
//! and a negative `expires`. Everything else finds such a row expired, so tables need no upgrade,
//! and operations without a lease cost the same as in a store without leases. A fill replaces the
//! row if its number is still the same. The lease of an entry is the entry itself, which a fill
//! compares: its stamp if it has one, otherwise all of it. A mark under the key of
//! [`Ask::Any`](cache_core::Ask::Any) keeps other callers out meanwhile.
//!
//! | | `acquire`, absent | `fill`, absent | `acquire`, entry | `fill`, entry | `release` |
//! |---|---|---|---|---|---|
//! | SQLite: transactions | 1 | 1 | 1 | 1 | 1 |
//! | PostgreSQL: round trips | 1 | 1 | 1 | 1 | 1 |
//! | MySQL: round trips | 2 | 1 | 2 or 3 | 2 | 1 |
//!
//! - **Limits.** A write of exactly the value that an entry had before does not end the lease of
//!   the entry, because the fill then replaces nothing newer. If the entry expires, its lease has
//!   ended. `delete` returns `true` for an absent key with a mark, also if its lease has ended.
//! - **Time.** Leases end by the clocks of the applications. If the clock of the holder's machine
//!   is ahead or is set back, the lease keeps others out for longer by the difference. If that is
//!   more than a minute, the lease counts as ended. A late value is not stored in any case.
//! - **Lost rows.** If the database loses a mark, for example in a failover or the crash of an
//!   unlogged table, the fill stores nothing, and two callers may produce at once.
//! - **Capacity.** Marks do not count towards `max_entries`. Those that have ended are removed with
//!   the expired rows.
//! - **Earlier releases** do not know marks. Their writes and increments end leases, and their
//!   removal of expired rows may. Their `delete` of an absent key does not: while one of them uses
//!   the table, a fill may store a value that was produced before such a `delete`.
//!
//! # SQLite
//!
//! A SQLite cache outlives the process, needs no server, and is shared by the processes of a
//! machine. A `get` takes a few microseconds, about as long as SQLite itself: choose it over
//! PostgreSQL, MySQL and Redis unless several machines share the cache, and over the file-based
//! store if there are many small entries, counters or batches. A large value is faster in a file.
//! The file must be on a local disk: SQLite's locks and shared memory do not work on network file
//! systems.
//!
//! **Threads.** Calls on a few keys run on the caller's thread if neither a connection nor the
//! write lock has to be waited for, [`get_now`](cache_core::Cache::get_now) and
//! [`set_now`](cache_core::Cache::set_now) included. A read that finds its pages neither in
//! SQLite's cache nor in that of the operating system therefore waits for the disk on the caller's
//! thread. On a slow disk, set [`DbOptions::blocking_threads`], which runs every call on a blocking
//! thread. All other calls always do: large values and batches, `clear`, `stats`, and writes while
//! another process writes. Short writes that wait for another thread run on the thread that
//! releases the connection, grouped into one transaction. A task yields after 64 reads or 8 writes
//! on its thread.
//!
//! **Durability.** The file is in WAL mode with `synchronous = NORMAL`: if the power fails, the
//! last writes can be lost, and the file stays intact. A thread of the store moves the WAL into the
//! file after 1,000 pages (4 MB), so that no caller waits for an fsync. The last connection that is
//! closed removes the WAL.
//!
//! **The file.** A missing folder is created with mode 0700, and files and folders that root
//! creates belong to the owner of the folder above. If the file is deleted or replaced, or its
//! folder is removed, the store notices within a second and opens or creates it again, also while
//! other processes that use this crate have it open. Other programs must not have it open then. A
//! read-only file, or one in a read-only file system, is a read-only cache: calls that write return
//! [`ErrorKind::Backend`](cache_core::ErrorKind::Backend). The store notices within a second that
//! the file has become writable.
//!
//! **Restoring a backup.** Never copy a backup over a file that is open: SQLite
//! [does not notice](https://www.sqlite.org/howtocorrupt.html), mixes the pages of both files and
//! applies the WAL of the old one to the new one. Copy the backup to another name in the same
//! folder and rename it to the name of the file, or stop all processes and remove the files `-wal`
//! and `-shm` as well, or let SQLite write it, with `.restore` in its command line tool.
//!
//! **Disk space.** Files that the store creates have `auto_vacuum = INCREMENTAL`. If half of such a
//! file is free, for example after `clear`, the space is given back to the file system. A file that
//! holds other tables is never vacuumed. On Linux, `delete` and `clear` work on a full disk,
//! because 5 MB are allocated for the WAL while the store is open, and as much is left free as the
//! WAL can add to the file. If there is less room, checkpoints are more frequent. A file system
//! with less than 3 MB is full.
//!
//! **Other uses of SQLite.** All connections of a process must use the same SQLite library, because
//! two libraries release each other's file locks. The store uses rusqlite 0.39 and
//! `libsqlite3-sys` 0.37, of which Cargo allows one version in a build: sqlx 0.9, rusqlite 0.39 and
//! diesel 2.3 go together with it. They can open the same file, as another process would. An sqlx
//! pool of SQLite cannot be passed in: set `url` to the path of its file.
//!
//! **Memory.** `sqlite::memory:` is one connection, which calls use one after the other.
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
mod diagnosis;
mod dialect;
mod entry;
mod error;
mod fault;
mod inspect;
mod leases;
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
