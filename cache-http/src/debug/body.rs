//! A body that is read as part of its request.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cache_core::observe::Trace;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::tee::into_bytes;

pin_project! {
    /// The response body of [`CacheDebug`](crate::CacheDebug).
    pub struct CacheDebugBody<B: Body> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B: Body> {
        PassThrough { #[pin] body: B },
        Traced { body: TracedBody<B> },
    }
}

/// A body of a request whose calls are shown. What was read of it is kept in `first`.
pub(super) struct TracedBody<B: Body> {
    trace: Trace,
    first: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// `None` if it has been read to its end.
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> TracedBody<B> {
    pub(super) fn new(body: B, trace: Trace) -> Self {
        Self { trace, first: VecDeque::new(), rest: Some(Box::pin(body)) }
    }

    /// Replaces the body.
    pub(super) fn set(&mut self, data: Bytes) {
        self.first = [Ok(Frame::data(data))].into();
        self.rest = None;
    }

    /// Reads the body to its end, if its length is known and at most `max` bytes.
    pub(super) async fn read(&mut self, max: u64) {
        let length = self.rest.as_ref().and_then(|rest| rest.size_hint().exact());
        if length.is_none_or(|length| length > max) {
            return;
        }
        // The length may be wrong.
        let mut left = max;
        while let Some(frame) = poll_fn(|context| self.poll_rest(context)).await {
            let data = frame.as_ref().ok().and_then(Frame::data_ref);
            let read = data.map_or(0, |data| data.len() as u64);
            self.first.push_back(frame);
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    }

    /// Returns the whole body, if it was read to its end without an error and has no trailers.
    pub(super) fn whole(&self) -> Option<Vec<u8>> {
        if self.rest.is_some() {
            return None;
        }
        let mut whole = Vec::new();
        for frame in &self.first {
            whole.extend_from_slice(frame.as_ref().ok()?.data_ref()?);
        }
        Some(whole)
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_rest(context),
        }
    }

    fn poll_rest(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = self.trace.in_scope(|| rest.as_mut().poll_frame(context));
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled.map(|frame| frame.map(|frame| frame.map(into_bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.first.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        let read: u64 = data.map(|data| data.len() as u64).sum();
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

impl<B: Body> CacheDebugBody<B> {
    pub(super) fn pass_through(body: B) -> Self {
        Self { source: Source::PassThrough { body } }
    }

    pub(super) fn traced(body: TracedBody<B>) -> Self {
        Self { source: Source::Traced { body } }
    }
}

impl<B: Body> fmt::Debug for CacheDebugBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheDebugBody").finish_non_exhaustive()
    }
}

impl<B: Body> Body for CacheDebugBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().source.project() {
            SourceProjection::PassThrough { body } => {
                body.poll_frame(context).map(|frame| frame.map(|frame| frame.map(into_bytes)))
            }
            SourceProjection::Traced { body } => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::PassThrough { body } => body.is_end_stream(),
            Source::Traced { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::PassThrough { body } => body.size_hint(),
            Source::Traced { body } => body.size_hint(),
        }
    }
}
