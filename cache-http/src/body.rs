//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::tee::{Tee, into_bytes};

pin_project! {
    /// The response body of [`HttpCache`](crate::HttpCache).
    ///
    /// It is either a stored body or the body of the inner service. While the latter is sent, it
    /// may also be collected for the store.
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
        Tee { tee: Box<Tee<B>> },
    }
}

impl<B: Body> CachedBody<B> {
    pub(crate) fn stored(bytes: Bytes) -> Self {
        Self { source: Source::Stored { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(crate) fn pass_through(body: B) -> Self {
        Self { source: Source::PassThrough { body } }
    }

    pub(crate) fn tee(tee: Box<Tee<B>>) -> Self {
        Self { source: Source::Tee { tee } }
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
            Source::Tee { .. } => "CachedBody(tee)",
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
            SourceProjection::Tee { tee } => tee.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Stored { bytes } => bytes.is_none(),
            Source::PassThrough { body } => body.is_end_stream(),
            Source::Tee { tee } => tee.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Stored { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::PassThrough { body } => body.size_hint(),
            Source::Tee { tee } => tee.size_hint(),
        }
    }
}
