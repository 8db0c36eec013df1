//! What reports the operations of one alias.

use std::{sync::Arc, time::Instant};

use super::{
    ObserveOptions, Operation, Outcome,
    operation::Tally,
    trace::{self, OpenCall},
};
use crate::{Clock, Result, Value, codec};

/// Reports what the store and the handles of one alias do.
#[derive(Debug)]
pub(crate) struct Observer {
    alias: Arc<str>,
    store: Arc<str>,
    options: ObserveOptions,
    clock: Clock,
}

impl Observer {
    pub(super) fn new(alias: &str, store: &str, options: ObserveOptions, clock: Clock) -> Self {
        Self { alias: alias.into(), store: store.into(), options, clock }
    }

    pub(super) fn options(&self) -> &ObserveOptions {
        &self.options
    }

    pub(super) fn with_clock(&self, clock: Clock) -> Self {
        Self::new(&self.alias, &self.store, self.options.clone(), clock)
    }

    /// Runs an operation and reports it. If it is dropped, only the trace has it.
    pub(super) async fn observe<T>(
        &self,
        operation: Operation,
        keys: &[&str],
        run: impl Future<Output = Result<T>>,
        tally: impl FnOnce(&T) -> Tally,
    ) -> Result<T> {
        let call = self.begin(operation, keys, Instant::now());
        let result = run.await;
        if let Some(call) = call {
            call.end(&Tally::of(operation, keys.len(), &result, tally));
        }
        result
    }

    /// Whether a call that does not wait is to be reported one by one.
    pub(super) fn wants_details(&self) -> bool {
        trace::is_collecting()
    }

    /// Reports an operation that did not wait.
    pub(super) fn report_now(
        &self,
        operation: Operation,
        key: &str,
        began_at: Instant,
        tally: &Tally,
    ) {
        if let Some(call) = self.begin(operation, &[key], began_at) {
            call.end(tally);
        }
    }

    /// Adds an operation to the trace of the running code, if there is one.
    pub(crate) fn begin(
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

    pub(super) fn lookup(&self, value: Option<&Value>) -> Outcome {
        match value {
            None => Outcome::Miss,
            Some(value) if codec::has_meta(value) && self.is_stale(value) => Outcome::Stale,
            Some(_) => Outcome::Hit,
        }
    }

    #[cold]
    fn is_stale(&self, value: &Value) -> bool {
        let times = codec::times(value).ok().flatten();
        times.is_some_and(|times| times.is_stale(self.clock.coarse_unix_time()))
    }

    pub(super) fn tally_lookup(&self, value: Option<&Value>) -> Tally {
        Tally { size: value.map(Value::size), ..Tally::one(self.lookup(value)) }
    }
}
