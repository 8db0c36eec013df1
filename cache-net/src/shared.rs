//! One connection to a server, shared by all callers.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::Lifetime;

/// A connection that can be held by a [`SharedConnection`].
pub trait Connection: Send + Sync + 'static {
    /// Returns `false` once the connection is known to be closed.
    fn is_open(&self) -> bool;

    /// Waits until the server has executed the requests that were sent so far, or the connection is
    /// closed.
    fn settle(&self) -> impl Future<Output = ()> + Send;
}

/// The connection to one server, made when it is first needed and shared by all callers.
///
/// Connecting is single flight: callers that find no connection wait for the same attempt. The
/// attempt runs in its own task and continues if every caller is dropped; otherwise a connection
/// that takes longer than any caller waits would never be established.
///
/// The task belongs to the runtime of the caller that started it. If that runtime stalls, as one
/// does whose thread is blocked, callers on other runtimes do not wait for it for ever: they start
/// another attempt.
///
/// A connection whose [`Lifetime`] has passed is used until a new one is open, so that no call
/// fails because of it. Then calls wait until the server has executed what was sent on the old one:
/// otherwise, a request could overtake an earlier one of the same caller that was cancelled.
pub struct SharedConnection<C, E>(Arc<Inner<C, E>>);

struct Inner<C, E> {
    current: RwLock<Option<Current<C>>>,
    attempt: Mutex<Option<Attempt<C, E>>>,
}

struct Current<C> {
    connection: Arc<C>,
    lifetime: Lifetime,
}

/// A running attempt to connect.
struct Attempt<C, E> {
    outcome: watch::Receiver<Outcome<C, E>>,
    /// If it runs longer than this, its runtime stalls.
    stalls_at: Instant,
}

impl<C, E> Clone for Attempt<C, E> {
    fn clone(&self) -> Self {
        Self { outcome: self.outcome.clone(), stalls_at: self.stalls_at }
    }
}

impl<C, E> Attempt<C, E> {
    fn is(&self, other: &Self) -> bool {
        self.outcome.same_channel(&other.outcome)
    }

    /// Whether it may still finish. The channel of an attempt that did not finish is closed.
    fn is_running(&self) -> bool {
        self.outcome.has_changed().is_ok() && Instant::now() < self.stalls_at
    }
}

/// `None` while the attempt is running.
type Outcome<C, E> = Option<Result<Arc<C>, E>>;

