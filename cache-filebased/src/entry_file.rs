//! The format of an entry's file.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | the magic, `cachette` |
//! | 8 | 1 | the version of the format: 1 |
//! | 9 | 1 | the kind of payload: 0 for an integer, 1 for bytes |
//! | 10 | 2 | zero |
//! | 12 | 4 | CRC-32 (ISO-HDLC) of everything but the magic and the checksum |
//! | 16 | 8 | the expiry in nanoseconds since 1970-01-01 UTC, or all ones for never |
//! | 24 | 8 | the length of the payload |
//! | 32 | 8 | the length of the key |
//! | 40 | | the key, then the payload; an integer is 8 bytes |
//!
//! All numbers are little-endian and, except for the integer, unsigned. The file ends after the
//! payload.
//!
//! The expiry is in the file, under the checksum, so that copying and restoring a file preserve it.
//! The modification time of the file is the age of the entry for culling.

use std::{
    cmp::Ordering,
    fmt,
    io::{self, Write},
    time::Duration,
};

use cache_core::{Bytes, Clock, Error, ErrorKind, Result, Ttl, Value};

const MAGIC: &[u8; 8] = b"cachette";
const VERSION: u8 = 1;
pub(crate) const HEADER: usize = 40;

/// When an entry expires, in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry(u64);

impl Expiry {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Calculates the expiry of an entry that is written now. A time after the year 2554 means
    /// never.
    pub(crate) fn after(ttl: Option<Duration>, clock: &Clock) -> Self {
        let Some(ttl) = ttl else { return Self::NEVER };
        Self(nanos(clock.unix_time()).saturating_add(nanos(ttl)))
    }

    pub(crate) fn has_passed(self, clock: &Clock) -> bool {
        self != Self::NEVER && nanos(clock.unix_time()) >= self.0
    }

    /// The remaining time to live, or `None` if the entry has expired.
    pub(crate) fn remaining(self, clock: &Clock) -> Option<Ttl> {
        if self == Self::NEVER {
            return Some(Ttl::Never);
        }
        let remaining = self.0.saturating_sub(nanos(clock.unix_time()));
        (remaining > 0).then(|| Ttl::Left(Duration::from_nanos(remaining)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a file cannot be decoded as an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The file is shorter than its header declares, or than a header.
    Truncated,
    /// The file is longer than its header declares.
    Overlong,
    /// The file does not start with the magic.
    Magic,
    /// The file has another version of the format.
    Version(u8),
    /// The header has impossible lengths or an unknown kind of payload.
    Header,
    /// The checksum does not match.
    Checksum,
    /// The file holds the entry of another key.
    Key,
}

impl DecodeError {
    /// The label of the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Overlong => "overlong",
            Self::Magic => "magic",
            Self::Version(_) => "version",
            Self::Header => "header",
            Self::Checksum => "checksum",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the file is truncated"),
            Self::Overlong => f.write_str("the file is longer than its header declares"),
            Self::Magic => f.write_str("the file does not start with `cachette`"),
            Self::Version(version) => {
                write!(f, "found format version {version}, expected {VERSION}")
            }
            Self::Header => f.write_str("the header is invalid"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Key => f.write_str("the file holds the entry of another key"),
        }
    }
}

/// The header of a file. Decoding it checks everything but the checksum and the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    kind: u8,
    checksum: u32,
    pub(crate) expiry: Expiry,
    /// The length of the key in bytes.
    pub(crate) key: usize,
    payload: usize,
}

impl Header {
    pub(crate) fn decode(file: &[u8]) -> Result<Self, DecodeError> {
        let Some((header, _)) = file.split_first_chunk::<HEADER>() else {
            return Err(DecodeError::Truncated);
        };
        if header[..8] != MAGIC[..] {
            return Err(DecodeError::Magic);
        }
        if header[8] != VERSION {
            return Err(DecodeError::Version(header[8]));
        }
        let number = |at: usize| u64::from_le_bytes(part(header, at));
        let length = |length: u64| usize::try_from(length).map_err(|_| DecodeError::Header);
        let header = Self {
            kind: header[9],
            checksum: u32::from_le_bytes(part(header, 12)),
            expiry: Expiry(number(16)),
            key: length(number(32))?,
            payload: length(number(24))?,
        };
        header.file_length().map(|_| header).ok_or(DecodeError::Header)
    }

