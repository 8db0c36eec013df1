//! Injected faults.

use std::{sync::Arc, time::Duration};

use cache_core::{Ask, Cache, Error, ErrorKind, Lease, Leases, Result, Value};
use cache_locmem::LocMemCache;
use cache_testing::{Chaos, Fault, Verb, Verbs};
use tokio::time::{Instant, timeout};

const TTL: Option<Duration> = None;
const HOLD: Duration = Duration::from_secs(30);
const ONE: Value = Value::Int(1);

fn chaos() -> Chaos {
    Chaos::new(Arc::new(LocMemCache::default()))
}

/// The store inside, without faults.
fn inside(chaos: &Chaos) -> &dyn Cache {
    chaos.inner().expect("it is a wrapper")
}

async fn stored(chaos: &Chaos, key: &str) -> bool {
    inside(chaos).contains(key).await.expect("the store works")
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn error_keeps_the_call_from_the_store() {
    let chaos = chaos();
    chaos.inject(Fault::error(ErrorKind::StorageFull));
    assert_eq!(kind(chaos.set("k", ONE, TTL).await), Some(ErrorKind::StorageFull));
    assert!(!stored(&chaos, "k").await);
}

#[tokio::test]
async fn error_with_returns_the_errors_of_the_test() {
    let chaos = chaos();
    chaos.inject(Fault::error_with(|| Error::new(ErrorKind::Backend, "locked").temporary(true)));
    let error = chaos.get("k").await.expect_err("an injected error");
    assert_eq!((error.to_string().as_str(), error.is_temporary()), ("locked", true));
}

#[tokio::test]
async fn fault_affects_its_verbs_only() {
    let chaos = chaos();
    chaos.inject(Fault::error(ErrorKind::Unavailable).on([Verb::Get, Verb::Delete]));
    chaos.set("k", ONE, TTL).await.expect("not affected");
    assert!(chaos.contains("k").await.expect("not affected"));
    assert_eq!(kind(chaos.get("k").await), Some(ErrorKind::Unavailable));
    assert_eq!(kind(chaos.delete("k").await), Some(ErrorKind::Unavailable));
    assert_eq!(chaos.affected(), 2);
}

#[tokio::test]
async fn affected_verb_is_not_answered_without_waiting() {
    let chaos = chaos();
    assert!(chaos.set_now("k", ONE, TTL).is_ok());
    assert!(chaos.get_now("k").is_some());
    chaos.inject(Fault::hang().on(Verbs::READS));
    assert!(chaos.get_now("k").is_none());
    assert!(chaos.set_now("k", ONE, TTL).is_ok(), "writes are not affected");
    chaos.inject(Fault::hang());
    assert_eq!(chaos.set_now("k", ONE, TTL).err(), Some(ONE));
    chaos.heal();
    assert!(chaos.get_now("k").is_some());
}

#[tokio::test]
async fn lost_reply_fails_a_call_that_has_happened() {
    let chaos = chaos();
    chaos.inject(Fault::lost_reply());
    assert_eq!(kind(chaos.add("k", ONE, TTL).await), Some(ErrorKind::Unavailable));
    assert!(stored(&chaos, "k").await);
}

async fn lease(store: &dyn Leases, key: &str) -> Option<Lease> {
    store.acquire(key, Ask::Missing, HOLD).await.expect("the store works").lease
}

#[tokio::test]
async fn lost_reply_of_acquire_leaves_the_key_leased() {
    let chaos = chaos();
    chaos.inject(Fault::lost_reply().on(Verb::Acquire).times(1));
    let lost = chaos.acquire("k", Ask::Missing, HOLD).await;
    assert_eq!(kind(lost), Some(ErrorKind::Unavailable));
    assert!(lease(&chaos, "k").await.is_none(), "the caller holds a lease that it does not know");
}

#[tokio::test]
async fn lost_reply_of_fill_stores_the_value_and_error_of_fill_does_not() {
    for (fault, is_stored) in
        [(Fault::lost_reply(), true), (Fault::error(ErrorKind::Unavailable), false)]
    {
        let chaos = chaos();
        let lease = lease(&chaos, "k").await.expect("nobody holds a lease");
        chaos.inject(fault.on(Verb::Fill));
        let filled = chaos.fill("k", lease, ONE, TTL).await;
        assert_eq!(kind(filled), Some(ErrorKind::Unavailable));
        assert_eq!(stored(&chaos, "k").await, is_stored);
    }
}

#[tokio::test]
async fn error_of_release_keeps_the_lease() {
    let chaos = chaos();
    let held = lease(&chaos, "k").await.expect("nobody holds a lease");
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verbs::LEASES).times(1));
    let released = chaos.release("k", held, Duration::ZERO).await;
    assert_eq!(kind(released), Some(ErrorKind::Unavailable));
    assert!(lease(&chaos, "k").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn latency_and_hang_affect_leases() {
    let chaos = chaos();
    chaos.inject(Fault::latency(Duration::from_millis(30)).on(Verb::Acquire));
    chaos.inject(Fault::hang().on(Verb::Fill));
    let start = Instant::now();
    let lease = lease(&chaos, "k").await.expect("nobody holds a lease");
    assert_eq!(start.elapsed().as_millis(), 30);
    let fill = chaos.fill("k", lease, ONE, TTL);
    assert!(timeout(Duration::from_secs(86_400), fill).await.is_err());
    assert!(!stored(&chaos, "k").await);
}

#[tokio::test]
async fn partial_batch_does_the_first_half() {
    let chaos = chaos();
    chaos.inject(Fault::partial_batch());
    let entries = [("a", ONE), ("b", ONE), ("c", ONE)];
    assert_eq!(kind(chaos.set_many(&entries, TTL).await), Some(ErrorKind::Unavailable));
    assert!(stored(&chaos, "a").await);
    assert!(!stored(&chaos, "b").await && !stored(&chaos, "c").await);
    chaos.set("b", ONE, TTL).await.expect("not a batch");
    assert_eq!(kind(chaos.delete_many(&["a", "b"]).await), Some(ErrorKind::Unavailable));
    assert!(!stored(&chaos, "a").await && stored(&chaos, "b").await);
}

#[tokio::test]
async fn partial_batch_of_one_entry_does_nothing() {
    let chaos = chaos();
    chaos.inject(Fault::partial_batch());
    let result = chaos.set_many(&[("a", ONE)], TTL).await;
    assert_eq!(kind(result), Some(ErrorKind::Unavailable));
    assert!(!stored(&chaos, "a").await);
}

#[tokio::test(start_paused = true)]
async fn latencies_add_up_and_precede_the_error() {
    let chaos = chaos();
    chaos.inject(Fault::latency(Duration::from_millis(30)));
    chaos.inject(Fault::error(ErrorKind::Unavailable));
    chaos.inject(Fault::latency(Duration::from_millis(50)).on(Verb::Get));
    let start = Instant::now();
    assert_eq!(kind(chaos.get("k").await), Some(ErrorKind::Unavailable));
    assert_eq!(start.elapsed().as_millis(), 80);
    assert_eq!(chaos.affected(), 1, "one call");
}

#[tokio::test(start_paused = true)]
async fn random_latency_stays_in_its_range() {
    let chaos = chaos();
    let (min, max) = (Duration::from_millis(100), Duration::from_millis(200));
    chaos.inject(Fault::latency_between(min..=max));
    let mut seen = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        chaos.clear().await.expect("the store works");
        // The timer rounds up to milliseconds.
        assert!((min..=max + Duration::from_millis(1)).contains(&start.elapsed()));
        seen.push(start.elapsed());
    }
    seen.dedup();
    assert!(seen.len() > 1, "the latency varies");
}

