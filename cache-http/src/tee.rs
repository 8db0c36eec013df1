//! A body that is sent to the client and collected for the store at the same time.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::{pending_page::BodyCollector, policy::Reason};

/// Passes on the frames of a body and collects a copy.
///
/// The last frame is passed on after the page is stored: a client that has received the whole body
/// finds it in the store. The price is that the write to the store delays the last frame.
pub(crate) struct Tee<B: Body> {
    collector: Option<BodyCollector>,
    storing: Option<Storing>,
    /// Whether the page was stored, once that is known.
    pub(crate) outcome: Option<Result<(), Reason>>,
    queue: VecDeque<Frame<Bytes>>,
    ended: bool,
    /// The error of the body, returned after all frames that came before it.
    failure: Option<B::Error>,
    body: Pin<Box<B>>,
}

type Storing = Pin<Box<dyn Future<Output = Result<(), Reason>> + Send>>;

impl<B: Body> Tee<B> {
    pub(crate) fn new(body: B, collector: BodyCollector) -> Self {
        let ended = body.is_end_stream();
        let mut tee = Self {
            collector: Some(collector),
            storing: None,
            outcome: None,
            queue: VecDeque::new(),
            ended,
            failure: None,
            body: Box::pin(body),
        };
        if ended {
            tee.finish();
        }
        tee
    }

    /// Reads the frames that are available now, and stores the page if these are all.
    pub(crate) fn poll_available(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.storing.is_some() {
                ready!(self.poll_storing(context));
            }
            if self.ended || self.collector.is_none() {
                return Poll::Ready(());
            }
            if self.poll_body(context).is_pending() {
                return Poll::Ready(());
            }
        }
    }

    /// Whether the whole body has been read, and the page is stored or rejected.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended && self.storing.is_none() && self.failure.is_none()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_finished() && self.queue.is_empty()
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if self.storing.is_some() {
                ready!(self.poll_storing(context));
            }
            // Everything that was announced has been read. Look for the end before the last frame
            // is passed on, because the client may not poll again.
            let maybe_last =
                !self.ended && self.collector.as_ref().is_some_and(BodyCollector::is_complete);
            if !maybe_last && let Some(frame) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(self.failure.take().map(Err));
            }
            if self.poll_body(context).is_pending() {
                return self
                    .queue
                    .pop_front()
                    .map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))));
            }
        }
    }

    /// Reads one frame into the queue.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let frame = match ready!(self.body.as_mut().poll_frame(context)) {
            None => {
                self.finish();
                return Poll::Ready(());
            }
            Some(Err(error)) => {
                self.ended = true;
                self.failure = Some(error);
                self.reject(Reason::Incomplete);
                return Poll::Ready(());
            }
            Some(Ok(frame)) => into_bytes(frame),
        };
        let collected = match (frame.data_ref(), &mut self.collector) {
            (Some(data), Some(collector)) => collector.push(data),
            (None, Some(_)) => Err(Reason::Trailers),
            (_, None) => Ok(()),
        };
        self.queue.push_back(frame);
        if let Err(reason) = collected {
            self.reject(reason);
        }
        if self.body.is_end_stream() {
            self.finish();
        }
        Poll::Ready(())
    }

    fn finish(&mut self) {
        self.ended = true;
        if let Some(collector) = self.collector.take() {
            self.storing = Some(Box::pin(collector.store()));
        }
    }

    fn poll_storing(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(storing) = &mut self.storing {
            self.outcome = Some(ready!(storing.as_mut().poll(context)));
            self.storing = None;
        }
        Poll::Ready(())
    }

    fn reject(&mut self, reason: Reason) {
        if let Some(collector) = self.collector.take() {
            collector.reject(reason);
            self.outcome = Some(Err(reason));
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let queued: u64 =
            self.queue.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        if self.ended && self.failure.is_none() {
            return SizeHint::with_exact(queued);
        }
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(queued));
        }
        hint.set_lower(rest.lower().saturating_add(queued));
        hint
    }
}

/// Converts the data of a frame. This is free if the data are `Bytes`.
pub(crate) fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
