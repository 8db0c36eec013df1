//! Reports of what a handle does: it produces values and waits for them.

use std::{sync::Arc, time::Instant};

use super::{Observer, OpenCall, Operation, Outcome};

/// A value that is being produced, if its cache is observed.
#[derive(Default)]
pub(crate) struct FillReport(Option<Box<Fill>>);

struct Fill {
    call: Option<OpenCall>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The producer is not polled now.
    Waits,
    /// The producer is polled. A report that is dropped in this state is one of a panic.
    Runs,
    Produced,
}

impl FillReport {
    /// Begins before the producer is called. `key` is composed.
    pub(crate) fn begin(observer: Option<&Arc<Observer>>, key: &str) -> Self {
        let Some(observer) = observer else { return Self(None) };
        let call = observer.begin(Operation::Produce, &[key], Instant::now());
        Self(Some(Box::new(Fill { call, state: State::Waits })))
    }

    /// Calls or polls the producer. What it does is reported as part of this fill.
    pub(crate) fn run<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let Some(fill) = &mut self.0 else { return poll() };
        fill.state = State::Runs;
        let polled = match &fill.call {
            Some(call) => call.scope().run(poll),
            None => poll(),
        };
        fill.state = State::Waits;
        polled
    }

    /// Records that the producer has returned a value. What follows is the time of the store.
    pub(crate) fn produced(&mut self) {
        if let Some(fill) = &mut self.0 {
            fill.state = State::Produced;
        }
    }

    /// Ends the report. Only the first call has an effect.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if let Some(fill) = self.0.take() {
            fill.end(outcome);
        }
    }
}

impl Drop for FillReport {
    fn drop(&mut self) {
        match self.0.as_ref().map(|fill| fill.state) {
            Some(State::Runs) => self.end(Outcome::Panicked),
            Some(State::Produced) => self.end(Outcome::NotStored),
            // The caller was dropped.
            Some(State::Waits) | None => {}
        }
    }
}

impl Fill {
    fn end(self, outcome: Outcome) {
        if let Some(call) = self.call {
            call.end_with(outcome);
        }
    }
}

/// A caller that waits until another one has produced a value, if its cache is observed.
pub(crate) struct WaitReport(Option<OpenCall>);

impl WaitReport {
    /// Begins a wait that ends when the result is dropped. `key` is composed.
    pub(crate) fn begin(observer: Option<&Arc<Observer>>, key: &str) -> Self {
        Self(observer.and_then(|o| o.begin(Operation::Wait, &[key], Instant::now())))
    }
}

impl Drop for WaitReport {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.end_with(Outcome::Ok);
        }
    }
}
