//! The meta protocol: what is written for a command, and how replies are read.
//!
//! Every command is answered by exactly one reply, in order, for none is sent in quiet mode. Each carries a number, its
//! opaque, that the reply repeats: so a reply that is not the one expected is known as such.

use bytes::{Buf, Bytes, BytesMut};

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
        out.extend_from_slice(b" O");
        push_number(out, u64::from(opaque));
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
    pub(crate) data: Bytes,
    opaque: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// VA
    Value,
    /// HD
    Done,
    /// EN, NF
    Missing,
    /// NS
    NotStored,
    /// EX
    Changed,
    /// An error, in the server's words.
    Refused(Box<str>),
}

/// What came is no reply, or not the one that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// The server's own limit is a gibibyte.
const LONGEST_VALUE: usize = 1 << 30;
const LONGEST_LINE: usize = 2048;

impl Reply {
    /// Whether it answers the command of this number. Only errors carry none, and a miss from servers before 1.6.10.
    pub(crate) fn answers(&self, opaque: u32) -> bool {
        match self.opaque {
            Some(number) => number == opaque,
            None => matches!(self.status, Status::Refused(_) | Status::Missing),
        }
    }

    /// Takes one reply off the front, without copying its value. `None`: the rest of it has not come yet.
    pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Garbage> {
        let Some(end) = buffer.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
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
            buffer.advance(end + 1);
            reply.data = buffer.split_to(length).freeze();
            buffer.advance(2);
        } else {
            buffer.advance(end + 1);
        }
        Ok(Some(reply))
    }

    /// Reads the first line, and how long the value is that follows it.
    fn read_line(line: &[u8]) -> Result<(Self, usize), Garbage> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (status, length) = match words.next().ok_or(Garbage)? {
            b"VA" => (Status::Value, words.next().and_then(number).ok_or(Garbage)?),
            b"HD" => (Status::Done, 0),
            b"EN" | b"NF" => (Status::Missing, 0),
            b"NS" => (Status::NotStored, 0),
            b"EX" => (Status::Changed, 0),
            b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => {
                return Ok((Self::new(Status::Refused(String::from_utf8_lossy(line).into())), 0));
            }
            _ => return Err(Garbage),
        };
        if length > LONGEST_VALUE {
            return Err(Garbage);
        }
        let mut reply = Self::new(status);
        for word in words {
            reply.note(word).ok_or(Garbage)?;
        }
        Ok((reply, length))
    }

    fn new(status: Status) -> Self {
        Self { status, flags: 0, time_left: -1, token: 0, data: Bytes::new(), opaque: None }
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

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
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
        assert_eq!((&*replies[0].data, replies[0].flags, replies[0].token), (&b"\r\n"[..], 256, 9));
        assert_eq!((replies[0].time_left, replies[2].time_left), (-1, 30));
        assert_eq!(rest, b"VA 5 f1\r\nhel".len(), "what is not there as a whole stays");
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
        fn a_reply_reads_the_same_wherever_it_is_cut(value in proptest::collection::vec(any::<u8>(), 0..50), cut in 0.0..1.0) {
            let bytes = [format!("VA {} f256 O3\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let cut = (bytes.len() as f64 * cut) as usize;
            let mut buffer = BytesMut::from(&bytes[..cut]);
            prop_assert_eq!(Reply::take(&mut buffer), Ok(None));
            buffer.extend_from_slice(&bytes[cut..]);
            let reply = Reply::take(&mut buffer).expect("a reply").expect("as a whole");
            prop_assert_eq!(&*reply.data, &*value);
            prop_assert!(buffer.is_empty());
        }
    }
}
