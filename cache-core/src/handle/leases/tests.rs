use std::{
    pin::{Pin, pin},
    task::{Context, Waker},
};

use super::*;
use crate::{Cache, Clock, ManualClock, Settings, Share, handle::step_store::StepStore};

const HOLD: Duration = Duration::from_secs(30);
const SIDE: &str = ":~:lease:1:k";

struct Setup {
    time: ManualClock,
    store: Arc<StepStore>,
    cache: CacheHandle,
}

impl Setup {
    fn new(store: impl FnOnce(Clock) -> StepStore, share: Share) -> Self {
        let time = ManualClock::new();
        let store = Arc::new(store(time.clock()));
        let cache = handle(&store, &time, share);
        Self { time, store, cache }
    }

    /// Leases within this process, with a record for other processes and without.
    fn local() -> [Self; 2] {
        [Share::Store, Share::Process].map(|share| Self::new(StepStore::without_leases, share))
    }

    fn all() -> [Self; 3] {
        let [one, other] = Self::local();
        [Self::new(StepStore::with_leases, Share::Store), one, other]
    }

    async fn lease(&self, wanted: Wanted) -> HeldLease {
        let acquired = acquire(&self.cache, wanted).await;
        acquired.lease.expect("nobody holds a lease")
    }

    async fn is_free(&self) -> bool {
        match acquire(&self.cache, Wanted::Any).await.lease {
            Some(lease) => {
                self.cache.release_lease(lease, Duration::ZERO).await.expect("released");
                true
            }
            None => false,
        }
    }

    async fn fill(&self, lease: HeldLease, value: i64) -> bool {
        let filled = self.cache.fill_lease(lease, Value::Int(value), Timeout::Never).await;
        filled.expect("the store does not fail")
    }

    fn value(&self) -> Option<i64> {
        match self.store.peek(":1:k") {
            Some(Value::Int(number)) => Some(number),
            None => None,
            other => panic!("{other:?} is not a number"),
        }
    }
}

fn handle(store: &Arc<StepStore>, time: &ManualClock, share: Share) -> CacheHandle {
    let settings = Settings { share, ..Settings::default() };
    let cache = CacheHandle::new("default", Arc::clone(store) as Arc<dyn Cache>, settings);
    cache.with_clock(time.clock())
}

async fn acquire(cache: &CacheHandle, wanted: Wanted) -> Acquisition {
    cache.acquire_in_flight(&":1:k".into(), wanted, HOLD).await.expect("the store does not fail")
}

/// Polls a call up to a number of steps of the store, each of which is half of a call.
fn run_steps<T>(call: &mut Pin<&mut impl Future<Output = T>>, steps: usize) {
    for _ in 0..steps {
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the call ended early");
    }
}

#[tokio::test]
async fn fill_stores_once() {
    for setup in Setup::all() {
        let lease = setup.lease(Wanted::Missing).await;
        assert!(setup.fill(lease, 1).await);
        assert_eq!(setup.store.keys(), [":1:k"]);
        let hit = acquire(&setup.cache, Wanted::Missing).await;
        assert_eq!(hit.value, Some(Value::Int(1)));
        assert!(hit.lease.is_none());
        let lease = setup.lease(Wanted::Any).await;
        assert!(setup.fill(lease, 2).await);
        assert_eq!((setup.value(), setup.cache.view.held_leases.len()), (Some(2), 0));
        assert_eq!(setup.store.keys(), [":1:k"]);
    }
}

/// Runs each verb that writes `k` while a lease is held, and returns the value that it leaves.
async fn write(cache: &CacheHandle, verb: usize) -> Option<Option<i64>> {
    let done = match verb {
        0 => cache.set("k", &7, Timeout::Never).await.map(|()| Some(7)),
        1 => cache.add("k", &7, Timeout::Never).await.map(|_| Some(7)),
        2 => cache.delete("k").await.map(|_| None),
        3 => cache.delete_many(["other", "k"]).await.map(|_| None),
        4 => cache.set_many([("other", 7), ("k", 7)], Timeout::Never).await.map(|_| Some(7)),
        5 => cache.touch("k", Timeout::EXPIRED).await.map(|_| None),
        6 => cache.clear().await.map(|()| None),
        7 => cache.set("k", &7, Timeout::EXPIRED).await.map(|()| None),
        8 => cache.set_many([("k", 7)], Timeout::EXPIRED).await.map(|_| None),
        9 => {
            cache.version(0).set("k", &7, Timeout::Never).await.expect("stored");
            cache.version(0).incr_version("k", 1).await.map(|_| Some(7))
        }
        _ => return None,
    };
    Some(done.expect("the store does not fail"))
}

