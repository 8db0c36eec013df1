//! The number of reads of a hit in a store of this process.
//!
//! Purges are counted for the whole process, so this is a single test.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{Cache, Result, Ttl, Value, async_trait};
use cache_http::{HttpCacheLayer, Purge};
use common::{Cached, Site, View};

/// A store that counts its reads.
#[derive(Debug)]
struct Counting {
    store: Arc<dyn Cache>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl Cache for Counting {
    fn name(&self) -> &str {
        "counting"
    }
    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        self.reads.fetch_add(1, SeqCst);
        self.store.get_now(key)
    }
    fn keeps_objects(&self) -> bool {
        self.store.keeps_objects()
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.reads.fetch_add(1, SeqCst);
        self.store.get(key).await
    }
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.store.set(key, value, ttl).await
    }
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        self.store.add(key, value, ttl).await
    }
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        self.store.touch(key, ttl).await
    }
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        self.store.incr(key, delta).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.store.delete(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.store.ttl(key).await
    }
    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }
}

fn uri(path: &str) -> String {
    format!("http://example.org{path}")
}

#[tokio::test]
async fn hit_reads_generations_only_after_a_purge_of_its_page_or_once_a_second() {
    for (vary, page) in [(&[][..], 1), (&[("vary", "X-A")], 2)] {
        let site = Site::in_memory();
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Counting { store: Arc::clone(site.cache.store()), reads: Arc::clone(&reads) };
        let layer = HttpCacheLayer::new(&site.cache.with_store(Arc::new(store)))
            .clock(site.time.clock())
            .cache_status("c");
        let layer = layer.tag("t");
        let cached = View::with(vary).cached(&layer);
        let lookups = async |cached: &Cached| {
            let before = reads.load(SeqCst);
            assert!(cached.get("/").await.is_hit());
            reads.load(SeqCst) - before
        };
        // The page twice, and the generations of the whole cache, of the URI and of the tag.
        let checked = page + page + 2 + 1;
        cached.get("/").await;
        assert_eq!([lookups(&cached).await, lookups(&cached).await], [checked, page], "first hit");
        let mut rechecked = 0;
        for other in ["/1", "/2", "/3", "/4"] {
            cached.get(other).await;
            layer.purge_handle().purge_uri(&uri(other), Purge::Hard).await.expect("store works");
            rechecked += usize::from(lookups(&cached).await == checked);
        }
        // Generations share 1024 counters, so one of these purges may concern this page as well.
        assert!(rechecked <= 1, "after {rechecked} of 4 purges of other pages");
        layer.purge_handle().purge_tag("another", Purge::Hard).await.expect("store works");
        assert_eq!(lookups(&cached).await, page, "after a purge of a tag that no page has");
        site.advance(1);
        assert_eq!(
            [lookups(&cached).await, lookups(&cached).await],
            [checked, page],
            "in the next second"
        );
        layer.purge_handle().purge_tag("t", Purge::Hard).await.expect("store works");
        assert!(!cached.get("/").await.is_hit());
    }
}
