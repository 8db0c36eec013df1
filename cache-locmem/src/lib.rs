//! The in-memory store of cachette.
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
//! It lives and dies with the process. What it does and what that costs:
//!
//! - **Order.** Up to 16,383 `max_entries` there is one list, strictly in the order of use where the policy is LRU. Above, the entries are spread by
//!   hash over up to 64 shards, each with its share of the bounds, a lock and a list of its own; there, a use within
//!   the most recent quarter of a shard's list leaves the entry where it is, which saves most hits the work of moving it.
//!   As in Django, `get`, `set`, `add` and `incr` count as a use, `touch` and `contains` do not.
//! - **Room.** When a new entry would pass a bound, expired entries go first. If that is not enough, `1 / cull_frequency` of
//!   the entries go, as in Django, but at least one, and no more than 512 at once, so that nobody waits long; and never for
//!   overwriting an entry. Which ones, the policy says.
//! - **Policy.** `"lru"`, the default and Django's: those that were used least recently. `"s3-fifo"`: first those that came and
//!   were not used again, so that what is asked for once pushes out nothing that is asked for often, and a loop over more
//!   than there is room for still hits. It finds more on most traffic, and a little less where what was used last is always used next
//!   (`cargo bench -p cachette-benches --bench hit_ratio` measures both on traces of your own). A twentieth of the store is for
//!   what is new, and by and by more or less of it, as keys come back: it needs some hundred entries to tell what is wanted. An
//!   entry takes 9 to 18 bytes more under it, once the store has been full, which `max_bytes` does not count. Whichever it is: a
//!   cull of a third costs hits, and where they matter, `cull_frequency = 1000000` lets one entry go at a time.
//! - **Expiry** is exact to the clock. Expired entries are removed when they are met, when room is needed, and a few with
//!   each `set` that has a timeout, so that they do not pile up.
//! - **A hit** takes one lock, never held while a value is decoded or dropped, and allocates nothing.
//! - **Objects** ([`CacheHandle::set_shared`](cache_core::CacheHandle::set_shared)) are kept as they are.

mod backend;
mod balance;
mod cache;
mod deadlines;
mod ghosts;
mod kept;
mod key;
mod lru;
mod options;
mod policy;
mod s3_fifo;
mod shard;
mod slab;

pub use self::{
    backend::LocMemBackend, cache::LocMemCache, options::LocMemOptions, policy::Policy,
};
