//! The options of a call, of the producer and of the alias.

use cache_core::{FillOptions, Timeout, Ttl};

use super::*;

async fn ttl(cache: &CacheHandle) -> Option<Ttl> {
    cache.ttl("k").await.expect("locmem does not fail")
}

#[tokio::test]
async fn default_is_returned_instead_of_an_error() {
    for answer in [Answer::Error("down"), Answer::Panic] {
        let (_time, cache) = cache();
        let mut caller =
            Caller::start_with(&cache, |fetch| fetch.or_default_on_error("default".into())).await;
        caller.answer(answer).await;
        assert_eq!(caller.value().await, "default");
        assert!(!cache.contains("k").await.expect("locmem does not fail"));
    }
}

#[tokio::test]
async fn default_comes_after_the_hard_timeout_and_not_after_the_soft_one() {
    let (time, cache) = cache();
    let caller =
        Caller::start_with(&cache, |fetch| fetch.or_default_on_error("default".into())).await;
    advance(&time, SOFT).await;
    assert!(caller.is_waiting());
    advance(&time, HARD - SOFT).await;
    assert_eq!(caller.value().await, "default");
}

#[tokio::test]
async fn hard_timeout_of_zero_starts_the_producer_and_does_not_wait() {
    let (_time, cache) = cache();
    let mut caller = Caller::start_with(&cache, |fetch| {
        fetch.hard_timeout(Duration::ZERO).or_default_on_error("default".to_owned())
    })
    .await;
    assert!(caller.has_begun() && !caller.is_waiting());
    caller.answer(Answer::Value("late")).await;
    assert_eq!(caller.value().await, "default");
    assert_eq!(cached(&cache).await.as_deref(), Some("late"));
}

#[tokio::test]
async fn stale_value_comes_before_the_default() {
    let (_time, cache) = stale_cache().await;
    let mut caller =
        Caller::start_with(&cache, |fetch| fetch.or_default_on_error("default".into())).await;
    caller.answer(Answer::Error("down")).await;
    assert_eq!(caller.value().await, "old");
}

#[tokio::test]
async fn producer_sets_the_time_to_live_from_its_value() {
    let (_time, cache) = cache();
    let produce = async |fill: Fill| fill.ttl(Duration::from_secs(7));
    cache.fetch("k", produce).ttl(TTL).await.expect("produced");
    assert_eq!(ttl(&cache).await, Some(Ttl::Left(Duration::from_secs(7))));
}

#[tokio::test]
async fn none_has_its_own_time_to_live() {
    for (value, seconds) in [(None, 10), (Some(7_u8), 300)] {
        let (_time, cache) = cache();
        let fetch = cache.fetch("k", async move |_| value).ttl(TTL);
        assert_eq!(fetch.ttl_none(Timeout::secs(10)).await.expect("produced"), value);
        assert_eq!(ttl(&cache).await, Some(Ttl::Left(Duration::from_secs(seconds))));
        let again: Option<u8> =
            cache.fetch("k", async |_| unreachable!("a hit")).await.expect("a hit");
        assert_eq!(again, value);
    }
}

#[tokio::test]
async fn value_without_expiry_is_never_stale() {
    let (time, cache) = cache();
    let fetch = cache.fetch("k", async |_| 7_u8).ttl(Timeout::Never).stale_for(STALE_FOR);
    assert_eq!(fetch.await.expect("produced"), 7);
    time.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(cache.get("k").await.expect("locmem does not fail"), Some(7_u8));
    assert_eq!(ttl(&cache).await, Some(Ttl::Never));
}

#[tokio::test]
async fn timeout_of_zero_stores_nothing() {
    let (_time, cache) = cache();
    let fetch = cache.fetch("k", async |_| 7_u8).ttl(Timeout::EXPIRED).stale_for(STALE_FOR);
    assert_eq!(fetch.await.expect("produced"), 7);
    assert_eq!(ttl(&cache).await, None);
}

#[tokio::test]
async fn jitter_shortens_the_fresh_time_only() {
    let (time, cache) = cache();
    let keys: Vec<_> = (0..64).map(|number| format!("k{number}")).collect();
    for key in &keys {
        let fetch = cache.fetch(key, async |_| 7_u8).ttl(TTL).stale_for(STALE_FOR).jitter(0.5);
        fetch.await.expect("produced");
        let left = cache.ttl(key).await.expect("locmem does not fail");
        assert_eq!(left, Some(Ttl::Left(TTL + STALE_FOR)));
    }
    let fresh = async || cache.get_many::<u8, _>(&keys).await.expect("locmem does not fail").len();
    time.advance(TTL / 2 - MILLISECOND);
    assert_eq!(fresh().await, 64);
    time.advance(TTL / 4);
    let half = fresh().await;
    assert!((10..55).contains(&half), "{half} of 64 are fresh");
    time.advance(TTL / 4 + MILLISECOND);
    assert_eq!(fresh().await, 0);
}

#[tokio::test]
async fn early_share_of_zero_starts_no_refresh() {
    let (time, cache) = cache();
    store(&cache, "old").await;
    time.advance(TTL - MILLISECOND);
    let caller = Caller::start_with(&cache, |fetch| fetch.early(0.0)).await;
    assert!(!caller.has_begun());
    assert_eq!(caller.value().await, "old");
}

#[tokio::test]
async fn longest_time_to_live_is_not_shortened_without_jitter() {
    let (_time, cache) = cache();
    cache.fetch("k", async |_| 7_u8).ttl(Duration::MAX).jitter(0.0).await.expect("produced");
    assert_eq!(cache.get("k").await.expect("locmem does not fail"), Some(7_u8));
}

#[tokio::test]
async fn options_of_the_alias_are_the_defaults() {
    let time = ManualClock::new();
    let fill = FillOptions { stale_for: STALE_FOR, jitter: 0.0, ..FillOptions::default() };
    let settings = Settings { timeout: TTL.into(), fill, ..Settings::default() };
    let cache = CacheHandle::new("default", locmem(&time), settings).with_clock(time.clock());
    cache.fetch("k", async |_| 7_u8).await.expect("produced");
    assert_eq!(ttl(&cache).await, Some(Ttl::Left(TTL + STALE_FOR)));
}

#[tokio::test]
async fn shared_value_is_the_object_that_was_produced() {
    let (time, cache) = cache();
    let fetch = || cache.fetch("k", async |_| String::from("page")).ttl(TTL).stale_for(STALE_FOR);
    let produced = fetch().shared().await.expect("produced");
    assert!(Arc::ptr_eq(&produced, &fetch().shared().await.expect("a hit")));
    let found = cache.get_shared::<String>("k").await.expect("locmem does not fail");
    assert!(Arc::ptr_eq(&produced, &found.expect("a hit")));
    assert_eq!(cached(&cache).await.as_deref(), Some("page"));
    time.advance(TTL);
    assert_eq!(cache.get_shared::<String>("k").await.expect("locmem does not fail"), None);
    assert_eq!(cached(&cache).await, None);
    let refreshed = fetch().shared().await.expect("produced");
    assert!(!Arc::ptr_eq(&produced, &refreshed));
}

#[tokio::test]
async fn callers_of_other_types_do_not_share_a_producer() {
    let (_time, cache) = cache();
    let caller = Caller::start(&cache).await;
    let number = cache.fetch("k", async |_| 7_u8).hard_timeout(Duration::ZERO).await;
    assert!(matches!(number, Err(FetchError::TimedOut)), "the other process holds the lease");
    assert!(caller.is_waiting());
}
