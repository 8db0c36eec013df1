//! The in-memory store of cachette: LRU or S3-FIFO, bounded in entries and bytes.
//!
//! ```
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! use cache_locmem::{LocMemCache, LocMemOptions};
//!
//! let store = LocMemCache::new(LocMemOptions::default().max_entries(10_000))?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! The entries belong to the process: they are lost when it ends, and no other process sees them.
//! Objects ([`CacheHandle::set_shared`](cache_core::CacheHandle::set_shared)) are stored as they
//! are and never encoded.
//!
//! # Limits
//!
//! Django's limit, `max_entries`, bounds the memory only if entries are small: 300 pages of 2 MiB
//! take 600 MiB. So `max_bytes` is limited as well, by default to 64 MiB, or to 16 KiB for each of
//! `max_entries` if that is more. Entries of up to 16 KiB on average are never evicted because of
//! it. `max_bytes = "unlimited"` removes the limit.
//!
//! # Shards
//!
//! With up to 16,383 `max_entries`, all entries are in one list. If the policy is LRU, the list is
//! in strict order of use. Above that, the entries are spread by hash over up to 64 shards. Each
//! shard has a lock, a list and an equal part of the limits, and at least 16 MiB of `max_bytes`.
//! Under LRU, a use then only marks the entry. At its turn to be evicted, a marked entry loses the
//! mark and moves to the front instead; one call moves at most 4,096.
//!
//! As in Django, `get`, `set`, `add` and `incr` count as a use; `touch` and `contains` do not.
//! `get_and_touch` and `incr_or_set` count as well.
//!
//! # Eviction
//!
//! If a new entry would exceed a limit, expired entries are removed first. If that is not enough,
//! the store is culled: it evicts entries until `max_entries - max_entries / cull_frequency` are
//! left, as in Django, and the same fraction of `max_bytes`. Every cull evicts at least one entry.
//! A call evicts at most 512 entries, or more only if the new entry would not fit otherwise; the
//! next calls that add an entry continue the cull. Overwriting an entry does not cull, unless the
//! new value is so much larger that it exceeds `max_bytes`.
//!
//! The [`Policy`] chooses the entries:
//!
//! - `"lru"`, the default and Django's policy, evicts the least recently used entries: exactly in
//!   one list, approximately in [shards](#shards).
//! - `"s3-fifo"` evicts the entries first that were not used again after they were added. Keys that
//!   are read once then evict none that are read often, and a loop over more keys than fit still
//!   hits. It has more hits on most traffic, and slightly fewer if the next key read is always a
//!   recent one; `cargo bench -p cachette-benches --bench hit_ratio` measures both on your traces.
//!   A hundredth of the store is reserved for new entries at first, and the share adapts to the
//!   traffic. A new entry that was used often, also before it was evicted last, replaces one that
//!   was used less. The policy needs some hundred entries to work well, and 10 to 20 bytes more per
//!   entry once the store has been full, which `max_bytes` does not count.
//!
//! Evicting a third of the entries at once costs hits under either policy. If hits matter most, set
//! `cull_frequency` to 1,000,000: then a full store evicts one entry at a time.
//!
//! # Expiry
//!
//! An expired entry is never returned. It is removed when it is read, or when space is needed. Each
//! `set` with a timeout also removes up to two expired entries, so that they do not accumulate.
//!
//! # Performance
//!
//! A hit takes one lock. Hits share it, except under LRU with a single list, where they lock one
//! after the other. A hit allocates nothing, except for the first hit of bytes that nobody has
//! cloned before: it allocates their reference count. No lock is held while a value is decoded or
//! dropped.
//!
//! # Leases
//!
//! The store has [leases](cache_core::Leases), which any write of their key ends. They cost nothing
//! on a hit. `max_bytes` does not count them: each takes about 100 bytes until it ends.
//!
//! # Errors
//!
//! `set` and `add` return [`ErrorKind::TooLarge`](cache_core::ErrorKind::TooLarge) if the entry is
//! larger than the part of `max_bytes` that one shard has. `set` then removes the old entry. `incr`
//! returns [`ErrorKind::NotAnInteger`](cache_core::ErrorKind::NotAnInteger) or
//! [`ErrorKind::Overflow`](cache_core::ErrorKind::Overflow) and changes nothing. No other operation
//! fails.
//!
//! # Atomicity
//!
//! Every operation on one key is atomic. `get_many`, `set_many`, `delete_many`, `clear` and
//! `purge_expired` are not: other calls can run between two keys or shards.
//!
//! # Cancel safety
//!
//! No future of this store ever waits. Once polled, it is complete.

mod backend;
mod balance;
mod cache;
mod compact_value;
mod deadlines;
mod ghosts;
mod history;
mod key;
mod lease_table;
mod leases;
mod lru;
mod max_bytes;
mod options;
mod policy;
mod s3_fifo;
mod shard;
mod slab;

pub use self::{
    backend::LocMemBackend, cache::LocMemCache, max_bytes::MaxBytes, options::LocMemOptions,
    policy::Policy,
};
