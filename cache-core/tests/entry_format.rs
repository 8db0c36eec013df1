//! How the verbs treat entries of format 2, which record more than their value.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, CacheHandle, ErrorKind, ManualClock, Settings, Timeout, Ttl, Value};
use cache_locmem::{LocMemCache, LocMemOptions};

const FRESH: Duration = Duration::from_secs(300);

struct Fixture {
    time: ManualClock,
    store: Arc<LocMemCache>,
    cache: CacheHandle,
}

impl Fixture {
    fn new() -> Self {
        let time = ManualClock::new();
        let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
        let store = Arc::new(store.expect("the options are valid"));
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
        let cache = cache.with_clock(time.clock());
        Self { time, store, cache }
    }

    /// Stores an entry with this second byte and body, that is fresh for [`FRESH`] from now.
    async fn store_entry(&self, tag: u8, body: &[u8]) {
        let born = millis(self.time.clock().unix_time());
        let times = [&born[2..], &millis(FRESH)[3..]].concat();
        self.store_bytes(&[&[0xC1, tag, 1], &*times, body].concat()).await;
    }

    async fn store_bytes(&self, entry: &[u8]) {
        let value = Value::Bytes(entry.to_vec().into());
        self.store.set(":1:k", value, None).await.expect("it is stored");
    }

    async fn stored(&self) -> Value {
        self.store.get(":1:k").await.expect("locmem does not fail").expect("there is an entry")
    }

    async fn get(&self) -> Option<String> {
        self.cache.get("k").await.expect("locmem does not fail")
    }
}

fn millis(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_millis()).expect("it fits").to_be_bytes()
}

#[tokio::test]
async fn entry_is_a_hit_until_it_is_stale() {
    let fixture = Fixture::new();
    let Fixture { cache, time, .. } = &fixture;
    fixture.store_entry(0x21, b"Ada").await;
    time.advance(FRESH - Duration::from_millis(1));
    assert_eq!(fixture.get().await.as_deref(), Some("Ada"));
    let shared = cache.get_shared::<String>("k").await.expect("locmem does not fail");
    assert_eq!(shared.as_deref().map(String::as_str), Some("Ada"));
    assert_eq!(cache.get_many::<String, _>(["k"]).await.expect("a hit")["k"], "Ada");

    time.advance(Duration::from_millis(1));
    assert_eq!(fixture.get().await, None);
    assert_eq!(cache.get_shared::<String>("k").await.expect("locmem does not fail"), None);
    assert!(cache.get_many::<String, _>(["k"]).await.expect("a miss").is_empty());
    assert_eq!(cache.undecodable_seen(), 0);
}

#[tokio::test]
async fn verbs_that_do_not_look_at_the_value_find_a_stale_entry() {
    let fixture = Fixture::new();
    let Fixture { cache, time, .. } = &fixture;
    fixture.store_entry(0x21, b"Ada").await;
    time.advance(FRESH);
    assert!(cache.contains("k").await.expect("locmem does not fail"));
    assert_eq!(cache.ttl("k").await.expect("locmem does not fail"), Some(Ttl::Never));
    assert!(!cache.add("k", "Bob", Timeout::Default).await.expect("the key is taken"));
    assert!(cache.touch("k", Timeout::Default).await.expect("locmem does not fail"));
    assert_eq!(fixture.get().await, None, "a touch does not make an entry fresher");
    assert!(cache.delete("k").await.expect("locmem does not fail"));
}

#[tokio::test]
async fn get_or_set_replaces_a_stale_entry() {
    let fixture = Fixture::new();
    let Fixture { cache, time, .. } = &fixture;
    fixture.store_entry(0x21, b"Ada").await;
    let produce = async || String::from("Bob");
    let value = cache.get_or_set("k", Timeout::Default, produce).await;
    assert_eq!(value.expect("a hit"), "Ada");
    time.advance(FRESH);
    let value = cache.get_or_set("k", Timeout::Default, produce).await;
    assert_eq!(value.expect("produced"), "Bob");
    assert_eq!(fixture.get().await.as_deref(), Some("Bob"));
}

#[tokio::test]
async fn set_writes_format_1() {
    let fixture = Fixture::new();
    fixture.cache.set("k", "Ada", Timeout::Default).await.expect("it is stored");
    assert_eq!(fixture.stored().await, Value::Bytes(b"\xC1\x11Ada".to_vec().into()));
    fixture.cache.set("k", &7, Timeout::Default).await.expect("it is stored");
    assert_eq!(fixture.stored().await, Value::Int(7));
}

#[tokio::test]
async fn integer_with_a_header_cannot_be_counted() {
    let fixture = Fixture::new();
    fixture.store_entry(0x25, &7_i64.to_be_bytes()).await;
    assert_eq!(fixture.cache.get::<u8>("k").await.expect("a hit"), Some(7));
    let error = fixture.cache.incr("k", 1).await.expect_err("it is stored as bytes");
    assert_eq!(error.kind(), ErrorKind::NotAnInteger);
}

#[tokio::test]
async fn entry_with_a_tag_is_a_hit_only_if_its_record_has_the_same_numbers() {
    let fixture = Fixture::new();
    let record = |hard: u8, soft: u8| {
        let record = [&b"\xC1\x10\x01"[..], &[hard; 8], &[soft; 8], &[0; 8]].concat();
        fixture.store.set(":~:tag:a", Value::Bytes(record.into()), None)
    };
    fixture.store_bytes(&[&b"\xC1\x21\x02\x01\x01a"[..], &[7; 8], &[8; 8], b"Ada"].concat()).await;
    assert_eq!(fixture.get().await, None);
    for (hard, soft, is_hit) in [(7, 8, true), (6, 8, false), (7, 7, false), (7, 8, true)] {
        record(hard, soft).await.expect("it is stored");
        assert_eq!(fixture.get().await.is_some(), is_hit, "{hard} {soft}");
    }
    assert_eq!(fixture.cache.undecodable_seen(), 0);
}

#[tokio::test]
async fn entry_with_a_part_that_this_release_does_not_support_is_a_counted_miss() {
    let compressed = b"\xC1\x21\x08\x01\0\0\0\x03Ada".to_vec();
    let encrypted = [&b"\xC1\x21\x10\x01"[..], &[0; 24], b"Ada"].concat();
    let unknown_flag = b"\xC1\x21\x40Ada".to_vec();
    let truncated = b"\xC1\x21\x20stamp".to_vec();
    for entry in [compressed, encrypted, unknown_flag, truncated] {
        let fixture = Fixture::new();
        fixture.store_bytes(&entry).await;
        assert_eq!(fixture.get().await, None);
        assert_eq!(fixture.cache.undecodable_seen(), 1, "{entry:x?}");
        let produce = async || String::from("Bob");
        let value = fixture.cache.get_or_set("k", Timeout::Default, produce).await;
        assert_eq!(value.expect("produced"), "Bob");
        assert_eq!(fixture.get().await.as_deref(), Some("Bob"));
    }
}
