//! The store's own pool.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::Connection as _;
use tokio::{
    runtime::{Handle, Id},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    attempt::{Attempt, Waiter, Waiting, renew},
    live::{Dead, Idle, Live},
};
use crate::server::{
    connector::Connector,
    detachable::{BoxFuture, Detachable},
    driver::Driver,
};

/// Prepares a new connection for use.
pub(crate) type Setup<D> = Box<
    dyn Fn(&mut <D as sqlx::Database>::Connection) -> BoxFuture<'_, sqlx::Result<()>> + Send + Sync,
>;

/// How a pool connects.
pub(crate) struct PoolConfig<D: sqlx::Database> {
    pub(crate) connector: Connector<D>,
    pub(crate) setup: Option<Setup<D>>,
    pub(crate) size: u32,
    pub(crate) connect_timeout: Duration,
}

/// At most [`size`](PoolConfig::size) connections.
///
/// A call that finds no idle connection waits for the next one: one that another call gives back,
/// or a new one. Connecting is a task of its own, so the connection is there for later calls if the
/// call is cancelled. While calls are cancelled on several runtimes, or connections are renewed,
/// there can be a few more connections than `size`.
pub(crate) struct OwnPool<D: sqlx::Database> {
    config: Arc<PoolConfig<D>>,
    state: Mutex<State<D>>,
    /// Held by calls that use a connection or wait for one.
    permits: Arc<Semaphore>,
}

struct State<D: sqlx::Database> {
    idle: Vec<Idle<D>>,
    waiters: VecDeque<Waiter<D>>,
    /// The runtimes of the running attempts, and when these began.
    attempts: Vec<(Id, Instant)>,
}

/// What a call finds.
enum Found<D: Driver> {
    Idle(Idle<D>),
    Nothing(Waiting<D>),
}

impl<D: Driver> OwnPool<D> {
    pub(super) fn new(config: Arc<PoolConfig<D>>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(config.size as usize));
        let state = State { idle: Vec::new(), waiters: VecDeque::new(), attempts: Vec::new() };
        Arc::new(Self { config, state: Mutex::new(state), permits })
    }

    /// An empty pool with the same settings.
    pub(super) fn renewed(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.config))
    }

    /// The maximum time for a ping.
    fn ping_timeout(&self) -> Duration {
        self.config.connect_timeout / 4
    }

    pub(super) async fn acquire(self: &Arc<Self>) -> sqlx::Result<Lent<D>> {
        let permits = Arc::clone(&self.permits);
        let mut permit = permits.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            let live = match self.find() {
                Found::Nothing(waiting) => waiting.connection().await?,
                Found::Idle(idle) if idle.is_fresh() => idle.live,
                Found::Idle(idle) => {
                    let (returned, live) = self.check(idle, permit).await;
                    permit = returned;
                    let Some(live) = live else { continue };
                    live
                }
            };
            return Ok(Lent { live, pool: Arc::clone(self), permit });
        }
    }

    /// Takes an idle connection, or registers a waiter and makes sure that an attempt runs for it.
    fn find(self: &Arc<Self>) -> Found<D> {
        let runtime = Handle::current();
        let mut state = self.state.lock();
        if let Some(idle) = state.pop(runtime.id()) {
            return Found::Idle(idle);
        }
        let (waiting, waiter) = Waiting::new(Arc::clone(self));
        state.waiters.retain(|waiter| !waiter.sender.is_closed());
        state.waiters.push_back(waiter);
        self.start_missing_attempt(&mut state);
        Found::Nothing(waiting)
    }

    /// Starts an attempt if there are fewer than calls that wait on this runtime.
    fn start_missing_attempt(self: &Arc<Self>, state: &mut State<D>) {
        let runtime = Handle::current();
        // An attempt that takes longer may have met a network or a server that was lost meanwhile.
        if state.lacks_attempt(runtime.id(), self.ping_timeout()) {
            let begun = Instant::now();
            state.attempts.push((runtime.id(), begun));
            runtime.spawn(Attempt::new(Arc::clone(self), runtime.id(), begun).run());
        }
    }

    /// Checks a connection. If it does not work, the others of its kind are dropped as well.
    ///
    /// If the call is cancelled, the check continues, so that the next call finds its result.
    async fn check(
        self: &Arc<Self>,
        idle: Idle<D>,
        permit: OwnedSemaphorePermit,
    ) -> (OwnedSemaphorePermit, Option<Live<D>>) {
        let (pool, returning) = (Arc::clone(self), Arc::clone(self));
        let runtime = idle.live.runtime();
        let check = async move {
            match idle.check(pool.ping_timeout()).await {
                Ok(live) => (permit, Some(live)),
                Err(dead) => {
                    pool.drop_idle(|idle| dead == Dead::Server || idle.live.runtime() == runtime);
                    (permit, None)
                }
            }
        };
        let check = Detachable::new(Box::pin(check), move |check| {
            Box::pin(async move {
                let (permit, live): (_, Option<Live<D>>) = check.await;
                if let Some(live) = live {
                    returning.put_back(live);
                }
                drop(permit);
            })
        });
        check.await
    }

    /// Opens a connection on the current runtime.
    pub(super) async fn connect(&self) -> sqlx::Result<Live<D>> {
        let PoolConfig { connector, setup, connect_timeout, .. } = &*self.config;
        let connect = async {
            let mut connection = connector.connect().await?;
            if let Some(setup) = setup {
                setup(&mut connection).await?;
            }
            Ok(Live::new(connection))
        };
        timeout(*connect_timeout, connect).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Gives a connection to a waiter or stores it. Starts to renew it if it is due.
    pub(super) fn put_back(self: &Arc<Self>, mut live: Live<D>) {
        if live.is_replaced() {
            return live.close_in_background(self.ping_timeout());
        }
        if live.lifetime.begin_renewal()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(renew(Arc::clone(self), live.replaced()));
        }
        let surplus = self.state.lock().put_back(live, None, self.config.size as usize);
        drop(surplus);
    }

    /// Starts an attempt for a call that began to wait during one that has failed.
    pub(super) fn attempt_again(self: &Arc<Self>) {
        self.start_missing_attempt(&mut self.state.lock());
    }

    /// Hands over the outcome of an attempt.
    pub(super) fn attempt_ended(
        &self,
        runtime: Id,
        begun: Instant,
        outcome: sqlx::Result<Live<D>>,
    ) {
        let mut state = self.state.lock();
        let ended = |attempt: &(Id, Instant)| *attempt == (runtime, begun);
        if let Some(position) = state.attempts.iter().position(ended) {
            state.attempts.swap_remove(position);
        }
        let surplus = match outcome {
            Ok(live) => state.put_back(live, Some(runtime), self.config.size as usize),
            Err(error) => {
                state.fail_waiter(runtime, begun, error);
                None
            }
        };
        drop(state);
        drop(surplus);
    }

    /// Closes the idle connections that were replaced.
    pub(super) fn close_replaced(&self) {
        for idle in self.take_idle(|idle| idle.live.is_replaced()) {
            idle.live.close_in_background(self.ping_timeout());
        }
    }

    fn drop_idle(&self, is_dead: impl Fn(&Idle<D>) -> bool) {
        drop(self.take_idle(is_dead));
    }

    fn take_idle(&self, is_taken: impl Fn(&Idle<D>) -> bool) -> Vec<Idle<D>> {
        self.state.lock().idle.extract_if(.., |idle| is_taken(idle)).collect()
    }

    pub(super) async fn close(&self) {
        for idle in self.take_idle(|_| true) {
            // The connection is dropped in any case.
            let _ = idle.live.connection.close().await;
        }
    }
}

