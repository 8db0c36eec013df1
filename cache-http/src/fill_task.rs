//! Tasks that produce pages.

use std::{
    panic,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use cache_core::observe::{Collect, Trace};
use futures_util::future::Either;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tracing::{Instrument, Span};

/// The maximum time for which a task runs on after its owner is dropped.
///
/// A handler that hangs, or a body that does not end, would otherwise run forever.
pub(crate) const ABANDONED_FILL_TIME: Duration = Duration::from_secs(60);

/// The maximum number of tasks of a layer that run on after their clients have left.
///
/// A client that sends requests and cancels them at once, as HTTP/2 allows, would otherwise have
/// any number of handlers running, whatever limits the requests of a connection.
pub(crate) const MAX_ABANDONED_FILLS: usize = 256;

/// A spawned task. Its owner can be dropped before the task is complete: it then runs on for
/// [`ABANDONED_FILL_TIME`], unless too many tasks do.
pub(crate) struct FillTask<T> {
    task: JoinHandle<Option<T>>,
    /// Dropped with the owner, which the task notices.
    owner: oneshot::Sender<Detached>,
}

/// Tells a task that it runs on although its owner is dropped.
struct Detached;

/// Lets the [`Trace`] of the caller, if it has one, collect what a future does in a task.
pub(crate) fn in_current_trace<F: Future>(future: F) -> Either<Collect<F>, F> {
    match Trace::current() {
        Some(trace) => Either::Left(trace.collect(future)),
        None => Either::Right(future),
    }
}

impl<T: Send + 'static> FillTask<T> {
    /// Spawns a task in the span of the caller, whose [`Trace`] also collects what the task does.
    /// `abandoned_fills` has a permit for each task that may run on after its owner is dropped.
    pub(crate) fn spawn(
        abandoned_fills: &Arc<Semaphore>,
        fill: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let (owner, dropped) = oneshot::channel();
        let abandoned_fills = Arc::clone(abandoned_fills);
        let fill = in_current_trace(fill);
        let task = async move {
            let abandoned = async {
                let permit = match dropped.await {
                    Ok(Detached) => None,
                    Err(_) => match abandoned_fills.try_acquire() {
                        Ok(permit) => Some(permit),
                        Err(_) => return,
                    },
                };
                tokio::time::sleep(ABANDONED_FILL_TIME).await;
                drop(permit);
            };
            tokio::select! {
                biased;
                output = fill => Some(output),
                () = abandoned => None,
            }
        };
        Self { task: tokio::spawn(task.instrument(Span::current())), owner }
    }

    /// Lets the task run on, however many tasks do.
    pub(crate) fn detach(self) {
        // The receiver is dropped if the task is complete.
        let _ = self.owner.send(Detached);
    }
}

impl<T> Future for FillTask<T> {
    type Output = T;

    /// Panics as the task did. The panic of a task that was cancelled, because its runtime shuts
    /// down, ends what waits for it: there is no response, and a body would seem to be complete.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.task).poll(context)) {
            Ok(Some(output)) => Poll::Ready(output),
            Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
            Ok(None) | Err(_) => panic!("the runtime was shut down while it produced a response"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    struct SetOnDrop(Arc<AtomicBool>);

    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn task_whose_owner_is_dropped_runs_on_for_a_limited_time() {
        let dropped = Arc::new(AtomicBool::new(false));
        let guard = SetOnDrop(Arc::clone(&dropped));
        let task = FillTask::spawn(&Arc::new(Semaphore::new(1)), async move {
            std::future::pending::<()>().await;
            drop(guard);
        });
        let limit = ABANDONED_FILL_TIME + Duration::from_secs(1);
        tokio::time::sleep(limit).await;
        assert!(!dropped.load(SeqCst), "the owner waits");
        drop(task);
        tokio::time::sleep(ABANDONED_FILL_TIME - Duration::from_secs(1)).await;
        assert!(!dropped.load(SeqCst));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(dropped.load(SeqCst));
    }

    #[tokio::test]
    async fn task_of_a_runtime_that_shuts_down_ends_its_owner() {
        let other = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("runtime");
        let task = {
            let _guard = other.enter();
            FillTask::spawn(&Arc::new(Semaphore::new(1)), std::future::pending::<()>())
        };
        other.shutdown_background();
        let error = tokio::spawn(task).await.expect_err("no output");
        assert!(error.is_panic());
    }
}
