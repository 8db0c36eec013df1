//! A change that somebody waits for, or no longer: it runs on another thread, which outlives a future that is dropped.

use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// What a change knows of who asked for it.
#[derive(Debug)]
pub(crate) struct Call {
    patience: Duration,
    until: Option<Instant>,
    abandoned: Arc<AtomicBool>,
}

/// Who asked. When it is dropped, a change that has not happened yet does not happen any more, so that it can't undo
/// what its caller does next.
#[derive(Debug)]
pub(crate) struct Caller(Arc<AtomicBool>);

impl Call {
    /// `patience`: how long it waits for a lock that another process holds.
    pub(crate) fn begin(patience: Duration) -> Self {
        Self::with(patience, Arc::default())
    }

    fn with(patience: Duration, abandoned: Arc<AtomicBool>) -> Self {
        // What is beyond the end of time never comes.
        Self { patience, until: Instant::now().checked_add(patience), abandoned }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.abandoned))
    }

    /// The same call with patience for one more lock.
    pub(crate) fn renewed(&self) -> Self {
        Self::with(self.patience, Arc::clone(&self.abandoned))
    }

    pub(crate) fn is_out_of_patience(&self) -> bool {
        self.abandoned.load(Ordering::Acquire) || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// To be asked with the lock held, before anything changes.
    ///
    /// # Errors
    /// Where nobody waits any more; so nobody sees it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.abandoned.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Unavailable, "the call was given up"));
        }
        Ok(())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Does what may take long where it holds nobody up: on a thread that tokio keeps for such work, or, where there is no
/// tokio, here.
pub(crate) async fn off_the_runtime<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    let Ok(runtime) = Handle::try_current() else { return work() };
    match runtime.spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => panic::resume_unwind(panic),
        Err(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "the runtime is shutting down")),
    }
}
