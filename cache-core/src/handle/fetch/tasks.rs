//! The tasks that run producers.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tokio::{runtime, task::AbortHandle};

/// The tasks that have not ended.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    /// `None` until the runtime has returned the handle.
    running: HashMap<u64, Option<AbortHandle>>,
    waiting: Vec<Waker>,
}

impl Tasks {
    pub(super) fn spawn(
        self: &Arc<Self>,
        runtime: &runtime::Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let running = Running::new(self);
        let number = running.number;
        let handle = runtime.spawn(async move {
            let _running = running;
            task.await;
        });
        // The lock is not held while the runtime spawns: one that has shut down drops the task.
        if let Some(slot) = self.lock().running.get_mut(&number) {
            *slot = Some(handle.abort_handle());
        }
    }

    /// Waits until no task runs.
    pub(super) async fn idle(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.running.is_empty() {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().running.len()
    }

    /// Drops all tasks and returns their number.
    pub(super) fn abort_all(&self) -> usize {
        let handles: Vec<_> = self.lock().running.values().cloned().collect();
        handles.iter().flatten().for_each(AbortHandle::abort);
        handles.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes its task when that ends or is dropped.
struct Running {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Running {
    fn new(tasks: &Arc<Tasks>) -> Self {
        let mut state = tasks.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.running.insert(number, None);
        drop(state);
        Self { tasks: Arc::clone(tasks), number }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        state.running.remove(&self.number);
        if state.running.is_empty() {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}
