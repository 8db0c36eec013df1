//! What `fetch` does while the store fails.

use cache_core::{Cache, ErrorKind, OnOutage};
use cache_testing::{Chaos, Fault, Verb, Verbs};

use super::*;

fn chaotic() -> (ManualClock, Chaos, CacheHandle) {
    let time = ManualClock::new();
    let chaos = Chaos::new(locmem(&time));
    let store: Arc<dyn Cache> = Arc::new(chaos.clone());
    let cache = CacheHandle::new("default", store, Settings::default());
    (time.clone(), chaos, cache.with_clock(time.clock()))
}

#[tokio::test]
async fn value_is_produced_once_while_the_store_is_unavailable() {
    let (_time, chaos, cache) = chaotic();
    chaos.inject(Fault::error(ErrorKind::Unavailable));
    let [mut first, second] = [Caller::start(&cache).await, Caller::start(&cache).await];
    assert!(first.has_begun() && !second.has_begun());
    first.answer(Answer::Value("new")).await;
    assert_eq!([first.value().await, second.value().await], ["new", "new"]);
}

#[tokio::test]
async fn value_is_returned_if_it_cannot_be_stored() {
    let (_time, chaos, cache) = chaotic();
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verbs::WRITES));
    let mut caller = Caller::start(&cache).await;
    caller.answer(Answer::Value("new")).await;
    assert_eq!(caller.value().await, "new");
}

#[tokio::test]
async fn error_of_the_store_is_returned_if_the_alias_wants_it() {
    let (_time, chaos, cache) = chaotic();
    let cache = cache.with_on_outage(OnOutage::Error);
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::Get));
    let caller = Caller::start(&cache).await;
    assert!(!caller.has_begun());
    let result = caller.result().await;
    assert!(
        matches!(&result, Err(FetchError::Cache(error)) if error.kind() == ErrorKind::Unavailable),
        "{result:?}"
    );
}
