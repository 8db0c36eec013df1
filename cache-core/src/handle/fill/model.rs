//! A model of concurrent callers of `get_or_set`.
//!
//! A script, which proptest generates and shrinks, decides which future is polled next, which
//! caller is dropped, how a producer ends and when time passes. The store returns `Pending` once in
//! each call, so calls of different callers interleave. A future is polled only after its waker was
//! called, so that a lost wake-up is noticed.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_trait::async_trait;
use proptest::prelude::*;

use crate::{
    Cache, CacheHandle, ErrorKind, ManualClock, Moment, Result, Settings, Timeout, Ttl, Value,
};

const PATIENCE: Duration = Duration::from_secs(5);
const KEYS: [&str; 2] = ["a", "b"];
const MAX_CALLERS: usize = 6;

/// A store that returns `Pending` once before each call.
#[derive(Debug, Default)]
struct Yielding(Mutex<HashMap<String, Value>>);

/// Returns `Pending` once.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl Cache for Yielding {
    fn name(&self) -> &str {
        "yielding"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        yield_once().await;
        Ok(self.0.lock().expect("no panic").get(key).cloned())
    }
    async fn set(&self, key: &str, value: Value, _: Option<Duration>) -> Result<()> {
        yield_once().await;
        self.0.lock().expect("no panic").insert(key.into(), value);
        Ok(())
    }
    async fn add(&self, key: &str, value: Value, _: Option<Duration>) -> Result<bool> {
        yield_once().await;
        let mut entries = self.0.lock().expect("no panic");
        let is_new = !entries.contains_key(key);
        entries.entry(key.into()).or_insert(value);
        Ok(is_new)
    }
    async fn touch(&self, _: &str, _: Option<Duration>) -> Result<bool> {
        unreachable!("the model does not touch")
    }
    async fn incr(&self, _: &str, _: i64) -> Result<Option<i64>> {
        unreachable!("the model does not count")
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.0.lock().expect("no panic").remove(key).is_some())
    }
    async fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
        unreachable!("the model does not ask for times")
    }
    async fn clear(&self) -> Result<()> {
        unreachable!("the model does not clear")
    }
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
    time: ManualClock,
    cache: CacheHandle,
    store: Arc<Yielding>,
    producers: RefCell<Vec<Producer>>,
    next_id: Cell<u32>,
    /// How many producers of each key have failed.
    failures: [Cell<usize>; KEYS.len()],
}

type Outcome = Result<std::result::Result<u32, &'static str>>;

struct Caller {
    key: usize,
    failures_before: usize,
    is_woken: Arc<Woken>,
    future: Pin<Box<dyn Future<Output = Outcome>>>,
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
    fn new() -> Self {
        let (time, store) = (ManualClock::new(), Arc::<Yielding>::default());
        let settings = Settings { patience: PATIENCE, ..Settings::default() };
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, settings);
        let cache = cache.with_clock(time.clock());
        Self {
            time,
            cache,
            store,
            producers: RefCell::default(),
            next_id: Cell::new(0),
            failures: Default::default(),
        }
    }

    /// Runs a producer until the script ends it. Its value is its number.
    async fn produce(&self, key: usize) -> std::result::Result<u32, &'static str> {
        let id = self.next_id.replace(self.next_id.get() + 1);
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
            End::Error => {
                self.failures[key].set(self.failures[key].get() + 1);
                Err("failed")
            }
            End::Panic => std::panic::resume_unwind(Box::new("the script wants a panic")),
        }
    }

    /// A producer begins alone, or after the patience with all others has passed.
    fn begin(&self, id: u32, key: usize, end: &Rc<Cell<Option<End>>>) {
        let begun_at = self.time.clock().now();
        let mut producers = self.producers.borrow_mut();
        for other in producers.iter().filter(|other| other.key == key && !other.is_superseded) {
            assert!(begun_at.since(other.begun_at) >= PATIENCE, "two producers of one key");
        }
        let (is_superseded, waker) = (false, Waker::noop().clone());
        let end = Rc::clone(end);
        producers.push(Producer { id, key, begun_at, is_superseded, end, waker });
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
    callers: Vec<Caller>,
}

impl Model {
    fn step(&mut self, [action, target]: [u8; 2]) {
        let target = usize::from(target);
        match action % 16 {
            0..3 => self.start(target),
            3..9 => {
                self.poll_woken(target);
            }
            9 => self.drop_caller(target),
            10 | 11 => self.end_producer(target, End::Value),
            12 => self.end_producer(target, End::Error),
            13 => self.end_producer(target, End::Panic),
            14 => drop(self.world.store.0.lock().expect("no panic").remove(&composed(target))),
            _ => {
                // Time passes while all wait, so that a leader begins when it becomes one.
                self.poll_all_woken();
                self.world.time.advance(PATIENCE.mul_f64([0.4, 1.0][target % 2]));
            }
        }
    }

    fn start(&mut self, target: usize) {
        if self.callers.len() >= MAX_CALLERS {
            return;
        }
        let (key, world) = (target % KEYS.len(), Rc::clone(&self.world));
        let failures_before = world.failures[key].get();
        let future = async move {
            let produce = || world.produce(key);
            world.cache.try_get_or_set(KEYS[key], Timeout::Default, produce).await
        };
        let is_woken = Arc::new(Woken(AtomicBool::new(true)));
        self.callers.push(Caller { key, failures_before, is_woken, future: Box::pin(future) });
    }

    /// Polls one of the callers that are woken.
    fn poll_woken(&mut self, target: usize) -> bool {
        let woken = |caller: &Caller| caller.is_woken.0.load(SeqCst);
        let count = self.callers.iter().filter(|caller| woken(caller)).count();
        if count == 0 {
            return false;
        }
        let indices = (0..self.callers.len()).filter(|index| woken(&self.callers[*index]));
        let index = indices.clone().nth(target % count).expect("there are that many");
        self.poll(index);
        true
    }

    fn poll(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        caller.is_woken.0.store(false, SeqCst);
        let waker = Waker::from(Arc::clone(&caller.is_woken));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| caller.future.as_mut().poll(&mut context)));
        let outcome = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(outcome)) => Some(outcome),
            Err(panic) if panic.is::<&str>() && is_wanted(&*panic) => None,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let caller = self.callers.remove(index);
        match outcome {
            Some(Ok(Ok(_value))) => self.world.supersede(caller.key),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::FillFailed);
                let failures = self.world.failures[caller.key].get() - caller.failures_before;
                assert!(failures >= 2, "gave up after {failures} failures");
            }
            Some(Ok(Err(_))) | None => {}
        }
    }

    fn drop_caller(&mut self, target: usize) {
        if !self.callers.is_empty() {
            self.callers.remove(target % self.callers.len());
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
        let producers = self.world.producers.borrow();
        for caller in &self.callers {
            let has_producer = producers.iter().any(|producer| producer.key == caller.key);
            assert!(has_producer, "a caller waits for nobody");
        }
    }

    /// Lets all producers and callers end.
    fn finish(mut self) {
        self.poll_all_woken();
        while !self.callers.is_empty() {
            self.end_producer(0, End::Value);
            self.poll_all_woken();
        }
        let world = &self.world;
        assert_eq!(world.producers.borrow().len(), 0);
        assert_eq!(world.cache.view.fills.in_flight(), 0, "a flight is left");
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
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn callers_end_and_produce_once_in_any_order(
        script in prop::collection::vec(any::<[u8; 2]>(), 0..48),
    ) {
        let mut model = Model { world: Rc::new(World::new()), callers: Vec::new() };
        for step in script {
            model.step(step);
        }
        model.finish();
    }
}
