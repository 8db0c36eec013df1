//! What has come over a connection, of which replies are taken one after the other.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::wire::{CLASSIC, Garbage, Head, Reply, Status, leading_number};

const READ_AHEAD: usize = 64 << 10;
/// A buffer that was larger is not kept.
const KEPT: usize = 1 << 20;
const LONGEST_LINE: usize = 2048;
/// Up to so many bytes are copied out of what was read, lest whoever keeps a small value keep all that came with it. That
/// costs no more than counting who has a share.
const COPIED: usize = 8 << 10;

#[derive(Debug, Default)]
pub(crate) struct Incoming {
    buffer: BytesMut,
    /// So many bytes of it were taken already.
    taken: usize,
}

impl Incoming {
    /// Where to append what comes next.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        self.drop_taken();
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        if self.buffer.capacity() - self.buffer.len() < READ_AHEAD / 4 {
            self.buffer.reserve(READ_AHEAD);
        }
        &mut self.buffer
    }

    fn drop_taken(&mut self) {
        if self.taken == self.buffer.len() {
            // Unlike an advance, that leaves the room before it to be used again.
            self.buffer.clear();
        } else {
            self.buffer.advance(self.taken);
        }
        self.taken = 0;
    }

    /// What the next reply begins with. `None`: not all of the reply has come yet.
    pub(crate) fn head(&mut self) -> Result<Option<Head>, Garbage> {
        let rest = &self.buffer[self.taken..];
        let Some(end) = memchr(b'\n', &rest[..rest.len().min(LONGEST_LINE)]) else {
            return if rest.len() < LONGEST_LINE { Ok(None) } else { Err(Garbage) };
        };
        let head = Head::read(rest[..end].strip_suffix(b"\r").ok_or(Garbage)?)?;
        let Some(length) = head.length() else { return Ok(Some(head)) };
        let whole = end + 1 + length + 2;
        if rest.len() < whole {
            // No more at once than has come already, or a mebibyte: it may be a lie.
            let more = (whole - rest.len()).min(rest.len().max(1 << 20));
            self.drop_taken();
            self.buffer.reserve(more);
            return Ok(None);
        }
        if &rest[whole - 2..whole] == b"\r\n" { Ok(Some(head)) } else { Err(Garbage) }
    }

    /// Takes a value off a classic `get`'s answer, where it is this key's and has come as a whole. That is
    /// [`head`](Self::head) and [`take`](Self::take) in one, for what is the rule; all else they judge.
    pub(crate) fn take_value_of(&mut self, key: &[u8]) -> Option<Reply> {
        let rest = &self.buffer[self.taken..];
        let numbers = rest.strip_prefix(CLASSIC)?.strip_prefix(key)?.strip_prefix(b" ")?;
        let (flags, end) = leading_number(numbers)?;
        let (length, end) = leading_number(end.strip_prefix(b" ")?)?;
        let value = end.strip_prefix(b"\r\n")?;
        let (flags, length) = (u32::try_from(flags).ok()?, usize::try_from(length).ok()?);
        let line = rest.len() - value.len();
        if !value.get(length..)?.starts_with(b"\r\n") {
            return None;
        }
        self.taken += line;
        let data = self.take_bytes(length);
        self.taken += 2;
        Some(Reply { flags, data, ..Reply::new(Status::Value) })
    }

    /// The key that the reply names; empty where it names none.
    pub(crate) fn key(&self, head: &Head) -> &[u8] {
        &self.buffer[self.taken..][head.key()]
    }

    /// Takes the reply that begins with this, without copying a long value.
    pub(crate) fn take(&mut self, head: Head) -> Reply {
        self.taken += head.size();
        let Some(length) = head.length() else { return head.reply };
        let data = self.take_bytes(length);
        self.taken += 2;
        Reply { data, ..head.reply }
    }

    fn take_bytes(&mut self, length: usize) -> Bytes {
        if length > COPIED {
            self.drop_taken();
            return self.buffer.split_to(length).freeze();
        }
        let bytes = Bytes::copy_from_slice(&self.buffer[self.taken..][..length]);
        self.taken += length;
        bytes
    }
}

