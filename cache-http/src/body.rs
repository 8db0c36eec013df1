//! The body of a response.

use std::{
    fmt, ops,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{partial_body::PartialBody, relay::Relay, tee::into_bytes};

pin_project! {
    /// The response body of [`HttpCache`](crate::HttpCache).
    ///
    /// It is either a stored body or the body of the inner service. The latter may also be
    /// collected for the store: a task then reads it, at the pace of the inner service, until it is
    /// stored or turns out to be too long. What remains is read at the pace of the client.
    #[project = CachedBodyProjection]
    pub struct CachedBody<B: Body> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B: Body> {
        /// A stored body. `None` once it has been sent.
        Stored { bytes: Option<Bytes> },
        PassThrough { #[pin] body: B },
        /// A body that may be collected for the store.
        Relay { relay: Box<Relay<B>> },
        /// A range of another body of this type.
        Part { part: Box<PartialBody<CachedBody<B>>> },
    }
}

impl<B: Body> CachedBody<B> {
    pub(crate) fn stored(bytes: Bytes) -> Self {
        Self { source: Source::Stored { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(crate) fn pass_through(body: B) -> Self {
        Self { source: Source::PassThrough { body } }
    }

    pub(crate) fn relay(relay: Relay<B>) -> Self {
        Self { source: Source::Relay { relay: Box::new(relay) } }
    }

    /// Selects a range of a body that is being received.
    pub(crate) fn part(body: Self, range: ops::Range<usize>) -> Self {
        Self { source: Source::Part { part: Box::new(PartialBody::new(body, range)) } }
    }
}

impl<B: Body> Default for CachedBody<B> {
    fn default() -> Self {
        Self::stored(Bytes::new())
    }
}

impl<B: Body> fmt::Debug for CachedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Stored { .. } => "CachedBody(stored)",
            Source::PassThrough { .. } => "CachedBody(pass-through)",
            Source::Relay { .. } => "CachedBody(relay)",
            Source::Part { .. } => "CachedBody(part)",
        })
    }
}

impl<B: Body> Body for CachedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().source.project() {
            SourceProjection::Stored { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            SourceProjection::PassThrough { body } => {
                body.poll_frame(context).map(|frame| frame.map(|frame| frame.map(into_bytes)))
            }
            SourceProjection::Relay { relay } => relay.poll_frame(context),
            SourceProjection::Part { part } => part.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Stored { bytes } => bytes.is_none(),
            Source::PassThrough { body } => body.is_end_stream(),
            Source::Relay { relay } => relay.is_end_stream(),
            Source::Part { part } => part.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Stored { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::PassThrough { body } => body.size_hint(),
            Source::Relay { relay } => relay.size_hint(),
            Source::Part { part } => part.size_hint(),
        }
    }
}
