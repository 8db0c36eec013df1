//! Encoding of a value as a memcached item: bytes and 32-bit flags.
//!
//! | flags | data |
//! |---|---|
//! | 0 | nothing: a lease, whose key is absent |
//! | 0 | an integer in decimal digits that the server has created, for `incr_or_set` |
//! | 2 | an integer in decimal digits, as in pymemcache and pylibmc; the server pads with spaces |
//! | 256 | bytes, unchanged |
//! | 256 + 512 | a guard byte `=`, then bytes that the server could parse as a number |
//! | 256 + 512 + 1024 | a guard byte `=`, then compressed bytes (feature `compression`) |
//!
//! pymemcache's own flags are 1 (pickle), 2, 4 (long), 8 (compressed) and 16 (text). An entry with
//! other flags than these 2, 256, 768 and 1792 may come from another application. It is an integer
//! if the server can count it, so that every operation has the same view of it, and a miss
//! otherwise.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use cache_core::{Error, ErrorKind, Result, Value};

const INTEGER: u32 = 2;
const BYTES: u32 = 256;
const GUARDED: u32 = 512;
const COMPRESSED: u32 = 1024;

const GUARD: u8 = b'=';

/// An encoded value, ready to be sent.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    flags: u32,
    data: Cow<'a, [u8]>,
}

impl<'a> Item<'a> {
    /// Encodes a value. Bytes longer than `compress_above` are compressed if that makes them
    /// shorter.
    pub(crate) fn new(value: &'a Value, compress_above: Option<usize>) -> Result<Self> {
        match value {
            Value::Int(number) => {
                Ok(Self { flags: INTEGER, data: number.to_string().into_bytes().into() })
            }
            Value::Bytes(bytes) => Ok(Self::from_bytes(bytes, compress_above)),
            _ => Err(Error::new(
                ErrorKind::Encode,
                "memcached stores integers and bytes, not objects",
            )),
        }
    }

    /// Encodes a counter of the server, which may be larger than an `i64`.
    pub(crate) fn from_counter(number: u64) -> Self {
        Self { flags: INTEGER, data: number.to_string().into_bytes().into() }
    }

    /// Creates the item that stands for a lease. It is the same as the one that the server creates.
    pub(crate) fn stub() -> Self {
        Self { flags: 0, data: Cow::Borrowed(&[]) }
    }

    fn from_bytes(bytes: &'a [u8], compress_above: Option<usize>) -> Self {
        if compress_above.is_some_and(|above| bytes.len() > above)
            && let Some(data) = compression::compress(bytes)
        {
            return Self { flags: BYTES | GUARDED | COMPRESSED, data: data.into() };
        }
        let flags = if looks_numeric(bytes) { BYTES | GUARDED } else { BYTES };
        Self { flags, data: bytes.into() }
    }

    pub(crate) fn flag_digits(&self) -> &'static str {
        match self.flags {
            0 => "0",
            INTEGER => "2",
            BYTES => "256",
            flags if flags == BYTES | GUARDED => "768",
            _ => "1792",
        }
    }

    fn is_guarded(&self) -> bool {
        self.flags & GUARDED != 0
    }

    /// The length in bytes on the wire and in the server.
    pub(crate) fn len(&self) -> usize {
        self.data.len() + usize::from(self.is_guarded())
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_guarded() {
            out.push(GUARD);
        }
        out.extend_from_slice(&self.data);
    }
}

/// Returns whether the server's `strtoull` would parse a number at the start of these bytes.
///
/// Without a guard byte, `incr` would then change a value that is not an integer. If there are only
/// blanks, `strtoull` reads past the end of the item, into what an earlier item left in the memory
/// of the server.
fn looks_numeric(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace() && **byte != 0x0B)
        .is_none_or(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'))
}

