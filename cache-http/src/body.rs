//! The body of a response: from the store, from the inner service, or from there with a copy for the store.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{pending_page::BodyCollector, policy::Reason};

pin_project! {
    /// The body of what a cached service answers.
    #[project = CachedBodyProjection]
    pub struct CachedBody<B: http_body::Body> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B: http_body::Body> {
        /// What the store had; `None` when it is sent.
        Whole { bytes: Option<Bytes> },
        Through { #[pin] body: B },
        Tee { tee: Box<Tee<B>> },
    }
}

impl<B: http_body::Body> CachedBody<B> {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(crate) fn through(body: B) -> Self {
        Self { source: Source::Through { body } }
    }

    pub(crate) fn tee(tee: Box<Tee<B>>) -> Self {
        Self { source: Source::Tee { tee } }
    }
}

impl<B: http_body::Body> Default for CachedBody<B> {
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl<B: http_body::Body> fmt::Debug for CachedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Whole { .. } => "CachedBody(whole)",
            Source::Through { .. } => "CachedBody(through)",
            Source::Tee { .. } => "CachedBody(tee)",
        })
    }
}

impl<B: http_body::Body> http_body::Body for CachedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().source.project() {
            SourceProjection::Whole { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            SourceProjection::Through { body } => {
                body.poll_frame(context).map(|frame| frame.map(|frame| frame.map(to_bytes)))
            }
            SourceProjection::Tee { tee } => tee.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole { bytes } => bytes.is_none(),
            Source::Through { body } => body.is_end_stream(),
            Source::Tee { tee } => tee.is_over() && tee.queue.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Through { body } => body.size_hint(),
            Source::Tee { tee } => tee.size_hint(),
        }
    }
}

/// Costs nothing where the data are `Bytes`.
fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

/// Hands the frames of a body on, and collects a copy. The last frame is handed on when the page is stored: whoever has it all
/// finds it in the store.
pub(crate) struct Tee<B: http_body::Body> {
    collector: Option<BodyCollector>,
    storing: Option<Storing>,
    /// What became of the page, once that is known.
    pub(crate) outcome: Option<Result<(), Reason>>,
    queue: VecDeque<Frame<Bytes>>,
    ended: bool,
    /// Source the body failed, for the client to hear after all that came before.
    failure: Option<B::Error>,
    body: Pin<Box<B>>,
}

type Storing = Pin<Box<dyn Future<Output = Result<(), Reason>> + Send>>;

impl<B: http_body::Body> Tee<B> {
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

    /// Reads what is there without waiting, and stores the page if that is all of it.
    pub(crate) fn poll_gather(&mut self, context: &mut Context<'_>) -> Poll<()> {
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

    /// Whether all was read, and the page is stored or rejected.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.storing.is_none() && self.failure.is_none()
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if self.storing.is_some() {
                ready!(self.poll_storing(context));
            }
            // All that was announced is here: look for the end before the last frame goes out, for the client may ask for no
            // more.
            let maybe_last =
                !self.ended && self.collector.as_ref().is_some_and(BodyCollector::has_all);
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
            Some(Ok(frame)) => to_bytes(frame),
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

    fn size_hint(&self) -> SizeHint {
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
