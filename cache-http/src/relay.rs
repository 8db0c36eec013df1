//! A body that a task reads and stores, whatever the speed of the client.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    bounds::ResponseBody,
    fill_task::FillTask,
    tee::{Remainder, Tee},
};

/// The reader of a body that a task collects for the store.
///
/// The task reads at the pace of the inner service, also if the reader does not read or is dropped,
/// so that other requests do not wait for a slow client. Once the page is stored or rejected, the
/// reader gets what remains of the body, and reads it at its own pace.
pub(crate) struct Relay<B: Body> {
    state: State<B>,
}

enum State<B: Body> {
    Task {
        /// At most as many bytes as a page may have.
        frames: mpsc::UnboundedReceiver<Frame<Bytes>>,
        task: FillTask<Remainder<B>>,
        /// The length of what has not been passed on.
        length: SizeHint,
    },
    Remainder(Remainder<B>),
}

impl<B: Body> Relay<B> {
    /// Spawns a task that reads the body until the page is stored or rejected, unless that is
    /// known already.
    pub(crate) fn new(tee: Tee<B>, abandoned_fills: &Arc<Semaphore>) -> Self
    where
        B: ResponseBody,
    {
        if !tee.is_collecting() {
            return Self { state: State::Remainder(tee.into_remainder()) };
        }
        let (sender, frames) = mpsc::unbounded_channel();
        let length = tee.size_hint();
        let task = FillTask::spawn(abandoned_fills, async move {
            let mut tee = tee;
            while let Some(frame) = poll_fn(|context| tee.poll_frame(context)).await {
                // If the reader is gone, the page is stored for others.
                let _ = sender.send(frame);
            }
            tee.into_remainder()
        });
        Self { state: State::Task { frames, task, length } }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            match &mut self.state {
                State::Remainder(remainder) => return remainder.poll_frame(context),
                State::Task { frames, task, length } => {
                    if let Some(frame) = ready!(frames.poll_recv(context)) {
                        *length = without(length, frame.data_ref().map_or(0, Bytes::len));
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    let remainder = ready!(Pin::new(task).poll(context));
                    self.state = State::Remainder(remainder);
                }
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Task { .. } => false,
            State::Remainder(remainder) => remainder.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Task { length, .. } => *length,
            State::Remainder(remainder) => remainder.size_hint(),
        }
    }
}

/// The length of what remains after this many bytes.
fn without(length: &SizeHint, bytes: usize) -> SizeHint {
    let bytes = bytes as u64;
    let mut rest = SizeHint::new();
    if let Some(upper) = length.upper() {
        rest.set_upper(upper.saturating_sub(bytes));
    }
    rest.set_lower(length.lower().saturating_sub(bytes));
    rest
}
