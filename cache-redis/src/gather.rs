//! A stream that lets requests gather before it writes them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose every piece of writing first lets the other tasks run that are ready: what they ask for then goes in the
/// same write. So many calls at once cost a fraction of a system call each, without waiting for time to go by.
///
/// A call that is alone is written at once. To let others run has its price even where there are none: the runtime wakes
/// another thread for the task that it puts back, and a third of a call's processor time goes there.
pub(crate) struct Gather<S> {
    stream: S,
    calls: Calls,
    /// Whether the others have had their turn.
    gathered: bool,
}

/// How many calls wait for an answer on a connection.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

/// A call that waits for its answer, until it is dropped.
pub(crate) struct Call<'a>(&'a AtomicUsize);

impl Calls {
    pub(crate) fn begin(&self) -> Call<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Call(&self.0)
    }

    /// Whether there is nothing to gather. Only a hint: a call may begin at this very moment.
    fn is_one_alone(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= 1
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Gather<S> {
    pub(crate) fn new(stream: S, calls: Calls) -> Self {
        Self { stream, calls, gathered: false }
    }

    fn poll_gathered(&mut self, context: &Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.gathered, true) || self.calls.is_one_alone() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_gathered(context));
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_gathered(context));
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.gathered = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_others_have_their_turn_before_anything_is_written() {
        let (near, mut far) = tokio::io::duplex(64);
        let calls = Calls::default();
        let _two = [calls.begin(), calls.begin()];
        let mut near = Gather::new(near, calls.clone());
        let at_once = |outcome: Poll<io::Result<usize>>| {
            outcome.map(|written| written.expect("there is room"))
        };
        let mut write = async |bytes: &'static [u8]| {
            std::future::poll_fn(|context| {
                Poll::Ready(at_once(Pin::new(&mut near).poll_write(context, bytes)))
            })
            .await
        };
        assert_eq!(write(b"one").await, Poll::Pending, "first the others");
        assert_eq!(write(b"one and two").await, Poll::Ready(11));
        assert_eq!(write(b", three").await, Poll::Ready(7), "until it is flushed");
        near.flush().await.expect("there is room");
        let mut read = [0; 18];
        far.read_exact(&mut read).await.expect("it was written");
        assert_eq!(&read, b"one and two, three");
        near.write_all(b"four").await.expect("it is woken again");
    }

    #[tokio::test]
    async fn a_call_that_is_alone_is_written_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let calls = Calls::default();
        let mut near = Gather::new(near, calls.clone());
        drop(calls.begin());
        let _one = calls.begin();
        let written = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut near).poll_write(context, b"one"))
        })
        .await;
        assert!(written.is_ready());
        let mut read = [0; 3];
        far.read_exact(&mut read).await.expect("it was written");
        assert_eq!(&read, b"one");
    }
}
