//! What a trace collects.

use std::{future::pending, pin::pin, sync::Arc, task::Poll};

use cache_core::{
    CacheHandle, ErrorKind, Purge, Settings, Share, Timeout,
    observe::{ObserveOptions, Observed, Operation, Outcome, Trace, TracedCall},
};
use cache_locmem::LocMemCache;
use cache_testing::{Chaos, Fault, Remote};

fn observed() -> CacheHandle {
    with_settings(Settings::default())
}

fn with_settings(settings: Settings) -> CacheHandle {
    let store = Arc::new(LocMemCache::default());
    let observed = Observed::new("default", store, ObserveOptions::default());
    CacheHandle::new("default", Arc::new(observed), settings)
}

fn summary(trace: &Trace) -> Vec<(Operation, Outcome, usize)> {
    trace.calls().iter().map(|call| (call.operation, call.outcome, call.depth)).collect()
}

fn only(trace: &Trace) -> TracedCall {
    let [call] = trace.calls().try_into().expect("one call");
    call
}

#[tokio::test]
async fn call_has_its_alias_store_key_and_size() {
    let (cache, trace) = (observed(), Trace::new());
    trace.collect(cache.set("greeting", "hello", Timeout::Default)).await.expect("it is stored");
    let call = only(&trace);
    assert_eq!((&*call.cache, &*call.store), ("default", "locmem"));
    assert_eq!((call.operation, call.outcome), (Operation::Set, Outcome::Ok));
    assert_eq!(call.keys, [cache.composed_key("greeting").into()]);
    assert_eq!((call.key_count, call.hits, call.error), (1, 0, None));
    assert!(call.size.is_some_and(|size| size >= 5));
    assert!(call.took.is_some());
    assert_eq!((call.parent, call.depth), (None, 0));
}

#[tokio::test]
async fn nothing_is_collected_outside_the_future() {
    let (cache, trace) = (observed(), Trace::new());
    let mut collected = pin!(trace.collect(async {
        cache.get::<u8>("inside").await.expect("a miss");
        pending::<()>().await;
    }));
    assert!(futures_poll_once(collected.as_mut()).await.is_pending());
    cache.get::<u8>("outside").await.expect("a miss");
    assert!(Trace::current().is_none());
    assert_eq!(only(&trace).keys, [cache.composed_key("inside").into()]);
}

async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(pin!(&mut future).poll(context))).await
}

#[tokio::test]
async fn inner_trace_replaces_the_outer_one_until_it_ends() {
    let (cache, outer, inner) = (observed(), Trace::new(), Trace::new());
    let future = async {
        inner.collect(cache.get::<u8>("inner")).await.expect("a miss");
        cache.get::<u8>("outer").await.expect("a miss");
    };
    outer.collect(future).await;
    assert_eq!(only(&inner).keys, [cache.composed_key("inner").into()]);
    assert_eq!(only(&outer).keys, [cache.composed_key("outer").into()]);
}

#[tokio::test]
async fn calls_of_a_producer_are_inside_its_fill() {
    let (cache, trace) = (observed(), Trace::new());
    let produce = async || {
        cache.get::<u8>("source").await.expect("a miss");
        7_u8
    };
    trace.collect(cache.get_or_set("page", Timeout::Default, produce)).await.expect("it is stored");
    let expected = [
        (Operation::Get, Outcome::Miss, 0),
        (Operation::Acquire, Outcome::Ok, 0),
        (Operation::Produce, Outcome::Stored, 0),
        (Operation::Get, Outcome::Miss, 1),
        (Operation::Fill, Outcome::Ok, 0),
    ];
    assert_eq!(summary(&trace), expected);
    assert_eq!(trace.calls()[3].parent, Some(2));
}

#[tokio::test]
async fn miss_with_leases_in_this_process_is_one_lookup() {
    let settings = Settings { share: Share::Process, ..Settings::default() };
    let (cache, trace) = (with_settings(settings), Trace::new());
    let produced = cache.get_or_set("page", Timeout::Default, async || 7_u8);
    trace.collect(produced).await.expect("it is stored");
    let expected = [
        (Operation::Get, Outcome::Miss, 0),
        (Operation::Acquire, Outcome::Rejected, 0),
        (Operation::Produce, Outcome::Stored, 0),
        (Operation::Add, Outcome::Ok, 0),
    ];
    assert_eq!(summary(&trace), expected);
}

#[tokio::test]
async fn fill_whose_producer_fails_or_loses_its_lease_says_so() {
    let (cache, trace) = (observed(), Trace::new());
    let failed = cache.try_get_or_set("failed", Timeout::Default, async || Err::<u8, _>("no"));
    assert!(trace.collect(failed).await.expect("the store works").is_err());
    let produce = async || {
        cache.set("lost", &1_u8, Timeout::Default).await.expect("it is stored");
        2_u8
    };
    trace.collect(cache.get_or_set("lost", Timeout::Default, produce)).await.expect("a value");
    let fills = trace.calls().into_iter().filter(|call| call.operation == Operation::Produce);
    let outcomes: Vec<Outcome> = fills.map(|call| call.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Lost]);
}

#[tokio::test]
async fn panic_of_a_producer_ends_its_fill_and_the_trace() {
    let (cache, trace) = (observed(), Trace::new());
    let (task, collected) = (cache.clone(), trace.clone());
    let panicking = tokio::spawn(async move {
        let produced = task.get_or_set("page", Timeout::Default, async || -> u8 { panic!("no") });
        collected.collect(produced).await
    });
    assert!(panicking.await.is_err());
    assert!(Trace::current().is_none());
    assert_eq!(summary(&trace)[2], (Operation::Produce, Outcome::Panicked, 0));
}