/// Decodes an entry. Returns `None` if it is corrupt or was written by another application.
///
/// `max_size` is the largest size of a decompressed value.
pub(crate) fn decode(flags: u32, mut data: Bytes, max_size: usize) -> Option<Value> {
    match flags {
        INTEGER => parse_integer(&data).map(Value::Int),
        BYTES => Some(Value::Bytes(data)),
        _ if flags == BYTES | GUARDED && data.first() == Some(&GUARD) => {
            data.advance(1);
            Some(Value::Bytes(data))
        }
        _ if flags == BYTES | GUARDED | COMPRESSED && data.first() == Some(&GUARD) => {
            compression::decompress(&data[1..], max_size).map(Value::Bytes)
        }
        _ => counter(flags, &data).and_then(|number| i64::try_from(number).ok()).map(Value::Int),
    }
}

/// The number that the server counts from, if the entry is an integer.
pub(crate) fn counter(flags: u32, data: &[u8]) -> Option<u64> {
    if flags & BYTES != 0 && has_known_flags(flags) {
        return None;
    }
    parse_counter(data)
}

/// Returns whether the item stands for a lease: its key is absent.
pub(crate) fn is_stub(flags: u32, data: &[u8]) -> bool {
    flags == 0 && data.is_empty()
}

pub(crate) fn is_compressed(flags: u32) -> bool {
    flags & COMPRESSED != 0
}

/// Returns whether the flags are one of the combinations that this crate writes.
pub(crate) fn has_known_flags(flags: u32) -> bool {
    matches!(flags, INTEGER | BYTES)
        || flags == BYTES | GUARDED
        || flags == BYTES | GUARDED | COMPRESSED
}

/// Parses an integer. If a counter loses a digit, the server keeps the length and pads with spaces.
fn parse_integer(data: &[u8]) -> Option<i64> {
    std::str::from_utf8(data).ok()?.trim_end_matches(' ').parse().ok()
}

/// Parses a counter of the server, which may be larger than an `i64`. Like the server's `strtoull`,
/// accepts blanks and a plus sign in front of it.
pub(crate) fn parse_counter(data: &[u8]) -> Option<u64> {
    const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];
    let text = std::str::from_utf8(data).ok()?;
    text.trim_start_matches(BLANKS).trim_end_matches(' ').parse().ok()
}

#[cfg(not(feature = "compression"))]
mod compression {
    use bytes::Bytes;

    pub(super) fn compress(_: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn decompress(_: &[u8], _: usize) -> Option<Bytes> {
        None
    }
}

#[cfg(feature = "compression")]
mod compression {
    //! LZ4 blocks, prefixed with the decompressed length as four little-endian bytes.
    //!
    //! LZ4 was chosen because it exists in pure Rust and decompressing costs less than the network
    //! traffic it saves. zstd would need C, and its better ratio pays off for archives.

    use bytes::Bytes;

    /// Compresses the bytes. Returns `None` if that does not make them shorter.
    pub(super) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
        let compressed = lz4_flex::block::compress_prepend_size(bytes);
        (compressed.len() < bytes.len()).then_some(compressed)
    }

    /// Decompresses a block. Returns `None` if it is corrupt or longer than `max_size`.
    ///
    /// The claimed length is checked before memory is allocated: against `max_size`, and against
    /// what a block of this length can expand to at most.
    pub(super) fn decompress(compressed: &[u8], max_size: usize) -> Option<Bytes> {
        const MAX_RATIO: usize = 255;
        let size = u32::from_le_bytes(*compressed.first_chunk()?) as usize;
        let block = &compressed[4..];
        if size > max_size || size > block.len().saturating_mul(MAX_RATIO) {
            return None;
        }
        let bytes = lz4_flex::block::decompress(block, size).ok()?;
        (bytes.len() == size).then(|| bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: &Value, compress_above: Option<usize>) -> (u32, Bytes) {
        let item = Item::new(value, compress_above).expect("value should be encodable");
        let mut data = Vec::new();
        item.write(&mut data);
        assert_eq!(data.len(), item.len());
        assert_eq!(item.flag_digits(), item.flags.to_string());
        (item.flags, data.into())
    }

    fn round_trip(value: &Value) -> Option<Value> {
        let (flags, data) = encode(value, None);
        assert!(has_known_flags(flags));
        decode(flags, data, usize::MAX)
    }

    #[test]
    fn integers_and_bytes_round_trip() {
        for number in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(round_trip(&Value::Int(number)), Some(Value::Int(number)));
        }
        for text in ["", "text", "=", "42", " 42", "\x0b+1", "-1", "    ", "\t\n"] {
            let value = Value::Bytes(Bytes::from_static(text.as_bytes()));
            assert_eq!(round_trip(&value), Some(value), "{text:?}");
        }
    }