impl<D: Driver> State<D> {
    /// Takes the connection that was used last, preferably one of this runtime.
    fn pop(&mut self, runtime: Id) -> Option<Idle<D>> {
        let own = self.idle.iter().rposition(|idle| idle.live.runtime() == runtime);
        own.map(|position| self.idle.remove(position)).or_else(|| self.idle.pop())
    }

    /// Whether fewer attempts younger than `max_age` run than calls wait on this runtime.
    fn lacks_attempt(&self, runtime: Id, max_age: Duration) -> bool {
        let waiters = self.waiters.iter().filter(|waiter| waiter.runtime == runtime).count();
        let is_young = |(own, begun): &&(Id, Instant)| *own == runtime && begun.elapsed() < max_age;
        self.attempts.iter().filter(is_young).count() < waiters
    }

    /// Gives a connection to the first waiter, preferably one of this runtime, or stores it.
    /// Returns a connection that must be dropped.
    fn put_back(
        &mut self,
        mut live: Live<D>,
        runtime: Option<Id>,
        max_idle: usize,
    ) -> Option<Live<D>> {
        while let Some(waiter) = self.next_waiter(runtime) {
            match waiter.sender.send(Ok(live)) {
                Err(Ok(returned)) => live = returned,
                _ => return None,
            }
        }
        let is_full = self.idle.len() >= max_idle;
        let surplus = (is_full || self.idle.first().is_some_and(Idle::has_expired))
            .then(|| self.idle.remove(0).live);
        self.idle.push(Idle::new(live));
        surplus
    }

    fn next_waiter(&mut self, runtime: Option<Id>) -> Option<Waiter<D>> {
        let own = |waiter: &Waiter<D>| Some(waiter.runtime) == runtime;
        match self.waiters.iter().position(own) {
            Some(position) => self.waiters.remove(position),
            None => self.waiters.pop_front(),
        }
    }

    /// Reports a failed attempt to the first call that has waited since it began.
    fn fail_waiter(&mut self, runtime: Id, begun: Instant, error: sqlx::Error) {
        let relies = |waiter: &Waiter<D>| waiter.runtime == runtime && waiter.since <= begun;
        let mut outcome = Err(error);
        while let Some(position) = self.waiters.iter().position(relies)
            && let Some(waiter) = self.waiters.remove(position)
        {
            match waiter.sender.send(outcome) {
                Ok(()) => return,
                Err(returned) => outcome = returned,
            }
        }
    }
}

impl<D: sqlx::Database> fmt::Debug for OwnPool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnPool").field("size", &self.config.size).finish_non_exhaustive()
    }
}

/// A connection of the pool that a call uses.
#[derive(Debug)]
pub(crate) struct Lent<D: Driver> {
    live: Live<D>,
    pool: Arc<OwnPool<D>>,
    permit: OwnedSemaphorePermit,
}

impl<D: Driver> Lent<D> {
    pub(super) fn connection(&mut self) -> &mut D::Connection {
        &mut self.live.connection
    }

    /// Gives the connection back.
    pub(super) fn release(self) {
        let Self { live, pool, permit } = self;
        pool.put_back(live);
        // The next holder of the permit must find the connection.
        drop(permit);
    }
}
