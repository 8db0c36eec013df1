//! A model of concurrent callers of `get_or_set` and of writes.
//!
//! A script, which proptest generates and shrinks, decides which future is polled next, which one
//! is dropped, how a producer ends and when time passes. The store returns `Pending` before and
//! after it executes a call, so calls of different tasks interleave. A future is polled only after
//! its waker was called, so that a lost wake-up is noticed.
//!
//! After each step, no key has a value that was produced before the last acknowledged write. No
//! caller gets a value that is older than a write of its process that was acknowledged before it
//! began.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
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
/// The first value of writers, in order. Smaller ones are the numbers of producers.
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

/// When a caller began.
#[derive(Clone, Copy)]
struct Call {
    key: usize,
    at: Moment,
    /// The epoch of the key.
    epoch: u32,
}

/// A producer that runs.
struct Producer {
    id: u32,
    call: Call,
    begun_at: Moment,
    /// The epoch of the key when it began. Its flight is of this epoch or that of its caller, or of
    /// one between them.
    epoch: u32,
    /// Whether a value was stored since it began: its flight may be over.
    is_superseded: bool,
    end: Rc<Cell<Option<End>>>,
    waker: Waker,
}

impl Producer {
    /// Whether the flights of two producers are surely of the same epoch of a key.
    fn is_in_the_same_epoch(&self, other: &Self) -> bool {
        let epochs = [self.call.epoch, self.epoch, other.call.epoch, other.epoch];
        self.call.key == other.call.key && epochs.iter().all(|epoch| *epoch == self.epoch)
    }
}

/// What the callers share.
struct World {
    kind: Kind,
    time: ManualClock,
    cache: CacheHandle,
    /// The handle of another process, if leases hold for all processes.
    other: Option<CacheHandle>,
    store: Arc<StepStore>,
    producers: RefCell<Vec<Producer>>,
    /// The producers that have ended, with the time.
    ended: RefCell<Vec<(Producer, Moment)>>,
    /// When each producer began.
    begun: RefCell<Vec<u64>>,
    /// How many callers of each key have failed to produce.
    failures: [Cell<usize>; KEYS.len()],
    /// When the last write of each key was called that has been acknowledged.
    acknowledged: [Cell<u64>; KEYS.len()],
    /// The same for the writes of the process of the callers.
    own_acknowledged: [Cell<u64>; KEYS.len()],
    /// How many writes of this process may have ended an epoch of each key.
    epochs: [Cell<u32>; KEYS.len()],
    /// When each value of a writer was acknowledged, if it was.
    written: RefCell<Vec<Option<u64>>>,
}

type Outcome = Result<std::result::Result<u32, &'static str>>;

