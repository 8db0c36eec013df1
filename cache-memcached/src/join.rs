//! Many futures at once.

use std::{future::poll_fn, pin::Pin, task::Poll};

/// What the first of them to end answers.
pub(crate) async fn first<T, const N: usize>(
    mut futures: [Pin<&mut (dyn Future<Output = T> + Send)>; N],
) -> T {
    poll_fn(|context| {
        let polled = futures.iter_mut().map(|future| future.as_mut().poll(context));
        polled.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// What they answer, in their order.
pub(crate) async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Result<F::Output, Pin<Box<F>>>> =
        futures.map(|future| Err(Box::pin(future))).collect();
    poll_fn(|context| {
        let mut pending = false;
        for slot in &mut running {
            if let Err(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Ok(output),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(Result::ok).collect()
}
