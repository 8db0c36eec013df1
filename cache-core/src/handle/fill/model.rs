//! A model of concurrent callers of `get_or_set` and of writes.
//!
//! A script, which proptest generates and shrinks, decides which future is polled next, which one
//! is dropped, how a producer ends and when time passes. The store returns `Pending` before and
//! after it executes a call, so calls of different tasks interleave. A future is polled only after
//! its waker was called, so that a lost wake-up is noticed.
//!
//! After each step, no key has a value that was produced before the last acknowledged write.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use proptest::{prelude::*, test_runner::RngSeed};

use super::LONGEST_PAUSE;
use crate::{
    CacheHandle, ErrorKind, ManualClock, Moment, Result, Settings, Share, Timeout, Value,
    handle::step_store::StepStore, timer::Alarms,
};

const PATIENCE: Duration = Duration::from_secs(5);
const KEYS: [&str; 2] = ["a", "b"];
const MAX_TASKS: usize = 6;
/// The first value of writers. Smaller ones are the numbers of producers.
const WRITTEN: u32 = 1_000_000;

/// Where the leases are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Native,
    Local,
    LocalWithoutRecord,
}

/// How a producer ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
}

/// A producer that runs.
struct Producer {
    id: u32,
    key: usize,
    begun_at: Moment,
    /// Whether a value was stored since it began: its flight may be over.
    is_superseded: bool,
    end: Rc<Cell<Option<End>>>,
    waker: Waker,
}

/// What the callers share.
struct World {
    kind: Kind,
    time: ManualClock,
    cache: CacheHandle,
    /// The handle of the writers: that of another process, if leases hold for all processes.
    writer: CacheHandle,
    store: Arc<StepStore>,
    producers: RefCell<Vec<Producer>>,
    /// When each producer began.
    begun: RefCell<Vec<u64>>,
    /// How many callers of each key have failed to produce.
    failures: [Cell<usize>; KEYS.len()],
    /// When the last write of each key was called that has been acknowledged.
    acknowledged: [Cell<u64>; KEYS.len()],
}

type Outcome = Result<std::result::Result<u32, &'static str>>;

/// A caller of `get_or_set`, or a writer, which has no outcome.
struct Task {
    key: usize,
    failures_before: usize,
    is_caller: bool,
    is_woken: Arc<Woken>,
    future: Pin<Box<dyn Future<Output = Option<Outcome>>>>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Removes its producer when it ends or is dropped.
struct Running<'a>(&'a World, u32);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.producers.borrow_mut().retain(|producer| producer.id != self.1);
    }
}

impl World {
    fn new(kind: Kind) -> Self {
        let time = ManualClock::new();
        let (store, share) = match kind {
            Kind::Native => (StepStore::with_leases(time.clock()), Share::Store),
            Kind::Local => (StepStore::without_leases(time.clock()), Share::Store),
            Kind::LocalWithoutRecord => (StepStore::without_leases(time.clock()), Share::Process),
        };
        let store = Arc::new(store);
        let process = || {
            let settings = Settings { patience: PATIENCE, share, ..Settings::default() };
            let cache = CacheHandle::new("default", Arc::clone(&store) as _, settings);
            cache.with_clock(time.clock())
        };
        let cache = process();
        let writer = if kind == Kind::Native { process() } else { cache.clone() };
        Self {
            kind,
            cache,
            writer,
            time,
            store,
            producers: RefCell::default(),
            begun: RefCell::default(),
            failures: Default::default(),
            acknowledged: Default::default(),
        }
    }