    #[test]
    fn only_numeric_looking_bytes_are_guarded() {
        let encode =
            |text: &'static str| encode(&Value::Bytes(Bytes::from_static(text.as_bytes())), None);
        assert_eq!(encode("text"), (256, "text".into()));
        for text in ["42", " 42", "+7", "-1", "\x0b1", "", " ", "\r\n"] {
            assert_eq!(encode(text), (768, format!("={text}").into()));
        }
    }

    #[test]
    fn foreign_flags_are_not_decoded() {
        for flags in [0, 1, 4, 8, 16, 18, 512, 1024, 1280, 2048, u32::MAX] {
            assert_eq!(decode(flags, "=5".into(), usize::MAX), None, "{flags}");
            assert!(!has_known_flags(flags));
        }
        assert_eq!(decode(768, "5".into(), usize::MAX), None, "missing guard byte");
    }

    #[test]
    fn invalid_integers_are_not_decoded() {
        for text in ["9223372036854775808", "1e3", "", "5x", " 5"] {
            assert_eq!(decode(2, text.into(), usize::MAX), None, "{text:?}");
        }
        assert_eq!(decode(2, "9  ".into(), usize::MAX), Some(Value::Int(9)));
        assert_eq!(parse_counter(b"9223372036854775808 "), Some(1 << 63));
    }

    #[cfg(feature = "compression")]
    mod compressed {
        use super::*;

        fn long_text() -> Bytes {
            Bytes::from("all work and no play ".repeat(500))
        }

        #[test]
        fn compressed_values_are_shorter_and_round_trip() {
            let value = Value::Bytes(long_text());
            let (flags, data) = encode(&value, Some(1000));
            assert_eq!(flags, 256 + 512 + 1024);
            assert!(data.len() < long_text().len() / 10);
            assert_eq!(decode(flags, data, usize::MAX), Some(value));
        }

        /// The bytes were written with `lz4_flex` 0.11.
        #[test]
        fn entries_of_earlier_versions_decompress() {
            let data = b"=\xa4\x01\x00\x00\xff\x06all work and no play \x15\x00\xffw` play ";
            let expected = Bytes::from("all work and no play ".repeat(20));
            let decoded = decode(256 + 512 + 1024, Bytes::from_static(data), usize::MAX);
            assert_eq!(decoded, Some(Value::Bytes(expected)));
        }

        #[test]
        fn short_or_incompressible_values_are_not_compressed() {
            let mut rng = fastrand::Rng::with_seed(1);
            let noise: Bytes = std::iter::repeat_with(|| rng.u8(..)).take(5000).collect();
            assert_eq!(encode(&Value::Bytes(long_text()), Some(1 << 20)).0, 256);
            assert_eq!(encode(&Value::Bytes(noise), Some(1000)).0 & 1024, 0);
        }

        #[test]
        fn corrupt_or_oversized_values_are_not_decompressed() {
            let length = long_text().len();
            let (flags, data) = encode(&Value::Bytes(long_text()), Some(1000));
            assert_eq!(decode(flags, data.clone(), length - 1), None, "above the limit");
            let mut bomb = data.to_vec();
            bomb[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(decode(flags, bomb.into(), usize::MAX), None, "4 GiB from a few bytes");
            for cut in [0, 1, 3, 5, data.len() / 2, data.len() - 1] {
                assert_eq!(decode(flags, data.slice(..cut), usize::MAX), None, "cut at {cut}");
            }
        }
    }
}
