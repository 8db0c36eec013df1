//! The meta protocol: what is written for a command, and how replies are read.
//!
//! A command is answered by exactly one reply, in order. It carries a number, its opaque, that the reply repeats: so a
//! reply that is not the one expected is known as such. Only in a [batch](crate::batch) it is otherwise.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use crate::{expiry::Expiry, item::Item};

/// A command for one key.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// The value.
    Get(&'a str),
    /// The value with its time to live and the token to compare by.
    GetToCompare(&'a str),
    /// Whether it is there and what it is, without the value.
    Look(&'a str),
    /// The same, with the time to live.
    TimeLeft(&'a str),
    Touch(&'a str, Expiry),
    Set(&'a str, Item<'a>, Expiry),
    /// Only where nothing was changed since the token was got.
    SetIfUnchanged(&'a str, Item<'a>, Expiry, u64),
    Add(&'a str, Item<'a>, Expiry),
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
            | Self::SetIfUnchanged(key, ..)
            | Self::Add(key, ..)
            | Self::Delete(key)
            | Self::Count { key, .. } => key,
        }
    }

    /// About how many bytes are sent.
    pub(crate) fn size(&self) -> usize {
        const FLAGS: usize = 32;
        self.key().len() + FLAGS + self.item().map_or(0, Item::length)
    }

    /// What is to be stored.
    pub(crate) fn item(&self) -> Option<&Item<'a>> {
        match self {
            Self::Set(_, item, _) | Self::SetIfUnchanged(_, item, ..) | Self::Add(_, item, _) => {
                Some(item)
            }
            _ => None,
        }
    }

    /// Whether it may be sent again where it is not known if it was carried out.
    pub(crate) fn may_be_repeated(&self) -> bool {
        !matches!(
            self,
            Self::Add(..) | Self::SetIfUnchanged(..) | Self::Delete(_) | Self::Count { .. }
        )
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
            Self::GetToCompare(key) => line(out, b"mg ", key, b" v f c t"),
            Self::Look(key) => line(out, b"mg ", key, b" f"),
            Self::TimeLeft(key) => line(out, b"mg ", key, b" f t"),
            Self::Delete(key) => line(out, b"md ", key, b""),
            Self::Touch(key, expiry) => {
                line(out, b"mg ", key, b" T");
                out.extend_from_slice(expiry.digits());
            }
            Self::Set(key, item, expiry) => line_of_set(out, key, item, expiry, b""),
            Self::SetIfUnchanged(key, item, expiry, token) => {
                line_of_set(out, key, item, expiry, b" C");
                push_number(out, *token);
            }
            Self::Add(key, item, expiry) => line_of_set(out, key, item, expiry, b" ME"),
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
        if let Some(item) = self.item() {
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

fn line_of_set(out: &mut Vec<u8>, key: &str, item: &Item<'_>, expiry: &Expiry, mode: &[u8]) {
    line(out, b"ms ", key, b" ");
    push_number(out, item.length() as u64);
    out.extend_from_slice(b" F");
    out.extend_from_slice(item.flags_in_digits().as_bytes());
    if !expiry.is_never() {
        out.extend_from_slice(b" T");
        out.extend_from_slice(expiry.digits());
    }
    out.extend_from_slice(mode);
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let (above, last) = (number / 10_000, (number % 10_000) as u16);
    let digits =
        [last / 1000, last / 100 % 10, last / 10 % 10, last % 10].map(|digit| b'0' + digit as u8);
    if above > 0 {
        push_number(out, above);
        out.extend_from_slice(&digits);
    } else {
        let zeros = [1000, 100, 10].iter().filter(|least| last < **least).count();
        out.extend_from_slice(&digits[zeros..]);
    }
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

impl Reply {
    pub(crate) fn new(status: Status) -> Self {
        Self { status, flags: 0, time_left: -1, token: 0, data: Bytes::new() }
    }
}

/// What came is no reply, or not the one that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// The server's own limit is a gibibyte.
const LONGEST_VALUE: usize = 1 << 30;
/// How a value begins that a classic `get` has found.
pub(crate) const CLASSIC: &[u8] = b"VALUE ";

/// What the line of a reply says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Without the value, which follows the line.
    pub(crate) reply: Reply,
    opaque: Option<u32>,
    line: usize,
    key: Range<usize>,
    /// Of the value.
    length: usize,
}

impl Head {
    /// Reads a line, which comes without its end.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Garbage> {
        if let Some(rest) = line.strip_prefix(CLASSIC) {
            return Self::read_classic(rest).ok_or(Garbage);
        }
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let status = match words.next().ok_or(Garbage)? {
            b"VA" => Status::Value,
            b"HD" => Status::Done,
            b"EN" | b"NF" => Status::Missing,
            b"NS" => Status::NotStored,
            b"EX" => Status::Changed,
            b"END" | b"MN" => Status::End,
            b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => {
                return Ok(Self::new(
                    Status::Refused(String::from_utf8_lossy(line).into()),
                    line.len(),
                ));
            }
            _ => return Err(Garbage),
        };
        let mut head = Self::new(status, line.len());
        if head.reply.status == Status::Value {
            head.length = words.next().and_then(length).ok_or(Garbage)?;
        }
        for word in words {
            head.note(word).ok_or(Garbage)?;
        }
        Ok(head)
    }

    /// What follows on `VALUE `: the key, the flags and the length.
    fn read_classic(rest: &[u8]) -> Option<Self> {
        let key = memchr(b' ', rest).filter(|length| *length > 0)?;
        let (flags, numbers) = leading_number(&rest[key + 1..])?;
        let mut head = Self::new(Status::Value, CLASSIC.len() + rest.len());
        head.key = CLASSIC.len()..CLASSIC.len() + key;
        head.reply.flags = flags.try_into().ok()?;
        head.length = length(numbers.strip_prefix(b" ")?)?;
        Some(head)
    }

    fn new(status: Status, line: usize) -> Self {
        Self { reply: Reply::new(status), opaque: None, line, key: 0..0, length: 0 }
    }

    fn note(&mut self, word: &[u8]) -> Option<()> {
        let (name, value) = word.split_first()?;
        match name {
            b'f' => self.reply.flags = number(value)?,
            b't' => self.reply.time_left = if value == b"-1" { -1 } else { number(value)? },
            b'c' => self.reply.token = number(value)?,
            b'O' => self.opaque = Some(number(value)?),
            _ => {}
        }
        Some(())
    }

    /// Whether it answers the command of this number. Only errors carry none, and a miss from servers before 1.6.10.
    pub(crate) fn answers(&self, opaque: u32) -> bool {
        match self.opaque {
            Some(number) => number == opaque,
            None => matches!(self.reply.status, Status::Refused(_) | Status::Missing),
        }
    }

    /// How many bytes the line has, with its end.
    pub(crate) fn size(&self) -> usize {
        self.line + b"\r\n".len()
    }

    /// Where in the line the key is that a classic `get` found; else nowhere.
    pub(crate) fn key(&self) -> Range<usize> {
        self.key.clone()
    }

    /// How long the value is that follows, if one does.
    pub(crate) fn length(&self) -> Option<usize> {
        (self.reply.status == Status::Value).then_some(self.length)
    }
}

/// Of a value.
fn length(digits: &[u8]) -> Option<usize> {
    number(digits).filter(|length| *length <= LONGEST_VALUE)
}

fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    let (number, rest) = leading_number(digits)?;
    if rest.is_empty() { number.try_into().ok() } else { None }
}

/// A number, and what follows it.
pub(crate) fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut rest = bytes;
    while let [digit @ b'0'..=b'9', others @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = others;
    }
    (rest.len() < bytes.len()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::Value;

    use super::*;

    fn written(command: &Command<'_>) -> String {
        let mut out = Vec::new();
        command.write(7, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn a_command_is_a_line_and_a_value() {
        let item = || Item::new(&Value::Int(42), None).expect("it is kept");
        let (never, minute) = (Expiry::of(None), Expiry::of(Some(Duration::from_secs(60))));
        for (command, expected) in [
            (Command::Get("k"), "mg k v f O7\r\n"),
            (Command::Look("k"), "mg k f O7\r\n"),
            (Command::TimeLeft("k"), "mg k f t O7\r\n"),
            (Command::Touch("k", never), "mg k T0 O7\r\n"),
            (Command::Delete("k"), "md k O7\r\n"),
            (Command::Set("k", item(), never), "ms k 2 F2 O7\r\n42\r\n"),
            (Command::SetIfUnchanged("k", item(), minute, 12), "ms k 2 F2 T60 C12 O7\r\n42\r\n"),
            (Command::Add("k", item(), minute), "ms k 2 F2 T60 ME O7\r\n42\r\n"),
            (
                Command::Count { key: "k", by: 3, down: false, if_unchanged: None },
                "ma k v c D3 O7\r\n",
            ),
            (
                Command::Count { key: "k", by: 1 << 63, down: true, if_unchanged: Some(12) },
                "ma k v c MD D9223372036854775808 C12 O7\r\n",
            ),
        ] {
            assert_eq!(written(&command), expected);
        }
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [
            0,
            9,
            10,
            99,
            100,
            999,
            1000,
            9999,
            10_000,
            10_001,
            99_999_999,
            100_000_000,
            1 << 40,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out), Ok(number.to_string()));
        }
    }

    #[test]
    fn a_reply_answers_the_command_of_its_number_only() {
        let heads = ["HD O5", "HD", "EN", "CLIENT_ERROR x"]
            .map(|line| Head::read(line.as_bytes()).expect("it is one"));
        let answering = |opaque| heads.iter().map(|head| head.answers(opaque)).collect::<Vec<_>>();
        assert_eq!(answering(5), [true, false, true, true]);
        assert_eq!(answering(6), [false, false, true, true]);
    }
}