#[tokio::test]
async fn every_write_ends_a_lease() {
    for setup in Setup::all() {
        for wanted in [Wanted::Missing, Wanted::Any] {
            for verb in 0.. {
                setup.cache.delete("k").await.expect("deleted");
                let lease = setup.lease(wanted).await;
                let Some(left) = write(&setup.cache, verb).await else { break };
                assert!(!setup.fill(lease, 1).await, "verb {verb}, {wanted:?}");
                assert_eq!(setup.value(), left, "verb {verb}, {wanted:?}");
            }
        }
    }
}

#[tokio::test]
async fn incr_and_delete_end_the_lease_of_a_value() {
    for setup in Setup::all() {
        setup.cache.set("k", &7, Timeout::Never).await.expect("stored");
        let lease = setup.lease(Wanted::Any).await;
        assert_eq!(setup.cache.incr("k", 1).await.expect("counted"), 8);
        assert!(!setup.fill(lease, 1).await);
        let lease = setup.lease(Wanted::Any).await;
        assert!(setup.cache.version(1).delete("k").await.expect("deleted"), "a derived handle");
        assert!(!setup.fill(lease, 1).await);
        assert_eq!(setup.value(), None);
    }
}

#[tokio::test]
async fn held_lease_is_not_granted_again() {
    for setup in Setup::all() {
        let lease = setup.lease(Wanted::Missing).await;
        assert!(!setup.is_free().await);
        setup.cache.release_lease(lease, Duration::ZERO).await.expect("released");
        assert!(setup.is_free().await);
        assert!(setup.store.keys().is_empty());
    }
}

#[tokio::test]
async fn lease_ends_by_time() {
    for setup in Setup::all() {
        let lease = setup.lease(Wanted::Missing).await;
        setup.time.advance(HOLD);
        assert!(!setup.fill(lease, 1).await);
        assert!(setup.is_free().await);
        let lease = setup.lease(Wanted::Missing).await;
        let keep = Duration::from_secs(1);
        setup.cache.release_lease(lease, keep).await.expect("released");
        assert!(!setup.is_free().await, "kept");
        setup.time.advance(keep);
        assert!(setup.is_free().await);
    }
}

#[tokio::test]
async fn caller_that_is_dropped_does_not_block_the_next_one() {
    for setup in Setup::all() {
        drop(setup.lease(Wanted::Missing).await);
        let lease = setup.lease(Wanted::Missing).await;
        assert!(setup.fill(lease, 1).await);
        assert_eq!(setup.cache.view.held_leases.len(), 0);
    }
}

#[tokio::test]
async fn call_that_is_dropped_at_any_step_does_not_block_the_next_one() {
    for (number, setup) in Setup::all().into_iter().enumerate() {
        for steps in 0..[2, 4, 2][number] {
            let key = ":1:k".into();
            {
                let mut call = pin!(setup.cache.acquire(&key, Wanted::Missing, HOLD));
                run_steps(&mut call, steps);
            }
            let lease = setup.lease(Wanted::Missing).await;
            {
                let mut call = pin!(setup.cache.release_lease(lease, Duration::ZERO));
                run_steps(&mut call, steps.min([2, 2, 0][number]));
            }
            let lease = setup.lease(Wanted::Missing).await;
            {
                let mut call = pin!(setup.cache.fill_lease(lease, Value::Int(1), Timeout::Never));
                run_steps(&mut call, steps);
            }
            setup.store.evict(":1:k");
            let lease = setup.lease(Wanted::Missing).await;
            assert!(setup.fill(lease, 1).await, "setup {number}, {steps} steps");
            setup.cache.delete("k").await.expect("deleted");
        }
        assert_eq!(setup.cache.view.held_leases.len(), 0);
        assert!(setup.store.keys().is_empty());
    }
}

#[tokio::test]
async fn call_over_a_value_that_is_dropped_at_any_step_does_not_block_the_next_one() {
    for (number, setup) in Setup::all().into_iter().enumerate() {
        setup.cache.set("k", &7, Timeout::Never).await.expect("stored");
        for steps in 0..[2, 4, 2][number] {
            let key = ":1:k".into();
            {
                let mut call = pin!(setup.cache.acquire(&key, Wanted::Any, HOLD));
                run_steps(&mut call, steps);
            }
            assert!(setup.is_free().await, "setup {number}, {steps} steps");
        }
        assert_eq!((setup.value(), setup.cache.view.held_leases.len()), (Some(7), 0));
        assert_eq!(setup.store.keys(), [":1:k"]);
    }
}

