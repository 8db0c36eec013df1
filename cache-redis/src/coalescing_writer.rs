//! A stream that combines concurrent writes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that yields once before it writes, so that other ready tasks can add their requests to
/// the same write. Concurrent calls then share system calls, and no call waits for a timer.
///
/// If only one call is in flight, it is written immediately. Yielding costs a third of a call's CPU
/// time even if no other task is ready, because the runtime wakes another thread for the task.
///
/// An error of a write is returned by the read that follows what has arrived: before a server
/// closes a connection, it may have sent the reason.
pub(crate) struct CoalescingWriter<S> {
    stream: S,
    in_flight: InFlight,
    write_error: Option<io::Error>,
    /// Whether the other tasks had their turn since the last flush.
    yielded: bool,
}

/// The number of calls that wait for a reply on a connection, and of the bytes that were sent.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Counters>);

#[derive(Default)]
struct Counters {
    calls: AtomicUsize,
    bytes_sent: AtomicU64,
}

/// Counts as one call in flight until it is dropped.
pub(crate) struct InFlightGuard<'a>(&'a AtomicUsize);

impl InFlight {
    pub(crate) fn begin(&self) -> InFlightGuard<'_> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(&self.0.calls)
    }

    pub(crate) fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent.load(Ordering::Acquire)
    }

    fn record(&self, written: usize) {
        self.0.bytes_sent.fetch_add(written as u64, Ordering::Release);
    }

    /// Whether there is nothing to combine. Only a hint, since a call may begin at any
    /// time.
    fn is_single(&self) -> bool {
        self.0.calls.load(Ordering::Relaxed) <= 1
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> CoalescingWriter<S> {
    pub(crate) fn new(stream: S, in_flight: InFlight) -> Self {
        Self { stream, in_flight, write_error: None, yielded: false }
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
                self.in_flight.record(written);
                Poll::Ready(Ok(written))
            }
            Err(error) => {
                self.write_error.get_or_insert(error);
                context.waker().wake_by_ref();
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_yield(&mut self, context: &Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) || self.in_flight.is_single() {
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
            ready => ready,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescingWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_yield(context));
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.written(outcome, bytes.len(), context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_yield(context));
        let outcome = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces));
        self.written(outcome, pieces.iter().map(|piece| piece.len()).sum(), context)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn concurrent_calls_yield_once_before_each_write() {
        let (near, mut far) = tokio::io::duplex(64);
        let in_flight = InFlight::default();
        let _two = [in_flight.begin(), in_flight.begin()];
        let mut near = CoalescingWriter::new(near, in_flight.clone());
        let written = |outcome: Poll<io::Result<usize>>| outcome.map(|n| n.expect("written"));
        let mut write = async |bytes: &'static [u8]| {
            std::future::poll_fn(|context| {
                Poll::Ready(written(Pin::new(&mut near).poll_write(context, bytes)))
            })
            .await
        };
        assert_eq!(write(b"one").await, Poll::Pending, "yields first");
        assert_eq!(write(b"one and two").await, Poll::Ready(11));
        assert_eq!(write(b", three").await, Poll::Ready(7), "does not yield again until flushed");
        near.flush().await.expect("flushed");
        let mut read = [0; 18];
        far.read_exact(&mut read).await.expect("written");
        assert_eq!(&read, b"one and two, three");
        near.write_all(b"four").await.expect("woken");
    }

    #[tokio::test]
    async fn single_call_is_written_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let in_flight = InFlight::default();
        let mut near = CoalescingWriter::new(near, in_flight.clone());
        drop(in_flight.begin());
        let _one = in_flight.begin();
        let written = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut near).poll_write(context, b"one"))
        })
        .await;
        assert!(written.is_ready());
        let mut read = [0; 3];
        far.read_exact(&mut read).await.expect("written");
        assert_eq!(&read, b"one");
    }
}
