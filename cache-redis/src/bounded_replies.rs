//! A stream that fails before a reply takes more memory than the largest one that is expected.

use std::{
    fmt, io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use redis::RedisError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::value::MAX_VALUE_BYTES;

/// The maximum size in bytes of a reply: one value, or several and what surrounds them.
const MAX_REPLY_BYTES: usize = MAX_VALUE_BYTES + (1 << 20);

/// The maximum length in bytes of an error, a status or a number. Those of servers are far shorter.
const MAX_LINE: usize = 64 << 10;

/// The size in bytes of a string that is accepted in any case: not all of them are values.
const ALWAYS_ACCEPTED: usize = 1 << 20;

/// A stream whose replies are bounded. A reply that exceeds a bound is an error that contains a
/// [`Violation`].
///
/// The parser of the library has no bounds: it would keep all that a server sends and claims.
pub(crate) struct BoundedReplies<S> {
    stream: S,
    scanner: Scanner,
}

/// Why replies cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A string has, or claims to have, more than this many bytes.
    LongString(usize),
    /// A whole reply has, or claims to have, more than this many bytes.
    LongReply(usize),
    /// The bytes are not a reply.
    NotRedis,
}

impl Violation {
    /// Finds the violation that caused an error of a connection. Other calls on the connection,
    /// whose replies were lost with it, get another error.
    pub(crate) fn cause_of(error: &RedisError) -> Option<Self> {
        type Shared = std::sync::Arc<dyn std::error::Error + Send + Sync>;
        let cause = std::error::Error::source(error)?.downcast_ref::<Shared>()?;
        cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongString(max) => {
                write!(f, "the server sent a value of more than {max} bytes (max_value_bytes)")
            }
            Self::LongReply(max) => {
                write!(f, "the server sent a reply of more than {max} bytes: request fewer keys")
            }
            Self::NotRedis => f.write_str("the server sent bytes that are not a reply"),
        }
    }
}

impl std::error::Error for Violation {}

