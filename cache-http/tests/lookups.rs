//! The number of reads of a hit in a store of this process.
//!
//! Purges are counted for the whole process, so this is a single test.

mod common;

use std::sync::Arc;

use cache_http::{HttpCacheLayer, Purge};
use cache_testing::{Recorder, Verbs};
use common::{Cached, Site, View};

fn uri(path: &str) -> String {
    format!("http://example.org{path}")
}

#[tokio::test]
async fn hit_reads_generations_only_after_a_purge_of_its_page_or_once_a_second() {
    for (vary, page) in [(&[][..], 1), (&[("vary", "X-A")], 2)] {
        let site = Site::in_memory();
        let store = Recorder::new(Arc::clone(site.cache.store()));
        let layer = HttpCacheLayer::new(&site.cache.with_store(Arc::new(store.clone())))
            .clock(site.time.clock())
            .cache_status("c");
        let layer = layer.tag("t");
        let cached = View::with(vary).cached(&layer);
        let lookups = async |cached: &Cached| {
            store.reset();
            assert!(cached.get("/").await.is_hit());
            store.count(Verbs::READS)
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
