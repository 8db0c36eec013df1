//! What one request did with its caches.

use std::{
    cell::{Cell, RefCell},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use super::{Operation, Outcome, operation::Tally};
use crate::ErrorKind;

/// A list of the operations that a future executes on observed caches, for development.
///
/// [`collect`](Self::collect) runs a future, such as the handler of a request, and
/// [`calls`](Self::calls) returns what it did. Only caches that are [observed](super::Observed)
/// write to it. Without a trace, they look at one flag of their thread.
///
/// A trace holds composed keys, which may be personal data.
///
/// Tasks that the future spawns are not part of it, unless they collect as well: pass them a clone,
/// or [`Trace::current`]. The producers of `fetch`, which run in tasks, do that themselves.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Result, Settings, Timeout};
/// # use cache_core::observe::{ObserveOptions, Observed, Operation, Outcome, Trace};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let store = Arc::new(LocMemCache::default());
/// let store = Observed::new("default", store, ObserveOptions::default());
/// let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
///
/// let trace = Trace::new();
/// let handler = async {
///     cache.set("greeting", "hello", Timeout::Default).await?;
///     cache.get::<String>("greeting").await
/// };
/// assert_eq!(trace.collect(handler).await?.as_deref(), Some("hello"));
///
/// let calls = trace.calls();
/// assert_eq!(calls.len(), 2);
/// assert_eq!((calls[0].operation, calls[0].outcome), (Operation::Set, Outcome::Ok));
/// assert_eq!((calls[1].operation, calls[1].outcome), (Operation::Get, Outcome::Hit));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Trace(Arc<Shared>);

struct Shared {
    began_at: Instant,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    calls: Vec<TracedCall>,
    omitted: usize,
}

/// The number of calls that a trace keeps.
const MAX_CALLS: usize = 1000;
/// The number of keys that a call keeps.
const MAX_KEYS: usize = 100;

/// An operation in a [`Trace`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TracedCall {
    /// What was done.
    pub operation: Operation,
    /// The alias of the cache.
    pub cache: Arc<str>,
    /// The [name](crate::Cache::name) of the store.
    pub store: Arc<str>,
    /// The composed keys, at most the first 100. Empty for operations on the store as a whole.
    pub keys: Vec<Box<str>>,
    /// The number of keys, including those that are left out of `keys`.
    pub key_count: usize,
    /// How it ended. For several keys, a hit if at least one was found.
    pub outcome: Outcome,
    /// The number of keys that were found. Zero if the operation is no lookup.
    pub hits: usize,
    /// The kind of the error, if it failed or was rejected with one.
    pub error: Option<ErrorKind>,
    /// The size of the values that were read or stored in bytes, if there were any.
    pub size: Option<usize>,
    /// When it began, counted from the creation of the trace.
    pub began_at: Duration,
    /// How long it took. `None` while it runs, or if its future was dropped.
    pub took: Option<Duration>,
    /// The position, in [`Trace::calls`], of the operation inside which this one was executed: a
    /// [`Produce`](Operation::Produce) whose producer uses a cache.
    pub parent: Option<usize>,
    /// The number of operations around this one.
    pub depth: usize,
}

impl Trace {
    /// Creates an empty trace. Its time begins now.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { began_at: Instant::now(), list: Mutex::default() }))
    }

    /// Returns the trace that collects what the running code does, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        Scope::current().map(|scope| scope.trace)
    }

    /// Runs a future and collects its operations.
    ///
    /// Inside it, [`Trace::current`] returns this trace.
    pub fn collect<F: Future>(&self, future: F) -> Collect<F> {
        let scope = Scope { trace: self.clone(), parent: None };
        Collect { future, scope: Some(scope) }
    }

    /// Runs a function and collects its operations.
    ///
    /// It is [`collect`](Self::collect) for code that polls futures itself.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        Scope { trace: self.clone(), parent: None }.run(f)
    }

    /// Returns the operations in the order in which they began, at most the first 1,000.
    #[must_use]
    pub fn calls(&self) -> Vec<TracedCall> {
        self.lock().calls.clone()
    }

    /// Returns the number of operations that are left out of [`calls`](Self::calls), because there
    /// were too many.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.lock().omitted
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("calls", &self.lock().calls.len()).finish_non_exhaustive()
    }
}