#[tokio::test]
async fn caller_that_waits_for_another_one_records_the_wait() {
    let (cache, first, second) = (observed(), Trace::new(), Trace::new());
    let produce = async || {
        tokio::task::yield_now().await;
        7_u8
    };
    let (one, two) = tokio::join!(
        first.collect(cache.get_or_set("page", Timeout::Default, produce)),
        second.collect(cache.get_or_set("page", Timeout::Default, produce)),
    );
    assert_eq!((one.expect("a value"), two.expect("a value")), (7, 7));
    let expected = [(Operation::Get, Outcome::Miss, 0), (Operation::Wait, Outcome::Ok, 0)];
    assert_eq!(summary(&second), expected);
}

#[tokio::test]
async fn dropped_call_is_unfinished() {
    let store = Arc::new(Chaos::new(Arc::new(Remote::new(Arc::new(LocMemCache::default())))));
    store.inject(Fault::hang());
    let observed = Observed::new("default", store, ObserveOptions::default());
    let cache = CacheHandle::new("default", Arc::new(observed), Settings::default());
    let trace = Trace::new();
    {
        let mut get = pin!(trace.collect(cache.get::<u8>("key")));
        assert!(futures_poll_once(get.as_mut()).await.is_pending());
    }
    let call = only(&trace);
    assert_eq!((call.outcome, call.took), (Outcome::Unfinished, None));
}

#[tokio::test]
async fn error_has_its_kind() {
    let store = Arc::new(Chaos::new(Arc::new(LocMemCache::default())));
    store.inject(Fault::error(ErrorKind::Unavailable));
    let observed = Observed::new("default", store, ObserveOptions::default());
    let cache = CacheHandle::new("default", Arc::new(observed), Settings::default());
    let trace = Trace::new();
    trace.collect(cache.get::<u8>("key")).await.expect_err("the store fails");
    let call = only(&trace);
    assert_eq!((call.outcome, call.error), (Outcome::Error, Some(ErrorKind::Unavailable)));
}

#[tokio::test]
async fn lookup_of_several_keys_is_one_call_with_its_hits() {
    let (cache, trace) = (observed(), Trace::new());
    cache.set("a", &1, Timeout::Default).await.expect("it is stored");
    trace.collect(cache.get_many::<u8, _>(["a", "b", "c"])).await.expect("a lookup");
    let call = only(&trace);
    assert_eq!((call.operation, call.outcome), (Operation::GetMany, Outcome::Hit));
    assert_eq!((call.key_count, call.hits, call.keys.len()), (3, 1, 3));
}

#[tokio::test]
async fn lookup_of_an_entry_whose_tag_was_purged_is_a_miss() {
    let (cache, trace) = (observed(), Trace::new());
    let tags = cache.tags(["user:42"]).await.expect("the store works");
    for key in ["a", "b"] {
        cache.set_with(key, &7, Timeout::Default, &tags).await.expect("it is stored");
    }
    cache.purge_tags(["user:42"], Purge::Hard).await.expect("it is purged");
    cache.set("c", &7, Timeout::Default).await.expect("it is stored");
    let lookups = async {
        cache.get::<u8>("a").await.expect("a lookup");
        cache.get_many::<u8, _>(["b", "c"]).await.expect("a lookup");
    };
    trace.collect(lookups).await;
    let calls: Vec<_> =
        trace.calls().iter().map(|call| (call.operation, call.outcome, call.hits)).collect();
    let expected = [
        (Operation::Get, Outcome::Miss, 0),
        (Operation::ReadTags, Outcome::Ok, 0),
        (Operation::GetMany, Outcome::Hit, 1),
        (Operation::ReadTags, Outcome::Ok, 0),
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn trace_keeps_the_first_thousand_calls_and_counts_the_others() {
    let (cache, trace) = (observed(), Trace::new());
    let calls = async {
        for _ in 0..1001 {
            cache.get::<u8>("key").await.expect("a miss");
        }
        let keys = (0..200).map(|number| number.to_string());
        cache.get_many::<u8, _>(keys).await.expect("misses");
    };
    trace.collect(calls).await;
    assert_eq!((trace.calls().len(), trace.omitted()), (1000, 2));
}

#[tokio::test]
async fn call_keeps_a_hundred_keys() {
    let (cache, trace) = (observed(), Trace::new());
    let keys = (0..200).map(|number| number.to_string());
    trace.collect(cache.get_many::<u8, _>(keys)).await.expect("misses");
    let call = only(&trace);
    assert_eq!((call.key_count, call.keys.len()), (200, 100));
}

#[cfg(feature = "fetch")]
#[tokio::test]
async fn task_of_fetch_collects_for_its_caller() {
    let (cache, trace) = (observed(), Trace::new());
    let inner = cache.clone();
    let produce = async move |_| inner.get::<u8>("source").await.expect("a miss").unwrap_or(7);
    let ttl = std::time::Duration::from_secs(60);
    trace.collect(cache.fetch("page", produce).ttl(ttl).into_future()).await.expect("a value");
    let expected = [
        (Operation::Get, Outcome::Miss, 0),
        (Operation::Acquire, Outcome::Ok, 0),
        (Operation::Produce, Outcome::Stored, 0),
        (Operation::Get, Outcome::Miss, 1),
        (Operation::Fill, Outcome::Ok, 0),
    ];
    assert_eq!(summary(&trace), expected);
}
