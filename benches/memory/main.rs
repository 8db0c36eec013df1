//! What an entry takes in memory over its key and its value. The `README.md` of this crate says how to read it.

use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use cache_core::Cache;
use cache_locmem::{LocMemCache, LocMemOptions, Policy};
use cached::ShardedLruCache;
use cachette_benches::{
    Contest, Report,
    workload::{KEYS, VALUE_LENGTH, keys},
};
use foyer_memory::{Cache as Foyer, CacheBuilder, S3FifoConfig};

type Quick = quick_cache::sync::Cache<Box<str>, Bytes>;
type Moka = moka::sync::Cache<Box<str>, Bytes>;

/// A cache with room for [`KEYS`] entries.
trait Peer {
    fn new() -> Self;
    fn store(&mut self, key: &str, value: Bytes);
    /// How many entries it holds, once it has done what it put off.
    fn entries(&mut self) -> usize;
}

fn main() {
    let keys = keys("there", 2 * KEYS);
    let contest = Contest::new("an entry over key and value")
        .unit("bytes")
        .candidate("locmem, LRU", || overhead::<Lru>(&keys))
        .candidate("locmem, S3-FIFO", || overhead::<S3Fifo>(&keys))
        .candidate("quick_cache", || overhead::<Quick>(&keys))
        .candidate("moka", || overhead::<Moka>(&keys))
        .candidate("foyer, S3-FIFO", || overhead::<Foyer<Box<str>, Bytes>>(&keys))
        .candidate("cached", || overhead::<ShardedLruCache<Box<str>, Bytes>>(&keys));
    let mut report = Report::default();
    report.add(contest.run(1));
    report.draw_bars("Memory of an entry over key and value", "an entry over key and value");
    report.publish();
}

/// Fills a cache twice over, and answers the bytes that an entry left in it takes, without its key and its value.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn overhead<P: Peer>(keys: &[Box<str>]) -> f64 {
    let mut peer = None;
    let mut entries = 0;
    let taken = measure(|| {
        let peer = peer.insert(P::new());
        keys.iter().for_each(|key| peer.store(key, value()));
        entries = peer.entries();
    });
    taken.bytes_current as f64 / entries as f64 - (keys[0].len() + VALUE_LENGTH) as f64
}

/// With the reference count that it gets when it is first cloned, at the latest by a hit.
fn value() -> Bytes {
    let value = Bytes::from(vec![b'v'; VALUE_LENGTH]);
    drop(value.clone());
    value
}

struct Lru(LocMemCache);
struct S3Fifo(LocMemCache);

fn locmem(policy: Policy) -> LocMemCache {
    let options = LocMemOptions::default().max_entries(KEYS).cull_frequency(KEYS).policy(policy);
    LocMemCache::new(options).expect("valid options")
}

fn set(cache: &LocMemCache, key: &str, value: Bytes) {
    let future =
        std::pin::pin!(cache.set(key, value.into(), Some(std::time::Duration::from_secs(3600))));
    assert!(matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

macro_rules! locmem_peers {
    ($($name:ident)+) => {
        $(impl Peer for $name {
            fn new() -> Self {
                Self(locmem(Policy::$name))
            }

            fn store(&mut self, key: &str, value: Bytes) {
                set(&self.0, key, value);
            }

            fn entries(&mut self) -> usize {
                self.0.entries()
            }
        })+
    };
}

locmem_peers! { Lru S3Fifo }

impl Peer for Quick {
    fn new() -> Self {
        Self::new(KEYS)
    }

    fn store(&mut self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }

    fn entries(&mut self) -> usize {
        self.len()
    }
}

impl Peer for Moka {
    fn new() -> Self {
        Self::new(KEYS as u64)
    }

    fn store(&mut self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }

    fn entries(&mut self) -> usize {
        self.run_pending_tasks();
        usize::try_from(self.entry_count()).expect("a small number")
    }
}

impl Peer for Foyer<Box<str>, Bytes> {
    fn new() -> Self {
        CacheBuilder::new(KEYS).with_eviction_config(S3FifoConfig::default()).build()
    }

    fn store(&mut self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }

    fn entries(&mut self) -> usize {
        self.usage()
    }
}

impl Peer for ShardedLruCache<Box<str>, Bytes> {
    fn new() -> Self {
        Self::new(KEYS)
    }

    fn store(&mut self, key: &str, value: Bytes) {
        self.set(key.into(), value);
    }

    fn entries(&mut self) -> usize {
        self.len()
    }
}
