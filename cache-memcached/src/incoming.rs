//! The buffer of bytes received on a connection, from which replies are taken in order.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::wire::{CLASSIC_VALUE, Header, ProtocolError, Reply, Status, split_number};

/// Buffers with a larger capacity are freed when they are empty.
pub(crate) const MAX_IDLE_CAPACITY: usize = 1 << 20;

const READ_AHEAD: usize = 64 << 10;
const MAX_LINE_LEN: usize = 2048;
/// Values up to this length are copied, so that a small value does not keep the whole buffer alive.
/// Copying them costs no more than sharing the buffer.
const MAX_COPIED: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct Incoming {
    buffer: BytesMut,
    /// The number of bytes at the start of the buffer that were taken already.
    consumed: usize,
    /// A longer value is not one that the server can hold.
    max_value_len: usize,
}

impl Incoming {
    pub(crate) fn new(max_value_len: usize) -> Self {
        Self { buffer: BytesMut::new(), consumed: 0, max_value_len }
    }

    /// The buffer to append received bytes to, with spare capacity.
    pub(crate) fn read_buffer(&mut self) -> &mut BytesMut {
        self.drop_consumed();
        if self.buffer.is_empty() && self.buffer.capacity() > MAX_IDLE_CAPACITY {
            self.buffer = BytesMut::new();
        }
        if self.buffer.capacity() - self.buffer.len() < READ_AHEAD / 4 {
            self.buffer.reserve(READ_AHEAD);
        }
        &mut self.buffer
    }

    fn drop_consumed(&mut self) {
        if self.consumed == self.buffer.len() {
            // Unlike `advance`, this makes the space before the end usable again.
            self.buffer.clear();
        } else {
            self.buffer.advance(self.consumed);
        }
        self.consumed = 0;
    }

    /// Parses the header of the next reply. Returns `None` if the reply is not complete yet.
    pub(crate) fn header(&mut self) -> Result<Option<Header>, ProtocolError> {
        let rest = &self.buffer[self.consumed..];
        let Some(end) = memchr(b'\n', &rest[..rest.len().min(MAX_LINE_LEN)]) else {
            return if rest.len() < MAX_LINE_LEN { Ok(None) } else { Err(ProtocolError) };
        };
        let header = Header::parse(rest[..end].strip_suffix(b"\r").ok_or(ProtocolError)?)?;
        let Some(value_len) = header.value_len() else { return Ok(Some(header)) };
        if value_len > self.max_value_len {
            return Err(ProtocolError);
        }
        let total = end + 1 + value_len + 2;
        if rest.len() < total {
            // The length may be wrong: reserve no more at once than has arrived, or 1 MiB.
            let more = (total - rest.len()).min(rest.len().max(1 << 20));
            self.drop_consumed();
            self.buffer.reserve(more);
            return Ok(None);
        }
        if &rest[total - 2..total] == b"\r\n" { Ok(Some(header)) } else { Err(ProtocolError) }
    }

    /// Takes the next value of a classic `get` if it belongs to this key and is complete.
    ///
    /// This is [`header`](Self::header) and [`take`](Self::take) in one step, for the common case.
    /// The result is `None` in all other cases, which are left to these two.
    pub(crate) fn take_value_of(&mut self, key: &[u8]) -> Option<Reply> {
        let rest = &self.buffer[self.consumed..];
        let numbers = rest.strip_prefix(CLASSIC_VALUE)?.strip_prefix(key)?.strip_prefix(b" ")?;
        let (flags, end) = split_number(numbers)?;
        let (value_len, end) = split_number(end.strip_prefix(b" ")?)?;
        let value = end.strip_prefix(b"\r\n")?;
        let (flags, value_len) = (u32::try_from(flags).ok()?, usize::try_from(value_len).ok()?);
        let line_len = rest.len() - value.len();
        if !value.get(value_len..)?.starts_with(b"\r\n") {
            return None;
        }
        self.consumed += line_len;
        let data = self.take_bytes(value_len);
        self.consumed += 2;
        Some(Reply { flags, data, ..Reply::new(Status::Value) })
    }

    /// The key that the reply names, or an empty slice if it names none.
    pub(crate) fn key(&self, header: &Header) -> &[u8] {
        &self.buffer[self.consumed..][header.key()]
    }

