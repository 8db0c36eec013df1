//! A value as memcached keeps it: bytes and a number of 32 bits, the flags.
//!
//! | flags | data |
//! |---|---|
//! | 2 | an integer in decimal digits, as pymemcache and pylibmc store it; blanks behind it are the server's |
//! | 256 | bytes as they are |
//! | 256 + 512 | bytes behind one byte `=`: such as the server could take for a number, and count |
//! | 256 + 512 + 1024 | compressed bytes behind one byte `=` (feature `compression`) |
//!
//! pymemcache's own flags are 1 (pickle), 2, 4 (long), 8 (compressed) and 16 (text). Entries with flags that are not in the
//! table belong to somebody else, and are a miss here.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use cache_core::{Error, ErrorKind, Result, Value};

const INTEGER: u32 = 2;
const BYTES: u32 = 256;
const GUARDED: u32 = 512;
const COMPRESSED: u32 = 1024;

const GUARD: u8 = b'=';

/// What is sent for a value.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    flags: u32,
    data: Cow<'a, [u8]>,
}

impl<'a> Item<'a> {
    /// `compress_above`: from how many bytes on it is tried to make them fewer.
    pub(crate) fn new(value: &'a Value, compress_above: Option<usize>) -> Result<Self> {
        match value {
            Value::Int(number) => {
                Ok(Self { flags: INTEGER, data: number.to_string().into_bytes().into() })
            }
            Value::Bytes(bytes) => Ok(Self::of_bytes(bytes, compress_above)),
            _ => Err(Error::new(
                ErrorKind::Encode,
                "memcached keeps integers and bytes, and no objects",
            )),
        }
    }

    /// A counter as the server counts: it goes beyond what an `i64` holds.
    pub(crate) fn of_counter(number: u64) -> Self {
        Self { flags: INTEGER, data: number.to_string().into_bytes().into() }
    }

    fn of_bytes(bytes: &'a [u8], compress_above: Option<usize>) -> Self {
        if compress_above.is_some_and(|above| bytes.len() > above)
            && let Some(data) = compression::deflate(bytes)
        {
            return Self { flags: BYTES | GUARDED | COMPRESSED, data: data.into() };
        }
        let flags = if could_be_counted(bytes) { BYTES | GUARDED } else { BYTES };
        Self { flags, data: bytes.into() }
    }

    pub(crate) fn flags_in_digits(&self) -> &'static str {
        match self.flags {
            INTEGER => "2",
            BYTES => "256",
            flags if flags == BYTES | GUARDED => "768",
            _ => "1792",
        }
    }

    fn is_guarded(&self) -> bool {
        self.flags & GUARDED != 0
    }

    /// How many bytes it takes on the wire and in the server.
    pub(crate) fn length(&self) -> usize {
        self.data.len() + usize::from(self.is_guarded())
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_guarded() {
            out.push(GUARD);
        }
        out.extend_from_slice(&self.data);
    }
}

/// Whether the server's `strtoull` would find a number in it: then `incr` would count what is no integer. Of blanks alone it
/// reads on, over the line's end, in what an earlier item left in the server's memory.
fn could_be_counted(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace() && **byte != 0x0B)
        .is_none_or(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'))
}

/// What an entry holds; `None` where it is not one of ours.
pub(crate) fn read(flags: u32, mut data: Bytes, largest: usize) -> Option<Value> {
    match flags {
        INTEGER => integer(&data).map(Value::Int),
        BYTES => Some(Value::Bytes(data)),
        _ if flags == BYTES | GUARDED && data.first() == Some(&GUARD) => {
            data.advance(1);
            Some(Value::Bytes(data))
        }
        _ if flags == BYTES | GUARDED | COMPRESSED && data.first() == Some(&GUARD) => {
            compression::inflate(&data[1..], largest).map(Value::Bytes)
        }
        _ => None,
    }
}

/// Whether entries with these flags may be ours.
pub(crate) fn is_ours(flags: u32) -> bool {
    matches!(flags, INTEGER | BYTES)
        || flags == BYTES | GUARDED
        || flags == BYTES | GUARDED | COMPRESSED
}

pub(crate) fn is_integer(flags: u32) -> bool {
    flags == INTEGER
}

/// The server leaves blanks where digits were that a smaller number has no more.
fn integer(data: &[u8]) -> Option<i64> {
    std::str::from_utf8(data).ok()?.trim_end_matches(' ').parse().ok()
}

/// A counter as the server counts.
pub(crate) fn counter(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data).ok()?.trim_end_matches(' ').parse().ok()
}

#[cfg(not(feature = "compression"))]
mod compression {
    use bytes::Bytes;

    pub(super) fn deflate(_: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn inflate(_: &[u8], _: usize) -> Option<Bytes> {
        None
    }
}

#[cfg(feature = "compression")]
mod compression {
    //! An LZ4 block behind its inflated length, four bytes, little end first.

