//! One connection to a server, shared by all callers.

use std::{fmt, sync::Arc};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// A connection that can be held by a [`SharedConnection`].
pub trait Connection: Send + Sync + 'static {
    /// Returns `false` once the connection is known to be closed.
    fn is_open(&self) -> bool;
}

/// The connection to one server, made when it is first needed and shared by all callers.
///
/// Connecting is single flight: callers that find no connection wait for the same attempt. The
/// attempt runs in its own task and continues if every caller is dropped; otherwise a connection
/// that takes longer than any caller waits would never be established.
pub struct SharedConnection<C, E>(Arc<Inner<C, E>>);

struct Inner<C, E> {
    current: RwLock<Option<Arc<C>>>,
    attempt: Mutex<Option<watch::Receiver<Outcome<C, E>>>>,
}

/// `None` while the attempt is running.
type Outcome<C, E> = Option<Result<Arc<C>, E>>;

impl<C, E> SharedConnection<C, E>
where
    C: Connection,
    E: Clone + Send + Sync + 'static,
{
    /// Returns the connection if there is one and it is open.
    #[must_use]
    pub fn current(&self) -> Option<Arc<C>> {
        self.0.current.read().as_ref().filter(|connection| connection.is_open()).cloned()
    }

    /// Removes and returns the connection. Callers that hold it can still use it.
    #[must_use]
    pub fn take(&self) -> Option<Arc<C>> {
        self.0.current.write().take()
    }

    /// Removes the connection if it is still this one, so that the next caller makes another.
    pub fn discard(&self, connection: &Arc<C>) {
        let mut current = self.0.current.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            *current = None;
        }
    }

    /// Returns the connection, or waits for the running attempt, or runs `connect` in a new task.
    ///
    /// Returns `None` if the attempt did not finish because it panicked or because the runtime on
    /// which it ran was shut down.
    ///
    /// # Panics
    ///
    /// Panics if it starts an attempt outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the attempt continues, and later callers use its result.
    pub async fn get_or_connect<F>(&self, connect: F) -> Option<Result<Arc<C>, E>>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let mut attempt = self.join_or_start(connect);
        let outcome = attempt.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    fn join_or_start<F>(&self, connect: F) -> watch::Receiver<Outcome<C, E>>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let mut attempt = self.0.attempt.lock();
        // The channel of an attempt that did not finish is closed.
        if let Some(running) = attempt.as_ref().filter(|running| running.has_changed().is_ok()) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        // An attempt may have succeeded since the caller found no connection.
        if let Some(connection) = self.current() {
            sender.send_replace(Some(Ok(connection)));
            return receiver;
        }
        drop(self.take());
        *attempt = Some(receiver.clone());
        drop(attempt);
        let shared = self.clone();
        tokio::spawn(async move {
            let outcome = connect.await.map(Arc::new);
            // Under the lock, so that the next caller finds either the connection or no attempt.
            let mut attempt = shared.0.attempt.lock();
            if let Ok(connection) = &outcome {
                *shared.0.current.write() = Some(Arc::clone(connection));
            }
            *attempt = None;
            drop(attempt);
            sender.send_replace(Some(outcome));
        });
        receiver
    }
}

impl<C, E> Clone for SharedConnection<C, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C, E> Default for SharedConnection<C, E> {
    fn default() -> Self {
        Self(Arc::new(Inner { current: RwLock::default(), attempt: Mutex::default() }))
    }
}

impl<C, E> fmt::Debug for SharedConnection<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConnection")
            .field("is_connected", &self.0.current.read().is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Debug)]
    struct Fake(AtomicBool);

    impl Connection for Fake {
        fn is_open(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    type Shared = SharedConnection<Fake, &'static str>;

    async fn open() -> Result<Fake, &'static str> {
        Ok(Fake(AtomicBool::new(true)))
    }

    async fn unused() -> Result<Fake, &'static str> {
        panic!("a second attempt")
    }

    async fn connected(shared: &Shared) -> Arc<Fake> {
        shared.get_or_connect(open()).await.expect("finished").expect("connected")
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_attempt() {
        let shared = Shared::default();
        let (go, wait) = oneshot::channel::<()>();
        let slow = async {
            wait.await.expect("a signal");
            open().await
        };
        let callers = [
            tokio::spawn({
                let shared = shared.clone();
                async move { shared.get_or_connect(slow).await }
            }),
            tokio::spawn({
                let shared = shared.clone();
                async move { shared.get_or_connect(unused()).await }
            }),
        ];
        tokio::task::yield_now().await;
        go.send(()).expect("the attempt is running");
        let current = async |caller: tokio::task::JoinHandle<Outcome<Fake, &'static str>>| {
            caller.await.expect("no panic").expect("finished").expect("connected")
        };
        let [one, two] = callers;
        let (one, two) = (current(one).await, current(two).await);
        assert!(Arc::ptr_eq(&one, &two));
        assert!(Arc::ptr_eq(&one, &shared.current().expect("a stored connection")));
        assert!(Arc::ptr_eq(
            &one,
            &shared.get_or_connect(unused()).await.expect("finished").expect("connected")
        ));
    }

    #[tokio::test]
    async fn attempt_outlives_its_caller() {
        let shared = Shared::default();
        let (go, wait) = oneshot::channel::<()>();
        let slow = async {
            wait.await.expect("a signal");
            open().await
        };
        let mut caller = Box::pin(shared.get_or_connect(slow));
        let waker = std::task::Waker::noop();
        assert!(caller.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(caller);
        go.send(()).expect("the attempt is running");
        shared.get_or_connect(unused()).await.expect("finished").expect("connected");
    }

    #[tokio::test]
    async fn failed_attempt_is_reported_and_the_next_caller_starts_another() {
        let shared = Shared::default();
        let failed = shared.get_or_connect(async { Err("refused") }).await;
        assert_eq!(failed.expect("finished").expect_err("refused"), "refused");
        connected(&shared).await;
    }

    #[tokio::test]
    async fn closed_connection_is_replaced() {
        let shared = Shared::default();
        let old = connected(&shared).await;
        old.0.store(false, Ordering::Relaxed);
        assert!(shared.current().is_none());
        let new = connected(&shared).await;
        shared.discard(&old);
        assert!(shared.current().is_some(), "only the given connection is discarded");
        shared.discard(&new);
        assert!(shared.current().is_none());
    }

    #[tokio::test]
    async fn attempt_on_a_runtime_that_was_shut_down_is_replaced() {
        let shared = Shared::default();
        let other = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
        let waiting = {
            let _guard = other.enter();
            shared.join_or_start(std::future::pending())
        };
        let caller = tokio::spawn({
            let shared = shared.clone();
            async move { shared.get_or_connect(unused()).await }
        });
        tokio::task::yield_now().await;
        other.shutdown_background();
        assert!(caller.await.expect("no panic").is_none());
        drop(waiting);
        connected(&shared).await;
    }
}
