//! Futures that outlive their callers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A future that continues in a new task if it is dropped before it is ready.
///
/// Futures of sqlx must not be dropped while they wait for the server: the state of the protocol is
/// lost, and the connection with it. A caller whose time is shorter than what the connection needs
/// once, for example to prepare a statement, would then never get a result.
pub(super) struct Detachable<T, F>
where
    F: FnOnce(BoxFuture<'static, T>) -> BoxFuture<'static, ()>,
{
    running: Option<(BoxFuture<'static, T>, F)>,
}

impl<T, F> Detachable<T, F>
where
    F: FnOnce(BoxFuture<'static, T>) -> BoxFuture<'static, ()>,
{
    /// `detach` takes the rest of the future, runs it, and handles its output. Without a runtime,
    /// the future is dropped instead.
    pub(super) fn new(future: BoxFuture<'static, T>, detach: F) -> Self {
        Self { running: Some((future, detach)) }
    }

    /// Drops the future.
    pub(super) fn abort(mut self) {
        self.running = None;
    }
}

/// The future is boxed, and `F` is only called.
impl<T, F> Unpin for Detachable<T, F> where
    F: FnOnce(BoxFuture<'static, T>) -> BoxFuture<'static, ()>
{
}

impl<T, F> Future for Detachable<T, F>
where
    F: FnOnce(BoxFuture<'static, T>) -> BoxFuture<'static, ()>,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some((future, _)) = &mut self.running else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.running = None;
        }
        polled
    }
}

impl<T, F> Drop for Detachable<T, F>
where
    F: FnOnce(BoxFuture<'static, T>) -> BoxFuture<'static, ()>,
{
    fn drop(&mut self) {
        if let Some((future, detach)) = self.running.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(detach(future));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn dropped_future_continues_unless_it_is_aborted_or_ready() {
        for (ready, aborted) in [(false, false), (false, true), (true, false)] {
            let (go, wait) = oneshot::channel::<()>();
            let (sender, output) = oneshot::channel();
            let future = Box::pin(async { wait.await.is_ok() });
            let mut future = Detachable::new(future, |rest| {
                Box::pin(async { sender.send(rest.await).expect("the test waits") })
            });
            let waker = std::task::Waker::noop();
            let mut context = Context::from_waker(waker);
            assert!(Pin::new(&mut future).poll(&mut context).is_pending());
            if ready {
                go.send(()).expect("the future waits");
                assert!(Pin::new(&mut future).await);
                drop(future);
            } else if aborted {
                future.abort();
                go.send(()).expect_err("the future is gone");
            } else {
                drop(future);
                go.send(()).expect("the future waits");
            }
            let is_detached = output.await.is_ok();
            assert_eq!(is_detached, !ready && !aborted, "ready {ready}, aborted {aborted}");
        }
    }
}
