//! Attempts to connect, which outlive the calls that started them.

use std::{sync::Arc, time::Instant};

use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
};

use super::{
    live::{Live, Replaced},
    own::OwnPool,
};
use crate::server::driver::Driver;

/// A call that waits for a connection, on the runtime with this identifier.
pub(super) struct Waiter<D: sqlx::Database> {
    pub(super) runtime: Id,
    pub(super) since: Instant,
    pub(super) sender: oneshot::Sender<sqlx::Result<Live<D>>>,
}

/// The other end of a [`Waiter`].
pub(super) struct Waiting<D: Driver> {
    pool: Arc<OwnPool<D>>,
    receiver: oneshot::Receiver<sqlx::Result<Live<D>>>,
}

impl<D: Driver> Waiting<D> {
    pub(super) fn new(pool: Arc<OwnPool<D>>) -> (Self, Waiter<D>) {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { runtime: Handle::current().id(), since: Instant::now(), sender };
        (Self { pool, receiver }, waiter)
    }

    /// Waits for a connection that another call gives back, or for the end of an attempt.
    pub(super) async fn connection(mut self) -> sqlx::Result<Live<D>> {
        (&mut self.receiver).await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }
}

impl<D: Driver> Drop for Waiting<D> {
    fn drop(&mut self) {
        self.receiver.close();
        // What was delivered to a call that was cancelled is for another one.
        if let Ok(Ok(live)) = self.receiver.try_recv() {
            self.pool.put_back(live);
        }
    }
}

/// A running attempt to connect for a waiter.
///
/// It belongs to the runtime on which it was started, and only calls on the same runtime rely on
/// it. If that runtime stalls or ends, calls on other runtimes connect themselves.
pub(super) struct Attempt<D: Driver> {
    pool: Arc<OwnPool<D>>,
    runtime: Id,
    begun: Instant,
    has_ended: bool,
}

impl<D: Driver> Attempt<D> {
    pub(super) fn new(pool: Arc<OwnPool<D>>, runtime: Id, begun: Instant) -> Self {
        Self { pool, runtime, begun, has_ended: false }
    }

    pub(super) async fn run(mut self) {
        let outcome = self.pool.connect().await;
        let has_failed = outcome.is_err();
        self.end(outcome);
        if has_failed {
            self.pool.attempt_again();
        }
    }

    fn end(&mut self, outcome: sqlx::Result<Live<D>>) {
        if !self.has_ended {
            self.has_ended = true;
            self.pool.attempt_ended(self.runtime, self.begun, outcome);
        }
    }
}

impl<D: Driver> Drop for Attempt<D> {
    /// Ends an attempt that panicked or whose runtime was shut down.
    fn drop(&mut self) {
        self.end(Err(sqlx::Error::WorkerCrashed));
    }
}

/// Opens the successor of a connection whose lifetime has passed. If that fails, the connection
/// stays, and another renewal follows.
pub(super) async fn renew<D: Driver>(pool: Arc<OwnPool<D>>, old: Replaced) {
    match pool.connect().await {
        Ok(live) => {
            old.set();
            pool.close_replaced();
            pool.put_back(live);
        }
        Err(error) => tracing::debug!(%error, "cannot renew a connection"),
    }
}
