//! Locks and updates, beyond what the conformance suite tests.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Acquired, Ask, Cache, CacheHandle, Error, ErrorKind, Lease, Leases, ManualClock, OnOutage,
    Result, Settings, Share, Timeout, Value, forward_cache,
};
use cache_locmem::LocMemCache;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

const HOLD: Duration = Duration::from_secs(30);

fn cache_on(store: Arc<dyn Cache>) -> CacheHandle {
    CacheHandle::new("default", store, Settings::default())
}

fn add_one(old: Option<i64>) -> i64 {
    old.unwrap_or(0) + 1
}

#[tokio::test]
async fn update_is_repeated_if_the_value_changes_meanwhile() {
    let store = Arc::new(LocMemCache::default());
    let cache = cache_on(Arc::clone(&store) as _);
    cache.set("k", &1, Timeout::Never).await.expect("stored");
    let mut seen = Vec::new();
    let updated = cache.update("k", Timeout::Never, |old: Option<i64>| {
        seen.push(old);
        if old == Some(1) {
            drop(store.set_now(":1:k", Value::Int(40), None));
        }
        old.unwrap_or(0) + 2
    });
    assert_eq!(updated.await.expect("stored in the second attempt"), 42);
    assert_eq!(seen, [Some(1), Some(40)]);
    assert_eq!(cache.get("k").await.expect("a hit"), Some(42));
}

#[tokio::test]
async fn update_with_a_timeout_of_zero_is_repeated_if_the_value_changes_meanwhile() {
    let store = Arc::new(LocMemCache::default());
    let cache = cache_on(Arc::clone(&store) as _);
    cache.set("k", &1, Timeout::Never).await.expect("stored");
    let updated = cache.update("k", Timeout::EXPIRED, |old: Option<i64>| {
        if old == Some(1) {
            drop(store.set_now(":1:k", Value::Int(40), None));
        }
        old.unwrap_or(0) + 2
    });
    assert_eq!(updated.await.expect("deleted in the second attempt"), 42);
    assert!(!cache.contains("k").await.expect("a miss"));
}

#[tokio::test]
async fn update_gives_up_if_the_value_always_changes() {
    let time = ManualClock::new();
    let store = Arc::new(LocMemCache::default());
    let cache = cache_on(Arc::clone(&store) as _).with_clock(time.clock());
    let updated = cache.update("k", Timeout::Never, |old: Option<i64>| {
        let changed = Value::Int(old.unwrap_or(0) + 1);
        drop(store.set_now(":1:k", changed, None));
        time.advance(Duration::from_secs(1));
        0
    });
    let (updated, ()) = tokio::join!(updated, async {
        for _ in 0..200 {
            tokio::task::yield_now().await;
            time.advance(Duration::from_millis(200));
        }
    });
    let error = updated.expect_err("every attempt loses its lease");
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true));
    assert!(error.to_string().contains(":1:k"), "{error}");
}

#[tokio::test]
async fn undecodable_value_is_updated_from_none() {
    let cache = cache_on(Arc::new(LocMemCache::default()));
    cache.set("k", "text", Timeout::Never).await.expect("stored");
    assert_eq!(cache.update("k", Timeout::Never, add_one).await.expect("stored"), 1);
}

#[derive(Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(S::Error::custom("never"))
    }
}

#[tokio::test]
async fn update_that_cannot_be_encoded_ends_its_lease() {
    let cache = cache_on(Arc::new(LocMemCache::default()));
    let result = cache.update("k", Timeout::Never, |_: Option<Unencodable>| Unencodable).await;
    assert_eq!(result.err().map(|error| error.kind()), Some(ErrorKind::Encode));
    assert_eq!(cache.update("k", Timeout::Never, add_one).await.expect("nobody holds it"), 1);
}

#[tokio::test]
async fn update_that_panics_ends_its_lease() {
    let store: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    let cache = cache_on(store);
    let panicking = cache.clone();
    let update = async move {
        panicking.update("k", Timeout::Never, |_: Option<i64>| panic!("on purpose")).await
    };
    let panicked = tokio::spawn(update).await;
    assert!(panicked.is_err());
    assert_eq!(cache.update("k", Timeout::Never, add_one).await.expect("nobody holds it"), 1);
}

