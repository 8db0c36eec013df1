//! Futures that need not wait.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

/// The result of a future that need not wait, without a runtime's cost.
///
/// # Panics
/// Where it waits nevertheless.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory never waits"),
    }
}
