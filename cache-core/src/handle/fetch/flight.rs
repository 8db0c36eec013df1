//! What the callers of a key share, and how one of them waits.

use std::{
    any::{Any, TypeId},
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use super::{
    super::{epochs::Epoch, single_flight},
    BoxFuture,
};
use crate::{Clock, Error, Moment, Result, Value, observe::WaitReport, timer::Sleep};

pub(super) type Flights = single_flight::SingleFlight<FetchId, Outcome, Clock>;
pub(super) type Leader = single_flight::Leader<FetchId, Outcome, Clock>;
pub(super) type Waiter = single_flight::Waiter<FetchId, Outcome, Clock>;
type Waited = single_flight::Waited<FetchId, Outcome, Clock>;

/// A value that a task produces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FetchId {
    pub(super) epoch: Arc<Epoch>,
    /// The types of the value and of the error.
    pub(super) types: TypeId,
}

/// How a task ended, for all callers that wait for it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A value that was produced, or that another caller has stored meanwhile.
    Value(Value),
    /// The producer has failed, but has a value for callers without a stale one.
    Fallback(Value),
    /// The error of the producer.
    Failed(Arc<dyn Any + Send + Sync>),
    Panicked,
    /// The value is for the caller that started the task.
    Private,
    /// There is a stale value, and another process refreshes it.
    HeldElsewhere,
}

/// The result of a task for the caller that started it: its value before it was encoded, or an
/// error of the cache.
pub(super) struct OwnResult<O>(Arc<Mutex<Own<O>>>);

struct Own<O> {
    result: Option<Result<O>>,
    /// Whether the value is stored, or will not be.
    is_final: bool,
}

impl<O> OwnResult<O> {
    /// Sets a value that is about to be stored. The caller gets it if it cannot wait any longer.
    pub(super) fn set_unstored(&self, output: O) {
        *self.lock() = Own { result: Some(Ok(output)), is_final: false };
    }

    /// Records that the value has been stored.
    pub(super) fn set_stored(&self) {
        self.lock().is_final = true;
    }

    pub(super) fn set(&self, result: Result<O>) {
        *self.lock() = Own { result: Some(result), is_final: true };
    }

    fn take(&self) -> Option<Result<O>> {
        self.lock().result.take()
    }

    fn take_final(&self) -> Option<Result<O>> {
        let mut own = self.lock();
        if own.is_final { own.result.take() } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Own<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Default for OwnResult<O> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Own { result: None, is_final: false })))
    }
}

impl<O> Clone for OwnResult<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A caller that waits for a task.
pub(super) struct Waiting<O> {
    pub(super) waiter: Waiter,
    /// The result of the task, if this caller has started it.
    pub(super) own: OwnResult<O>,
    /// The task itself, if there is no runtime to spawn it.
    pub(super) in_place: Option<BoxFuture<'static, ()>>,
    /// Reports the wait, if another caller has started the task.
    pub(super) report: Option<WaitReport>,
}

/// How waiting ended.
pub(super) enum End<O> {
    Own(Result<O, Error>),
    Completed(Outcome),
    /// The task was dropped or has failed, and this caller is the next to produce.
    Leads(Leader),
    /// Two tasks have failed.
    Failed,
    TimedOut,
}

impl<O> Waiting<O> {
    pub(super) async fn wait(mut self, clock: &Clock, deadline: Moment) -> End<O> {
        let mut sleep = pin!(Sleep::until(clock, deadline));
        let end = poll_fn(|context| {
            if let Some(task) = &mut self.in_place
                && task.as_mut().poll(context).is_ready()
            {
                self.in_place = None;
            }
            if let Some(result) = self.own.take_final() {
                return Poll::Ready(End::Own(result));
            }
            if let Poll::Ready(waited) = self.waiter.poll_wait(context) {
                // The task was dropped while it stored the value.
                if let Some(result) = self.own.take() {
                    return Poll::Ready(End::Own(result));
                }
                return Poll::Ready(match waited {
                    Waited::Completed(outcome) => End::Completed(outcome),
                    Waited::Leader(leader) => End::Leads(leader),
                    Waited::Failed => End::Failed,
                });
            }
            let timed_out = sleep.as_mut().poll(context);
            timed_out.map(|()| self.own.take().map_or(End::TimedOut, End::Own))
        });
        let end = end.await;
        drop(self.report);
        end
    }
}
