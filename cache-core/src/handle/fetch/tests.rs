//! Random calls, deletes and cancellations, on a store whose calls of different tasks interleave.
//!
//! proptest generates the scripts and shrinks those that fail.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{prelude::*, test_runner::RngSeed};
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

/// A call and what happens after it, made from random bytes.
#[derive(Clone, Copy, Debug)]
struct Step {
    key: &'static str,
    end: End,
    /// How often the producer yields.
    yields: u8,
    /// How often the script yields after the call.
    pause: u8,
    /// Which of the calls that run is dropped.
    cancels: Option<usize>,
    /// By how many milliseconds the clock is advanced.
    advances: Option<u64>,
    deletes: bool,
}

impl Step {
    /// Small bytes make simple steps, so that a script shrinks to such.
    fn new([key, end, yields, pause, cancels, advances, deletes]: [u8; 7]) -> Self {
        Self {
            key: KEYS[usize::from(key) % KEYS.len()],
            end: ENDS[usize::from(end) % ENDS.len()],
            yields: yields % 16,
            pause: pause % 4,
            cancels: (cancels >= 128).then(|| usize::from(cancels)),
            advances: (advances >= 192).then(|| u64::from(advances) % 20),
            deletes: deletes >= 240,
        }
    }
}

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
    /// Runs a script and waits until all tasks have ended.
    async fn run(script: impl IntoIterator<Item = Step>) -> Self {
        // For the jitter.
        fastrand::seed(7);
        let time = ManualClock::new();
        let store = Arc::new(StepStore::with_leases(time.clock()));
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
        let cache = cache.with_clock(time.clock());
        let (producers, ended, deletes) = (Arc::default(), Vec::new(), Vec::new());
        let mut world = Self { time, store, cache, producers, ended, deletes };
        let (mut running, mut cancelled) = (Vec::new(), Vec::new());
        for step in script {
            running.push(world.start(step.key, step.end, step.yields));
            yield_times(step.pause).await;
            if let Some(number) = step.cancels {
                let call = running.swap_remove(number % running.len());
                call.abort();
                cancelled.push(call);
            }
            if let Some(millis) = step.advances {
                world.time.advance(Duration::from_millis(millis));
            }
            if step.deletes {
                world.delete(step.key).await;
            }
        }
        let fetches = &world.cache.view.fetches;
        while running.iter().any(|call| !call.is_finished()) || fetches.tasks.count() > 0 {
            world.time.advance(TTL);
            yield_now().await;
        }
        // A cancelled call may have ended before, or is dropped when the runtime polls it next.
        for call in running.into_iter().chain(cancelled) {
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

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.cache.view.fetches.flights.in_flight(), 0, "a flight is left");
        assert_eq!(self.cache.view.held_leases.len(), 0, "a lease is left");
        assert!(!self.cache.view.epochs.has_any(), "an epoch is left");
        self.time.with_alarms(|alarms, _| assert!(alarms.is_empty(), "an alarm is left"));
    }

    fn assert_no_value_is_older_than_a_delete_before_it(&self) {
        for (producer, key, event, _) in self.stored() {
            assert!(!self.is_late(key, producer, event), "a late value was stored");
        }
        for Call { key, called_at, returned } in &self.ended {
            let Some(producer) = returned else { continue };
            assert!(!self.is_late(key, *producer, called_at.0), "a late value was returned");
        }
    }

    /// A value is returned while its entry is kept, and to callers from before its producer ended.
    fn assert_values_are_returned_within_their_time(&self) {
        let ends: HashMap<_, _> =
            self.stored().into_iter().map(|(producer, _, _, until)| (producer, until)).collect();
        for Call { called_at, returned, .. } in &self.ended {
            let Some(producer) = returned else { continue };
            let was_waiting = self.has_ended_at(*producer).is_none_or(|end| called_at.0 < end);
            let is_kept = ends.get(producer).is_some_and(|until| called_at.1 < *until);
            assert!(was_waiting || is_kept, "a value was returned after its stale window");
        }
    }
}

#[tokio::test]
async fn ten_thousand_cancelled_calls_leave_no_flight_no_task_and_no_lease() {
    let mut random = fastrand::Rng::with_seed(7);
    let steps = (0..20_000).map(|_| Step::new(std::array::from_fn(|_| random.u8(..))));
    World::run(steps).await.assert_nothing_is_left();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        // The same cases in each run.
        rng_seed: RngSeed::Fixed(15),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn callers_get_and_store_only_current_values_in_any_order(
        script in prop::collection::vec(any::<[u8; 7]>().prop_map(Step::new), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("the runtime starts").block_on(async {
            let world = World::run(script).await;
            world.assert_no_value_is_older_than_a_delete_before_it();
            world.assert_values_are_returned_within_their_time();
            world.assert_nothing_is_left();
        });
    }
}