/// A caller of `get_or_set`, or a writer, which has no outcome.
struct Task {
    key: usize,
    /// When the last write was called that its process had acknowledged before it began.
    begun_after: u64,
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
        let Self(world, id) = self;
        let mut producers = world.producers.borrow_mut();
        if let Some(index) = producers.iter().position(|producer| producer.id == *id) {
            world.ended.borrow_mut().push((producers.remove(index), world.time.clock().now()));
        }
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
        Self {
            kind,
            cache: process(),
            other: (kind == Kind::Native).then(process),
            time,
            store,
            producers: RefCell::default(),
            ended: RefCell::default(),
            begun: RefCell::default(),
            failures: Default::default(),
            acknowledged: Default::default(),
            own_acknowledged: Default::default(),
            epochs: Default::default(),
            written: RefCell::default(),
        }
    }

    /// Runs a producer until the script ends it. Its value is its number.
    async fn produce(&self, call: Call) -> std::result::Result<u32, &'static str> {
        let id = {
            let mut begun = self.begun.borrow_mut();
            begun.push(self.store.event());
            u32::try_from(begun.len() - 1).expect("a script is short")
        };
        let (running, end) = (Running(self, id), Rc::new(Cell::new(None)));
        self.begin(id, call, &end);
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

    /// A producer begins alone in its epoch, or after the patience with all others has passed.
    ///
    /// The patience is counted from when the others became leaders, a few pauses before they began.
    fn begin(&self, id: u32, call: Call, end: &Rc<Cell<Option<End>>>) {
        let (begun_at, epoch) = (self.time.clock().now(), self.epochs[call.key].get());
        let (is_superseded, waker) = (false, Waker::noop().clone());
        let end = Rc::clone(end);
        let new = Producer { id, call, begun_at, epoch, is_superseded, end, waker };
        let is_alone = |other: &Producer| {
            let since = begun_at.since(other.begun_at);
            other.is_superseded
                || !new.is_in_the_same_epoch(other)
                || since + LONGEST_PAUSE >= PATIENCE
                || self.met_another_epoch(&new, other)
        };
        assert!(self.producers.borrow().iter().all(is_alone), "two producers of one key");
        self.producers.borrow_mut().push(new);
    }

    /// Whether two leaders of one epoch may have waited for a producer of another one: for its
    /// lease, as they do for one of another process, for up to the patience each.
    fn met_another_epoch(&self, first: &Producer, second: &Producer) -> bool {
        let called_at = first.call.at.min(second.call.at);
        let (running, ended) = (self.producers.borrow(), self.ended.borrow());
        let ended = ended.iter().filter(|(_, ended_at)| *ended_at >= called_at);
        let mut others = ended.map(|(other, _)| other).chain(&*running);
        others.any(|other| other.call.key == first.call.key && !first.is_in_the_same_epoch(other))
    }

    /// Writes a key. `number` chooses the verb and the process.
    async fn write(&self, key: usize, number: usize) {
        let (called_at, name, timeout) = (self.store.event(), KEYS[key], Timeout::Never);
        let index = self.written.borrow().len();
        self.written.borrow_mut().push(None);
        let value = WRITTEN + u32::try_from(index).expect("a script is short");
        let other = self.other.as_ref().filter(|_| number % 16 < 8);
        let writer = other.unwrap_or(&self.cache);
        let keys = if number % 8 == 7 { 0..KEYS.len() } else { key..key + 1 };
        let running = Write { world: self, keys, is_own: other.is_none() };
        let written = match number % 8 {
            0 | 1 => writer.set(name, &value, timeout).await.map(|()| true),
            2 | 3 => writer.delete(name).await.map(|_| true),
            4 => writer.add(name, &value, timeout).await,
            5 => writer.set_many([(name, value)], timeout).await.map(|_| true),
            6 => writer.delete_many([name]).await.map(|_| true),
            _ => {
                writer.clear().await.expect("the store does not fail");
                running.acknowledge(called_at);
                return;
            }
        };
        if written.expect("the store does not fail") {
            running.acknowledge(called_at);
            self.written.borrow_mut()[index] = Some(self.store.event());
        }
    }

    /// Checks that a value was not produced or written before the last write that its caller knows.
    fn check_age(&self, value: u32, begun_after: u64) {
        let index = |number| usize::try_from(number).expect("a script is short");
        let from = match value.checked_sub(WRITTEN) {
            Some(number) => self.written.borrow()[index(number)].unwrap_or(u64::MAX),
            None => self.begun.borrow()[index(value)],
        };
        assert!(from > begun_after, "a caller got a value that is older than a write before it");
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
        for producer in producers.iter_mut().filter(|producer| producer.call.key == key) {
            producer.is_superseded = true;
        }
    }
}

/// A write that runs. When it ends or is dropped, later callers join other flights.
struct Write<'a> {
    world: &'a World,
    keys: Range<usize>,
    is_own: bool,
}

impl Write<'_> {
    fn acknowledge(&self, called_at: u64) {
        for key in self.keys.clone() {
            let last = &self.world.acknowledged[key];
            last.set(last.get().max(called_at));
            if self.is_own {
                let last = &self.world.own_acknowledged[key];
                last.set(last.get().max(called_at));
            }
        }
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.is_own {
            for epoch in &self.world.epochs[self.keys.clone()] {
                epoch.set(epoch.get() + 1);
            }
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
                // Time passes while all wait and no leader pauses, so that a leader begins soon
                // after it becomes one.
                self.poll_all_woken();
                self.world.time.advance(PATIENCE.mul_f64([0.4, 1.0, 0.4, 6.0][target % 4]));
            }
        }
    }

    fn start_caller(&mut self, target: usize) {
        let (key, world) = (target % KEYS.len(), Rc::clone(&self.world));
        let (at, epoch) = (world.time.clock().now(), world.epochs[key].get());
        let call = Call { key, at, epoch };
        let future = async move {
            let produce = || world.produce(call);
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
            let begun_after = self.world.own_acknowledged[key].get();
            let is_woken = Arc::new(Woken(AtomicBool::new(true)));
            let task = Task { key, begun_after, failures_before, is_caller, is_woken, future };
            self.tasks.push(task);
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
            Some(Ok(Ok(value))) => {
                self.world.check_age(value, task.begun_after);
                self.world.supersede(task.key);
            }
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
        let has_producer = |task: &Task| producers.iter().any(|other| other.call.key == task.key);
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
