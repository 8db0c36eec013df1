//! What reports the operations of one alias.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tracing::{Instrument, Span};

use super::{
    ObserveOptions, Operation, Outcome,
    counts::{Count, Counts, ThreadCell},
    handles::Handles,
    operation::Tally,
    report::{StaleReason, Where},
    spans,
    trace::{self, OpenCall},
};
use crate::{Clock, Result, Stats, Value, codec};

/// Reports what the store and the handles of one alias do.
pub(crate) struct Observer {
    alias: Arc<str>,
    store: Arc<str>,
    options: ObserveOptions,
    clock: Clock,
    /// Calls that do not wait, until they are published.
    counts: Counts,
    handles: OnceLock<Handles>,
}

/// How a call that does not wait is reported.
#[derive(Clone, Copy)]
pub(super) struct NowCall {
    /// Where it is counted.
    cell: ThreadCell,
    is_sampled: bool,
    has_span: bool,
    is_traced: bool,
}

impl NowCall {
    #[inline]
    pub(super) fn begin() -> Self {
        let (cell, is_sampled) = ThreadCell::of_call();
        let (has_span, is_traced) = (spans::are_enabled(), trace::is_collecting());
        Self { cell, is_sampled, has_span, is_traced }
    }

    /// Whether it is counted and nothing else.
    #[inline]
    pub(super) fn is_only_counted(self) -> bool {
        !(self.is_sampled || self.has_span || self.is_traced)
    }
}

impl Observer {
    pub(super) fn new(alias: &str, store: &str, options: ObserveOptions, clock: Clock) -> Self {
        Self {
            alias: alias.into(),
            store: store.into(),
            options,
            clock,
            counts: Counts::default(),
            handles: OnceLock::new(),
        }
    }

    pub(super) fn options(&self) -> &ObserveOptions {
        &self.options
    }

    pub(super) fn with_clock(&self, clock: Clock) -> Self {
        Self::new(&self.alias, &self.store, self.options.clone(), clock)
    }

    /// Runs an operation and reports it. One that is dropped is in the trace only.
    pub(super) async fn observe<T>(
        &self,
        operation: Operation,
        keys: &[&str],
        run: impl Future<Output = Result<T>>,
        tally: impl FnOnce(&T) -> Tally,
    ) -> Result<T> {
        let began_at = Instant::now();
        let call = self.begin(operation, keys, began_at);
        let span = self.span(operation, keys);
        let result = run.instrument(span.clone()).await;
        let tally = Tally::of(operation, keys.len(), &result, tally);
        let handles = self.handles();
        handles.count(operation, &tally);
        handles.time(operation, began_at.elapsed().as_secs_f64());
        handles.publish_if_due(&self.counts, self.clock.now());
        spans::record(&span, operation, &tally);
        if let Some(call) = call {
            call.end(&tally);
        }
        result
    }

    /// Counts a call that did not wait.
    #[inline]
    pub(super) fn count(&self, call: NowCall, count: Count) {
        self.counts.increment(call.cell, count);
    }

    /// Reports an operation that did not wait. Its span begins when it has ended, as it is not
    /// known before whether it waits.
    pub(super) fn report_now(
        &self,
        operation: Operation,
        key: &str,
        began_at: Instant,
        call: NowCall,
        tally: &Tally,
    ) {
        let took = began_at.elapsed();
        if let Some(open) = self.begin(operation, &[key], began_at) {
            open.end(tally);
        }
        if call.has_span {
            spans::record(&self.span(operation, &[key]), operation, tally);
        }
        if call.is_sampled {
            let handles = self.handles();
            handles.time(operation, took.as_secs_f64());
            handles.publish_if_due(&self.counts, self.clock.now());
        }
    }

    /// Adds an operation to the trace of the running code, if there is one.
    pub(super) fn begin(
        &self,
        operation: Operation,
        keys: &[&str],
        began_at: Instant,
    ) -> Option<OpenCall> {
        match trace::is_collecting() {
            true => OpenCall::begin(operation, &self.alias, &self.store, keys, began_at),
            false => None,
        }
    }

    /// Creates a span, if spans are recorded.
    pub(super) fn span(&self, operation: Operation, keys: &[&str]) -> Span {
        match spans::are_enabled() {
            true => {
                let keys = self.options.keys.then_some(keys);
                spans::of(operation, &self.alias, &self.store, keys)
            }
            false => Span::none(),
        }
    }

    pub(super) fn end_fill(&self, outcome: Outcome, producer_took: Duration) {
        self.handles().count_fill(outcome, producer_took.as_secs_f64());
    }

    pub(super) fn end_wait(&self, place: Where, took: Duration) {
        self.handles().count_wait(place, took.as_secs_f64());
    }

    /// Counts a stale value that is returned to a caller.
    pub(crate) fn stale_served(&self, reason: StaleReason) {
        self.handles().count_stale(reason);
    }

    /// Records that a server is not read from now on, or read again.
    pub(crate) fn breaker(&self, is_open: bool) {
        let gauge = &self.handles().breaker_open;
        if is_open { gauge.increment(1) } else { gauge.decrement(1) }
    }

    pub(super) fn publish(&self, stats: Option<&Stats>) {
        let handles = self.handles();
        handles.publish(&self.counts);
        if let Some(stats) = stats {
            handles.set_stats(stats);
        }
    }

    /// Returns what a lookup came to, or `None` if it has found an entry with tags. Its handle
    /// decides about that, and calls [`end_lookup`](Self::end_lookup).
    #[inline]
    pub(super) fn lookup(&self, value: Option<&Value>) -> Option<Outcome> {
        match value {
            None => Some(Outcome::Miss),
            Some(value) if codec::has_meta(value) => self.lookup_with_meta(value),
            Some(_) => Some(Outcome::Hit),
        }
    }

    #[cold]
    fn lookup_with_meta(&self, value: &Value) -> Option<Outcome> {
        // Decoding the entry reports it if its meta cannot be decoded.
        let Ok(Some(meta)) = codec::meta(value) else { return Some(Outcome::Hit) };
        let now = self.clock.coarse_unix_time();
        match meta.times {
            _ if !meta.tags.is_empty() => None,
            Some(times) if times.is_stale(now) => Some(Outcome::Stale),
            _ => Some(Outcome::Hit),
        }
    }

    /// Counts a lookup that has found an entry with tags. `key` is composed.
    pub(crate) fn end_lookup(&self, key: &str, outcome: Outcome) {
        self.counts.increment_later(Count::of_lookup(outcome));
        if outcome != Outcome::Hit && trace::is_collecting() {
            trace::correct_lookup(&self.alias, key, outcome);
        }
    }

    pub(super) fn tally_lookup(&self, value: Option<&Value>) -> Tally {
        let mut tally = Tally { size: value.map(Value::size), ..Tally::default() };
        tally.add_lookup(self.lookup(value));
        tally
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles::register(&self.alias, &self.store))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("alias", &self.alias)
            .field("store", &self.store)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
