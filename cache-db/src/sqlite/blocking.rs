//! Work on blocking threads.

use std::{panic, time::Instant};

use tokio::{runtime::Handle, task::JoinError, time::timeout_at};

use crate::error::Failure;

/// Runs `work` on a blocking thread, or on this thread if there is no tokio runtime. Returns an
/// error if it takes longer than until `deadline`; the work then still runs to its end.
pub(super) async fn spawn_blocking<T, W>(work: W, deadline: Instant) -> Result<T, Failure>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let Ok(runtime) = Handle::try_current() else { return Ok(work()) };
    let finished = timeout_at(deadline.into(), runtime.spawn_blocking(work)).await;
    match finished.map_err(|_| Failure::timed_out())?.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => panic::resume_unwind(panic),
        Err(Err(_)) => Err(Failure::runtime_ended()),
    }
}
