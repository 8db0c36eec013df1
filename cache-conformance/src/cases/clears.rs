//! Clearing by a generation in the keys, by two handles on two clients of one store.

use std::{sync::Arc, time::Duration};

use cache_core::{Bytes, CacheHandle, Clear, ManualClock, Settings, Tags, Value};
use tokio::task::JoinSet;

use crate::Harness;

const TTL: Duration = Duration::from_secs(1000);
const RECORD: &str = ":~:clear";
/// The KEY_PREFIX of a case that `clear` must not disturb: within a process, a clear is seen by all
/// handles with its KEY_PREFIX, also by those of cases that run at the same time.
const OWN_PREFIX: &str = "own";
const OWN_RECORD: &str = "own:~:clear";

fn settings() -> Settings {
    Settings { clear: Clear::Generation, ..Settings::default() }
}

async fn set(cache: &CacheHandle, key: &str) {
    cache.set(key, "value", TTL).await.unwrap();
}

async fn is_hit(cache: &CacheHandle, key: &str) -> bool {
    let found: Option<String> = cache.get(key).await.unwrap();
    assert!(found.as_deref().is_none_or(|value| value == "value"));
    found.is_some()
}

/// Two handles with a clock that decides when they read the generation again.
async fn handles(h: &Harness) -> (CacheHandle, CacheHandle, ManualClock) {
    handles_with(h, settings()).await
}

async fn handles_with(h: &Harness, settings: Settings) -> (CacheHandle, CacheHandle, ManualClock) {
    let (one, other) = h.handles_with(settings).await;
    let time = ManualClock::new();
    (one.with_clock(time.clock()), other.with_clock(time.clock()), time)
}

/// Replaces the generation as another process does, unseen by the handles of this one.
async fn clear_elsewhere(cache: &CacheHandle, record: &str) {
    let stored = cache.store().get(record).await.unwrap();
    let Some(Value::Bytes(stored)) = stored else { panic!("the generation has a record") };
    let mut changed = stored.to_vec();
    // Behind the header and the format.
    changed[4] ^= 0xFF;
    cache.store().set(record, Value::Bytes(Bytes::from(changed)), None).await.unwrap();
}

pub(super) async fn clear_of_a_generation_keeps_the_entries_of_others(h: Harness) {
    let (one, other) = h.handles_with(settings()).await;
    let on_store = |settings| CacheHandle::new("other", Arc::clone(one.store()), settings);
    let shop = on_store(Settings { key_prefix: "shop".into(), ..settings() });
    let plain = on_store(Settings::default());
    for cache in [&one, &other.version(2), &shop, &plain] {
        set(cache, "k").await;
    }
    other.clear().await.unwrap();
    assert!(!is_hit(&one, "k").await && !is_hit(&other, "k").await);
    assert!(!is_hit(&one.version(2), "k").await);
    assert!(is_hit(&shop, "k").await && is_hit(&plain, "k").await);
    set(&one, "k").await;
    assert!(is_hit(&other, "k").await);
}

pub(super) async fn clear_by_another_process_is_seen_a_second_later(h: Harness) {
    let own = Settings { key_prefix: OWN_PREFIX.into(), ..settings() };
    let (one, _, time) = handles_with(&h, own).await;
    set(&one, "k").await;
    clear_elsewhere(&one, OWN_RECORD).await;
    assert!(is_hit(&one, "k").await);
    time.advance(Duration::from_secs(1));
    assert!(!is_hit(&one, "k").await);
}

pub(super) async fn value_that_is_produced_during_a_clear_is_not_stored(h: Harness) {
    let (one, other, time) = handles(&h).await;
    for is_elsewhere in [false, true] {
        let produce = async || {
            match is_elsewhere {
                true => clear_elsewhere(&other, RECORD).await,
                false => other.clear().await.unwrap(),
            }
            String::from("value")
        };
        one.get_or_set("k", TTL, produce).await.unwrap();
        time.advance(Duration::from_secs(1));
        assert!(!is_hit(&one, "k").await && !is_hit(&other, "k").await, "{is_elsewhere}");
    }
}

pub(super) async fn value_whose_tags_were_read_before_a_clear_is_not_found(h: Harness) {
    let (one, other, _) = handles(&h).await;
    let tags = one.tags(["a"]).await.unwrap();
    other.clear().await.unwrap();
    one.set_with("k", "value", TTL, &tags).await.unwrap();
    assert!(!is_hit(&one, "k").await && !is_hit(&other, "k").await);
    one.set_with("k", "value", TTL, &Tags::of(["a"])).await.unwrap();
    assert!(is_hit(&one, "k").await && is_hit(&other, "k").await);
}

pub(super) async fn lost_generation_brings_no_entry_back(h: Harness) {
    let (one, other, time) = handles(&h).await;
    set(&one, "old").await;
    for _ in 0..2 {
        assert!(one.store().delete(RECORD).await.unwrap());
        time.advance(Duration::from_secs(1));
        assert!(!is_hit(&other, "old").await && !is_hit(&one, "old").await);
        set(&one, "new").await;
        assert!(is_hit(&other, "new").await);
    }
}

pub(super) async fn concurrent_creators_of_a_generation_agree(h: Harness) {
    let (one, other) = h.handles_with(settings()).await;
    let mut sets = JoinSet::new();
    for number in 0..16 {
        let cache = if number % 2 == 0 { one.clone() } else { other.clone() };
        sets.spawn(async move { set(&cache, &format!("k{number}")).await });
    }
    sets.join_all().await;
    for number in 0..16 {
        assert!(is_hit(&one, &format!("k{number}")).await, "{number}");
    }
}
