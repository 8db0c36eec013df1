//! The header of entry format 2, for entries that record more than their value.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | `0xC1` |
//! | 1 | high half: 2; low half: the codec, as in format 1, or 5: an integer of 8 bytes |
//! | 1 | flags: 1 times, 2 tags, 4 shape, 8 compressed, 16 encrypted, 32 stamp |
//! | 8, flag 32 | stamp: random, so that no two entries are equal |
//! | 6 + 5, flag 1 | when the entry was stored, and for how long it is fresh, in milliseconds; all ones in the second: always |
//! | 8, flag 4 | shape: the hash of a type definition |
//! | 1 + …, flag 2 | the number of tags; of each, the length of its name (1), the name, and its hard (8) and soft (8) generations |
//! | 1 + 4, flag 8 | compression (1 lz4, 2 zstd) and the size of the body before it |
//! | 1 + 24, flag 16 | the number of the key, and the nonce |
//! | … | body |
//!
//! Numbers are in big-endian order. The stamp comes first, so that a prefix of fixed length
//! identifies an entry.
//!
//! Releases that know only format 1 report such an entry as undecodable, that is, as a miss. This
//! release does the same with parts that it cannot honour: flags and compressions that it does not
//! know, and today all compression and encryption.

use super::{FORMAT_2, MAGIC};
use crate::{
    Error, ErrorKind, Result,
    meta::{Meta, Tag, Times},
};

const TIMES: u8 = 1;
const TAGS: u8 = 2;
const SHAPE: u8 = 4;
const COMPRESSED: u8 = 8;
const ENCRYPTED: u8 = 16;
const STAMP: u8 = 32;
const KNOWN_FLAGS: u8 = TIMES | TAGS | SHAPE | COMPRESSED | ENCRYPTED | STAMP;

const ALWAYS_FRESH: u64 = Times::MAX_FRESH + 1;

/// A header of format 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The low half of the second byte.
    pub(super) codec: u8,
    pub(super) meta: Meta,
    pub(super) compression: Option<Compression>,
    pub(super) cipher: Option<Cipher>,
}

/// How the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compression {
    pub(super) algorithm: Algorithm,
    /// The size of the body in bytes before it was compressed, to be checked before memory is
    /// allocated.
    pub(super) inflated: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Lz4,
    Zstd,
}

/// How the body is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cipher {
    /// The number that the configuration gives the key.
    pub(super) key_id: u8,
    pub(super) nonce: [u8; 24],
}

impl Header {
    /// Decodes the header of an entry, and returns the position of the body as well.
    ///
    /// The entry must begin with the two bytes of the format, which the caller has looked at.
    pub(super) fn decode(entry: &[u8]) -> Result<(Self, usize)> {
        let mut reader = Reader(entry);
        let [_, format, flags] = reader.take()?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(undecodable(&format!(
                "has the unknown flags {:#04x}",
                flags & !KNOWN_FLAGS
            )));
        }
        let has = |flag| flags & flag != 0;
        let stamp = has(STAMP).then(|| reader.take()).transpose()?;
        let times = has(TIMES).then(|| decode_times(&mut reader)).transpose()?;
        let shape = has(SHAPE).then(|| reader.take()).transpose()?.map(u64::from_be_bytes);
        let tags = if has(TAGS) { decode_tags(&mut reader)? } else { Box::default() };
        let compression = has(COMPRESSED).then(|| decode_compression(&mut reader)).transpose()?;
        let cipher = has(ENCRYPTED).then(|| decode_cipher(&mut reader)).transpose()?;
        let meta = Meta { stamp, times, shape, tags };
        let header = Self { codec: format & 0x0F, meta, compression, cipher };
        Ok((header, entry.len() - reader.0.len()))
    }

    /// Returns an error if the header has a part that this release cannot honour.
    pub(super) fn check(&self) -> Result<()> {
        let part = match self {
            Self { cipher: Some(_), .. } => "is encrypted",
            Self { compression: Some(_), .. } => "is compressed",
            _ => return Ok(()),
        };
        Err(undecodable(&format!("{part}, which this release does not support")))
    }
}

