//! Reports of what a handle does: it produces values and waits for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[cfg(feature = "fetch")]
use tracing::Instrument;
use tracing::Span;

#[cfg(feature = "fetch")]
use super::trace::{Collect, Scope};

use super::{Observer, OpenCall, Operation, Outcome, operation::Tally, spans};

/// A value that is being produced, if its cache is observed.
#[derive(Default)]
pub(crate) struct FillReport(Option<Box<Fill>>);

struct Fill {
    observer: Arc<Observer>,
    call: Option<OpenCall>,
    span: Span,
    began_at: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The producer is not polled now.
    Waits,
    /// The producer is polled. A report that is dropped in this state is one of a panic.
    Runs,
    /// The producer has returned a value, after this time.
    Produced(Duration),
}

impl FillReport {
    /// Begins before the producer is called. `key` is composed.
    pub(crate) fn begin(observer: Option<&Arc<Observer>>, key: &str) -> Self {
        let Some(observer) = observer else { return Self(None) };
        let began_at = Instant::now();
        let fill = Fill {
            observer: Arc::clone(observer),
            call: observer.begin(Operation::Produce, &[key], began_at),
            span: observer.span(Operation::Produce, &[key]),
            began_at,
            state: State::Waits,
        };
        Self(Some(Box::new(fill)))
    }

    /// Calls or polls the producer. What it does is reported as part of this fill.
    pub(crate) fn run<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let Some(fill) = &mut self.0 else { return poll() };
        fill.state = State::Runs;
        let poll = || fill.span.in_scope(poll);
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
            fill.state = State::Produced(fill.began_at.elapsed());
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
            Some(State::Produced(_)) => self.end(Outcome::NotStored),
            // The caller was dropped.
            Some(State::Waits) | None => {}
        }
    }
}

impl Fill {
    fn end(self, outcome: Outcome) {
        let producer_took = match self.state {
            State::Produced(took) => took,
            State::Waits | State::Runs => self.began_at.elapsed(),
        };
        self.observer.end_fill(outcome, producer_took);
        self.span.record("outcome", outcome.name());
        if let Some(call) = self.call {
            call.end_with(outcome);
        }
    }
}

/// Lets a task report to the trace of the running code, and its span follow that of it.
#[cfg(feature = "fetch")]
pub(crate) fn in_task<F: Future>(
    observer: Option<&Arc<Observer>>,
    task: F,
) -> impl Future<Output = F::Output> + use<F> {
    let span = match observer.is_some() && spans::are_enabled() {
        true => spans::of_task(),
        false => Span::none(),
    };
    Collect::new(task.instrument(span), Scope::current())
}

/// Where the caller runs that another one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// In this process.
    Process,
    /// Anywhere: it holds a lease of the store.
    Store,
}

impl Where {
    pub(super) const ALL: [Self; 2] = [Self::Process, Self::Store];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Store => "store",
        }
    }
}

/// A caller that waits until another one has produced a value, if its cache is observed.
pub(crate) struct WaitReport(Option<Wait>);

struct Wait {
    observer: Arc<Observer>,
    place: Where,
    call: Option<OpenCall>,
    span: Span,
    began_at: Instant,
}

impl WaitReport {
    /// Begins a wait that ends when the result is dropped. `key` is composed.
    pub(crate) fn begin(observer: Option<&Arc<Observer>>, place: Where, key: &str) -> Self {
        let began_at = Instant::now();
        Self(observer.map(|observer| Wait {
            observer: Arc::clone(observer),
            place,
            call: observer.begin(Operation::Wait, &[key], began_at),
            span: observer.span(Operation::Wait, &[key]),
            began_at,
        }))
    }
}

impl Drop for WaitReport {
    fn drop(&mut self) {
        let Some(wait) = self.0.take() else { return };
        wait.observer.end_wait(wait.place, wait.began_at.elapsed());
        spans::record(&wait.span, Operation::Wait, &Tally::one(Outcome::Ok));
        if let Some(call) = wait.call {
            call.end_with(Outcome::Ok);
        }
    }
}

/// Why a caller got a stale value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaleReason {
    /// The value is being refreshed, and the caller does not wait for that.
    Refreshing,
    /// Refreshing took longer than the caller waits.
    #[cfg_attr(not(feature = "fetch"), allow(dead_code, reason = "only fetch waits"))]
    Slow,
    /// Refreshing has failed, or did so shortly before.
    Failed,
}

impl StaleReason {
    pub(super) const ALL: [Self; 3] = [Self::Refreshing, Self::Slow, Self::Failed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refreshing => "refreshing",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }
}
