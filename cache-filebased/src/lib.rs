//! The file-based store of cachette: one file per entry, shared by the processes of a machine.
//!
//! ```
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let directory = directory.path().join("cache");
//! use cache_filebased::{FileBasedCache, FileBasedOptions};
//!
//! let store = FileBasedCache::new(&directory, FileBasedOptions::default().max_entries(10_000))?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! The store needs a disk and no server. Its entries outlive the process.
//!
//! # Directory
//!
//! The directory and its missing parents are created when an entry is stored, and again if they are
//! removed. New directories have mode 0700 and files 0600, regardless of the umask. An existing
//! directory keeps its mode: anyone who can write to it can add entries. What root creates belongs
//! to the owner and the group of the directory, so that a command run as root does not lock out the
//! service.
//!
//! The file system must support `flock`. Some network file systems do not: writes are errors there.
//!
//! A file is named by the SHA-256 of its key, so that no key can name a path outside the directory.
//! Files with other names are never read, counted or removed.
//!
//! # Expiry
//!
//! Entries expire by the time of day, in nanoseconds, because the time must mean the same to the
//! next process. Changing the date of the computer shifts the expiry. Reads do not remove expired
//! files, because another process may have just replaced them.
//!
//! # Culling
//!
//! A `set` does not list the directory, so it costs the same with 100,000 entries as with 300. A
//! process counts the entries that it adds. When it has added an eighth of `max_entries` (at least
//! 64), or the store is full, it starts a thread that lists the names, which also counts the
//! entries of other processes. The thread then removes the expired entries of some of the shards.
//!
//! If there are more than `max_entries` entries, the thread removes all expired ones. If that is
//! not enough, it culls: it removes the entries that were written longest ago until `max_entries -
//! max_entries / cull_frequency` are left. The store can exceed `max_entries` for a moment, by the
//! entries that are added while the thread runs and by an eighth per other process. Overwriting an
//! entry does not start a cull.
//!
//! What cannot be listed or removed, because it belongs to another user, is skipped and logged.
//!
//! If a process is killed, it leaves at most one temporary file per write in progress. The same
//! thread removes these after a minute.
//!
//! # Atomicity
//!
//! A write creates a new file and renames it over the old one. A read returns the old or the new
//! entry, even if the writer is killed, and never waits for a writer. `set`, `add`, `touch`,
//! `get_and_touch`, `incr`, `incr_or_set` and `delete` are atomic among threads and processes: each
//! takes the file lock (`flock`) of one of 256 shards while it checks and renames. `get_many`,
//! `set_many`, `delete_many`, `clear` and `purge_expired` are not atomic as a whole.
//!
//! # Leases
//!
//! The store has [leases](cache_core::Leases), for all processes that share the directory. A lease
//! is a file beside the entry, which reads never look at. It ends by the time of day. If the date
//! is set back by more than a minute meanwhile, it ends at once. A sweep removes the leases of
//! killed processes.
//!
//! # Durability
//!
//! Files are not synced. If the power fails, an entry can be lost or its file truncated. The length
//! and a checksum detect that: the entry is a miss, is logged, and is counted by the metric
//! `cachette_unusable_total`. The same applies to a file in another version of the format.
//!
//! # Errors
//!
//! - Returns [`ErrorKind::Unavailable`](cache_core::ErrorKind::Unavailable) if a write does not get
//!   its lock within `lock_timeout`, for example because the process that holds it was stopped.
//! - Returns [`ErrorKind::Backend`](cache_core::ErrorKind::Backend) if a file cannot be read,
//!   written or removed. The message names the path and the source is the
//!   [`io::Error`](std::io::Error).
//! - Returns [`ErrorKind::StorageFull`](cache_core::ErrorKind::StorageFull), which is temporary, if
//!   the disk or the quota of the user is full.
//!
//! # Cancel safety
//!
//! A write runs on a thread that outlives a dropped future. Before its first change, and while
//! holding the lock, the write checks whether the future was dropped. If so, it changes nothing.
//! Otherwise it completes: later writes to the key come after it, and a read returns the old or the
//! new entry until then.
//!
//! # Closing
//!
//! `close` waits until no thread of this process works in the directory, so that it can be removed.
//! A store that is dropped does not wait.
//!
//! # Performance
//!
//! On Linux, `get`, `contains` and `ttl` of entries up to 64 KiB first ask the kernel to return
//! what is in memory or to fail instead of waiting for the disk (`RESOLVE_CACHED`, `RWF_NOWAIT`).
//! On the caller's thread, a read took 4.5 µs, or 9 µs for 60 kB; a read on another thread took 18
//! to 40 µs. [`get_now`](cache_core::Cache::get_now) therefore works in this store. Larger entries,
//! reads that the kernel would have to wait for, and all writes run on tokio's blocking threads.
//! The kernel also fails the first lookup of a missing file: such a miss took 25 µs, and the next
//! one 2.4 µs.
//!
//! A write took 40 to 160 µs, but one in a hundred took 0.7 ms, one in a thousand 4 ms, and one in
//! 20,000 took 38 ms, while the file system (ext4) wrote its journal. Such a delay must not block
//! the runtime, so a `set` costs 20 to 70 µs more than it would on the caller's thread. `touch`,
//! `get_and_touch` and `incr` rewrite the entry: for a large value, they cost as much as `set`.
//!
//! On other systems, small entries are read on the caller's thread even if that waits for the disk.
//! Without a tokio runtime, everything runs on the caller's thread.

mod backend;
mod blocking;
mod cache;
mod check;
mod diagnosis;
mod directory;
mod entries;
mod entry_file;
mod inspect;
mod lease_file;
mod leases;
mod operation;
mod options;
mod permissions;
mod read;
mod sweep;

pub use self::{
    backend::FileBasedBackend, cache::FileBasedCache, options::FileBasedOptions, sweep::SweepReport,
};
