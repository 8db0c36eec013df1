//! A body that is passed on to the client and collected for the store at the same time.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::{fill_budget::Reservation, pending_page::BodyCollector, policy::Reason};

/// Reads the frames of a body, and collects a copy of their data while the page may be stored.
///
/// The last frame is passed on after the page is stored: a client that has received the whole body
/// finds it in the store. The price is that the write to the store delays the last frame.
pub(crate) struct Tee<B: Body> {
    collector: Option<BodyCollector>,
    storing: Option<Storing>,
    /// Whether the page was stored, once that is known.
    pub(crate) outcome: Option<Result<(), Reason>>,
    remainder: Remainder<B>,
}

/// What of a body has not been passed on yet.
pub(crate) struct Remainder<B: Body> {
    queue: VecDeque<Frame<Bytes>>,
    /// The error of the body, returned after all frames that came before it.
    failure: Option<B::Error>,
    /// `None` if it has been read to its end.
    body: Option<Pin<Box<B>>>,
    /// The memory of the frames that were collected, until they are passed on.
    reservation: Option<Arc<Reservation>>,
}

type Storing = Pin<Box<dyn Future<Output = Result<(), Reason>> + Send>>;

impl<B: Body> Tee<B> {
    pub(crate) fn new(body: B, collector: BodyCollector) -> Self {
        let ended = body.is_end_stream();
        let remainder = Remainder {
            queue: VecDeque::new(),
            failure: None,
            body: Some(Box::pin(body)),
            reservation: Some(collector.reservation()),
        };
        let mut tee = Self { collector: Some(collector), storing: None, outcome: None, remainder };
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
            if self.collector.is_none() || self.poll_body(context).is_pending() {
                return Poll::Ready(());
            }
        }
    }

    /// Whether it is not known yet if the page can be stored.
    pub(crate) fn is_collecting(&self) -> bool {
        self.collector.is_some() || self.storing.is_some()
    }

    /// Returns the next frame, or `None` once the page is stored or rejected.
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        loop {
            if self.storing.is_some() {
                ready!(self.poll_storing(context));
            }
            let Some(collector) = &self.collector else { return Poll::Ready(None) };
            // If everything that was announced has been read, this may be the last frame. Look for
            // the end before it is passed on, because the client may not poll again.
            if !collector.is_complete()
                && let Some(frame) = self.remainder.queue.pop_front()
            {
                return Poll::Ready(Some(frame));
            }
            if self.poll_body(context).is_pending() {
                let frame = self.remainder.queue.pop_front();
                return frame.map_or(Poll::Pending, |frame| Poll::Ready(Some(frame)));
            }
        }
    }

    /// Returns what has not been passed on, after the page was stored or rejected.
    pub(crate) fn into_remainder(self) -> Remainder<B> {
        self.remainder
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.remainder.size_hint()
    }

    /// Reads one frame into the queue.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.remainder.body else { return Poll::Ready(()) };
        let frame = match ready!(body.as_mut().poll_frame(context)) {
            None => {
                self.finish();
                return Poll::Ready(());
            }
            Some(Err(error)) => {
                self.remainder.body = None;
                self.remainder.failure = Some(error);
                self.reject(Reason::Incomplete);
                return Poll::Ready(());
            }
            Some(Ok(frame)) => into_bytes(frame),
        };
        let ended = body.is_end_stream();
        let collected = match (frame.data_ref(), &mut self.collector) {
            (Some(data), Some(collector)) => collector.push(data),
            (None, Some(_)) => Err(Reason::Trailers),
            (_, None) => Ok(()),
        };
        self.remainder.queue.push_back(frame);
        if let Err(reason) = collected {
            self.reject(reason);
        }
        if ended {
            self.finish();
        }
        Poll::Ready(())
    }

    fn finish(&mut self) {
        self.remainder.body = None;
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
}

impl<B: Body> Remainder<B> {
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.queue.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.reservation = None;
        let Some(body) = &mut self.body else {
            return Poll::Ready(self.failure.take().map(Err));
        };
        body.as_mut().poll_frame(context).map(|frame| frame.map(|frame| frame.map(into_bytes)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.queue.is_empty()
            && self.failure.is_none()
            && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let queued: u64 =
            self.queue.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let rest = match &self.body {
            Some(body) => body.size_hint(),
            None if self.failure.is_none() => SizeHint::with_exact(0),
            None => SizeHint::new(),
        };
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