impl<S> BoundedReplies<S> {
    /// Bounds each string by `max_value`, and replies with several strings by 512 MiB.
    pub(crate) fn new(stream: S, max_value: usize) -> Self {
        Self { stream, scanner: Scanner::new(max_value) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedReplies<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let scanned = self.scanner.scan(&into.filled()[before..]);
        // Of this kind, because the library closes the connection after it.
        Poll::Ready(scanned.map_err(|cause| io::Error::new(io::ErrorKind::ConnectionReset, cause)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedReplies<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Measures replies of the protocol RESP 2 without keeping them.
///
/// It is stricter than the parser, so that both always agree where a value ends.
struct Scanner {
    max_string: usize,
    next: Next,
    /// How many values of the current reply are still to come, at all levels of its arrays.
    pending: usize,
    /// How much of the current reply was sent or claimed.
    size: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum Next {
    Kind,
    /// An error, a status or a number, of which this many bytes were read.
    Line {
        length: usize,
        after_return: bool,
    },
    Header(Header),
    /// The rest of a string.
    String(usize),
}

/// The length of a string or an array.
#[derive(Clone, Copy)]
struct Header {
    is_array: bool,
    is_negative: bool,
    number: Option<usize>,
    after_return: bool,
}

impl Scanner {
    fn new(max_value: usize) -> Self {
        let max_string = max_value.max(ALWAYS_ACCEPTED);
        Self { max_string, next: Next::Kind, pending: 1, size: 0 }
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while let [first, rest @ ..] = bytes {
            match &mut self.next {
                Next::String(left) => {
                    let skipped = (*left).min(bytes.len());
                    *left -= skipped;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        self.end_value();
                    }
                    continue;
                }
                Next::Kind => {
                    if let Some((length, rest)) = whole_header(bytes) {
                        self.begin_string(length)?;
                        bytes = rest;
                        continue;
                    }
                    self.next = next_of(*first)?;
                }
                Next::Line { length, after_return } => {
                    *length += 1;
                    if *length > MAX_LINE {
                        return Err(Violation::LongReply(MAX_LINE));
                    }
                    if mem::replace(after_return, *first == b'\r') && *first == b'\n' {
                        self.end_value();
                    }
                }
                Next::Header(header) => {
                    if header.read(*first)? {
                        let header = *header;
                        self.begin(header)?;
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Begins the string or the array with this header.
    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        let length = match (header.number, header.is_negative) {
            (Some(length), false) => length,
            // Nil. The parser reads a negative zero as zero.
            (Some(1..), true) => {
                self.end_value();
                return Ok(());
            }
            _ => return Err(Violation::NotRedis),
        };
        if !header.is_array {
            return self.begin_string(length);
        }
        self.claim(length.saturating_mul(size_of::<redis::Value>()))?;
        self.pending += length;
        self.end_value();
        Ok(())
    }

    fn begin_string(&mut self, length: usize) -> Result<(), Violation> {
        if length > self.max_string {
            return Err(Violation::LongString(self.max_string));
        }
        self.next = Next::String(length + b"\r\n".len());
        self.claim(length)
    }

    fn claim(&mut self, more: usize) -> Result<(), Violation> {
        self.size = self.size.saturating_add(more);
        if self.size > MAX_REPLY_BYTES {
            Err(Violation::LongReply(MAX_REPLY_BYTES))
        } else {
            Ok(())
        }
    }

    fn end_value(&mut self) {
        self.next = Next::Kind;
        self.pending -= 1;
        if self.pending == 0 {
            (self.pending, self.size) = (1, 0);
        }
    }
}

/// Reads the header of a string of up to nine digits at once, if all of it has arrived. Returns the
/// length and what follows. Scanned byte by byte, headers were a tenth of the instructions of a
/// `get_many`.
fn whole_header(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const MAX_DIGITS: usize = 9;
    let digits = bytes.strip_prefix(b"$")?;
    let count = digits.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    let rest = rest.strip_prefix(b"\r\n").filter(|_| count > 0)?;
    Some((digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')), rest))
}

fn next_of(kind: u8) -> Result<Next, Violation> {
    match kind {
        b'+' | b'-' | b':' => Ok(Next::Line { length: 0, after_return: false }),
        b'$' | b'*' => Ok(Next::Header(Header {
            is_array: kind == b'*',
            is_negative: false,
            number: None,
            after_return: false,
        })),
        _ => Err(Violation::NotRedis),
    }
}

impl Header {
    /// Reads a byte. Returns whether it was the last one.
    fn read(&mut self, byte: u8) -> Result<bool, Violation> {
        match byte {
            b'\n' if self.after_return => return Ok(true),
            _ if self.after_return => return Err(Violation::NotRedis),
            b'\r' => self.after_return = true,
            b'-' if !self.is_negative && self.number.is_none() => self.is_negative = true,
            b'0'..=b'9' => {
                let number = self.number.unwrap_or(0).saturating_mul(10);
                self.number = Some(number.saturating_add(usize::from(byte - b'0')));
            }
            _ => return Err(Violation::NotRedis),
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 2 << 20;

    fn scan(bytes: &[u8]) -> Result<(), Violation> {
        Scanner::new(MAX).scan(bytes)
    }

    #[test]
    fn replies_are_accepted_wherever_they_are_split() {
        let replies = b"+OK\r\n-ERR no\rpe\r\n:7\r\n$-1\r\n$0\r\n\r\n$2\r\n\r\n\r\n*0\r\n*-1\r\n\
                        *3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n+OK\r\n";
        for cut in 0..replies.len() {
            let mut scanner = Scanner::new(MAX);
            assert_eq!(scanner.scan(&replies[..cut]), Ok(()), "{cut}");
            assert_eq!(scanner.scan(&replies[cut..]), Ok(()), "{cut}");
            assert!(matches!(scanner.next, Next::Kind), "{cut}");
            assert_eq!((scanner.pending, scanner.size), (1, 0), "{cut}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_reply_are_rejected() {
        for bytes in [
            &b"garbage"[..],
            b"\r\n",
            b"%1\r\n",
            b"$x\r\n",
            b"$ 1\r\n",
            b"$+1\r\n",
            b"$-0\r\n",
            b"$\r\n",
            b"$-\r\n",
            b"$1\rx",
            b"*x",
            b"*1\r\n>1\r\n",
        ] {
            assert_eq!(scan(bytes), Err(Violation::NotRedis), "{bytes:?}");
        }
    }

    #[test]
    fn claim_of_more_than_the_maximum_is_rejected_before_it_is_received() {
        let too_long = Err(Violation::LongString(MAX));
        assert_eq!(scan(b"$2097152\r\n"), Ok(()));
        assert_eq!(scan(b"$2097153\r\n"), too_long);
        assert_eq!(scan(b"*2\r\n$2097153\r\n"), too_long);
        assert_eq!(scan(b"$99999999999999999999999999\r\n"), too_long);
        let too_long = Err(Violation::LongReply(MAX_REPLY_BYTES));
        assert_eq!(scan(b"*5000\r\n"), Ok(()));
        assert_eq!(scan(b"*99999999\r\n"), too_long);
        assert_eq!(scan(b"*99999999999999999999999999\r\n"), too_long);
        assert_eq!(scan(&b"*5000000\r\n".repeat(3)), too_long, "nested arrays");
    }

    #[test]
    fn reply_without_an_end_is_rejected() {
        let line = [b"+", &*b"x".repeat(MAX_LINE + 1)].concat();
        assert_eq!(scan(&line), Err(Violation::LongReply(MAX_LINE)));
        let mut scanner = Scanner::new(MAX);
        let element = [&b"$2097152\r\n"[..], &vec![b'x'; MAX], b"\r\n"].concat();
        let mut outcome = scanner.scan(b"*5000\r\n");
        for _ in 0..5000 {
            outcome = outcome.and_then(|()| scanner.scan(&element));
        }
        assert_eq!(outcome, Err(Violation::LongReply(MAX_REPLY_BYTES)));
    }

    #[test]
    fn short_replies_are_always_accepted() {
        assert_eq!(Scanner::new(1).scan(b"$1048576\r\n"), Ok(()));
    }
}