#[tokio::test]
async fn only_the_first_of_two_shares_is_stored() {
    for setup in Setup::all() {
        let _epoch = setup.cache.view.epochs.current(&":1:k".into());
        let lease = setup.lease(Wanted::Missing).await;
        let share = || setup.cache.share_lease(&":1:k".into(), true);
        let (second, third) = (share().expect("it is held"), share().expect("it is held"));
        setup.cache.release_lease(lease, Duration::ZERO).await.expect("left to the others");
        assert!(setup.fill(second, 2).await);
        assert!(!setup.fill(third, 3).await);
        assert!(share().is_none());
        assert_eq!(setup.value(), Some(2));
    }
}

#[tokio::test]
async fn share_of_a_lease_that_has_ended_does_not_use_a_new_one() {
    for setup in Setup::all() {
        let lease = setup.lease(Wanted::Missing).await;
        setup.cache.delete("k").await.expect("deleted");
        setup.store.evict(SIDE);
        let newer = setup.lease(Wanted::Missing).await;
        assert!(!setup.fill(lease, 1).await);
        assert!(setup.fill(newer, 2).await);
    }
}

#[tokio::test]
async fn lease_that_is_returned_late_does_not_replace_a_newer_one() {
    for (setup, steps) in Setup::all().into_iter().zip([2, 4, 2]) {
        let mut late = pin!(acquire(&setup.cache, Wanted::Missing));
        run_steps(&mut late, steps);
        setup.cache.delete("k").await.expect("deleted");
        setup.store.evict(SIDE);
        let newer = setup.lease(Wanted::Missing).await;
        drop(late.await.lease.expect("it was granted before the write"));
        assert!(setup.fill(newer, 2).await);
        setup.cache.delete("k").await.expect("deleted");
        assert!(setup.is_free().await);
        assert_eq!(setup.cache.view.held_leases.len(), 0);
    }
}

#[tokio::test]
async fn lease_that_a_dropped_call_may_have_left_ends_although_an_expired_one_is_held() {
    for (setup, steps) in Setup::all().into_iter().zip([2, 4, 2]) {
        let _expired = setup.lease(Wanted::Missing).await;
        setup.time.advance(HOLD);
        {
            let mut dropped = pin!(acquire(&setup.cache, Wanted::Missing));
            run_steps(&mut dropped, steps);
        }
        assert!(setup.is_free().await);
    }
}

#[tokio::test]
async fn timeout_of_zero_stores_nothing_and_ends_the_lease() {
    for setup in Setup::all() {
        let expire = async |lease| {
            let value = Value::Int(1);
            setup.cache.fill_lease(lease, value, Timeout::EXPIRED).await.expect("no failure")
        };
        assert!(expire(setup.lease(Wanted::Missing).await).await);
        assert!(setup.is_free().await);
        let lease = setup.lease(Wanted::Missing).await;
        setup.cache.set("k", &7, Timeout::Never).await.expect("stored");
        assert!(!expire(lease).await, "there is a value");
        assert_eq!(setup.value(), Some(7));
        assert!(expire(setup.lease(Wanted::Any).await).await);
        assert_eq!(setup.value(), None, "it was to be replaced");
        assert!(setup.is_free().await);
    }
}

#[tokio::test]
async fn timeout_of_zero_does_not_delete_what_was_written_meanwhile() {
    for setup in Setup::all() {
        setup.cache.set("k", &1, Timeout::Never).await.expect("stored");
        let lease = setup.lease(Wanted::Any).await;
        setup.cache.set("k", &7, Timeout::Never).await.expect("stored");
        let filled = setup.cache.fill_lease(lease, Value::Int(2), Timeout::EXPIRED).await;
        assert!(!filled.expect("no failure"));
        assert_eq!(setup.value(), Some(7));
    }
}

#[tokio::test]
async fn value_with_a_timeout_of_zero_is_never_visible() {
    for setup in Setup::all() {
        setup.cache.set("k", &7, Timeout::Never).await.expect("stored");
        let lease = setup.lease(Wanted::Any).await;
        let mut fill = pin!(setup.cache.fill_lease(lease, Value::Int(1), Timeout::EXPIRED));
        while fill.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            assert_ne!(setup.value(), Some(1));
        }
        assert_eq!(setup.value(), None);
    }
}