    /// The expected length of the file in bytes.
    pub(crate) fn file_length(&self) -> Option<usize> {
        HEADER.checked_add(self.key)?.checked_add(self.payload)
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// An entry that borrows from the bytes of its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) expiry: Expiry,
    pub(crate) payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// Fails for objects, which the handle never passes to this store.
    pub(crate) fn from_value(value: &'a Value) -> Result<Self> {
        match value {
            Value::Int(number) => Ok(Self::Int(*number)),
            Value::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            _ => Err(Error::new(ErrorKind::Encode, "cannot store an object in a file")),
        }
    }

    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Int(number) => Value::Int(number),
            Self::Bytes(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// Decodes the header of a file that starts with these bytes, and checks that the file has the
/// declared length.
pub(crate) fn header(start: &[u8], length: u64) -> Result<Header, DecodeError> {
    let header = Header::decode(start)?;
    let declared = header.file_length().ok_or(DecodeError::Header)? as u64;
    match length.cmp(&declared) {
        Ordering::Less => Err(DecodeError::Truncated),
        Ordering::Equal => Ok(header),
        Ordering::Greater => Err(DecodeError::Overlong),
    }
}

/// Decodes the entry of `key` from the bytes of a file.
pub(crate) fn decode<'a>(file: &'a [u8], key: &str) -> Result<Entry<'a>, DecodeError> {
    let header = header(file, file.len() as u64)?;
    let content = &file[HEADER..];
    if checksum(&file[..HEADER], &[content]) != header.checksum {
        return Err(DecodeError::Checksum);
    }
    let (written_key, payload) = content.split_at(header.key);
    if written_key != key.as_bytes() {
        return Err(DecodeError::Key);
    }
    let payload = match (header.kind, payload.try_into()) {
        (0, Ok(number)) => Payload::Int(i64::from_le_bytes(number)),
        (1, _) => Payload::Bytes(payload),
        _ => return Err(DecodeError::Header),
    };
    Ok(Entry { expiry: header.expiry, payload })
}

/// Writes an entry to a file, with few system calls and without copying a large payload.
pub(crate) fn encode(key: &str, entry: &Entry<'_>, mut file: impl Write) -> io::Result<()> {
    let number;
    let (kind, payload) = match entry.payload {
        Payload::Int(value) => {
            number = value.to_le_bytes();
            (0, &number[..])
        }
        Payload::Bytes(bytes) => (1, bytes),
    };
    let mut head = Vec::with_capacity(HEADER + key.len() + payload.len().min(MAX_COPY));
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0, 0, 0]);
    for number in [entry.expiry.0, payload.len() as u64, key.len() as u64] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(&head, &[key.as_bytes(), payload]);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(key.as_bytes());
    if payload.len() < MAX_COPY {
        head.extend_from_slice(payload);
        return file.write_all(&head);
    }
    file.write_all(&head)?;
    file.write_all(payload)
}

/// A payload below this size is cheaper to copy than to write by another system call.
const MAX_COPY: usize = 16 << 10;

fn checksum(header: &[u8], content: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[8..12]);
    hasher.update(&header[16..HEADER]);
    content.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = ":1:k";

    fn encoded(payload: Payload<'_>) -> Vec<u8> {
        let mut file = Vec::new();
        encode(KEY, &Entry { expiry: Expiry(7), payload }, &mut file).expect("a Vec never fails");
        file
    }

    #[test]
    fn entry_round_trips() {
        for payload in [
            Payload::Int(i64::MIN),
            Payload::Int(42),
            Payload::Bytes(b""),
            Payload::Bytes(b"12345678"),
        ] {
            let file = encoded(payload);
            let entry = decode(&file, KEY).expect("a valid file");
            assert_eq!((entry.expiry, entry.payload), (Expiry(7), payload));
        }
    }

    #[test]
    fn bytes_of_version_1_are_stable() {
        let file = encoded(Payload::Int(-2));
        let expected = [
            &b"cachette"[..],
            &[1, 0, 0, 0],
            &[244, 200, 139, 103],
            &[7, 0, 0, 0, 0, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            b":1:k",
            &[254, 255, 255, 255, 255, 255, 255, 255],
        ];
        assert_eq!(file, expected.concat());
    }

    #[test]
    fn file_truncated_at_any_length_is_undecodable() {
        let file = encoded(Payload::Bytes(b"value"));
        for length in 0..file.len() {
            let error = decode(&file[..length], KEY).err();
            assert_eq!(error, Some(DecodeError::Truncated), "{length} bytes");
        }
    }

    #[test]
    fn file_with_extra_bytes_is_undecodable() {
        let mut file = encoded(Payload::Bytes(b"value"));
        file.push(0);
        assert_eq!(decode(&file, KEY).err(), Some(DecodeError::Overlong));
    }

    #[test]
    fn file_with_any_flipped_bit_is_undecodable() {
        let file = encoded(Payload::Bytes(b"value"));
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, KEY).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn entry_of_another_key_is_undecodable() {
        let file = encoded(Payload::Bytes(b"value"));
        assert_eq!(decode(&file, ":1:K").err(), Some(DecodeError::Key));
    }

    #[test]
    fn other_version_is_reported_with_its_number() {
        let mut file = encoded(Payload::Int(1));
        file[8] = 2;
        assert_eq!(decode(&file, KEY).err(), Some(DecodeError::Version(2)));
        let message = DecodeError::Version(2).to_string();
        assert!(message.contains("version 2") && message.contains("expected 1"), "{message}");
    }

    #[test]
    fn impossible_lengths_do_not_panic() {
        let mut file = encoded(Payload::Int(1));
        file[24..40].fill(0xFF);
        assert_eq!(decode(&file, KEY).err(), Some(DecodeError::Header));
    }
}