#[tokio::test(start_paused = true)]
async fn call_that_hangs_never_completes_even_without_the_fault() {
    let chaos = chaos();
    chaos.inject(Fault::hang());
    let mut hanging = chaos.get("k");
    let day = Duration::from_secs(86_400);
    assert!(timeout(day, &mut hanging).await.is_err());
    chaos.heal();
    assert!(timeout(day, &mut hanging).await.is_err());
    assert_eq!(chaos.get("k").await.expect("the store works"), None);
}

#[tokio::test]
async fn skip_and_times_choose_the_calls() {
    let chaos = chaos();
    chaos.inject(Fault::error(ErrorKind::Unavailable).on(Verb::Get).skip(2).times(2));
    let mut failed = Vec::new();
    for _ in 0..6 {
        failed.push(chaos.get("k").await.is_err());
        chaos.ttl("k").await.expect("another verb does not count");
    }
    assert_eq!(failed, [false, false, true, true, false, false]);
    assert!(chaos.get_now("k").is_some(), "the fault is used up");
}

#[tokio::test]
async fn only_the_first_error_is_used_up() {
    let chaos = chaos();
    chaos.inject(Fault::error(ErrorKind::Unavailable).times(1));
    chaos.inject(Fault::error(ErrorKind::Backend).times(1));
    assert_eq!(kind(chaos.get("k").await), Some(ErrorKind::Unavailable));
    assert_eq!(kind(chaos.get("k").await), Some(ErrorKind::Backend));
    assert_eq!(kind(chaos.get("k").await), None);
}

async fn failures(seed: u64) -> Vec<bool> {
    let chaos = chaos().seeded(seed);
    chaos.inject(Fault::error(ErrorKind::Unavailable).probability(0.25));
    let mut failures = Vec::new();
    for _ in 0..1000 {
        failures.push(chaos.get("k").await.is_err());
    }
    failures
}

#[tokio::test]
async fn seed_decides_which_calls_fail() {
    let first = failures(7).await;
    assert_eq!(first, failures(7).await);
    assert_ne!(first, failures(8).await);
    let share = first.iter().filter(|failed| **failed).count();
    assert!((200..300).contains(&share), "{share} of 1000 at a probability of 0.25");
}