#[tokio::test]
async fn timeout_of_zero_does_not_delete_what_is_written_after_it() {
    let setup = Setup::new(StepStore::with_leases, Share::Store);
    setup.cache.set("k", &1, Timeout::Never).await.expect("stored");
    let lease = setup.lease(Wanted::Any).await;
    let mut fill = pin!(setup.cache.fill_lease(lease, Value::Int(2), Timeout::EXPIRED));
    // The store has executed the fill, but not returned.
    run_steps(&mut fill, 2);
    setup.store.set(":1:k", Value::Int(7), None).await.expect("stored");
    assert!(fill.await.expect("no failure"));
    assert_eq!(setup.value(), Some(7));
}

#[tokio::test]
async fn write_waits_for_a_local_fill_that_is_storing() {
    for setup in Setup::local() {
        let lease = setup.lease(Wanted::Missing).await;
        let mut fill = pin!(setup.cache.fill_lease(lease, Value::Int(1), Timeout::Never));
        let mut delete = pin!(setup.cache.delete("k"));
        let mut clear = pin!(setup.cache.clear());
        run_steps(&mut fill, 1);
        run_steps(&mut delete, 5);
        run_steps(&mut clear, 5);
        assert!(fill.await.expect("the store does not fail"));
        assert!(delete.await.expect("the store does not fail"), "after the fill");
        clear.await.expect("the store does not fail");
        assert_eq!(setup.value(), None);
    }
}

#[tokio::test]
async fn write_goes_on_if_a_local_fill_is_dropped() {
    for setup in Setup::local() {
        let lease = setup.lease(Wanted::Missing).await;
        let mut delete = pin!(setup.cache.delete("k"));
        {
            let mut fill = pin!(setup.cache.fill_lease(lease, Value::Int(1), Timeout::Never));
            run_steps(&mut fill, 1);
            run_steps(&mut delete, 1);
        }
        assert!(!delete.await.expect("the store does not fail"));
    }
}

#[tokio::test]
async fn local_lease_that_is_granted_before_a_running_write_is_executed_ends_with_it() {
    for setup in Setup::local() {
        let mut delete = pin!(setup.cache.delete("k"));
        run_steps(&mut delete, 1);
        let lease = setup.lease(Wanted::Missing).await;
        delete.await.expect("the store does not fail");
        assert!(!setup.fill(lease, 1).await);
    }
}

#[tokio::test]
async fn other_process_waits_only_if_the_lease_is_shared_through_the_store() {
    for (setup, shared) in Setup::local().into_iter().zip([true, false]) {
        let other = handle(&setup.store, &setup.time, setup.cache.view.local_leases.share());
        let lease = setup.lease(Wanted::Missing).await;
        assert_eq!(acquire(&other, Wanted::Missing).await.lease.is_none(), shared);
        assert_eq!(setup.store.keys().len(), usize::from(shared));
        assert!(setup.fill(lease, 1).await);
        assert_eq!(setup.store.keys(), [":1:k"], "no record is left");
    }
}

#[tokio::test]
async fn local_fill_of_an_absent_key_replaces_nothing_that_another_process_has_stored() {
    for setup in Setup::local() {
        let lease = setup.lease(Wanted::Missing).await;
        setup.store.set(":1:k", Value::Int(7), None).await.expect("stored");
        assert!(!setup.fill(lease, 1).await);
        assert_eq!(setup.value(), Some(7));
    }
}

#[tokio::test]
async fn locally_shared_leases_do_not_use_those_of_the_store() {
    let setup = Setup::new(StepStore::with_leases, Share::Process);
    let _lease = setup.lease(Wanted::Missing).await;
    let other = setup.store.acquire(":1:k", Ask::Missing, HOLD).await.expect("no failure");
    assert!(other.lease.is_some());
}

#[test]
fn abandoned_leases_are_forgotten_when_their_time_has_ended() {
    let (time, held) = (ManualClock::new(), Arc::new(HeldLeases::new(false)));
    for number in 0..10_000 {
        let (key, now) = (format!("{number}").into(), time.clock().now());
        drop(held.insert(
            &key,
            Origin::default(),
            crate::Lease::new(number),
            false,
            now,
            now + HOLD,
        ));
        time.advance(HOLD / 4);
    }
    assert!(held.len() < 50, "{} are left", held.len());
}
