//! How values stand in the server.
//!
//! An integer is its decimal text, as `INCRBY` and Django have it. Bytes are themselves, but for those that would be taken
//! for an integer, or that begin with the mark: these stand behind a mark of one byte. What a
//! [`CacheHandle`](cache_core::CacheHandle) encodes has a header of its own, and never needs it.

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result, Value};

/// Stands before bytes that are not what they seem: the ASCII escape character.
const MARK: u8 = 0x1B;

/// The most that a server takes by default (`proto-max-bulk-len`): 512 MiB. Beyond it, it closes the connection.
pub const MAX_VALUE_BYTES: usize = 512 << 20;

/// A value as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Number(i64),
    Plain(&'a [u8]),
    Marked(Vec<u8>),
}

impl<'a> Stored<'a> {
    pub(crate) fn of(key: &str, value: &'a Value) -> Result<Self> {
        let stored = match value {
            Value::Int(number) => Self::Number(*number),
            Value::Bytes(bytes) if needs_mark(bytes) => Self::Marked([&[MARK], &**bytes].concat()),
            Value::Bytes(bytes) => Self::Plain(bytes),
            _ => {
                return Err(Error::new(ErrorKind::Encode, "Redis keeps integers and bytes only")
                    .in_store("redis"));
            }
        };
        match stored.size() {
            size if size > MAX_VALUE_BYTES => {
                Err(Error::too_large(key, size, MAX_VALUE_BYTES).in_store("redis"))
            }
            _ => Ok(stored),
        }
    }

    /// About how many bytes are sent.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Number(_) => size_of::<i64>(),
            Self::Plain(bytes) => bytes.len(),
            Self::Marked(bytes) => bytes.len(),
        }
    }
}

impl redis::ToRedisArgs for Stored<'_> {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Number(number) => number.write_redis_args(out),
            Self::Plain(bytes) => out.write_arg(bytes),
            Self::Marked(bytes) => out.write_arg(bytes),
        }
    }
}

fn needs_mark(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARK) || number_in(bytes).is_some()
}

/// The value in what the server answered. Copies nothing.
pub(crate) fn read(stored: Vec<u8>) -> Value {
    if let Some(number) = number_in(&stored) {
        return Value::Int(number);
    }
    let bytes = Bytes::from(stored);
    Value::Bytes(if bytes.first() == Some(&MARK) { bytes.slice(1..) } else { bytes })
}

/// The integer that this is the text of, as the server itself would write it.
pub(crate) fn number_in(text: &[u8]) -> Option<i64> {
    const LONGEST: usize = "-9223372036854775808".len();
    let digits = match text {
        [] => return None,
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    let is_plain = digits == b"0" && text.len() == 1
        || digits.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    if !is_plain || text.len() > LONGEST {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(value: &Value) -> Vec<u8> {
        let stored = Stored::of("k", value).expect("it is small");
        let args = redis::ToRedisArgs::to_redis_args(&stored);
        assert_eq!(args.len(), 1);
        args.concat()
    }

    #[test]
    fn every_value_comes_back_as_it_was() {
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
            bytes(b"\xC1\x11text"),
        ] {
            assert_eq!(read(wire(&value)), value);
        }
    }

    #[test]
    fn an_integer_is_its_text_and_bytes_are_themselves() {
        assert_eq!(wire(&Value::Int(-12)), b"-12");
        assert_eq!(wire(&Value::Bytes(Bytes::from_static(b"\xC1\x10x"))), b"\xC1\x10x");
        assert_eq!(wire(&Value::Bytes(Bytes::from_static(b"42"))), b"\x1B42");
    }

    #[test]
    fn reading_bytes_copies_nothing() {
        let stored = b"\x1B12345".to_vec();
        let place = stored.as_ptr();
        let Value::Bytes(bytes) = read(stored) else { panic!("bytes") };
        assert_eq!(bytes.as_ptr(), place.wrapping_add(1));
    }
}
