//! Cancellation of writes, which run on a thread that outlives a dropped future.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{Error, ErrorKind, Result};

/// A write that is in progress. It is finished when this is dropped.
#[derive(Debug)]
pub(crate) struct Operation {
    lock_timeout: Duration,
    /// `None` if the timeout ends beyond what an `Instant` can represent.
    lock_deadline: Option<Instant>,
    state: Arc<State>,
}

/// The caller's side of an [`Operation`]. Dropping it cancels the operation.
///
/// A cancelled operation that has not changed anything yet changes nothing later, so that it cannot
/// undo what the caller does next. One that is past its last check counts as an
/// [orphaned write](OrphanedWrites) until it is finished.
#[derive(Debug)]
pub(crate) struct Caller(Arc<State>);

/// The number of writes that were cancelled and are not finished.
///
/// While there is one, a read without the lock can be outdated a moment later, for a reason that
/// the caller cannot know. A write that takes the lock comes after them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrphanedWrites(Arc<Orphans>);

#[derive(Debug, Default)]
struct Orphans {
    count: AtomicUsize,
    /// Held while the last one is counted down, so that a waiter does not miss it.
    lock: Mutex<()>,
    none_left: Condvar,
}

impl OrphanedWrites {
    pub(crate) fn any(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// Waits until all of them are finished.
    pub(crate) fn wait(&self) {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.none_left.wait_while(guard, |()| self.any()));
    }

    fn add(&self) {
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.0.lock.lock());
            self.0.none_left.notify_all();
        }
    }
}

/// The state that an operation and its caller share.
#[derive(Debug)]
struct State {
    phase: AtomicU8,
    orphaned: OrphanedWrites,
}

const RUNNING: u8 = 0;
const CANCELLED: u8 = 1;
const FINISHED: u8 = 2;

impl Operation {
    /// Starts an operation that waits up to `lock_timeout` for each lock of another process.
    pub(crate) fn start(lock_timeout: Duration, orphaned: &OrphanedWrites) -> Self {
        let state = State { phase: AtomicU8::new(RUNNING), orphaned: orphaned.clone() };
        Self { lock_timeout, lock_deadline: deadline(lock_timeout), state: Arc::new(state) }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.state))
    }

    /// Restarts the timeout for the next lock.
    pub(crate) fn restart_timeout(&mut self) {
        self.lock_deadline = deadline(self.lock_timeout);
    }

    /// Whether the operation should stop waiting for a lock.
    pub(crate) fn gives_up(&self) -> bool {
        self.is_cancelled() || self.lock_deadline.is_some_and(|end| Instant::now() >= end)
    }

    /// Fails if the operation was cancelled. Must be called while holding the lock, before any
    /// change.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "operation cancelled"));
        }
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        self.state.phase.load(Ordering::Acquire) == CANCELLED
    }
}

fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.state.phase.swap(FINISHED, Ordering::AcqRel) == CANCELLED {
            self.state.orphaned.remove();
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let State { phase, orphaned } = &*self.0;
        if phase.load(Ordering::Acquire) == FINISHED {
            return;
        }
        // Count it first, because the operation can finish at any moment.
        orphaned.add();
        if phase.compare_exchange(RUNNING, CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            orphaned.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_operation_is_orphaned_until_it_finishes() {
        let orphaned = OrphanedWrites::default();
        let operation = Operation::start(Duration::MAX, &orphaned);
        let caller = operation.caller();
        assert!(operation.check_cancelled().is_ok() && !orphaned.any());
        drop(caller);
        assert!(operation.check_cancelled().is_err() && orphaned.any());
        drop(operation);
        assert!(!orphaned.any());
    }

    #[test]
    fn operation_that_finishes_before_its_caller_is_never_orphaned() {
        let orphaned = OrphanedWrites::default();
        let operation = Operation::start(Duration::MAX, &orphaned);
        let caller = operation.caller();
        drop(operation);
        drop(caller);
        assert!(!orphaned.any());
    }
}
