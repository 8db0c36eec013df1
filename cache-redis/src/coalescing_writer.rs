//! A stream that combines concurrent writes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A write of this many bytes is not delayed: it is worth a system call of its own.
const LONG_WRITE: usize = 4 << 10;

/// A stream that writes a request at once if anything has arrived since the last write, and
/// otherwise yields once before it: other ready tasks can then add their requests to the same write.
/// Concurrent calls share system calls, and no call waits for a timer or for a reply.
///
/// The server is busy with the first request while the others are collected. Without one, there is
/// no point in a delay: yielding costs a third of a call's CPU time even if no other task is ready,
/// because the runtime wakes another thread for the task.
///
/// An error of a write is returned by the read that follows what has arrived: before a server
/// closes a connection, it may have sent the reason.
pub(crate) struct CoalescingWriter<S> {
    stream: S,
    bytes_sent: BytesSent,
    write_error: Option<io::Error>,
    /// Whether nothing has arrived since the last write.
    awaits_reply: bool,
    /// Whether the other tasks had their turn since the last flush.
    yielded: bool,
}

/// The number of bytes that were sent on a connection.
#[derive(Clone, Default)]
pub(crate) struct BytesSent(Arc<AtomicU64>);

impl BytesSent {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn add(&self, written: usize) {
        self.0.fetch_add(written as u64, Ordering::Release);
    }
}

impl<S> CoalescingWriter<S> {
    pub(crate) fn new(stream: S, bytes_sent: BytesSent) -> Self {
        Self { stream, bytes_sent, write_error: None, awaits_reply: false, yielded: false }
    }

    /// Records the outcome of writing `length` bytes. An error counts as success until the next
    /// read.
    fn written(
        &mut self,
        outcome: io::Result<usize>,
        length: usize,
        context: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Ok(written) => {
                self.awaits_reply = true;
                self.bytes_sent.add(written);
                Poll::Ready(Ok(written))
            }
            Err(error) => {
                self.write_error.get_or_insert(error);
                context.waker().wake_by_ref();
                Poll::Ready(Ok(length))
            }
        }
    }

    /// Yields before a write of `length` bytes, unless it can be made now.
    fn poll_yield(&mut self, length: usize, context: &Context<'_>) -> Poll<()> {
        let is_due = !self.awaits_reply || length >= LONG_WRITE;
        if is_due || std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CoalescingWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Pending => {
                self.write_error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
            ready => {
                self.awaits_reply = false;
                ready
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescingWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_yield(bytes.len(), context));
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.written(outcome, bytes.len(), context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        ready!(self.poll_yield(length, context));
        let outcome = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces));
        self.written(outcome, length, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(context)) {
            self.write_error.get_or_insert(error);
            context.waker().wake_by_ref();
        }
        self.yielded = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn connected() -> (CoalescingWriter<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(LONG_WRITE);
        (CoalescingWriter::new(near, BytesSent::default()), far)
    }

    /// Tries to write once. Returns how many bytes were written, or `None` after a yield.
    async fn write(near: &mut CoalescingWriter<DuplexStream>, bytes: &[u8]) -> Option<usize> {
        let written = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut *near).poll_write(context, bytes))
        });
        match written.await {
            Poll::Ready(written) => Some(written.expect("no error")),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn requests_behind_the_first_one_yield_once_before_each_write() {
        let (mut near, mut far) = connected();
        assert_eq!(write(&mut near, b"one").await, Some(3), "nothing is on its way");
        near.flush().await.expect("flushed");
        assert_eq!(write(&mut near, b"two").await, None, "yields first");
        assert_eq!(write(&mut near, b"two and three").await, Some(13));
        assert_eq!(write(&mut near, b", four").await, Some(6), "no other yield until flushed");
        near.flush().await.expect("flushed");
        assert_eq!(write(&mut near, b"five").await, None);
        near.write_all(b"five").await.expect("woken");
        let mut read = [0; 26];
        far.read_exact(&mut read).await.expect("written");
        assert_eq!(&read, b"onetwo and three, fourfive");
        assert_eq!(near.bytes_sent.get(), 26);
    }

    #[tokio::test]
    async fn request_after_a_reply_is_written_at_once() {
        let (mut near, mut far) = connected();
        for _ in 0..2 {
            assert_eq!(write(&mut near, b"request").await, Some(7));
            near.flush().await.expect("flushed");
            far.write_all(b"reply").await.expect("written");
            near.read_exact(&mut [0; 5]).await.expect("arrived");
        }
    }

    #[tokio::test]
    async fn long_write_is_not_delayed() {
        let (mut near, mut far) = connected();
        assert_eq!(write(&mut near, b"one").await, Some(3));
        near.flush().await.expect("flushed");
        far.read_exact(&mut [0; 3]).await.expect("written");
        assert_eq!(write(&mut near, &[b'x'; LONG_WRITE]).await, Some(LONG_WRITE));
    }
}