#[cfg(test)]
impl Incoming {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), taken: 0 }
    }

    /// How many bytes are not taken yet.
    pub(crate) fn left(&self) -> usize {
        self.buffer.len() - self.taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take_all(bytes: &[u8]) -> Result<(Vec<Reply>, usize), Garbage> {
        let mut incoming = Incoming::of(bytes);
        let mut replies = Vec::new();
        while let Some(head) = incoming.head()? {
            replies.push(incoming.take(head));
        }
        Ok((replies, incoming.left()))
    }

    #[test]
    fn replies_are_read_one_after_the_other() {
        let (replies, rest) = take_all(
            b"VA 2 f256 t-1 c9 O1\r\n\r\n\r\nEN O2\r\nHD f2 t30 O3\r\nNS O4\r\nEX O5\r\nNF O6\r\nSERVER_ERROR no O7\r\nVA 5 f1\r\nhel",
        )
        .expect("they are replies");
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.clone()).collect();
        let refused = Status::Refused("SERVER_ERROR no O7".into());
        assert_eq!(
            statuses,
            [
                Status::Value,
                Status::Missing,
                Status::Done,
                Status::NotStored,
                Status::Changed,
                Status::Missing,
                refused
            ]
        );
        assert_eq!((&*replies[0].data, replies[0].flags, replies[0].token), (&b"\r\n"[..], 256, 9));
        assert_eq!((replies[0].time_left, replies[2].time_left), (-1, 30));
        assert_eq!(rest, b"VA 5 f1\r\nhel".len(), "what is not there as a whole stays");
    }

    #[test]
    fn a_value_of_a_classic_get_has_its_key() {
        let mut incoming =
            Incoming::of(b"VALUE k 256 2\r\n\r\n\r\nVALUE \xc3\xa4 2 0\r\n\r\nEND\r\nMN\r\nMN \r\nVALUE k 0 3\r\nab");
        let mut replies = Vec::new();
        while let Some(head) = incoming.head().expect("they are replies") {
            let key = incoming.key(&head).to_owned();
            replies.push((key, incoming.take(head)));
        }
        let keys: Vec<&[u8]> = replies.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, [&b"k"[..], "ä".as_bytes(), b"", b"", b""]);
        assert_eq!((&*replies[0].1.data, replies[0].1.flags), (&b"\r\n"[..], 256));
        assert!(replies[2..].iter().all(|(_, reply)| reply.status == Status::End));
        assert_eq!(
            incoming.left(),
            b"VALUE k 0 3\r\nab".len(),
            "what is not there as a whole stays"
        );
    }

    #[test]
    fn a_small_value_does_not_keep_what_came_with_it_and_a_long_one_is_not_copied() {
        let small = [&b"VA 3 f0\r\nabc\r\n"[..], &[b'x'; 1000]].concat();
        let long = [&b"VA 10000 f0\r\n"[..], &[b'x'; 10_000], b"\r\nHD\r\n"].concat();
        for (bytes, is_alone) in [(small, true), (long, false)] {
            let mut incoming = Incoming::of(&bytes);
            let read = incoming.buffer.as_ptr_range();
            let head = incoming.head().expect("a reply").expect("as a whole");
            let value = incoming.take(head).data;
            assert_eq!(read.contains(&value.as_ptr()), !is_alone);
        }
    }

    #[test]
    fn what_was_taken_makes_room_for_what_comes() {
        let mut incoming = Incoming::default();
        let capacity = incoming.room().capacity();
        for _ in 0..10_000 {
            incoming.room().extend_from_slice(b"VA 3 f0\r\nabc\r\nHD\r\n");
            for _ in 0..2 {
                let head = incoming.head().expect("a reply").expect("as a whole");
                incoming.take(head);
            }
        }
        assert_eq!(incoming.room().capacity(), capacity);
    }

    #[test]
    fn garbage_is_known_as_such() {
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
            assert_eq!(take_all(bytes), Err(Garbage), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_replies_or_garbage_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_all(&bytes);
        }

        #[test]
        fn a_value_that_is_expected_is_taken_where_it_has_come_as_a_whole(value in proptest::collection::vec(any::<u8>(), 0..50), cut in 0..80_usize) {
            let bytes = [format!("VALUE key 256 {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
            let there = &bytes[..bytes.len().min(cut)];
            for other in [&b"ke"[..], b"key ", b"keys", b""] {
                prop_assert_eq!(Incoming::of(there).take_value_of(other), None);
            }
            let mut incoming = Incoming::of(there);
            let taken = incoming.take_value_of(b"key");
            prop_assert_eq!(taken.is_some(), cut >= bytes.len());
            prop_assert_eq!(incoming.left(), if taken.is_some() { 0 } else { there.len() });
            let mut other_way = Incoming::of(there);
            let head = other_way.head().expect("it is one");
            prop_assert_eq!(taken, head.map(|head| other_way.take(head)));
        }

        #[test]
        fn a_reply_reads_the_same_wherever_it_is_cut(classic: bool, value in proptest::collection::vec(any::<u8>(), 0..50), cut in 0.0..1.0) {
            let head = if classic { format!("VALUE key 256 {}\r\n", value.len()) } else { format!("VA {} f256 O3\r\n", value.len()) };
            let bytes = [b"HD\r\n", head.as_bytes(), &value, b"\r\n"].concat();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let cut = 4 + ((bytes.len() - 4) as f64 * cut) as usize;
            let mut incoming = Incoming::of(&bytes[..cut]);
            let first = incoming.head().expect("a reply").expect("as a whole");
            incoming.take(first);
            prop_assert!(incoming.head().expect("the beginning of a reply").is_none());
            incoming.room().extend_from_slice(&bytes[cut..]);
            let head = incoming.head().expect("a reply").expect("as a whole");
            let reply = incoming.take(head);
            prop_assert_eq!(&*reply.data, &*value);
            prop_assert_eq!(incoming.left(), 0);
        }
    }
}
