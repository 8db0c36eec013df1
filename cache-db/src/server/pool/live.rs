//! Open connections.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cache_net::Lifetime;
use sqlx::Connection as _;
use tokio::{
    runtime::{Handle, Id},
    time::timeout,
};

use crate::server::driver::Driver;

/// A connection that was idle for longer is pinged before it is used, so that calls do not fail on
/// a server that was restarted. A busy pool never pings.
const PING_AFTER: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// An open connection.
pub(super) struct Live<D: sqlx::Database> {
    pub(super) connection: D::Connection,
    /// The runtime that reads and writes for it.
    runtime: Handle,
    pub(super) lifetime: Lifetime,
    /// Set when a renewal of this connection has succeeded.
    is_replaced: Replaced,
}

/// Whether a connection was replaced by its successor.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced(Arc<AtomicBool>);

impl Replaced {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a connection cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    /// The server does not respond.
    Server,
    /// The runtime has ended, or its threads are blocked.
    Runtime,
}

impl<D: Driver> Live<D> {
    /// A connection that was opened on the current runtime.
    pub(super) fn new(connection: D::Connection) -> Self {
        let (runtime, lifetime) = (Handle::current(), Lifetime::start());
        Self { connection, runtime, lifetime, is_replaced: Replaced::default() }
    }

    pub(super) fn runtime(&self) -> Id {
        self.runtime.id()
    }

    pub(super) fn replaced(&self) -> Replaced {
        self.is_replaced.clone()
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.is_replaced.0.load(Ordering::Relaxed)
    }

    /// Says goodbye to the server in the background, which some servers would otherwise log.
    pub(super) fn close_in_background(self, limit: Duration) {
        if let Ok(runtime) = Handle::try_current() {
            // The connection is dropped in any case.
            runtime.spawn(async move { timeout(limit, self.connection.close()).await.map(drop) });
        }
    }
}

/// Whether a runtime runs a task within `limit`.
async fn runs(runtime: &Handle, limit: Duration) -> bool {
    runtime.id() == Handle::current().id()
        || matches!(timeout(limit, runtime.spawn(async {})).await, Ok(Ok(())))
}

impl<D: sqlx::Database> fmt::Debug for Live<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// A connection that nobody uses.
pub(super) struct Idle<D: sqlx::Database> {
    pub(super) live: Live<D>,
    since: Instant,
}

impl<D: Driver> Idle<D> {
    pub(super) fn new(live: Live<D>) -> Self {
        Self { live, since: Instant::now() }
    }

    pub(super) fn has_expired(&self) -> bool {
        self.since.elapsed() > IDLE_TIMEOUT
    }

    /// Whether it can be used without a check.
    pub(super) fn is_fresh(&self) -> bool {
        !self.needs_ping() && self.live.runtime() == Handle::current().id()
    }

    fn needs_ping(&self) -> bool {
        self.since.elapsed() >= PING_AFTER
    }

    /// Checks within `limit` for each step that the runtime runs and the server responds.
    pub(super) async fn check(self, limit: Duration) -> Result<Live<D>, Dead> {
        let needs_ping = self.needs_ping();
        let Self { mut live, .. } = self;
        if !runs(&live.runtime, limit).await {
            return Err(Dead::Runtime);
        }
        if needs_ping && !matches!(timeout(limit, live.connection.ping()).await, Ok(Ok(()))) {
            return Err(Dead::Server);
        }
        Ok(live)
    }
}
