//! Runs blocking work outside the async runtime.

use std::panic;

use cache_core::{Error, ErrorKind, Result};
use tokio::{runtime::Handle, task::JoinError};

/// Runs `work` on a thread for blocking work, or on this thread if there is no tokio runtime.
///
/// The work runs to its end even if the future is dropped.
pub(crate) async fn spawn_blocking<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    let Ok(runtime) = Handle::try_current() else { return work() };
    match runtime.spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => panic::resume_unwind(panic),
        Err(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "the runtime is shutting down")),
    }
}