    /// Takes the reply with this header. A long value is not copied.
    pub(crate) fn take(&mut self, header: Header) -> Reply {
        self.consumed += header.line_len();
        let Some(value_len) = header.value_len() else { return header.reply };
        let data = self.take_bytes(value_len);
        self.consumed += 2;
        Reply { data, ..header.reply }
    }

    fn take_bytes(&mut self, len: usize) -> Bytes {
        if len > MAX_COPIED {
            self.drop_consumed();
            return self.buffer.split_to(len).freeze();
        }
        let bytes = Bytes::copy_from_slice(&self.buffer[self.consumed..][..len]);
        self.consumed += len;
        bytes
    }
}

#[cfg(test)]
impl Incoming {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), ..Self::new(usize::MAX) }
    }

    /// The number of bytes that were not taken yet.
    pub(crate) fn remaining(&self) -> usize {
        self.buffer.len() - self.consumed
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Parses all complete replies and counts the bytes after them.
    fn take_all(bytes: &[u8]) -> Result<(Vec<Reply>, usize), ProtocolError> {
        let mut incoming = Incoming::from_bytes(bytes);
        let mut replies = Vec::new();
        while let Some(header) = incoming.header()? {
            replies.push(incoming.take(header));
        }
        Ok((replies, incoming.remaining()))
    }

    fn next_header(incoming: &mut Incoming) -> Header {
        incoming.header().expect("bytes should be a reply").expect("reply should be complete")
    }

    #[test]
    fn value_longer_than_the_server_can_hold_is_an_error() {
        let header = |max_value_len| {
            let bytes = b"VA 1000001 f256\r\n"[..].into();
            Incoming { buffer: bytes, ..Incoming::new(max_value_len) }.header()
        };
        assert_eq!(header(1_000_001), Ok(None));
        assert_eq!(header(1_000_000), Err(ProtocolError));
    }

    #[test]
    fn replies_are_parsed_in_order() {
        let (replies, remaining) = take_all(
            b"VA 2 f256 t-1 c9 O1\r\n\r\n\r\nEN O2\r\nHD f2 t30 O3\r\nNS O4\r\nEX O5\r\nNF O6\r\n\
              SERVER_ERROR no O7\r\nVA 5 f1\r\nhel",
        )
        .expect("bytes should be replies");
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.clone()).collect();
        assert_eq!(
            statuses,
            [
                Status::Value,
                Status::NotFound,
                Status::Done,
                Status::NotStored,
                Status::CasMismatch,
                Status::NotFound,
                Status::Error("SERVER_ERROR no O7".into()),
            ]
        );
        assert_eq!((&*replies[0].data, replies[0].flags, replies[0].cas), (&b"\r\n"[..], 256, 9));
        assert_eq!((replies[0].ttl, replies[2].ttl), (-1, 30));
        assert_eq!(remaining, b"VA 5 f1\r\nhel".len(), "an incomplete reply is not consumed");
    }

    #[test]
    fn classic_value_has_its_key() {
        let mut incoming = Incoming::from_bytes(
            b"VALUE k 256 2\r\n\r\n\r\nVALUE \xc3\xa4 2 0\r\n\r\nEND\r\nMN\r\nMN \r\n\
              VALUE k 0 3\r\nab",
        );
        let mut replies = Vec::new();
        while let Some(header) = incoming.header().expect("bytes should be replies") {
            let key = incoming.key(&header).to_owned();
            replies.push((key, incoming.take(header)));
        }
        let keys: Vec<&[u8]> = replies.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, [&b"k"[..], "ä".as_bytes(), b"", b"", b""]);
        assert_eq!((&*replies[0].1.data, replies[0].1.flags), (&b"\r\n"[..], 256));
        assert!(replies[2..].iter().all(|(_, reply)| reply.status == Status::End));
        assert_eq!(
            incoming.remaining(),
            b"VALUE k 0 3\r\nab".len(),
            "an incomplete reply is not consumed"
        );
    }

    #[test]
    fn small_value_is_copied_and_long_value_is_shared() {
        let small = [&b"VA 3 f0\r\nabc\r\n"[..], &[b'x'; 1000]].concat();
        let long = [&b"VA 10000 f0\r\n"[..], &[b'x'; 10_000], b"\r\nHD\r\n"].concat();
        for (bytes, is_copied) in [(small, true), (long, false)] {
            let mut incoming = Incoming::from_bytes(&bytes);
            let received = incoming.buffer.as_ptr_range();
            let header = next_header(&mut incoming);
            let value = incoming.take(header).data;
            assert_eq!(received.contains(&value.as_ptr()), !is_copied);
        }
    }

    #[test]
    fn consumed_space_is_reused() {
        let mut incoming = Incoming::new(usize::MAX);
        let capacity = incoming.read_buffer().capacity();
        for _ in 0..10_000 {
            incoming.read_buffer().extend_from_slice(b"VA 3 f0\r\nabc\r\nHD\r\n");
            for _ in 0..2 {
                let header = next_header(&mut incoming);
                incoming.take(header);
            }
        }
        assert_eq!(incoming.read_buffer().capacity(), capacity);
    }

    #[test]
    fn malformed_replies_are_protocol_errors() {
        for bytes in [
            &b"\r\n"[..],
            b"\n",
            b"HELLO\r\n",
            b"VA\r\n",
            b"VA x\r\n",
            b"VA -1\r\n",
            b"VA 1073741825\r\n",
            b"VA 99999999999999999999\r\n",
            b"VA 2 f256\r\nabcd",
            b"HD O4294967296\r\n",
            b"HD Ox\r\n",
            b"HD\n",
            b"VALUE \r\n",
            b"VALUE  0 1\r\na\r\n",
            b"VALUE k\r\n",
            b"VALUE k 0\r\n",
            b"VALUE k 0 \r\n\r\n",
            b"VALUE k x 1\r\na\r\n",
            b"VALUE k 0x 1\r\na\r\n",
            b"VALUE k 0 -1\r\n",
            b"VALUE k 0 +1\r\na\r\n",
            b"VALUE k 4294967296 1\r\na\r\n",
            b"VALUE k 0 1073741825\r\n",
            b"VALUE k 0 1 2 3\r\na\r\n",
            &[b'x'; 2048],
        ] {
            assert_eq!(take_all(bytes), Err(ProtocolError), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = take_all(&bytes);
        }

        #[test]
        fn expected_value_is_taken_if_complete(
            value in vec(any::<u8>(), 0..50),
            cut in 0..80_usize,
        ) {
            let line = format!("VALUE key 256 {}\r\n", value.len());
            let bytes = [line.as_bytes(), &value, b"\r\n"].concat();
            let received = &bytes[..bytes.len().min(cut)];
            for other in [&b"ke"[..], b"key ", b"keys", b""] {
                prop_assert_eq!(Incoming::from_bytes(received).take_value_of(other), None);
            }
            let mut incoming = Incoming::from_bytes(received);
            let taken = incoming.take_value_of(b"key");
            prop_assert_eq!(taken.is_some(), cut >= bytes.len());
            let remaining = if taken.is_some() { 0 } else { received.len() };
            prop_assert_eq!(incoming.remaining(), remaining);
            let mut incoming = Incoming::from_bytes(received);
            let header = incoming.header().expect("bytes should be a reply");
            prop_assert_eq!(taken, header.map(|header| incoming.take(header)));
        }

        #[test]
        fn reply_is_parsed_the_same_wherever_it_is_split(
            classic: bool,
            value in vec(any::<u8>(), 0..50),
            cut in 0.0..1.0,
        ) {
            let line = if classic {
                format!("VALUE key 256 {}\r\n", value.len())
            } else {
                format!("VA {} f256 O3\r\n", value.len())
            };
            let bytes = [b"HD\r\n", line.as_bytes(), &value, b"\r\n"].concat();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "small numbers"
            )]
            let cut = 4 + ((bytes.len() - 4) as f64 * cut) as usize;
            let mut incoming = Incoming::from_bytes(&bytes[..cut]);
            let header = next_header(&mut incoming);
            incoming.take(header);
            prop_assert!(incoming.header().expect("bytes should be a prefix").is_none());
            incoming.read_buffer().extend_from_slice(&bytes[cut..]);
            let header = next_header(&mut incoming);
            let reply = incoming.take(header);
            prop_assert_eq!(&*reply.data, &*value);
            prop_assert_eq!(incoming.remaining(), 0);
        }
    }
}
