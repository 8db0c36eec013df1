//! The caches. Each is asked for the keys of a trace and stores those that are missing.

use cache_core::{Cache, Value};
use cache_locmem::{LocMemCache, LocMemOptions, Policy as LocMemPolicy};
use cached::ShardedLruCache;
use cachette_benches::ready;
use foyer_memory::{Cache as Foyer, CacheBuilder, EvictionConfig, LfuConfig, S3FifoConfig};

use crate::traces::{Trace, share};

/// A cache with its defaults, but with a single shard, so that chance decides nothing. Only locmem
/// has several from 16,384 entries, and its LRU is then approximate.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    new: fn(entries: usize) -> Box<dyn Peer>,
}

pub(crate) const OURS: &str = "locmem, S3-FIFO";
pub(crate) const LRU: &str = "locmem, LRU";
/// The position of the first peer in [`POLICIES`].
pub(crate) const PEERS: usize = 4;

/// locmem's come first.
pub(crate) const POLICIES: [Policy; 9] = [
    Policy { name: OURS, new: |entries| locmem(LocMemPolicy::S3Fifo, ONE_AT_A_TIME, entries) },
    Policy { name: LRU, new: |entries| locmem(LocMemPolicy::Lru, ONE_AT_A_TIME, entries) },
    Policy {
        name: "locmem, S3-FIFO, a third culled",
        new: |entries| locmem(LocMemPolicy::S3Fifo, 3, entries),
    },
    Policy {
        name: "locmem, LRU, a third culled",
        new: |entries| locmem(LocMemPolicy::Lru, 3, entries),
    },
    Policy {
        name: "quick_cache",
        new: |entries| Box::new(quick_cache::unsync::Cache::<u32, ()>::new(entries)),
    },
    Policy {
        name: "moka",
        new: |entries| Box::new(moka::sync::Cache::<u32, ()>::new(entries as u64)),
    },
    Policy { name: "foyer, S3-FIFO", new: |entries| foyer(S3FifoConfig::default(), entries) },
    Policy { name: "foyer, w-TinyLFU", new: |entries| foyer(LfuConfig::default(), entries) },
    Policy { name: "cached, LRU", new: cached },
];

/// A cull frequency that removes a single entry.
const ONE_AT_A_TIME: usize = 1_000_000;

trait Peer {
    /// Returns whether the key is stored, and stores it if not. `text` is the same key, for caches
    /// of text.
    fn request(&mut self, key: u32, text: &str) -> bool;
}

impl Policy {
    /// Returns the share of hits with space for `entries`.
    pub(crate) fn hit_ratio(&self, trace: &Trace, entries: usize) -> f64 {
        let mut peer = (self.new)(entries);
        let hits = trace
            .requests
            .iter()
            .filter(|&&key| peer.request(key, &trace.keys[key as usize]))
            .count();
        share(hits, trace.requests.len())
    }
}

fn locmem(policy: LocMemPolicy, cull_frequency: usize, max_entries: usize) -> Box<dyn Peer> {
    let options = LocMemOptions::default()
        .max_entries(max_entries)
        .cull_frequency(cull_frequency)
        .policy(policy);
    Box::new(LocMemCache::new(options).expect("valid options"))
}

fn foyer(eviction: impl Into<EvictionConfig>, entries: usize) -> Box<dyn Peer> {
    let cache: Foyer<u32, ()> =
        CacheBuilder::new(entries).with_shards(1).with_eviction_config(eviction).build();
    Box::new(cache)
}

fn cached(entries: usize) -> Box<dyn Peer> {
    let cache: ShardedLruCache<u32, ()> =
        ShardedLruCache::builder().max_size(entries).shards(1).build().expect("a valid size");
    Box::new(cache)
}

impl Peer for LocMemCache {
    fn request(&mut self, _: u32, text: &str) -> bool {
        if self.get_now(text).is_some_and(|found| found.expect("no error").is_some()) {
            return true;
        }
        ready(self.set(text, Value::Int(0), None)).expect("no error");
        false
    }
}

macro_rules! peers {
    ($($cache:ty: $insert:ident $(, then $finish:ident)?;)+) => {
        $(impl Peer for $cache {
            fn request(&mut self, key: u32, _: &str) -> bool {
                let hit = self.get(&key).is_some();
                if !hit {
                    self.$insert(key, ());
                }
                $(self.$finish();)?
                hit
            }
        })+
    };
}

peers! {
    quick_cache::unsync::Cache<u32, ()>: insert;
    // moka applies its policy in the background; here, after each request.
    moka::sync::Cache<u32, ()>: insert, then run_pending_tasks;
    Foyer<u32, ()>: insert;
    ShardedLruCache<u32, ()>: set;
}