    use bytes::Bytes;

    /// Fewer bytes, where that can be had.
    pub(super) fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
        let deflated = lz4_flex::block::compress_prepend_size(bytes);
        (deflated.len() < bytes.len()).then_some(deflated)
    }

    /// The bytes again, unless they are broken or would be more than `largest`: no memory is taken for what an entry
    /// claims beyond that, nor beyond what its length could be inflated to.
    pub(super) fn inflate(deflated: &[u8], largest: usize) -> Option<Bytes> {
        const MOST_A_BYTE: usize = 255;
        let length = u32::from_le_bytes(*deflated.first_chunk()?) as usize;
        let block = &deflated[4..];
        if length > largest || length > block.len().saturating_mul(MOST_A_BYTE) {
            return None;
        }
        let inflated = lz4_flex::block::decompress(block, length).ok()?;
        (inflated.len() == length).then(|| inflated.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value, compress_above: Option<usize>) -> (u32, Bytes) {
        let item = Item::new(value, compress_above).expect("it is kept");
        let mut data = Vec::new();
        item.write(&mut data);
        assert_eq!(data.len(), item.length());
        assert_eq!(item.flags_in_digits(), item.flags.to_string());
        (item.flags, data.into())
    }

    fn there_and_back(value: &Value) -> Option<Value> {
        let (flags, data) = written(value, None);
        assert!(is_ours(flags));
        read(flags, data, usize::MAX)
    }

    #[test]
    fn integers_and_bytes_come_back() {
        for number in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(there_and_back(&Value::Int(number)), Some(Value::Int(number)));
        }
        for text in ["", "text", "=", "42", " 42", "\x0b+1", "-1", "    ", "\t\n"] {
            let value = Value::Bytes(Bytes::from_static(text.as_bytes()));
            assert_eq!(there_and_back(&value), Some(value), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_could_be_counted_have_something_before_them_and_others_have_not() {
        let data =
            |text: &'static str| written(&Value::Bytes(Bytes::from_static(text.as_bytes())), None);
        assert_eq!(data("text"), (256, "text".into()));
        for text in ["42", " 42", "+7", "-1", "\x0b1", "", " ", "\r\n"] {
            assert_eq!(data(text), (768, format!("={text}").into()));
        }
    }

    #[test]
    fn what_is_not_ours_is_no_value() {
        for flags in [0, 1, 4, 8, 16, 18, 512, 1024, 1280, 2048, u32::MAX] {
            assert_eq!(read(flags, "=5".into(), usize::MAX), None, "{flags}");
            assert!(!is_ours(flags));
        }
        assert_eq!(read(768, "5".into(), usize::MAX), None, "without its guard");
    }

    #[test]
    fn an_integer_that_is_too_large_or_none_is_no_value() {
        for text in ["9223372036854775808", "1e3", "", "5x", " 5"] {
            assert_eq!(read(2, text.into(), usize::MAX), None, "{text:?}");
        }
        assert_eq!(read(2, "9  ".into(), usize::MAX), Some(Value::Int(9)));
        assert_eq!(counter(b"9223372036854775808 "), Some(1 << 63));
    }

    #[cfg(feature = "compression")]
    mod compressed {
        use super::*;

        fn long() -> Bytes {
            Bytes::from("all work and no play ".repeat(500))
        }

        #[test]
        fn long_values_take_less_and_come_back() {
            let value = Value::Bytes(long());
            let (flags, data) = written(&value, Some(1000));
            assert_eq!(flags, 256 + 512 + 1024);
            assert!(data.len() < long().len() / 10);
            assert_eq!(read(flags, data, usize::MAX), Some(value));
        }

        #[test]
        fn what_is_short_or_gets_no_shorter_stays_as_it_is() {
            let mut state = 1_u64;
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            });
            let noise: Bytes = noise.take(5000).collect();
            assert_eq!(written(&Value::Bytes(long()), Some(1 << 20)).0, 256);
            assert_eq!(written(&Value::Bytes(noise), Some(1000)).0 & 1024, 0);
        }

        #[test]
        fn what_claims_to_be_too_long_or_is_broken_is_no_value() {
            let (flags, data) = written(&Value::Bytes(long()), Some(1000));
            assert_eq!(read(flags, data.clone(), long().len() - 1), None, "more than allowed");
            let mut bomb = data.to_vec();
            bomb[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(read(flags, bomb.into(), usize::MAX), None, "4 GiB out of a few bytes");
            for cut in [0, 1, 3, 5, data.len() / 2, data.len() - 1] {
                assert_eq!(read(flags, data.slice(..cut), usize::MAX), None, "cut at {cut}");
            }
        }
    }
}
