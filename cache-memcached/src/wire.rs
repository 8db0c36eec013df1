//! The meta protocol: encoding of commands and parsing of replies.
//!
//! Each command has exactly one reply, and replies come in the order of the commands. Each command
//! also carries a number, its opaque, which the reply repeats. Replies are matched by their order;
//! the opaque detects a reply that is out of order. Only a [batch](crate::batch) works differently.
//!
//! The codec is written here because that of the crate `memcache` allocates a vector for each key,
//! value and flag of a command or reply. This one appends commands to one buffer and takes values
//! out of another.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use crate::{expiry::Expiry, item::Item};

/// A command for one key.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// Fetches the value.
    Get(&'a str),
    /// Fetches the value, the time to live and the CAS token.
    GetWithCas(&'a str),
    /// Fetches the flags without the value.
    GetFlags(&'a str),
    /// Fetches the size, the flags and the CAS token without the value.
    GetHead(&'a str),
    /// Fetches the size and the flags without counting as a use of the entry.
    Peek(&'a str),
    /// Fetches the flags and the time to live without the value.
    GetTtl(&'a str),
    /// Like [`GetHead`](Self::GetHead), and sets the time to live.
    Touch(&'a str, Expiry),
    /// Fetches the value like [`GetHead`](Self::GetHead), and sets the time to live.
    GetAndTouch(&'a str, Expiry),
    /// Fetches everything. If the key is absent, creates a stub, an empty item, for this time.
    Vivify(&'a str, Expiry),
    Set(&'a str, Item<'a>, Expiry),
    /// Sets the value if the entry still has this CAS token.
    CompareAndSet(&'a str, Item<'a>, Expiry, u64),
    Add(&'a str, Item<'a>, Expiry),
    Delete(&'a str),
    /// Deletes the entry if it still has this CAS token.
    CompareAndDelete(&'a str, u64),
    /// Adds or subtracts. With a CAS token, only if the entry still has it.
    Arithmetic {
        key: &'a str,
        delta: u64,
        subtract: bool,
        cas: Option<u64>,
        /// The number to store if the key is absent, and its time to live.
        create: Option<(u64, Expiry)>,
    },
}

impl<'a> Command<'a> {
    pub(crate) fn key(&self) -> &'a str {
        match self {
            Self::Get(key)
            | Self::GetWithCas(key)
            | Self::GetFlags(key)
            | Self::GetHead(key)
            | Self::Peek(key)
            | Self::GetTtl(key)
            | Self::Touch(key, _)
            | Self::GetAndTouch(key, _)
            | Self::Vivify(key, _)
            | Self::Set(key, ..)
            | Self::CompareAndSet(key, ..)
            | Self::Add(key, ..)
            | Self::Delete(key)
            | Self::CompareAndDelete(key, _)
            | Self::Arithmetic { key, .. } => key,
        }
    }

    /// The approximate number of bytes that are sent.
    pub(crate) fn size_hint(&self) -> usize {
        const FLAGS: usize = 32;
        self.key().len() + FLAGS + self.item().map_or(0, Item::len)
    }

    /// The item to store, if the command stores one.
    pub(crate) fn item(&self) -> Option<&Item<'a>> {
        match self {
            Self::Set(_, item, _) | Self::CompareAndSet(_, item, ..) | Self::Add(_, item, _) => {
                Some(item)
            }
            _ => None,
        }
    }

    /// Returns whether the command may be sent again if it may have been executed already.
    pub(crate) fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Add(..)
                | Self::CompareAndSet(..)
                | Self::Vivify(..)
                | Self::Delete(_)
                | Self::CompareAndDelete(..)
                | Self::Arithmetic { .. }
        )
    }

    /// Appends the encoded command.
    pub(crate) fn write(&self, opaque: u32, out: &mut Vec<u8>) {
        self.write_line(out);
        out.extend_from_slice(b" O");
        push_number(out, u64::from(opaque));
        self.write_data(out);
    }

    /// Appends the encoded command in quiet mode: it has a reply only if it fails, and that reply
    /// does not identify the command.
    pub(crate) fn write_quiet(&self, out: &mut Vec<u8>) {
        self.write_line(out);
        out.extend_from_slice(b" q");
        self.write_data(out);
    }

    fn write_line(&self, out: &mut Vec<u8>) {
        match self {
            Self::Get(key) => push_line(out, b"mg ", key, b" v f"),
            Self::GetWithCas(key) => push_line(out, b"mg ", key, b" v f c t"),
            Self::GetFlags(key) => push_line(out, b"mg ", key, b" f"),
            Self::GetHead(key) => push_line(out, b"mg ", key, b" s f c"),
            Self::Peek(key) => push_line(out, b"mg ", key, b" s f u"),
            Self::GetTtl(key) => push_line(out, b"mg ", key, b" f t"),
            Self::Delete(key) => push_line(out, b"md ", key, b""),
            Self::CompareAndDelete(key, cas) => {
                push_line(out, b"md ", key, b" C");
                push_number(out, *cas);
            }
            Self::Touch(key, expiry) => {
                push_line(out, b"mg ", key, b" s f c T");
                out.extend_from_slice(expiry.digits());
            }
            Self::GetAndTouch(key, expiry) => {
                push_line(out, b"mg ", key, b" s v f c T");
                out.extend_from_slice(expiry.digits());
            }
            Self::Vivify(key, expiry) => {
                push_line(out, b"mg ", key, b" s v c f t N");
                out.extend_from_slice(expiry.digits());
            }
            Self::Set(key, item, expiry) => push_set_line(out, key, item, expiry, b""),
            Self::CompareAndSet(key, item, expiry, cas) => {
                push_set_line(out, key, item, expiry, b" C");
                push_number(out, *cas);
            }
            Self::Add(key, item, expiry) => push_set_line(out, key, item, expiry, b" ME"),
            Self::Arithmetic { key, delta, subtract, cas, create } => {
                push_line(out, b"ma ", key, if *subtract { b" v c MD D" } else { b" v c D" });
                push_number(out, *delta);
                if let Some(cas) = cas {
                    out.extend_from_slice(b" C");
                    push_number(out, *cas);
                }
                if let Some((initial, expiry)) = create {
                    out.extend_from_slice(b" N");
                    out.extend_from_slice(expiry.digits());
                    out.extend_from_slice(b" J");
                    push_number(out, *initial);
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

fn push_line(out: &mut Vec<u8>, verb: &[u8], key: &str, flags: &[u8]) {
    out.extend_from_slice(verb);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(flags);
}

fn push_set_line(out: &mut Vec<u8>, key: &str, item: &Item<'_>, expiry: &Expiry, mode: &[u8]) {
    push_line(out, b"ms ", key, b" ");
    push_number(out, item.len() as u64);
    out.extend_from_slice(b" F");
    out.extend_from_slice(item.flag_digits().as_bytes());
    if !expiry.is_never() {
        out.extend_from_slice(b" T");
        out.extend_from_slice(expiry.digits());
    }
    out.extend_from_slice(mode);
}

/// Appends a number in decimal digits, four at a time.
fn push_number(out: &mut Vec<u8>, number: u64) {
    let (high, low) = (number / 10_000, (number % 10_000) as u16);
    let digits =
        [low / 1000, low / 100 % 10, low / 10 % 10, low % 10].map(|digit| b'0' + digit as u8);
    if high > 0 {
        push_number(out, high);
        out.extend_from_slice(&digits);
    } else {
        let leading_zeros = [1000, 100, 10].iter().filter(|power| low < **power).count();
        out.extend_from_slice(&digits[leading_zeros..]);
    }
}

/// The server's reply to one command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    /// The value of the flag `f`.
    pub(crate) flags: u32,
    /// The value of the flag `t`: seconds, or -1 if the entry never expires.
    pub(crate) ttl: i64,
    /// The value of the flag `c`.
    pub(crate) cas: u64,
    /// The value of the flag `s`: the size of the value in bytes.
    pub(crate) size: Option<usize>,
    /// The flag `W`: the command has created a stub.
    pub(crate) created: bool,
    pub(crate) data: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// `VA`, and `VALUE` of a classic `get`
    Value,
    /// `HD`
    Done,
    /// `EN` and `NF`
    NotFound,
    /// `NS`
    NotStored,
    /// `EX`
    CasMismatch,
    /// `END` and `MN`: the last reply to a batch
    End,
    /// An error, in the server's words
    Error(Box<str>),
}

impl Reply {
    pub(crate) fn new(status: Status) -> Self {
        let data = Bytes::new();
        Self { status, flags: 0, ttl: -1, cas: 0, size: None, created: false, data }
    }

    /// Returns whether the item is a stub, judged by its size, which the command must fetch.
    pub(crate) fn is_stub(&self) -> bool {
        self.flags == 0 && self.size == Some(0)
    }
}

/// The bytes received are not a reply, or not the expected reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError;

/// The server's own limit is 1 GiB.
const MAX_VALUE_LEN: usize = 1 << 30;
/// The prefix of a value in the reply to a classic `get`.
pub(crate) const CLASSIC_VALUE: &[u8] = b"VALUE ";

/// A parsed reply line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The reply without the value, which follows the line.
    pub(crate) reply: Reply,
    opaque: Option<u32>,
    line_len: usize,
    key: Range<usize>,
    value_len: usize,
}

impl Header {
    /// Parses a line without its terminator.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        if let Some(rest) = line.strip_prefix(CLASSIC_VALUE) {
            return Self::parse_classic(rest).ok_or(ProtocolError);
        }
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let status = match words.next().ok_or(ProtocolError)? {
            b"VA" => Status::Value,
            b"HD" => Status::Done,
            b"EN" | b"NF" => Status::NotFound,
            b"NS" => Status::NotStored,
            b"EX" => Status::CasMismatch,
            b"END" | b"MN" => Status::End,
            b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => {
                let status = Status::Error(String::from_utf8_lossy(line).into());
                return Ok(Self::new(status, line.len()));
            }
            _ => return Err(ProtocolError),
        };
        let mut header = Self::new(status, line.len());
        if header.reply.status == Status::Value {
            header.value_len = words.next().and_then(parse_value_len).ok_or(ProtocolError)?;
        }
        for word in words {
            header.set_flag(word).ok_or(ProtocolError)?;
        }
        Ok(header)
    }

    /// Parses what follows `VALUE `: the key, the flags and the length.
    fn parse_classic(rest: &[u8]) -> Option<Self> {
        let key_len = memchr(b' ', rest).filter(|len| *len > 0)?;
        let (flags, rest_of_line) = split_number(&rest[key_len + 1..])?;
        let mut header = Self::new(Status::Value, CLASSIC_VALUE.len() + rest.len());
        header.key = CLASSIC_VALUE.len()..CLASSIC_VALUE.len() + key_len;
        header.reply.flags = flags.try_into().ok()?;
        header.value_len = parse_value_len(rest_of_line.strip_prefix(b" ")?)?;
        Some(header)
    }

    fn new(status: Status, line_len: usize) -> Self {
        Self { reply: Reply::new(status), opaque: None, line_len, key: 0..0, value_len: 0 }
    }

    fn set_flag(&mut self, word: &[u8]) -> Option<()> {
        let (name, value) = word.split_first()?;
        match name {
            b'f' => self.reply.flags = parse_number(value)?,
            b't' => self.reply.ttl = if value == b"-1" { -1 } else { parse_number(value)? },
            b'c' => self.reply.cas = parse_number(value)?,
            b's' => self.reply.size = Some(parse_number(value)?),
            b'W' => self.reply.created = true,
            b'O' => self.opaque = Some(parse_number(value)?),
            _ => {}
        }
        Some(())
    }

    /// Returns whether this is the reply to the command with this opaque.
    ///
    /// Errors have no opaque, nor do misses of servers before 1.6.10.
    pub(crate) fn matches(&self, opaque: u32) -> bool {
        match self.opaque {
            Some(number) => number == opaque,
            None => matches!(self.reply.status, Status::Error(_) | Status::NotFound),
        }
    }

    /// The length of the line in bytes, including its terminator.
    pub(crate) fn line_len(&self) -> usize {
        self.line_len + b"\r\n".len()
    }

    /// The range of the key in the line. It is empty except for a classic `get`.
    pub(crate) fn key(&self) -> Range<usize> {
        self.key.clone()
    }

    /// The length of the value that follows the line, if one does.
    pub(crate) fn value_len(&self) -> Option<usize> {
        (self.reply.status == Status::Value).then_some(self.value_len)
    }
}

fn parse_value_len(digits: &[u8]) -> Option<usize> {
    parse_number(digits).filter(|len| *len <= MAX_VALUE_LEN)
}

fn parse_number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    let (number, rest) = split_number(digits)?;
    if rest.is_empty() { number.try_into().ok() } else { None }
}

/// Splits the bytes after the number at their start.
pub(crate) fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut rest = bytes;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = tail;
    }
    (rest.len() < bytes.len()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::Value;

    use super::*;

    fn encode(command: &Command<'_>) -> String {
        let mut out = Vec::new();
        command.write(7, &mut out);
        String::from_utf8(out).expect("commands should be UTF-8")
    }

    #[test]
    fn commands_are_encoded_as_line_and_value() {
        let item = || Item::new(&Value::Int(42), None).expect("integers should be encodable");
        let (never, minute) = (Expiry::new(None), Expiry::new(Some(Duration::from_secs(60))));
        for (command, expected) in [
            (Command::Get("k"), "mg k v f O7\r\n"),
            (Command::GetFlags("k"), "mg k f O7\r\n"),
            (Command::GetTtl("k"), "mg k f t O7\r\n"),
            (Command::GetHead("k"), "mg k s f c O7\r\n"),
            (Command::Peek("k"), "mg k s f u O7\r\n"),
            (Command::Touch("k", never), "mg k s f c T0 O7\r\n"),
            (Command::GetAndTouch("k", minute), "mg k s v f c T60 O7\r\n"),
            (Command::Vivify("k", minute), "mg k s v c f t N60 O7\r\n"),
            (Command::CompareAndDelete("k", 12), "md k C12 O7\r\n"),
            (Command::CompareAndSet("k", Item::stub(), minute, 12), "ms k 0 F0 T60 C12 O7\r\n\r\n"),
            (Command::Delete("k"), "md k O7\r\n"),
            (Command::Set("k", item(), never), "ms k 2 F2 O7\r\n42\r\n"),
            (Command::CompareAndSet("k", item(), minute, 12), "ms k 2 F2 T60 C12 O7\r\n42\r\n"),
            (Command::Add("k", item(), minute), "ms k 2 F2 T60 ME O7\r\n42\r\n"),
            (
                Command::Arithmetic {
                    key: "k",
                    delta: 3,
                    subtract: false,
                    cas: None,
                    create: Some((1, minute)),
                },
                "ma k v c D3 N60 J1 O7\r\n",
            ),
            (
                Command::Arithmetic {
                    key: "k",
                    delta: 1 << 63,
                    subtract: true,
                    cas: Some(12),
                    create: None,
                },
                "ma k v c MD D9223372036854775808 C12 O7\r\n",
            ),
        ] {
            assert_eq!(encode(&command), expected);
        }
    }

    #[test]
    fn numbers_are_encoded_in_decimal() {
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
    fn stub_is_an_empty_item_without_flags() {
        let parse =
            |line: &str| Header::parse(line.as_bytes()).expect("line should be a reply").reply;
        let created = parse("VA 0 s0 c1 f0 t-1 O7 W");
        assert!(created.is_stub() && created.created);
        let held = parse("HD s0 f0 c1 O7 Z");
        assert!(held.is_stub() && !held.created);
        for line in ["HD s0 f2 O7", "HD s1 f0 O7", "HD f0 O7", "EN O7"] {
            assert!(!parse(line).is_stub(), "{line}");
        }
    }

    #[test]
    fn header_matches_only_its_opaque() {
        let headers = ["HD O5", "HD", "EN", "CLIENT_ERROR x"]
            .map(|line| Header::parse(line.as_bytes()).expect("line should be a reply"));
        let matching =
            |opaque| headers.iter().map(|header| header.matches(opaque)).collect::<Vec<_>>();
        assert_eq!(matching(5), [true, false, true, true]);
        assert_eq!(matching(6), [false, false, true, true]);
    }
}
