//! A part of a body that is still being received.

use std::{
    ops,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// A range of the bytes of a body. What comes after the range is not read, and trailers are left
/// out.
pub(crate) struct PartialBody<B> {
    /// `None` after the range.
    body: Option<Pin<Box<B>>>,
    /// The number of bytes before the range.
    skip: u64,
    /// The number of bytes of the range that remain.
    left: u64,
}

impl<B: Body<Data = Bytes>> PartialBody<B> {
    /// Selects a range that is not empty.
    pub(crate) fn new(body: B, range: ops::Range<usize>) -> Self {
        let (skip, left) = (range.start as u64, range.len() as u64);
        Self { body: Some(Box::pin(body)), skip, left }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        while let Some(body) = &mut self.body {
            let Some(frame) = ready!(body.as_mut().poll_frame(context)?) else {
                self.body = None;
                break;
            };
            let Ok(data) = frame.into_data() else { continue };
            let selected = self.select(data);
            if !selected.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(selected))));
            }
        }
        Poll::Ready(None)
    }

    /// The part of the next bytes that is in the range.
    fn select(&mut self, mut data: Bytes) -> Bytes {
        let before = self.skip.min(data.len() as u64);
        self.skip -= before;
        data.advance(before as usize);
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        if self.left == 0 {
            self.body = None;
        }
        data
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, task::Waker};

    use super::*;

    /// A body that panics if it is polled after its last frame.
    struct Frames(VecDeque<&'static str>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let text = self.0.pop_front().expect("polled after the range");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
        }
    }

    fn part(frames: &[&'static str], range: ops::Range<usize>) -> String {
        let frames = Frames(frames.iter().copied().collect());
        let mut part = PartialBody::new(frames, range);
        let mut text = String::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = part.poll_frame(&mut context) {
            let data = frame.into_data().expect("data");
            assert_eq!(part.is_end_stream(), part.size_hint().exact() == Some(0));
            text.push_str(str::from_utf8(&data).expect("UTF-8"));
        }
        text
    }

    #[test]
    fn part_spans_frames_and_what_follows_is_not_read() {
        let frames = ["012", "345", "678"];
        assert_eq!(part(&frames, 0..1), "0");
        assert_eq!(part(&frames, 0..3), "012");
        assert_eq!(part(&frames, 2..4), "23");
        assert_eq!(part(&frames, 4..8), "4567");
        assert_eq!(part(&frames[..2], 3..6), "345");
    }
}
