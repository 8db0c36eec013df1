//! How values are stored in the server.
//!
//! An integer is decimal text, as with `INCRBY` and Django. Bytes are stored as they are, unless
//! they are empty, would be decoded as an integer or begin with the escape byte: these get an
//! escape byte in front. What a [`CacheHandle`](cache_core::CacheHandle) encodes has a header and
//! never needs it.
//!
//! The mark of a lease begins with the escape byte and `T`, as no value does. Its key is absent in
//! every respect. Empty values are escaped so that two bytes show whether there is a value.

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result, Value};

/// The escape byte: the ASCII escape character.
const ESCAPE: u8 = 0x1B;

/// The first two bytes of a mark. The [scripts](crate::script) contain them as well.
pub(crate) const MARK_HEAD: [u8; 2] = [ESCAPE, b'T'];

/// The first byte of an entry in the format 2 of `cache_core::codec`, the high half of its second
/// byte, and the bit of its third byte that says that a stamp follows.
const FORMAT_2: (u8, u8, u8) = (0xC1, 0x20, 0x20);

/// The length of that header up to the end of the stamp.
const STAMPED_HEAD: usize = 3 + 8;

/// The maximum size of a value in bytes: 512 MiB.
///
/// This is the default of the server's setting `proto-max-bulk-len`. If the server has a lower
/// limit and reports it, that one counts. The server closes the connection if it receives more.
pub const MAX_VALUE_BYTES: usize = 512 << 20;

/// The size in bytes of a value that every server accepts: the lowest `proto-max-bulk-len`.
pub(crate) const MIN_MAX_VALUE_BYTES: usize = 1 << 20;

/// A value as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoded<'a> {
    Integer(i64),
    Plain(&'a [u8]),
    Escaped(Vec<u8>),
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Self> {
        match value {
            Value::Int(number) => Ok(Self::Integer(*number)),
            Value::Bytes(bytes) if needs_escape(bytes) => {
                Ok(Self::Escaped([&[ESCAPE], &**bytes].concat()))
            }
            Value::Bytes(bytes) => Ok(Self::Plain(bytes)),
            _ => {
                let message = "only integers and bytes can be stored";
                Err(Error::new(ErrorKind::Encode, message).in_store("redis"))
            }
        }
    }

    /// The approximate number of bytes that are sent.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Integer(_) => size_of::<i64>(),
            Self::Plain(bytes) => bytes.len(),
            Self::Escaped(bytes) => bytes.len(),
        }
    }
}

impl redis::ToRedisArgs for Encoded<'_> {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Integer(number) => number.write_redis_args(out),
            Self::Plain(bytes) => out.write_arg(bytes),
            Self::Escaped(bytes) => out.write_arg(bytes),
        }
    }
}

fn needs_escape(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == ESCAPE) || parse_integer(bytes).is_some()
}

/// Decodes what the server returned, without copying it. Returns `None` for the mark of a lease.
pub(crate) fn decode(stored: Vec<u8>) -> Option<Value> {
    if let Some(number) = parse_integer(&stored) {
        return Some(Value::Int(number));
    }
    if stored.starts_with(&MARK_HEAD) {
        return None;
    }
    let bytes = Bytes::from(stored);
    Some(Value::Bytes(if bytes.first() == Some(&ESCAPE) { bytes.slice(1..) } else { bytes }))
}

/// Returns the bytes at the start of a stored entry that no other entry begins with, or `None` if
/// only the whole entry distinguishes it from others.
pub(crate) fn stamp(stored: &[u8]) -> Option<&[u8]> {
    let (magic, format, stamped) = FORMAT_2;
    match stored {
        [first, second, flags, ..]
            if *first == magic && second & 0xF0 == format && flags & stamped != 0 =>
        {
            stored.get(..STAMPED_HEAD)
        }
        _ => None,
    }
}

/// Parses an integer if it is written as the server writes it: no plus sign, no leading zeros.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    const MAX_LEN: usize = "-9223372036854775808".len();
    let digits = match text {
        [] => return None,
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    let is_canonical = digits == b"0" && text.len() == 1
        || digits.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    if !is_canonical || text.len() > MAX_LEN {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: &Value) -> Vec<u8> {
        let encoded = Encoded::new(value).expect("not an object");
        let args = redis::ToRedisArgs::to_redis_args(&encoded);
        assert_eq!(args.len(), 1);
        args.concat()
    }

    #[test]
    fn decoding_reverses_encoding() {
        let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
        for value in [
            Value::Int(0),
            Value::Int(-7),
            Value::Int(i64::MAX),
            Value::Int(i64::MIN),
            bytes(b""),
            bytes(b"-"),
            bytes(b"0"),
            bytes(b"42"),
            bytes(b"-0"),
            bytes(b"007"),
            bytes(b"+7"),
            bytes(b"9223372036854775807"),
            bytes(b"9223372036854775808"),
            bytes(b"-9223372036854775808"),
            bytes(b"\x1B"),
            bytes(b"\x1B\x1B42"),
            bytes(b"\x1B42"),
            bytes(b"\x1BT"),
            bytes(b"\xC1\x11text"),
        ] {
            let stored = encode(&value);
            assert!(!stored.is_empty() && !stored.starts_with(&MARK_HEAD), "{stored:?}");
            assert_eq!(decode(stored), Some(value));
        }
    }

    #[test]
    fn mark_is_not_a_value() {
        assert_eq!(decode(b"\x1BT".to_vec()), None);
        assert_eq!(decode(b"\x1BTtoken".to_vec()), None);
    }

    #[test]
    fn empty_value_of_an_earlier_release_is_decoded() {
        assert_eq!(decode(Vec::new()), Some(Value::Bytes(Bytes::new())));
    }

    #[test]
    fn only_entries_of_format_2_with_the_flag_have_a_stamp() {
        assert_eq!(stamp(b"\xC1\x21\x20stamp678body"), Some(&b"\xC1\x21\x20stamp678"[..]));
        assert_eq!(stamp(b"\xC1\x22\x21stamp678"), Some(&b"\xC1\x22\x21stamp678"[..]));
        for stored in [&b"\xC1\x11 text of format 1"[..], b"\xC1\x21\x01no stamp", b"", b"57"] {
            assert_eq!(stamp(stored), None, "{stored:?}");
        }
        assert_eq!(stamp(b"\xC1\x21\x20short"), None);
    }

    #[test]
    fn integer_is_decimal_text_and_bytes_are_escaped_only_if_ambiguous() {
        assert_eq!(encode(&Value::Int(-12)), b"-12");
        assert_eq!(encode(&Value::Bytes(Bytes::from_static(b"\xC1\x10x"))), b"\xC1\x10x");
        assert_eq!(encode(&Value::Bytes(Bytes::from_static(b"42"))), b"\x1B42");
    }

    #[test]
    fn decoding_bytes_copies_nothing() {
        let stored = b"\x1B12345".to_vec();
        let start = stored.as_ptr();
        let Some(Value::Bytes(bytes)) = decode(stored) else { panic!("not bytes") };
        assert_eq!(bytes.as_ptr(), start.wrapping_add(1));
    }
}