    /// Runs a producer until the script ends it. Its value is its number.
    async fn produce(&self, key: usize) -> std::result::Result<u32, &'static str> {
        let id = {
            let mut begun = self.begun.borrow_mut();
            begun.push(self.store.event());
            u32::try_from(begun.len() - 1).expect("a script is short")
        };
        let (running, end) = (Running(self, id), Rc::new(Cell::new(None)));
        self.begin(id, key, &end);
        let end = std::future::poll_fn(|context| match end.get() {
            Some(end) => Poll::Ready(end),
            None => {
                let mut producers = self.producers.borrow_mut();
                let own = producers.iter_mut().find(|producer| producer.id == id);
                own.expect("it runs").waker.clone_from(context.waker());
                Poll::Pending
            }
        })
        .await;
        drop(running);
        match end {
            End::Value => Ok(id),
            End::Error => Err("failed"),
            End::Panic => std::panic::resume_unwind(Box::new("the script wants a panic")),
        }
    }

    /// A producer begins alone, or after the patience with all others has passed.
    ///
    /// The patience is counted from when the others became leaders, a few pauses before they began.
    fn begin(&self, id: u32, key: usize, end: &Rc<Cell<Option<End>>>) {
        let begun_at = self.time.clock().now();
        let mut producers = self.producers.borrow_mut();
        for other in producers.iter().filter(|other| other.key == key && !other.is_superseded) {
            let since = begun_at.since(other.begun_at);
            assert!(since + LONGEST_PAUSE >= PATIENCE, "two producers of one key");
        }
        let (is_superseded, waker) = (false, Waker::noop().clone());
        let end = Rc::clone(end);
        producers.push(Producer { id, key, begun_at, is_superseded, end, waker });
    }

    /// Writes a key. `number` chooses the verb.
    async fn write(&self, key: usize, number: usize) {
        let (called_at, name, timeout) = (self.store.event(), KEYS[key], Timeout::Never);
        let value = WRITTEN + u32::try_from(self.begun.borrow().len()).expect("a script is short");
        let writer = &self.writer;
        let written = match number % 8 {
            0 | 1 => writer.set(name, &value, timeout).await.map(|()| true),
            2 | 3 => writer.delete(name).await.map(|_| true),
            4 => writer.add(name, &value, timeout).await,
            5 => writer.set_many([(name, value)], timeout).await.map(|_| true),
            6 => writer.delete_many([name]).await.map(|_| true),
            _ => {
                writer.clear().await.expect("the store does not fail");
                self.acknowledged.iter().for_each(|last| last.set(last.get().max(called_at)));
                return;
            }
        };
        if written.expect("the store does not fail") {
            let last = &self.acknowledged[key];
            last.set(last.get().max(called_at));
        }
    }

    fn check(&self) {
        for (key, acknowledged) in self.acknowledged.iter().enumerate() {
            let Some(Value::Int(number)) = self.store.peek(&composed(key)) else { continue };
            let begun = self.begun.borrow();
            let Some(begun_at) = usize::try_from(number).ok().and_then(|id| begun.get(id)) else {
                continue;
            };
            assert!(*begun_at > acknowledged.get(), "a late value was stored");
            if self.kind == Kind::Native {
                let written_at = self.store.written_at(&composed(key));
                assert!(*begun_at > written_at, "a late value was stored");
            }
        }
    }

    /// Returns the time until the next alarm, if it is so short that it may be a pause.
    fn next_pause(&self) -> Option<Duration> {
        let next = |alarms: &mut Alarms, now| Some(alarms.next_deadline()?.since(now));
        self.time.with_alarms(next).filter(|time| *time <= LONGEST_PAUSE)
    }

    fn supersede(&self, key: usize) {
        let mut producers = self.producers.borrow_mut();
        for producer in producers.iter_mut().filter(|producer| producer.key == key) {
            producer.is_superseded = true;
        }
    }
}

struct Model {
    world: Rc<World>,
    tasks: Vec<Task>,
}

impl Model {
    fn new(kind: Kind) -> Self {
        Self { world: Rc::new(World::new(kind)), tasks: Vec::new() }
    }

    fn step(&mut self, [action, target]: [u8; 2]) {
        let target = usize::from(target);
        match action % 20 {
            0..3 => self.start_caller(target),
            3 | 4 => self.start_writer(target),
            5..13 => {
                self.poll_woken(target);
            }
            13 => self.drop_task(target),
            14 | 15 => self.end_producer(target, End::Value),
            16 => self.end_producer(target, End::Error),
            17 => self.end_producer(target, End::Panic),
            18 => self.world.store.evict(&composed(target)),
            _ => {
                // Time passes while all wait and no leader pauses, so that a leader begins soon after
                // it becomes one.
                self.poll_all_woken();
                self.world.time.advance(PATIENCE.mul_f64([0.4, 1.0, 0.4, 6.0][target % 4]));
            }
        }
    }

    fn start_caller(&mut self, target: usize) {
        let (key, world) = (target % KEYS.len(), Rc::clone(&self.world));
        let future = async move {
            let produce = || world.produce(key);
            Some(world.cache.try_get_or_set(KEYS[key], Timeout::Default, produce).await)
        };
        self.start(key, true, Box::pin(future));
    }

    fn start_writer(&mut self, target: usize) {
        let (key, world) = (target % KEYS.len(), Rc::clone(&self.world));
        let future = async move {
            world.write(key, target / KEYS.len()).await;
            None
        };
        self.start(key, false, Box::pin(future));
    }

