//! A change that somebody waits for, or no longer: it runs on another thread, which outlives a future that is dropped.

use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// What a change knows of who asked for it. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    patience: Duration,
    until: Option<Instant>,
    bond: Arc<Bond>,
}

/// Who asked. When it is dropped, a change that has not happened yet does not happen any more, so that it can't undo
/// what its caller does next. One that is just about to happen is noted as [adrift](Adrift) until it ends.
#[derive(Debug)]
pub(crate) struct Caller(Arc<Bond>);

/// How many changes have lost their caller and have not ended: what can be seen at a glance may be otherwise in a moment, and
/// the caller would not understand why. Who waits for the lock comes after them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adrift(Arc<AtomicUsize>);

impl Adrift {
    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// What a change and its caller know of each other.
#[derive(Debug)]
struct Bond {
    state: AtomicU8,
    adrift: Adrift,
}

/// The change has not ended, and its caller waits.
const AWAITED: u8 = 0;
const ABANDONED: u8 = 1;
const ENDED: u8 = 2;

impl Call {
    /// `patience`: how long it waits for a lock that another process holds.
    pub(crate) fn begin(patience: Duration, adrift: &Adrift) -> Self {
        let bond = Bond { state: AtomicU8::new(AWAITED), adrift: adrift.clone() };
        Self { patience, until: end_of(patience), bond: Arc::new(bond) }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.bond))
    }

    /// Has patience for one more lock.
    pub(crate) fn renew(&mut self) {
        self.until = end_of(self.patience);
    }

    pub(crate) fn is_out_of_patience(&self) -> bool {
        self.is_abandoned() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// To be asked with the lock held, before anything changes.
    ///
    /// # Errors
    /// Where nobody waits any more; so nobody sees it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_abandoned() {
            return Err(Error::new(ErrorKind::Unavailable, "the call was given up"));
        }
        Ok(())
    }

    fn is_abandoned(&self) -> bool {
        self.bond.state.load(Ordering::Acquire) == ABANDONED
    }
}

/// What is beyond the end of time never comes.
fn end_of(patience: Duration) -> Option<Instant> {
    Instant::now().checked_add(patience)
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.bond.state.swap(ENDED, Ordering::AcqRel) == ABANDONED {
            self.bond.adrift.0.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let Bond { state, adrift } = &*self.0;
        if state.load(Ordering::Acquire) == ENDED {
            return;
        }
        // Counted first: the change may end at this very moment.
        adrift.0.fetch_add(1, Ordering::AcqRel);
        if state.compare_exchange(AWAITED, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            adrift.0.fetch_sub(1, Ordering::Release);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_adrift_from_when_its_caller_goes_until_it_ends() {
        let adrift = Adrift::default();
        let call = Call::begin(Duration::MAX, &adrift);
        let caller = call.caller();
        assert!(call.check().is_ok() && !adrift.is_any());
        drop(caller);
        assert!(call.check().is_err() && adrift.is_any());
        drop(call);
        assert!(!adrift.is_any());
    }

    #[test]
    fn a_change_that_ends_before_its_caller_goes_was_never_adrift() {
        let adrift = Adrift::default();
        let call = Call::begin(Duration::MAX, &adrift);
        let caller = call.caller();
        drop(call);
        drop(caller);
        assert!(!adrift.is_any());
    }
}