impl<C, E> SharedConnection<C, E>
where
    C: Connection,
    E: Clone + Send + Sync + 'static,
{
    /// Returns the connection if there is one, it is open, and it need not be renewed.
    #[must_use]
    pub fn current(&self) -> Option<Arc<C>> {
        let current = self.0.current.read();
        let Current { connection, lifetime } = current.as_ref()?;
        (connection.is_open() && !lifetime.has_passed()).then(|| Arc::clone(connection))
    }

    /// Returns whether there is an open connection, even if it must be renewed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.current.read().as_ref().is_some_and(|current| current.connection.is_open())
    }

    /// Removes and returns the connection. Callers that hold it can still use it.
    #[must_use]
    pub fn take(&self) -> Option<Arc<C>> {
        Some(self.0.current.write().take()?.connection)
    }

    /// Removes the connection if it is still this one, so that the next caller makes another.
    pub fn discard(&self, connection: &Arc<C>) {
        let is_same = |current: &mut Current<C>| Arc::ptr_eq(&current.connection, connection);
        let discarded = self.0.current.write().take_if(is_same);
        // Not while the lock is held: dropping a connection closes it.
        drop(discarded);
    }

    /// Returns the connection, or waits for the running attempt, or runs `connect` in a new task.
    ///
    /// If the connection must be renewed, runs `connect` as well, but returns the present one
    /// without waiting. If the attempt fails, it stays and the next attempt follows later.
    ///
    /// `connect` must end within `limit`. An attempt of another caller that takes a quarter longer
    /// than that, or whose runtime was shut down, is replaced.
    ///
    /// Returns `None` if the caller's own attempt did not finish, because it panicked or because
    /// the runtime was shut down.
    ///
    /// # Panics
    ///
    /// Panics if it starts an attempt outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the attempt continues, and later callers use its result.
    pub async fn get_or_connect<F>(
        &self,
        limit: Duration,
        connect: impl FnOnce() -> F,
    ) -> Option<Result<Arc<C>, E>>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let mut connect = Some(connect);
        loop {
            let mut attempt = self.join_or_start(limit, &mut connect)?;
            let ended = attempt.outcome.wait_for(Option::is_some);
            if connect.is_none() {
                return ended.await.ok()?.clone();
            }
            if let Ok(Ok(outcome)) = timeout_at(attempt.stalls_at, ended).await {
                return outcome.clone();
            }
        }
    }

    /// Joins the running attempt, or takes `connect` and starts another.
    fn join_or_start<F>(
        &self,
        limit: Duration,
        connect: &mut Option<impl FnOnce() -> F>,
    ) -> Option<Attempt<C, E>>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let mut current = self.0.attempt.lock();
        let running = current.as_ref().filter(|attempt| attempt.is_running());
        // There may be a connection, because an attempt has succeeded since the caller found none,
        // or because it must be renewed.
        if let Some((connection, renew)) = self.use_open() {
            if renew && running.is_none() {
                *current = Some(self.start(limit, connect.take()?()));
            }
            let (_, outcome) = watch::channel(Some(Ok(connection)));
            return Some(Attempt { outcome, stalls_at: Instant::now() });
        }
        if let Some(running) = running {
            return Some(running.clone());
        }
        let closed = self.take();
        let attempt = self.start(limit, connect.take()?());
        *current = Some(attempt.clone());
        drop(current);
        drop(closed);
        Some(attempt)
    }

    /// The connection if it is open, and whether the caller must renew it.
    fn use_open(&self) -> Option<(Arc<C>, bool)> {
        let mut current = self.0.current.write();
        let Current { connection, lifetime } = current.as_mut()?;
        connection.is_open().then(|| (Arc::clone(connection), lifetime.begin_renewal()))
    }

    /// Runs an attempt in a new task. The caller holds the lock of the attempts and stores it.
    fn start<F>(&self, limit: Duration, connecting: F) -> Attempt<C, E>
    where
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        let (sender, outcome) = watch::channel(None);
        let attempt = Attempt { outcome, stalls_at: Instant::now() + limit + limit / 4 };
        let (shared, this) = (self.clone(), attempt.clone());
        tokio::spawn(async move {
            let outcome = connecting.await.map(Arc::new);
            if outcome.is_ok()
                && let Some(old) = shared.take_old(&this)
            {
                // The attempt must not take longer than others wait for it.
                let _ = timeout(limit / 4, old.settle()).await;
            }
            shared.end(&this, outcome.as_ref().ok());
            sender.send_replace(Some(outcome));
        });
        attempt
    }

    /// Removes the connection that an attempt renews. Callers wait for the attempt from now on.
    fn take_old(&self, this: &Attempt<C, E>) -> Option<Arc<C>> {
        let current = self.0.attempt.lock();
        current.as_ref().filter(|current| current.is(this)).and_then(|_| self.take())
    }

    /// Stores the connection of an attempt, unless another attempt has replaced this one.
    fn end(&self, this: &Attempt<C, E>, connection: Option<&Arc<C>>) {
        let mut old = None;
        // Under the lock, so that the next caller finds either the connection or no attempt.
        let mut current = self.0.attempt.lock();
        if current.as_ref().is_some_and(|current| current.is(this)) {
            if let Some(connection) = connection {
                let (connection, lifetime) = (Arc::clone(connection), Lifetime::start());
                old = self.0.current.write().replace(Current { connection, lifetime });
            }
            *current = None;
        }
        drop(current);
        drop(old);
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

    /// Whether it is open, and how many requests it still has to execute.
    #[derive(Debug)]
    struct Fake(AtomicBool, watch::Sender<usize>);

    impl Connection for Fake {
        fn is_open(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        async fn settle(&self) {
            let settled = self.1.subscribe().wait_for(|requests| *requests == 0).await.is_ok();
            assert!(settled, "the connection has its sender");
        }
    }

    type Shared = SharedConnection<Fake, &'static str>;

    async fn open() -> Result<Fake, &'static str> {
        Ok(Fake(AtomicBool::new(true), watch::Sender::new(0)))
    }

    async fn unused() -> Result<Fake, &'static str> {
        panic!("a second attempt")
    }

    const LIMIT: Duration = Duration::from_secs(60);

    async fn connected(shared: &Shared) -> Arc<Fake> {
        shared.get_or_connect(LIMIT, open).await.expect("finished").expect("connected")
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
                async move { shared.get_or_connect(LIMIT, || slow).await }
            }),
            tokio::spawn({
                let shared = shared.clone();
                async move { shared.get_or_connect(LIMIT, unused).await }
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
            &shared.get_or_connect(LIMIT, unused).await.expect("finished").expect("connected")
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
        let mut caller = Box::pin(shared.get_or_connect(LIMIT, || slow));
        let waker = std::task::Waker::noop();
        assert!(caller.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(caller);
        go.send(()).expect("the attempt is running");
        shared.get_or_connect(LIMIT, unused).await.expect("finished").expect("connected");
    }

    #[tokio::test]
    async fn failed_attempt_is_reported_and_the_next_caller_starts_another() {
        let shared = Shared::default();
        let failed = shared.get_or_connect(LIMIT, async || Err("refused")).await;
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

    /// Waits until the lifetime of a connection has passed.
    async fn grow_old() {
        tokio::time::sleep(crate::lifetime::MAX_AGE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn old_connection_is_used_until_its_successor_is_open() {
        let shared = Shared::default();
        let old = connected(&shared).await;
        grow_old().await;
        assert!(shared.current().is_none(), "it must be renewed");
        let (go, wait) = oneshot::channel::<()>();
        let slow = || async {
            wait.await.expect("a signal");
            open().await
        };
        let found = shared.get_or_connect(LIMIT, slow).await.expect("finished").expect("open");
        assert!(Arc::ptr_eq(&old, &found));
        assert!(Arc::ptr_eq(&old, &shared.current().expect("a stored connection")));
        go.send(()).expect("the attempt is running");
        tokio::task::yield_now().await;
        let new = shared.current().expect("a stored connection");
        assert!(!Arc::ptr_eq(&old, &new));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connection_is_used_after_the_requests_on_the_old_one() {
        let shared = Shared::default();
        let old = connected(&shared).await;
        old.1.send_replace(1);
        grow_old().await;
        assert!(Arc::ptr_eq(&old, &connected(&shared).await));
        tokio::task::yield_now().await;
        let caller = tokio::spawn({
            let shared = shared.clone();
            async move { shared.get_or_connect(LIMIT, unused).await }
        });
        tokio::task::yield_now().await;
        assert!(!caller.is_finished() && shared.current().is_none());
        old.1.send_replace(0);
        let new = caller.await.expect("no panic").expect("finished").expect("connected");
        assert!(!Arc::ptr_eq(&old, &new));
    }

    #[tokio::test(start_paused = true)]
    async fn old_connection_stays_if_it_cannot_be_renewed_and_another_attempt_follows() {
        let shared = Shared::default();
        let old = connected(&shared).await;
        grow_old().await;
        let refused = async || Err("refused");
        let found = shared.get_or_connect(LIMIT, refused).await.expect("finished").expect("open");
        assert!(Arc::ptr_eq(&old, &found));
        tokio::task::yield_now().await;
        assert!(Arc::ptr_eq(&old, &shared.current().expect("a stored connection")));
        tokio::time::sleep(crate::lifetime::RETRY).await;
        connected(&shared).await;
        tokio::task::yield_now().await;
        assert!(!Arc::ptr_eq(&old, &shared.current().expect("a stored connection")));
    }

    /// Starts an attempt that never ends on another runtime.
    fn start_on(runtime: &tokio::runtime::Runtime, shared: &Shared) {
        let _guard = runtime.enter();
        let never = shared.join_or_start(LIMIT, &mut Some(std::future::pending));
        assert!(never.is_some());
    }

    #[tokio::test]
    async fn attempt_on_a_runtime_that_was_shut_down_is_replaced() {
        let shared = Shared::default();
        let other = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
        start_on(&other, &shared);
        let caller = tokio::spawn({
            let shared = shared.clone();
            async move { connected(&shared).await }
        });
        tokio::task::yield_now().await;
        other.shutdown_background();
        let connection = caller.await.expect("no panic");
        assert!(Arc::ptr_eq(&connection, &shared.current().expect("a stored connection")));
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_on_a_runtime_that_stalls_is_replaced_after_its_limit() {
        let shared = Shared::default();
        // A runtime that nobody drives is one whose only thread is blocked.
        let stalled = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        start_on(&stalled, &shared);
        let start = Instant::now();
        let connection = connected(&shared).await;
        assert!(start.elapsed() >= LIMIT && start.elapsed() < 2 * LIMIT, "{:?}", start.elapsed());
        assert!(Arc::ptr_eq(&connection, &shared.current().expect("a stored connection")));
        stalled.shutdown_background();
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_that_was_replaced_does_not_replace_the_connection() {
        let shared = Shared::default();
        let (go, wait) = oneshot::channel::<()>();
        let slow = || async {
            wait.await.expect("a signal");
            open().await
        };
        let mut late = shared.join_or_start(LIMIT, &mut Some(slow)).expect("started");
        let connection = connected(&shared).await;
        go.send(()).expect("the attempt is running");
        let late = late.outcome.wait_for(Option::is_some).await.expect("it ends").clone();
        assert!(late.is_some_and(|outcome| outcome.is_ok()), "its own waiters can use it");
        assert!(Arc::ptr_eq(&connection, &shared.current().expect("a stored connection")));
    }
}