thread_local! {
    /// Whether `SCOPE` has a trace. This is all that an operation looks at if it has none, and
    /// unlike `SCOPE` it needs no destructor.
    static IS_COLLECTING: Cell<bool> = const { Cell::new(false) };
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Where new calls are recorded.
#[derive(Clone)]
pub(crate) struct Scope {
    trace: Trace,
    parent: Option<usize>,
}

impl Scope {
    pub(crate) fn current() -> Option<Self> {
        match is_collecting() {
            true => SCOPE.try_with(|scope| scope.borrow().clone()).ok().flatten(),
            false => None,
        }
    }

    /// Runs a function that is a part of what this scope collects.
    pub(super) fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = Self::enter(Some(self.clone()));
        f()
    }

    /// Makes a scope the current one until the result is dropped.
    fn enter(scope: Option<Self>) -> Entered {
        IS_COLLECTING.set(scope.is_some());
        // After the thread has destroyed its scope, nothing is collected.
        let outer = SCOPE.try_with(|current| current.replace(scope)).unwrap_or(None);
        Entered { outer }
    }
}

/// Corrects the outcome of the latest lookup of a key. Its entry was found, but is no hit.
#[cold]
pub(super) fn correct_lookup(cache: &str, key: &str, outcome: Outcome) {
    let Some(scope) = Scope::current() else { return };
    let mut list = scope.trace.lock();
    let is_of_key = |call: &&mut TracedCall| {
        call.operation.is_lookup()
            && &*call.cache == cache
            && call.keys.iter().any(|it| **it == *key)
    };
    if let Some(lookup) = list.calls.iter_mut().rev().find(is_of_key) {
        lookup.hits = lookup.hits.saturating_sub(1);
        if lookup.hits == 0 {
            lookup.outcome = outcome;
        }
    }
}

pub(super) fn is_collecting() -> bool {
    IS_COLLECTING.get()
}

/// Restores the outer scope, also if the future panics.
struct Entered {
    outer: Option<Scope>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let outer = self.outer.take();
        IS_COLLECTING.set(outer.is_some());
        // The scope is dropped after the borrow has ended.
        drop(SCOPE.try_with(|current| current.replace(outer)));
    }
}

pin_project! {
    /// The future of [`Trace::collect`].
    #[must_use = "a future does nothing until it is awaited"]
    pub struct Collect<F> {
        #[pin]
        future: F,
        scope: Option<Scope>,
    }
}

impl<F> Collect<F> {
    /// Collects into `scope`, or into nothing.
    #[cfg(feature = "fetch")]
    pub(crate) fn new(future: F, scope: Option<Scope>) -> Self {
        Self { future, scope }
    }
}

impl<F: Future> Future for Collect<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(scope) = this.scope else { return this.future.poll(context) };
        scope.run(|| this.future.poll(context))
    }
}

impl<F> fmt::Debug for Collect<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect").finish_non_exhaustive()
    }
}

/// An operation that has begun.
pub(crate) struct OpenCall {
    trace: Trace,
    /// `None` if the trace is full.
    position: Option<usize>,
    began_at: Instant,
}

impl OpenCall {
    /// Adds an operation to the current trace, if there is one.
    pub(crate) fn begin(
        operation: Operation,
        cache: &Arc<str>,
        store: &Arc<str>,
        keys: &[&str],
        began_at: Instant,
    ) -> Option<Self> {
        let Scope { trace, parent } = Scope::current()?;
        let mut list = trace.lock();
        let position = list.calls.len();
        let position = (position < MAX_CALLS).then_some(position);
        if position.is_none() {
            list.omitted += 1;
        } else {
            let depth = parent.and_then(|parent| list.calls.get(parent)).map(|call| call.depth + 1);
            let call = TracedCall {
                operation,
                cache: Arc::clone(cache),
                store: Arc::clone(store),
                keys: keys.iter().take(MAX_KEYS).map(|key| Box::from(*key)).collect(),
                key_count: keys.len(),
                outcome: Outcome::Unfinished,
                hits: 0,
                error: None,
                size: None,
                began_at: began_at.saturating_duration_since(trace.0.began_at),
                took: None,
                parent,
                depth: depth.unwrap_or(0),
            };
            list.calls.push(call);
        }
        drop(list);
        Some(Self { trace, position, began_at })
    }

    /// Where the operations inside this one are recorded.
    pub(crate) fn scope(&self) -> Scope {
        Scope { trace: self.trace.clone(), parent: self.position }
    }

    pub(super) fn end(self, tally: &Tally) {
        self.change(|call| {
            call.outcome = tally.outcome();
            call.hits = tally.hits;
            call.error = tally.error;
            call.size = tally.size;
        });
    }

    pub(crate) fn end_with(self, outcome: Outcome) {
        self.change(|call| call.outcome = outcome);
    }

    fn change(self, change: impl FnOnce(&mut TracedCall)) {
        let took = self.began_at.elapsed();
        let mut list = self.trace.lock();
        if let Some(call) = self.position.and_then(|position| list.calls.get_mut(position)) {
            call.took = Some(took);
            change(call);
        }
    }
}
