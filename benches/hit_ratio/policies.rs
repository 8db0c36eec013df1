//! The caches themselves, each asked for the keys of a trace and given what it has not.

use std::task::{Context, Poll, Waker};

use cache_core::{Cache, Value};
use cache_locmem::{LocMemCache, LocMemOptions, Policy as LocMemPolicy};
use cached::ShardedLruCache;
use foyer_memory::{Cache as Foyer, CacheBuilder, EvictionConfig, LfuConfig, S3FifoConfig};

use crate::traces::{Trace, share};

/// A cache as it comes, but for one thing: where it has shards, it is given one, so that chance decides nothing.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    make: fn(entries: usize) -> Box<dyn Peer>,
}

pub(crate) const OURS: &str = "locmem, S3-FIFO";
pub(crate) const LRU: &str = "locmem, LRU";
pub(crate) const QUICK: &str = "quick_cache";

/// Ours come first.
pub(crate) const POLICIES: [Policy; 9] = [
    Policy { name: OURS, make: |entries| locmem(LocMemPolicy::S3Fifo, ONE_AT_A_TIME, entries) },
    Policy { name: LRU, make: |entries| locmem(LocMemPolicy::Lru, ONE_AT_A_TIME, entries) },
    Policy {
        name: "locmem, S3-FIFO, a third culled",
        make: |entries| locmem(LocMemPolicy::S3Fifo, 3, entries),
    },
    Policy {
        name: "locmem, LRU, a third culled",
        make: |entries| locmem(LocMemPolicy::Lru, 3, entries),
    },
    Policy {
        name: QUICK,
        make: |entries| Box::new(quick_cache::unsync::Cache::<u32, ()>::new(entries)),
    },
    Policy {
        name: "moka",
        make: |entries| Box::new(moka::sync::Cache::<u32, ()>::new(entries as u64)),
    },
    Policy { name: "foyer, S3-FIFO", make: |entries| foyer(S3FifoConfig::default(), entries) },
    Policy { name: "foyer, w-TinyLFU", make: |entries| foyer(LfuConfig::default(), entries) },
    Policy { name: "cached, LRU", make: cached },
];

/// A cull frequency that lets one entry go.
const ONE_AT_A_TIME: usize = 1_000_000;

/// A cache under some policy.
trait Peer {
    /// Whether the key is there; if not, it is put there. `text` is the same key, for who takes only text.
    fn ask(&mut self, key: u32, text: &str) -> bool;
}

impl Policy {
    /// The share of requests that are hits when there is room for so many entries.
    pub(crate) fn hit_ratio(&self, trace: &Trace, entries: usize) -> f64 {
        let mut peer = (self.make)(entries);
        let hits =
            trace.requests.iter().filter(|&&key| peer.ask(key, &trace.keys[key as usize])).count();
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

impl Peer for LocMemCache {
    fn ask(&mut self, _: u32, text: &str) -> bool {
        if self.get_now(text).is_some_and(|answer| answer.expect("no failure").is_some()) {
            return true;
        }
        ready(self.set(text, Value::Int(0), None)).expect("no failure");
        false
    }
}

impl Peer for quick_cache::unsync::Cache<u32, ()> {
    fn ask(&mut self, key: u32, _: &str) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        hit
    }
}

/// Its policy is applied by and by; here, after each request.
impl Peer for moka::sync::Cache<u32, ()> {
    fn ask(&mut self, key: u32, _: &str) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        self.run_pending_tasks();
        hit
    }
}

fn foyer(eviction: impl Into<EvictionConfig>, entries: usize) -> Box<dyn Peer> {
    let cache: Foyer<u32, ()> =
        CacheBuilder::new(entries).with_shards(1).with_eviction_config(eviction).build();
    Box::new(cache)
}

impl Peer for Foyer<u32, ()> {
    fn ask(&mut self, key: u32, _: &str) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        hit
    }
}

fn cached(entries: usize) -> Box<dyn Peer> {
    let cache: ShardedLruCache<u32, ()> =
        ShardedLruCache::builder().max_size(entries).shards(1).build().expect("a valid size");
    Box::new(cache)
}

impl Peer for ShardedLruCache<u32, ()> {
    fn ask(&mut self, key: u32, _: &str) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.set(key, ());
        }
        hit
    }
}

/// The result of a future that need not wait.
fn ready<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("locmem never waits"),
    }
}