    fn start(
        &mut self,
        key: usize,
        is_caller: bool,
        future: Pin<Box<dyn Future<Output = Option<Outcome>>>>,
    ) {
        if self.tasks.len() < MAX_TASKS {
            let failures_before = self.world.failures[key].get();
            let is_woken = Arc::new(Woken(AtomicBool::new(true)));
            self.tasks.push(Task { key, failures_before, is_caller, is_woken, future });
        }
    }

    /// Polls one of the tasks that are woken.
    fn poll_woken(&mut self, target: usize) -> bool {
        let woken = |task: &Task| task.is_woken.0.load(SeqCst);
        let count = self.tasks.iter().filter(|task| woken(task)).count();
        if count == 0 {
            return false;
        }
        let indices = (0..self.tasks.len()).filter(|index| woken(&self.tasks[*index]));
        let index = indices.clone().nth(target % count).expect("there are that many");
        self.poll(index);
        true
    }

    fn poll(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        task.is_woken.0.store(false, SeqCst);
        let waker = Waker::from(Arc::clone(&task.is_woken));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context)));
        self.world.check();
        let outcome = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panic) if panic.is::<&str>() && is_wanted(&*panic) => None,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let task = self.tasks.remove(index);
        match outcome {
            Some(Ok(Ok(_value))) => self.world.supersede(task.key),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::FillFailed);
                let failures = self.world.failures[task.key].get() - task.failures_before;
                assert!(failures >= 2, "gave up after {failures} failures");
            }
            None if !task.is_caller => {}
            Some(Ok(Err(_))) | None => {
                let failures = &self.world.failures[task.key];
                failures.set(failures.get() + 1);
            }
        }
    }

    fn drop_task(&mut self, target: usize) {
        if !self.tasks.is_empty() {
            self.tasks.remove(target % self.tasks.len());
        }
    }

    fn end_producer(&self, target: usize, end: End) {
        let producers = self.world.producers.borrow();
        if let Some(producer) = producers.get(target % producers.len().max(1)) {
            producer.end.set(Some(end));
            producer.waker.wake_by_ref();
        }
    }

    /// Polls until all callers wait, for a producer each: nobody relies on the patience.
    fn poll_all_woken(&mut self) {
        while self.poll_woken(0) {}
        // A leader that has met the lease of another one looks again after a pause.
        while let Some(pause) = self.world.next_pause() {
            self.world.time.advance(pause);
            while self.poll_woken(0) {}
        }
        assert!(!self.waits_for_nobody(), "a caller or a write waits for nobody");
    }

    fn waits_for_nobody(&self) -> bool {
        let producers = self.world.producers.borrow();
        let has_producer = |task: &Task| producers.iter().any(|other| other.key == task.key);
        self.tasks.iter().any(|task| !task.is_caller || !has_producer(task))
    }

    /// Lets all producers and tasks end.
    fn end_all(&mut self) {
        self.poll_all_woken();
        while !self.tasks.is_empty() {
            self.end_producer(0, End::Value);
            self.poll_all_woken();
        }
    }

    fn finish(mut self) {
        self.end_all();
        // The next callers clean up what those that were dropped have left.
        for key in 0..KEYS.len() {
            self.world.store.evict(&composed(key));
            self.start_caller(key);
        }
        self.end_all();
        let world = &self.world;
        assert_eq!(world.producers.borrow().len(), 0);
        assert_eq!(world.cache.view.fills.in_flight(), 0, "a flight is left");
        assert_eq!(world.cache.view.held_leases.len(), 0, "a lease is left");
        assert!(!world.cache.view.local_leases.has_any(), "a lease is left");
        assert_eq!(world.store.keys(), [composed(0), composed(1)], "a record is left");
        world.time.with_alarms(|alarms, _| assert!(alarms.is_empty(), "an alarm is left"));
    }
}

fn is_wanted(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<&str>() == Some(&"the script wants a panic")
}

fn composed(target: usize) -> String {
    format!(":1:{}", KEYS[target % KEYS.len()])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100_000,
        // The same cases in each run.
        rng_seed: RngSeed::Fixed(15),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn callers_end_and_store_no_late_value_in_any_order(
        kind in prop::sample::select(vec![Kind::Native, Kind::Local, Kind::LocalWithoutRecord]),
        script in prop::collection::vec(any::<[u8; 2]>(), 0..64),
    ) {
        let mut model = Model::new(kind);
        for step in script {
            model.step(step);
        }
        model.finish();
    }
}
