//! The store of cachette on disk: a file for each entry, in a folder that processes share.
//!
//! ```
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path().join("cache");
//! use cache_filebased::{FileBasedCache, FileBasedOptions};
//!
//! let store = FileBasedCache::new(&folder, FileBasedOptions::default().max_entries(10_000))?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! It needs nothing but a disk, and outlives the process. What it does and what that costs:
//!
//! - **The folder** is made with every missing level when something is stored, and made again should it vanish. Folders are
//!   0700 and files 0600, whatever the umask; a folder that exists keeps its mode. The name of a file is the SHA-256 of its
//!   key, so no key can name a path outside. Files under other names are never read, counted or removed. Only those who may
//!   write to the folder can put entries into it.
//! - **A change** is a new file that is renamed over the old one, so a reader sees the old entry or the new one, even if the
//!   writer is killed. `set`, `add`, `touch`, `incr` and `delete` are atomic among threads and processes: each takes the
//!   lock (`flock`) of one of 256 shards for as long as it looks and renames. Who does not get it within `lock_timeout`, five seconds,
//!   because its holder is stopped, say, answers [`Unavailable`](cache_core::ErrorKind::Unavailable). Readers never wait.
//!   `touch` and `incr` write the entry anew; so `touch` of a large value costs as much as `set`.
//! - **Durability.** Nothing is forced to the disk. When the power fails, an entry may be lost, or its file be cut short: then
//!   its length or its checksum tells, and it is a miss, logged, and counted in `cachette_unusable_total`. So is a file of
//!   another version of this format.
//! - **Expiry** is by the time of day, to the nanosecond, for it has to mean the same to the next process: setting the
//!   computer's date shifts it. Readers leave expired files where they are, for one may be replaced the moment they look.
//! - **Room.** A `set` does not list the folder, so it costs the same at 100,000 entries as at 300. A process counts the
//!   entries that it adds, and when those reach an eighth of `max_entries` (64 at least), or the store is full, a thread
//!   of its own lists the names, which also corrects the count by what other processes did, and then goes through a part
//!   of the shards for what expired. Where there are too many entries, it goes through all: what expired goes first, then
//!   the `1 / cull_frequency` that was written longest ago. So for a moment there may be more than `max_entries`: by what
//!   is added while the thread works, and by an eighth for each other process. Overwriting culls nothing.
//! - **What dead processes leave**, a temporary file at most, is removed by the same thread when it is a minute old.
//!
//! # Which thread waits for the disk
//!
//! On Linux, `get`, `contains` and `ttl` of entries up to 64 KiB ask the kernel for what it has in memory, and to refuse rather
//! than wait for a disk (`RESOLVE_CACHED`, `RWF_NOWAIT`). That took 4.5 µs on the caller's thread, 9 µs for 60 kB, whereas
//! to have another thread read took 18 to 40 µs; so even [`get_now`](cache_core::Cache::get_now) answers. What the kernel
//! refuses, larger entries, and everything that writes goes to tokio's threads for blocking work. The kernel refuses the
//! first look for a file that is not there, too: such a miss took 25 µs, the next one 2.4 µs.
//!
//! A write took 40 to 160 µs, but one in a hundred 0.7 ms, one in a thousand 4 ms, and one in 20,000 38 ms, while the
//! journal of the file system (ext4) was written. For so long no runtime should stand still; so a `set` costs 20 to
//! 70 µs more than the same on the caller's thread.
//!
//! On other systems, reads of small entries are done at once, whatever the disk. Without a tokio runtime, everything is.

mod backend;
mod cache;
mod call;
mod entries;
mod entry_file;
mod folder;
mod modes;
mod options;
mod reading;
mod sweep;

pub use self::{
    backend::FileBasedBackend, cache::FileBasedCache, options::FileBasedOptions, sweep::Swept,
};
