//! Tests of observed caches.
#![cfg(all(feature = "locmem", feature = "toml"))]

use std::sync::Arc;

use cachette::{
    Cache, Caches, Result, Stats, async_trait, forward_cache,
    observe::{Observed, Operation, Trace},
};
use tokio::sync::Barrier;

const CONFIG: &str = r#"
    [default]
    backend = "locmem"

    [on]
    backend = "locmem"
    observe = true

    [keys]
    backend = "locmem"
    observe = { keys = true }

    [off]
    backend = "locmem"
    observe = false

    [url]
    backend = "locmem"
"#;

async fn observed(by_default: bool) -> Vec<(String, Option<bool>)> {
    let caches = Caches::builder().toml(CONFIG).url("url", "locmem://?observe=true");
    let caches = caches.observe(by_default).build().await.expect("it is valid");
    let state = |cache: &cachette::CacheHandle| {
        let observed = cache.store().downcast_ref::<Observed>();
        (cache.alias().to_owned(), observed.map(|observed| observed.options().keys))
    };
    caches.iter().map(state).collect()
}

#[tokio::test]
async fn alias_is_observed_if_it_or_the_builder_says_so() {
    let expected = |default| {
        [
            ("default".to_owned(), default),
            ("keys".to_owned(), Some(true)),
            ("off".to_owned(), None),
            ("on".to_owned(), Some(false)),
            ("url".to_owned(), Some(false)),
        ]
    };
    assert_eq!(observed(false).await, expected(None));
    assert_eq!(observed(true).await, expected(Some(false)));
}

#[tokio::test]
async fn aliases_that_share_a_store_are_observed_apart() {
    let caches = Caches::builder().url("default", "locmem://").url("other", "locmem://");
    let caches = caches.observe(true).build().await.expect("it is valid");
    let trace = Trace::new();
    let calls = async {
        caches["default"].set("key", &7, cachette::Timeout::Default).await?;
        caches["other"].get::<u8>("key").await
    };
    assert_eq!(trace.collect(calls).await.expect("it is stored"), Some(7));
    let calls = trace.calls();
    let calls: Vec<_> = calls.iter().map(|call| (call.operation, &*call.cache)).collect();
    assert_eq!(calls, [(Operation::Set, "default"), (Operation::Get, "other")]);
}

/// A store whose statistics wait for those of another one.
#[derive(Debug)]
struct Meeting(Arc<dyn Cache>, Arc<Barrier>);

#[async_trait]
impl Cache for Meeting {
    forward_cache!(self.0, except stats);

    async fn stats(&self) -> Result<Stats> {
        self.1.wait().await;
        self.0.stats().await
    }
}

#[tokio::test]
async fn statistics_of_all_stores_are_read_at_the_same_time() {
    let barrier = Arc::new(Barrier::new(2));
    let caches = Caches::builder().url("default", "locmem://").url("other", "locmem://other");
    let caches = caches.wrap(move |store| Meeting(store, Arc::clone(&barrier)));
    let caches = caches.observe(true).build().await.expect("it is valid");
    caches.publish_metrics().await.expect("no store waits in vain");
}
