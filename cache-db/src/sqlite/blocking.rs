//! Work on blocking threads, and limits of time.

use std::{panic, time::Instant};

use cache_core::timer::timeout;
use tokio::{runtime::Handle, task::JoinError};

use crate::error::Failure;

/// Runs `work` on a blocking thread, or on this thread if there is no tokio runtime. Returns an
/// error if it takes longer than until `deadline`; the work then still runs to its end.
pub(super) async fn spawn_blocking<T, W>(work: W, deadline: Instant) -> Result<T, Failure>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let Ok(runtime) = Handle::try_current() else { return Ok(work()) };
    let finished = timeout_at(deadline, runtime.spawn_blocking(work)).await;
    match finished.ok_or_else(Failure::timed_out)?.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => panic::resume_unwind(panic),
        Err(Err(_)) => Err(Failure::runtime_ended()),
    }
}

/// Waits for a future, or returns `None` at `deadline`.
///
/// Not by tokio's timer: a test may pause it, a runtime may have none, and the threads that are
/// waited for use real time.
pub(super) async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    timeout(deadline.saturating_duration_since(Instant::now()), future).await
}