/// The rest of an entry.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, length: u8) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length.into()).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn decode_times(reader: &mut Reader<'_>) -> Result<Times> {
    let [b0, b1, b2, b3, b4, b5, f0, f1, f2, f3, f4] = reader.take()?;
    let born = u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5]);
    let fresh = u64::from_be_bytes([0, 0, 0, f0, f1, f2, f3, f4]);
    Ok(Times { born, fresh: (fresh != ALWAYS_FRESH).then_some(fresh) })
}

fn decode_tags(reader: &mut Reader<'_>) -> Result<Box<[Tag]>> {
    let [count] = reader.take()?;
    (0..count).map(|_| decode_tag(reader)).collect()
}

fn decode_tag(reader: &mut Reader<'_>) -> Result<Tag> {
    let [length] = reader.take()?;
    let name = str::from_utf8(reader.take_slice(length)?)
        .map_err(|error| undecodable("has a tag that is not UTF-8").with_source(error))?;
    Ok(Tag { name: name.into(), hard: reader.take()?, soft: reader.take()? })
}

fn decode_compression(reader: &mut Reader<'_>) -> Result<Compression> {
    let algorithm = match reader.take()? {
        [1] => Algorithm::Lz4,
        [2] => Algorithm::Zstd,
        [other] => return Err(undecodable(&format!("has the unknown compression {other}"))),
    };
    Ok(Compression { algorithm, inflated: u32::from_be_bytes(reader.take()?) })
}

fn decode_cipher(reader: &mut Reader<'_>) -> Result<Cipher> {
    let [key_id] = reader.take()?;
    Ok(Cipher { key_id, nonce: reader.take()? })
}

#[cold]
fn truncated() -> Error {
    undecodable("is truncated")
}

#[cold]
fn undecodable(problem: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("the header of the entry {problem}"))
}

/// The maximum number of tags of an entry.
pub(crate) const MAX_TAGS: usize = 64;
/// The maximum length of a tag's name in bytes.
pub(crate) const MAX_TAG_NAME: usize = 255;

impl Header {
    /// Encodes the header. `body` is the size of what is appended to it.
    pub(super) fn encode(&self, body: usize) -> Result<Vec<u8>> {
        let Meta { stamp, times, shape, tags } = &self.meta;
        check_tags(tags)?;
        let mut bytes = Vec::with_capacity(3 + 8 + 11 + body);
        bytes.extend([MAGIC, FORMAT_2 | self.codec, self.flags()]);
        bytes.extend(stamp.iter().flatten());
        if let Some(Times { born, fresh }) = times {
            bytes.extend(&born.to_be_bytes()[2..]);
            bytes.extend(&fresh.unwrap_or(ALWAYS_FRESH).to_be_bytes()[3..]);
        }
        bytes.extend(shape.map(u64::to_be_bytes).iter().flatten());
        if let Ok(count @ 1..) = u8::try_from(tags.len()) {
            bytes.push(count);
        }
        for Tag { name, hard, soft } in tags {
            bytes.extend(u8::try_from(name.len()));
            bytes.extend(name.bytes().chain(*hard).chain(*soft));
        }
        if let Some(Compression { algorithm, inflated }) = self.compression {
            bytes.push(match algorithm {
                Algorithm::Lz4 => 1,
                Algorithm::Zstd => 2,
            });
            bytes.extend(inflated.to_be_bytes());
        }
        if let Some(Cipher { key_id, nonce }) = self.cipher {
            bytes.push(key_id);
            bytes.extend(nonce);
        }
        Ok(bytes)
    }

    fn flags(&self) -> u8 {
        let Meta { stamp, times, shape, tags } = &self.meta;
        [
            (TIMES, times.is_some()),
            (TAGS, !tags.is_empty()),
            (SHAPE, shape.is_some()),
            (COMPRESSED, self.compression.is_some()),
            (ENCRYPTED, self.cipher.is_some()),
            (STAMP, stamp.is_some()),
        ]
        .into_iter()
        .filter(|(_, is_set)| *is_set)
        .fold(0, |flags, (flag, _)| flags | flag)
    }
}

