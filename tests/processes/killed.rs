//! A process that is killed while it holds a lease or a lock.

use std::time::{Duration, Instant};

use cachette::CacheHandle;

use crate::{
    DAY, HOLD,
    child::{Holder, Setup, Task, wait_to_be_killed},
    get, open, runtime, set,
    stores::{Shared, on_each_store},
};

const PATIENCE: Duration = Duration::from_secs(1);
/// The time of the lock. memcached counts in seconds.
pub(crate) const LOCKED: Duration = Duration::from_secs(2);

/// What a child holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holding {
    /// The lease of a missing key, in `get_or_set`.
    Missing,
    /// The same, in `fetch`.
    MissingInFetch,
    /// The lease of a stale value.
    Stale,
    Lock,
}

impl Holding {
    pub(crate) const ALL: [Self; 4] =
        [Self::Missing, Self::MissingInFetch, Self::Stale, Self::Lock];
}

pub(crate) async fn hold(setup: &Setup, holding: Holding) {
    let cache = open(&setup.config).await;
    match holding {
        Holding::Missing => {
            let hold = cache.get_or_set("k", DAY, async || wait_to_be_killed::<i64>().await);
            hold.await.expect("never");
        }
        Holding::MissingInFetch => fetch_until_killed(&cache).await,
        Holding::Stale => {
            stale(&cache).await;
            fetch_until_killed(&cache).await;
        }
        Holding::Lock => {
            let guard = cache.lock("k").hold(LOCKED).await.expect("the store replies");
            let _guard = guard.expect("it is free");
            wait_to_be_killed::<()>().await;
        }
    }
}

async fn fetch_until_killed(cache: &CacheHandle) {
    let fetch = cache.fetch("k", async |_| wait_to_be_killed::<i64>().await);
    fetch.soft_timeout(HOLD).hard_timeout(HOLD).await.expect("never");
}

/// Stores a stale value.
async fn stale(cache: &CacheHandle) {
    let fetch = cache.fetch("k", async |_| 7_i64).ttl(Duration::from_millis(1)).stale_for(DAY);
    fetch.await.expect("the store replies");
    tokio::time::sleep(Duration::from_millis(2)).await;
}

async fn patient(shared: &Shared) -> CacheHandle {
    open(&format!("patience = {}\n{}", PATIENCE.as_secs(), shared.config)).await
}

/// Checks that a value was returned after the patience, and before the lease has ended.
fn assert_waited_for_the_patience(start: Instant) {
    let waited = start.elapsed();
    assert!((PATIENCE..HOLD / 2).contains(&waited), "waited for {waited:?}");
}

async fn assert_a_write_ends_the_lease(cache: &CacheHandle) {
    assert_eq!(get(cache, "k").await, None, "not stored without a lease");
    set(cache, "k", 8).await;
    let found = cache.get_or_set("k", DAY, async || 9).await.expect("the store replies");
    assert_eq!(found, 8);
    assert_eq!(get(cache, "k").await, Some(8));
}

fn killed_producer_delays_others_by_the_patience(shared: &Shared) {
    Holder::start(Task::Hold(Holding::Missing), shared).kill();
    runtime().block_on(async {
        let (cache, start) = (patient(shared).await, Instant::now());
        let value = cache.get_or_set("k", DAY, async || 7).await;
        assert_eq!(value.expect("the store replies"), 7);
        assert_waited_for_the_patience(start);
        assert_a_write_ends_the_lease(&cache).await;
    });
}

fn killed_producer_of_fetch_delays_others_by_the_patience(shared: &Shared) {
    Holder::start(Task::Hold(Holding::MissingInFetch), shared).kill();
    runtime().block_on(async {
        let (cache, start) = (patient(shared).await, Instant::now());
        let value = cache.fetch("k", async |_| 7).ttl(DAY).hard_timeout(HOLD).await;
        assert_eq!(value.expect("the store replies"), 7);
        assert_waited_for_the_patience(start);
        assert_a_write_ends_the_lease(&cache).await;
    });
}

fn stale_value_of_a_killed_producer_is_returned_at_once(shared: &Shared) {
    Holder::start(Task::Hold(Holding::Stale), shared).kill();
    runtime().block_on(async {
        let (cache, start) = (open(&shared.config).await, Instant::now());
        let value = cache.fetch("k", async |_| 8).soft_timeout(HOLD).await;
        assert_eq!(value.expect("the store replies"), 7);
        assert!(start.elapsed() < HOLD, "waited for {:?}", start.elapsed());
    });
}

fn lock_of_a_killed_process_ends_after_its_time(shared: &Shared) {
    let start = Instant::now();
    Holder::start(Task::Hold(Holding::Lock), shared).kill();
    runtime().block_on(async {
        let lock = open(&shared.config).await.lock("k").wait(HOLD);
        let guard = lock.hold(HOLD).await.expect("the store replies").expect("its time has passed");
        // The clocks of files and databases have a resolution of a few milliseconds.
        let waited = start.elapsed() + Duration::from_millis(50);
        assert!(waited >= LOCKED, "waited for {waited:?}");
        guard.release().await.expect("the store replies");
    });
}

on_each_store!(
    killed_producer_delays_others_by_the_patience
    killed_producer_of_fetch_delays_others_by_the_patience
    stale_value_of_a_killed_producer_is_returned_at_once
    lock_of_a_killed_process_ends_after_its_time
);