#[tokio::test]
async fn lock_within_the_process_excludes_clones_only() {
    let store: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    let settings = || Settings { share: Share::Process, ..Settings::default() };
    let one = CacheHandle::new("default", Arc::clone(&store), settings());
    let other = CacheHandle::new("default", store, settings());
    let _guard = one.lock("report").hold(HOLD).await.expect("no error").expect("nobody holds it");
    assert!(one.clone().lock("report").hold(HOLD).await.expect("no error").is_none());
    assert!(other.lock("report").hold(HOLD).await.expect("no error").is_some());
}

/// A store whose `acquire` fails, or executes its first call without returning.
#[derive(Debug)]
struct Faulty {
    store: Arc<dyn Cache>,
    is_unavailable: bool,
    loses_reply: AtomicBool,
}

impl Faulty {
    fn unavailable(store: Arc<dyn Cache>) -> Self {
        Self { store, is_unavailable: true, loses_reply: AtomicBool::new(false) }
    }

    fn losing_a_reply(store: Arc<dyn Cache>) -> Self {
        Self { store, is_unavailable: false, loses_reply: AtomicBool::new(true) }
    }

    fn wrapped(&self) -> &dyn Leases {
        self.store.leases().expect("locmem has leases")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Faulty {
    forward_cache!(self.store, except leases);

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

#[async_trait]
impl Leases for Faulty {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        if self.is_unavailable {
            return Err(Error::new(ErrorKind::Unavailable, "no reply within 1 s"));
        }
        let acquired = self.wrapped().acquire(key, ask, hold).await;
        if self.loses_reply.swap(false, Relaxed) {
            return pending().await;
        }
        acquired
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.wrapped().fill(key, lease, value, ttl).await
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        self.wrapped().release(key, lease, keep).await
    }

    async fn revoke(&self, key: &str, side: &str) -> Result<()> {
        self.wrapped().revoke(key, side).await
    }
}

/// The cancelled call may have met the lock of another process, so nobody may end it.
#[tokio::test]
async fn cancelled_hold_does_not_free_the_lock_of_another_process() {
    let server: Arc<dyn Cache> = Arc::new(LocMemCache::default());
    let other = cache_on(Arc::clone(&server));
    let here = cache_on(Arc::new(Faulty::losing_a_reply(Arc::clone(&server))));
    let _guard = other.lock("report").hold(HOLD).await.expect("no error").expect("it is free");
    let lock = here.lock("report");
    {
        let mut cancelled = pin!(lock.hold(HOLD));
        let polled = poll_fn(|context| Poll::Ready(cancelled.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    assert!(lock.hold(HOLD).await.expect("no error").is_none());
}

#[tokio::test]
async fn cancelled_update_does_not_block_the_next_one() {
    let time = ManualClock::new();
    let store = Faulty::losing_a_reply(Arc::new(LocMemCache::default()));
    let cache = cache_on(Arc::new(store)).with_clock(time.clock());
    cache.set("k", &1, Timeout::Never).await.expect("stored");
    {
        let mut cancelled = pin!(cache.update("k", Timeout::Never, add_one));
        let polled = poll_fn(|context| Poll::Ready(cancelled.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    let mut update = pin!(cache.update("k", Timeout::Never, add_one));
    // It does not wait for anything, so the clock need not advance.
    let polled = poll_fn(|context| Poll::Ready(update.as_mut().poll(context))).await;
    let Poll::Ready(updated) = polled else { panic!("the update waits") };
    assert_eq!(updated.expect("stored"), 2);
}

fn unavailable(on_outage: OnOutage) -> CacheHandle {
    let store = Faulty::unavailable(Arc::new(LocMemCache::default()));
    let settings = Settings { on_outage, ..Settings::default() };
    CacheHandle::new("default", Arc::new(store), settings)
}

#[tokio::test]
async fn outage_is_an_error_unless_it_is_a_miss() {
    for on_outage in [OnOutage::Produce, OnOutage::Error] {
        let cache = unavailable(on_outage);
        let error = cache.lock("report").hold(HOLD).await.expect_err("the store is unavailable");
        assert_eq!((error.kind(), error.cache()), (ErrorKind::Unavailable, Some("default")));
        let error = cache.update("k", Timeout::Never, add_one).await.expect_err("unavailable");
        assert_eq!((error.kind(), error.cache()), (ErrorKind::Unavailable, Some("default")));
    }
    let cache = unavailable(OnOutage::Miss);
    assert!(cache.lock("report").hold(HOLD).await.expect("a miss").is_none());
    assert_eq!(cache.update("k", Timeout::Never, add_one).await.expect("a miss"), 1);
}
