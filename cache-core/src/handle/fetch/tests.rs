//! Random calls, deletes and cancellations, on a store whose calls of different tasks interleave.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::{JoinHandle, yield_now};

use super::Fill;
use crate::{CacheHandle, ManualClock, Moment, Settings, codec, handle::step_store::StepStore};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TTL: Duration = Duration::from_millis(100);

/// How a producer ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Private,
    FailedWith,
    Error,
    Panic,
}

const ENDS: [End; 8] = [
    End::Value,
    End::Value,
    End::Value,
    End::Value,
    End::Private,
    End::FailedWith,
    End::Error,
    End::Panic,
];

async fn yield_times(count: u8) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// When each producer began and ended, as the numbers of events.
type Producers = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

/// A call that was not cancelled.
struct Call {
    key: &'static str,
    /// When it began, as the number of an event and by the clock.
    called_at: (u64, Moment),
    /// The number of the producer whose value it has returned.
    returned: Option<usize>,
}

/// A delete, with the numbers of events.
struct Delete {
    key: &'static str,
    called_at: u64,
    acknowledged_at: u64,
}

/// What calls and deletes do and have done.
struct World {
    time: ManualClock,
    store: Arc<StepStore>,
    cache: CacheHandle,
    producers: Producers,
    ended: Vec<Call>,
    deletes: Vec<Delete>,
}

impl World {
    /// Starts calls, of which half are cancelled, and waits until all tasks have ended.
    async fn run(calls: usize) -> Self {
        let time = ManualClock::new();
        let store = Arc::new(StepStore::with_leases(time.clock()));
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
        let cache = cache.with_clock(time.clock());
        let (producers, ended, deletes) = (Arc::default(), Vec::new(), Vec::new());
        let mut world = Self { time, store, cache, producers, ended, deletes };
        let mut random = fastrand::Rng::with_seed(7);
        let mut running = Vec::new();
        for _ in 0..calls {
            let (key, end) = (KEYS[random.usize(..KEYS.len())], ENDS[random.usize(..ENDS.len())]);
            running.push(world.start(key, end, random.u8(..16)));
            yield_times(random.u8(..4)).await;
            if random.bool() {
                running.swap_remove(random.usize(..running.len())).abort();
            }
            if random.u8(..4) == 0 {
                world.time.advance(Duration::from_millis(random.u64(..20)));
            }
            if random.u8(..16) == 0 {
                world.delete(key).await;
            }
        }
        let fetches = &world.cache.view.fetches;
        while running.iter().any(|call| !call.is_finished()) || fetches.tasks.count() > 0 {
            world.time.advance(TTL);
            yield_now().await;
        }
        for call in running {
            match call.await {
                Ok(call) => world.ended.push(call),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        world
    }

    /// Starts a call whose producer yields for a while. Its value is its number.
    fn start(&self, key: &'static str, end: End, yields: u8) -> JoinHandle<Call> {
        let (store, producers) = (Arc::clone(&self.store), Arc::clone(&self.producers));
        let produce = move |fill: Fill| async move {
            let number = {
                let mut producers = producers.lock().expect("no panic");
                producers.push((store.event(), None));
                producers.len() - 1
            };
            yield_times(yields).await;
            producers.lock().expect("no panic")[number].1 = Some(store.event());
            match end {
                End::Value => {}
                End::Private => fill.do_not_store(),
                End::FailedWith => fill.failed_with(()),
                End::Error => return Err("down"),
                End::Panic => resume_unwind(Box::new("the test wants a panic")),
            }
            Ok(number)
        };
        let (cache, called_at) = (self.cache.clone(), (self.store.event(), self.now()));
        tokio::spawn(async move {
            let fetch = cache.try_fetch(key, produce).ttl(TTL).stale_for(TTL).retry_after(TTL / 4);
            let returned = fetch.soft_timeout(TTL / 8).hard_timeout(TTL).await.ok();
            Call { key, called_at, returned }
        })
    }

    async fn delete(&mut self, key: &'static str) {
        let called_at = self.store.event();
        self.cache.delete(key).await.expect("the store does not fail");
        self.deletes.push(Delete { key, called_at, acknowledged_at: self.store.event() });
    }

    fn now(&self) -> Moment {
        self.time.clock().now()
    }

    fn has_begun_at(&self, producer: usize) -> u64 {
        self.producers.lock().expect("no panic")[producer].0
    }

    fn has_ended_at(&self, producer: usize) -> Option<u64> {
        self.producers.lock().expect("no panic")[producer].1
    }

    /// Whether a producer began before a delete of its key that had returned at this event.
    fn is_late(&self, key: &str, producer: usize, event: u64) -> bool {
        let begun_at = self.has_begun_at(producer);
        self.deletes.iter().any(|delete| {
            delete.key == key && begun_at < delete.called_at && delete.acknowledged_at < event
        })
    }

    /// Returns the producers whose values were stored: with the key, the number of the event and
    /// when the entry ends.
    fn stored(&self) -> Vec<(usize, &'static str, u64, Moment)> {
        let codecs = &self.cache.view.codecs;
        let stored = self.store.filled().into_iter().map(|(key, value, event, until)| {
            let key = KEYS.into_iter().find(|known| key.ends_with(*known)).expect("one of them");
            (codec::decode(value, codecs).expect("a number"), key, event, until)
        });
        stored.collect()
    }
}

#[tokio::test]
async fn ten_thousand_cancelled_calls_leave_no_flight_no_task_and_no_lease() {
    let world = World::run(20_000).await;
    assert_eq!(world.cache.view.fetches.flights.in_flight(), 0);
    assert_eq!(world.cache.view.held_leases.len(), 0);
    assert!(!world.cache.view.epochs.has_any());
    world.time.with_alarms(|alarms, _| assert!(alarms.is_empty(), "an alarm is left"));
}

#[tokio::test]
async fn no_value_that_is_older_than_a_delete_is_stored_or_returned_after_it() {
    let world = World::run(4_000).await;
    for (producer, key, event, _) in world.stored() {
        assert!(!world.is_late(key, producer, event), "a late value was stored");
    }
    for Call { key, called_at, returned } in &world.ended {
        let Some(producer) = returned else { continue };
        assert!(!world.is_late(key, *producer, called_at.0), "a late value was returned");
    }
}

#[tokio::test]
async fn value_is_returned_only_while_its_entry_is_kept_or_to_callers_from_before_its_end() {
    let world = World::run(4_000).await;
    let ends: HashMap<_, _> =
        world.stored().into_iter().map(|(producer, _, _, until)| (producer, until)).collect();
    for Call { called_at, returned, .. } in &world.ended {
        let Some(producer) = returned else { continue };
        let was_waiting = world.has_ended_at(*producer).is_none_or(|end| called_at.0 < end);
        let is_kept = ends.get(producer).is_some_and(|until| called_at.1 < *until);
        assert!(was_waiting || is_kept, "a value was returned after its stale window");
    }
}