fn check_tags(tags: &[Tag]) -> Result<()> {
    let problem = if tags.len() > MAX_TAGS {
        format!("{} tags, but the maximum is {}", tags.len(), MAX_TAGS)
    } else if let Some(tag) = tags.iter().find(|tag| tag.name.len() > MAX_TAG_NAME) {
        format!("a tag of {} bytes, but the maximum is {}", tag.name.len(), MAX_TAG_NAME)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::TooLarge, format!("the entry has {problem}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(name: &str, generation: u8) -> Tag {
        Tag { name: name.into(), hard: [generation; 8], soft: [generation + 1; 8] }
    }

    fn full() -> Header {
        let times = Times { born: 0x0102_0304_0506, fresh: Some(0x07_0809_0A0B) };
        let tags = [tag("a", 0xA0), tag("team:7", 0xB0)].into();
        let meta = Meta {
            stamp: Some(*b"stamp678"),
            times: Some(times),
            shape: Some(0x5152_5354_5556_5758),
            tags,
        };
        Header {
            codec: 2,
            meta,
            compression: Some(Compression { algorithm: Algorithm::Zstd, inflated: 0x0010_0000 }),
            cipher: Some(Cipher { key_id: 9, nonce: [0xEE; 24] }),
        }
    }

    fn encoded(header: &Header) -> Vec<u8> {
        header.encode(0).expect("the header can be encoded")
    }

    /// The bytes of entries that are in stores. They do not change.
    #[test]
    fn golden_vectors() {
        let times = |fresh| Some(Times { born: 1_800_000_000_000, fresh });
        for (header, bytes) in [
            (Header::default(), &b"\xC1\x20\x00"[..]),
            (Header { codec: 5, ..Header::default() }, b"\xC1\x25\x00"),
            (
                Header {
                    codec: 1,
                    meta: Meta {
                        stamp: Some(*b"stamp678"),
                        times: times(Some(300_000)),
                        ..Meta::default()
                    },
                    ..Header::default()
                },
                b"\xC1\x21\x21stamp678\x01\xA3\x18\x5C\x50\x00\x00\x00\x04\x93\xE0",
            ),
            (
                Header {
                    meta: Meta { times: times(None), ..Meta::default() },
                    ..Header::default()
                },
                b"\xC1\x20\x01\x01\xA3\x18\x5C\x50\x00\xFF\xFF\xFF\xFF\xFF",
            ),
            (
                full(),
                b"\xC1\x22\x3Fstamp678\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0BQRSTUVWX\
                  \x02\x01a\xA0\xA0\xA0\xA0\xA0\xA0\xA0\xA0\xA1\xA1\xA1\xA1\xA1\xA1\xA1\xA1\
                  \x06team:7\xB0\xB0\xB0\xB0\xB0\xB0\xB0\xB0\xB1\xB1\xB1\xB1\xB1\xB1\xB1\xB1\
                  \x02\x00\x10\x00\x00\
                  \x09\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE\
                  \xEE\xEE\xEE\xEE\xEE\xEE\xEE\xEE",
            ),
        ] {
            assert_eq!(encoded(&header), bytes, "{header:?}");
            let entry = [bytes, b"body"].concat();
            let (decoded, body_at) = Header::decode(&entry).expect("it can be decoded");
            assert_eq!((decoded, &entry[body_at..]), (header, &b"body"[..]));
        }
    }

    #[test]
    fn every_truncation_is_undecodable() {
        let bytes = encoded(&full());
        for length in 2..bytes.len() {
            let error = Header::decode(&bytes[..length]).expect_err("it is truncated");
            assert_eq!(error.kind(), ErrorKind::Decode, "{length} bytes");
        }
    }

    #[test]
    fn every_unknown_flag_is_undecodable() {
        for flags in 64..=255 {
            let bytes = [&[MAGIC, FORMAT_2, flags][..], &[0; 300]].concat();
            let error = Header::decode(&bytes).expect_err("the flag is unknown");
            assert!(error.to_string().contains("unknown flags"), "{error}");
        }
    }

    #[test]
    fn unknown_compression_is_undecodable() {
        for algorithm in [0, 3, 255] {
            let bytes = [MAGIC, FORMAT_2, COMPRESSED, algorithm, 0, 0, 0, 1];
            let error = Header::decode(&bytes).expect_err("the compression is unknown");
            assert!(error.to_string().contains("unknown compression"), "{error}");
        }
    }

    #[test]
    fn tag_that_is_not_utf_8_is_undecodable() {
        let bytes = [&[MAGIC, FORMAT_2, TAGS, 1, 1, 0xFF][..], &[0; 16]].concat();
        assert!(Header::decode(&bytes).is_err());
    }

    #[test]
    fn parts_that_this_release_cannot_honour_are_reported() {
        let Header { compression, cipher, meta, .. } = full();
        for (header, part) in [
            (Header { cipher, ..Header::default() }, "encrypted"),
            (Header { compression, ..Header::default() }, "compressed"),
        ] {
            let error = header.check().expect_err("it is not supported");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Header { meta, ..Header::default() }.check().is_ok());
    }

    #[test]
    fn too_many_and_too_long_tags_are_rejected() {
        for tags in [vec![tag("a", 0); 65], vec![tag(&"a".repeat(256), 0)]] {
            let meta = Meta { tags: tags.into(), ..Meta::default() };
            let error = Header { meta, ..Header::default() }.encode(0).expect_err("too large");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
    }

    prop_compose! {
        fn tags()(
            parts in prop::collection::vec(
                ("\\PC{0,63}", any::<[u8; 8]>(), any::<[u8; 8]>()),
                0..=MAX_TAGS,
            ),
        ) -> Box<[Tag]> {
            let tag = |(name, hard, soft): (String, _, _)| Tag { name: name.into(), hard, soft };
            parts.into_iter().map(tag).collect()
        }
    }

    prop_compose! {
        fn headers()(
            codec in 0..16_u8,
            stamp in any::<Option<[u8; 8]>>(),
            times in prop::option::of(
                (0..=Times::MAX_BORN, prop::option::of(0..=Times::MAX_FRESH)),
            ),
            shape in any::<Option<u64>>(),
            tags in tags(),
            compression in any::<Option<(bool, u32)>>(),
            cipher in any::<Option<(u8, [u8; 24])>>(),
        ) -> Header {
            let times = times.map(|(born, fresh)| Times { born, fresh });
            Header {
                codec,
                meta: Meta { stamp, times, shape, tags },
                compression: compression.map(|(is_lz4, inflated)| {
                    let algorithm = if is_lz4 { Algorithm::Lz4 } else { Algorithm::Zstd };
                    Compression { algorithm, inflated }
                }),
                cipher: cipher.map(|(key_id, nonce)| Cipher { key_id, nonce }),
            }
        }
    }

    proptest! {
        #[test]
        fn header_round_trips(
            header in headers(),
            body in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let bytes = [encoded(&header), body.clone()].concat();
            let (decoded, body_at) = Header::decode(&bytes).expect("it can be decoded");
            prop_assert_eq!(decoded, header);
            prop_assert_eq!(&bytes[body_at..], &body);
        }

        #[test]
        fn truncated_header_is_undecodable(header in headers(), at in any::<prop::sample::Index>()) {
            let bytes = encoded(&header);
            prop_assert!(Header::decode(&bytes[..at.index(bytes.len())]).is_err());
        }

        /// No length in a header makes the decoder allocate more than the header has bytes: names
        /// are copied after their bytes were found, and the list of tags grows with them.
        #[test]
        fn decoding_any_bytes_does_not_panic(rest in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = Header::decode(&[&[MAGIC, FORMAT_2], &rest[..]].concat());
        }
    }
}
