//! The wrapper that records calls.

use std::sync::Arc;

use cache_core::{Cache, Result};
use parking_lot::Mutex;

use crate::{
    Call, Verb, Verbs,
    intercept::{Intercept, intercept},
};

/// A wrapper that records the calls of its store and counts round trips.
///
/// Clones share the record. Calls are recorded when they begin, whatever becomes of them. The
/// record grows until [`reset`](Self::reset).
///
/// # Round trips
///
/// [`round_trips`](Self::round_trips) counts calls that wait for one another: calls that run at the
/// same time, as in `join!`, count as one. It is therefore the number of times that one caller
/// waits for the store. With several independent callers the number has no meaning.
///
/// A store in this process answers most calls at once, so that they never overlap. Put it inside
/// [`Remote`](crate::Remote) to count the round trips that a server would need. A store that
/// implements a method by several requests to its server still counts as one.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::{CacheHandle, Settings, Timeout};
/// use cache_locmem::LocMemCache;
/// use cache_testing::{Recorder, Remote, Verb};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let recorder = Recorder::new(Arc::new(Remote::new(Arc::new(LocMemCache::default()))));
/// let cache = CacheHandle::new("default", Arc::new(recorder.clone()), Settings::default());
///
/// cache.get_many::<u32, _>(["a", "b", "c"]).await?;
/// assert_eq!(recorder.calls(), ["get_many :1:a :1:b :1:c"]);
///
/// recorder.reset();
/// cache.set("a", &1, Timeout::Default).await?;
/// let (_, _) = tokio::join!(cache.get::<u32>("a"), cache.get::<u32>("b"));
/// assert_eq!(recorder.count(Verb::Get), 2);
/// assert_eq!(recorder.round_trips(), 2, "the set, and both reads side by side");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    store: Arc<dyn Cache>,
    record: Arc<Mutex<Record>>,
}

/// Each call has a depth: one more than that of any call that had ended when it began.
#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    /// The depth of the deepest call that has begun.
    begun: usize,
    /// The depth of the deepest call that has ended.
    ended: usize,
    /// `begun` at the last reset. Depths go on increasing, so that a call which began before the
    /// reset does not affect the count after it.
    reset_at: usize,
}

impl Recorder {
    /// Wraps a store.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        Self { store, record: Arc::default() }
    }

    /// Returns the calls since the last reset, in the order in which they began.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.record.lock().calls.clone()
    }

    /// Returns the number of calls of `verbs` since the last reset.
    #[must_use]
    pub fn count(&self, verbs: impl Into<Verbs>) -> usize {
        let verbs = verbs.into();
        self.record.lock().calls.iter().filter(|call| verbs.contains(call.verb)).count()
    }

    /// Returns the number of round trips since the last reset.
    ///
    /// See [above](Self#round-trips) for what counts as one.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        let record = self.record.lock();
        record.begun - record.reset_at
    }

    /// Clears the record.
    pub fn reset(&self) {
        let mut record = self.record.lock();
        record.calls.clear();
        record.reset_at = record.begun;
        record.ended = record.begun;
    }
}

impl Intercept for Recorder {
    fn must_wait(&self, _: Verb) -> bool {
        false
    }

    fn answered_now(&self, call: impl FnOnce() -> Call) {
        self.record.lock().calls.push(call());
    }

    async fn around<T, F>(&self, call: Call, run: impl FnOnce(usize) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let items = call.keys.len();
        let _ends = Ends::begin(&self.record, call);
        run(items).await
    }
}

intercept!(Recorder);

/// A call that has begun. It ends when this is dropped, and so also if its future is dropped.
struct Ends<'a> {
    record: &'a Mutex<Record>,
    depth: usize,
}

impl<'a> Ends<'a> {
    fn begin(record: &'a Mutex<Record>, call: Call) -> Self {
        let mut locked = record.lock();
        locked.calls.push(call);
        let depth = locked.ended + 1;
        locked.begun = locked.begun.max(depth);
        Self { record, depth }
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut record = self.record.lock();
        record.ended = record.ended.max(self.depth);
    }
}
