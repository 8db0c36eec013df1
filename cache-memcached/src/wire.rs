//! The meta protocol: what is written for a command, and how replies are read.
//!
//! A command is answered by exactly one reply, in order. It carries a number, its opaque, that the reply repeats: so a
//! reply that is not the one expected is known as such. Only in a [batch](crate::batch) it is otherwise.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::item::Item;

/// A command for one key.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// The value.
    Get(&'a str),
    /// The value with the token to compare by.
    GetToCompare(&'a str),
    /// Whether it is there and what it is, without the value.
    Look(&'a str),
    /// The same, with the time to live.
    TimeLeft(&'a str),
    Touch(&'a str, u32),
    Set(&'a str, &'a Item, u32),
    Add(&'a str, &'a Item, u32),
    Delete(&'a str),
    /// Adds or subtracts; with a token, only where nothing was changed since it was got.
    Count {
        key: &'a str,
        by: u64,
        down: bool,
        if_unchanged: Option<u64>,
    },
}

impl<'a> Command<'a> {
    pub(crate) fn key(&self) -> &'a str {
        match self {
            Self::Get(key)
            | Self::GetToCompare(key)
            | Self::Look(key)
            | Self::TimeLeft(key)
            | Self::Touch(key, _)
            | Self::Set(key, ..)
            | Self::Add(key, ..)
            | Self::Delete(key)
            | Self::Count { key, .. } => key,
        }
    }

    /// About how many bytes are sent.
    pub(crate) fn size(&self) -> usize {
        const FLAGS: usize = 32;
        let data = if let Self::Set(_, item, _) | Self::Add(_, item, _) = self { item.length() } else { 0 };
        self.key().len() + FLAGS + data
    }

    /// Whether it may be sent again where it is not known if it was carried out.
    pub(crate) fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::Add(..) | Self::Delete(_) | Self::Count { .. })
    }

    /// Appends what is sent.
    pub(crate) fn write(&self, opaque: u32, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(b" O");
        push_number(out, u64::from(opaque));
        self.write_data(out);
    }

    /// Appends what is sent so that only an error is answered, which does not say what it is about.
    pub(crate) fn write_quiet(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(b" q");
        self.write_data(out);
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        match self {
            Self::Get(key) => line(out, b"mg ", key, b" v f"),
            Self::GetToCompare(key) => line(out, b"mg ", key, b" v f c"),
            Self::Look(key) => line(out, b"mg ", key, b" f"),
            Self::TimeLeft(key) => line(out, b"mg ", key, b" f t"),
            Self::Delete(key) => line(out, b"md ", key, b""),
            Self::Touch(key, expiry) => {
                line(out, b"mg ", key, b" T");
                push_number(out, u64::from(*expiry));
            }
            Self::Set(key, item, expiry) => line_of_set(out, key, item, *expiry, b""),
            Self::Add(key, item, expiry) => line_of_set(out, key, item, *expiry, b" ME"),
            Self::Count { key, by, down, if_unchanged } => {
                line(out, b"ma ", key, if *down { b" v c MD D" } else { b" v c D" });
                push_number(out, *by);
                if let Some(token) = if_unchanged {
                    out.extend_from_slice(b" C");
                    push_number(out, *token);
                }
            }
        }
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        if let Self::Set(_, item, _) | Self::Add(_, item, _) = self {
            item.write(out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn line(out: &mut Vec<u8>, verb: &[u8], key: &str, flags: &[u8]) {
    out.extend_from_slice(verb);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(flags);
}

fn line_of_set(out: &mut Vec<u8>, key: &str, item: &Item, expiry: u32, mode: &[u8]) {
    line(out, b"ms ", key, b" ");
    push_number(out, item.length() as u64);
    out.extend_from_slice(b" F");
    push_number(out, u64::from(item.flags));
    if expiry > 0 {
        out.extend_from_slice(b" T");
        push_number(out, u64::from(expiry));
    }
    out.extend_from_slice(mode);
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// What the server answered to one command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    /// Of `f`.
    pub(crate) flags: u32,
    /// Of `t`: seconds, or -1 for ever.
    pub(crate) time_left: i64,
    /// Of `c`.
    pub(crate) token: u64,
    opaque: Option<u32>,
    /// A line and its value, as they came.
    piece: Bytes,
    key: Range<u16>,
    /// Where the value begins.
    value: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// VA, and VALUE of a classic `get`
    Value,
    /// HD
    Done,
    /// EN, NF
    Missing,
    /// NS
    NotStored,
    /// EX
    Changed,
    /// END, MN: no more replies come to a batch
    End,
    /// An error, in the server's words.
    Refused(Box<str>),
}

/// What came is no reply, or not the one that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// The server's own limit is a gibibyte.
const LONGEST_VALUE: usize = 1 << 30;
const LONGEST_LINE: usize = 2048;
/// Up to so many bytes are copied out of what was read, lest whoever keeps a small value keep all that came with it. That
/// costs no more than counting who has a share.
const COPIED: usize = 8 << 10;
/// How a value begins that a classic `get` has found.
const CLASSIC: &[u8] = b"VALUE ";

impl Reply {
    /// Whether it answers the command of this number. Only errors carry none, and a miss from servers before 1.6.10.
    pub(crate) fn answers(&self, opaque: u32) -> bool {
        match self.opaque {
            Some(number) => number == opaque,
            None => matches!(self.status, Status::Refused(_) | Status::Missing),
        }
    }

    /// The key that a classic `get` found; else nothing.
    pub(crate) fn key(&self) -> &[u8] {
        &self.piece[usize::from(self.key.start)..usize::from(self.key.end)]
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.piece[usize::from(self.value)..]
    }

    pub(crate) fn into_data(mut self) -> Bytes {
        self.piece.advance(usize::from(self.value));
        self.piece
    }

    /// Takes one reply off the front, without copying a long value. `None`: the rest of it has not come yet.
    pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Garbage> {
        let Some(end) = memchr(b'\n', &buffer[..buffer.len().min(LONGEST_LINE)]) else {
            return if buffer.len() < LONGEST_LINE { Ok(None) } else { Err(Garbage) };
        };
        let line = buffer[..end].strip_suffix(b"\r").ok_or(Garbage)?;
        let (mut reply, length) = Self::read_line(line)?;
        if reply.status == Status::Value {
            let whole = end + 1 + length + 2;
            if buffer.len() < whole {
                // No more at once than has come already, or a mebibyte: it may be a lie.
                buffer.reserve((whole - buffer.len()).min(buffer.len().max(1 << 20)));
                return Ok(None);
            }
            if &buffer[whole - 2..whole] != b"\r\n" {
                return Err(Garbage);
            }
            reply.piece = take_bytes(buffer, end + 1 + length);
            reply.value = (end + 1) as u16;
            buffer.advance(2);
        } else {
            buffer.advance(end + 1);
        }
        Ok(Some(reply))
    }

    fn read_line(line: &[u8]) -> Result<(Self, usize), Garbage> {
        if let Some(rest) = line.strip_prefix(CLASSIC) {
            return Self::read_classic(rest).ok_or(Garbage);
        }
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (status, length) = match words.next().ok_or(Garbage)? {
            b"VA" => (Status::Value, words.next().and_then(length).ok_or(Garbage)?),
            b"HD" => (Status::Done, 0),
            b"EN" | b"NF" => (Status::Missing, 0),
            b"NS" => (Status::NotStored, 0),
            b"EX" => (Status::Changed, 0),
            b"END" | b"MN" => (Status::End, 0),
            b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => {
                return Ok((Self::new(Status::Refused(String::from_utf8_lossy(line).into())), 0));
            }
            _ => return Err(Garbage),
        };
        let mut reply = Self::new(status);
        for word in words {
            reply.note(word).ok_or(Garbage)?;
        }
        Ok((reply, length))
    }

    /// What follows on `VALUE `: the key, the flags and the length.
    fn read_classic(rest: &[u8]) -> Option<(Self, usize)> {
        let mut words = rest.split(|byte| *byte == b' ');
        let key = words.next().filter(|key| !key.is_empty())?;
        let flags = words.next().and_then(number)?;
        let length = words.next().and_then(length)?;
        let key = CLASSIC.len() as u16..(CLASSIC.len() + key.len()) as u16;
        words.next().is_none().then(|| (Self { flags, key, ..Self::new(Status::Value) }, length))
    }

    pub(crate) fn new(status: Status) -> Self {
        Self { status, flags: 0, time_left: -1, token: 0, opaque: None, piece: Bytes::new(), key: 0..0, value: 0 }
    }

    fn note(&mut self, word: &[u8]) -> Option<()> {
        let (name, value) = word.split_first()?;
        match name {
            b'f' => self.flags = number(value)?,
            b't' => self.time_left = if value == b"-1" { -1 } else { number(value)? },
            b'c' => self.token = number(value)?,
            b'O' => self.opaque = Some(number(value)?),
            _ => {}
        }
        Some(())
    }
}

fn take_bytes(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length > COPIED {
        return buffer.split_to(length).freeze();
    }
    let bytes = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    bytes
}

/// Of a value.
fn length(digits: &[u8]) -> Option<usize> {
    number(digits).filter(|length| *length <= LONGEST_VALUE)
}

fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    let next = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    let number = digits.iter().try_fold(0, next)?;
    if digits.is_empty() { None } else { number.try_into().ok() }
}

#[cfg(test)]
mod tests {
    use cache_core::Value;
    use proptest::prelude::*;

    use super::*;

    fn written(command: &Command<'_>) -> String {
        let mut out = Vec::new();
        command.write(7, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn a_command_is_a_line_and_a_value() {
        let item = Item::new(&Value::Int(42), None).expect("it is kept");
        for (command, expected) in [
            (Command::Get("k"), "mg k v f O7\r\n"),
            (Command::Look("k"), "mg k f O7\r\n"),
            (Command::TimeLeft("k"), "mg k f t O7\r\n"),
            (Command::Touch("k", 0), "mg k T0 O7\r\n"),
            (Command::Delete("k"), "md k O7\r\n"),
            (Command::Set("k", &item, 0), "ms k 2 F2 O7\r\n42\r\n"),
            (Command::Add("k", &item, 60), "ms k 2 F2 T60 ME O7\r\n42\r\n"),
            (Command::Count { key: "k", by: 3, down: false, if_unchanged: None }, "ma k v c D3 O7\r\n"),
            (
                Command::Count { key: "k", by: 1 << 63, down: true, if_unchanged: Some(12) },
                "ma k v c MD D9223372036854775808 C12 O7\r\n",
            ),
        ] {
            assert_eq!(written(&command), expected);
        }
    }

    fn take_all(bytes: &[u8]) -> Result<(Vec<Reply>, usize), Garbage> {
        let mut buffer = BytesMut::from(bytes);
        let mut replies = Vec::new();
        while let Some(reply) = Reply::take(&mut buffer)? {
            replies.push(reply);
        }
        Ok((replies, buffer.len()))
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
        assert_eq!((replies[0].data(), replies[0].flags, replies[0].token), (&b"\r\n"[..], 256, 9));
        assert_eq!((replies[0].time_left, replies[2].time_left), (-1, 30));
        assert_eq!(rest, b"VA 5 f1\r\nhel".len(), "what is not there as a whole stays");
    }

    #[test]
    fn a_value_of_a_classic_get_has_its_key() {
        let (replies, rest) =
            take_all(b"VALUE k 256 2\r\n\r\n\r\nVALUE \xc3\xa4 2 0\r\n\r\nEND\r\nMN\r\nMN \r\nVALUE k 0 3\r\nab")
                .expect("they are replies");
        let keys: Vec<&[u8]> = replies.iter().map(Reply::key).collect();
        assert_eq!(keys, [&b"k"[..], "ä".as_bytes(), b"", b"", b""]);
        assert_eq!((replies[0].data(), replies[0].flags), (&b"\r\n"[..], 256));
        assert!(replies[2..].iter().all(|reply| reply.status == Status::End));
        assert_eq!(rest, b"VALUE k 0 3\r\nab".len(), "what is not there as a whole stays");
    }

    #[test]
    fn a_small_value_does_not_keep_what_came_with_it_and_a_long_one_is_not_copied() {
        let small = [&b"VA 3 f0\r\nabc\r\n"[..], &[b'x'; 1000]].concat();
        let long = [&b"VA 10000 f0\r\n"[..], &[b'x'; 10_000], b"\r\nHD\r\n"].concat();
        for (bytes, is_alone) in [(small, true), (long, false)] {
            let mut buffer = BytesMut::from(&*bytes);
            let value = Reply::take(&mut buffer).expect("a reply").expect("as a whole").into_data();
            let (start, read) = (value.as_ptr() as usize, buffer.as_ptr() as usize);
            assert_eq!(start < read && read - start < bytes.len(), !is_alone);
        }
    }

    #[test]
    fn a_reply_answers_the_command_of_its_number_only() {
        let (replies, _) = take_all(b"HD O5\r\nHD\r\nEN\r\nCLIENT_ERROR x\r\n").expect("they are replies");
        let answering = |opaque| replies.iter().map(|reply| reply.answers(opaque)).collect::<Vec<_>>();
        assert_eq!(answering(5), [true, false, true, true]);
        assert_eq!(answering(6), [false, false, true, true]);
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
            b"VALUE k 0\r\n",
            b"VALUE k x 1\r\na\r\n",
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
        fn a_reply_reads_the_same_wherever_it_is_cut(classic: bool, value in proptest::collection::vec(any::<u8>(), 0..50), cut in 0.0..1.0) {
            let head = if classic { format!("VALUE key 256 {}\r\n", value.len()) } else { format!("VA {} f256 O3\r\n", value.len()) };
            let bytes = [head.as_bytes(), &value, b"\r\n"].concat();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let cut = (bytes.len() as f64 * cut) as usize;
            let mut buffer = BytesMut::from(&bytes[..cut]);
            prop_assert_eq!(Reply::take(&mut buffer), Ok(None));
            buffer.extend_from_slice(&bytes[cut..]);
            let reply = Reply::take(&mut buffer).expect("a reply").expect("as a whole");
            prop_assert_eq!(reply.data(), &*value);
            prop_assert!(buffer.is_empty());
        }
    }
}
