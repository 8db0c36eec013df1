//! What a file of the store holds, byte for byte.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | the magic, `cachette` |
//! | 8 | 1 | the version of the format: 1 |
//! | 9 | 1 | the kind of payload: 0 for an integer, 1 for bytes |
//! | 10 | 2 | zero |
//! | 12 | 4 | CRC-32 (ISO-HDLC) of everything but the magic and itself |
//! | 16 | 8 | the expiry in nanoseconds since 1970-01-01 UTC, or all ones for never |
//! | 24 | 8 | the length of the payload |
//! | 32 | 8 | the length of the key |
//! | 40 | | the key, then the payload; an integer is 8 bytes |
//!
//! All numbers are unsigned and little-endian, the integer signed. A file ends with its payload.

use std::{
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

    /// What would lie beyond the year 2554 is never.
    pub(crate) fn after(ttl: Option<Duration>, clock: &Clock) -> Self {
        let Some(ttl) = ttl else { return Self::NEVER };
        Self(nanos(clock.unix_time()).saturating_add(nanos(ttl)))
    }

    pub(crate) fn has_come(self, clock: &Clock) -> bool {
        self != Self::NEVER && nanos(clock.unix_time()) >= self.0
    }

    /// The time that is left, unless none is.
    pub(crate) fn left(self, clock: &Clock) -> Option<Ttl> {
        if self == Self::NEVER {
            return Some(Ttl::Never);
        }
        let left = self.0.saturating_sub(nanos(clock.unix_time()));
        (left > 0).then(|| Ttl::Left(Duration::from_nanos(left)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a file is not an entry that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is shorter than it says, or than any entry.
    Truncated,
    /// It is longer than it says.
    Overlong,
    /// It does not begin as an entry does.
    Magic,
    /// Another version of this crate wrote it.
    Version(u8),
    /// Its header says what no header says.
    Header,
    /// Its content is not what was written.
    Checksum,
    /// It holds the entry of another key.
    Key,
}

impl Unusable {
    /// One word for metrics.
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

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is cut short"),
            Self::Overlong => f.write_str("it has more bytes than it says"),
            Self::Magic => f.write_str("it does not begin as an entry does"),
            Self::Version(version) => {
                write!(f, "its format is version {version}, and this build reads {VERSION}")
            }
            Self::Header => f.write_str("its header makes no sense"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Key => f.write_str("it holds the entry of another key"),
        }
    }
}

/// The first bytes of a file, as far as they can be judged by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    kind: u8,
    checksum: u32,
    pub(crate) expiry: Expiry,
    key: usize,
    payload: usize,
}

impl Header {
    pub(crate) fn read(file: &[u8]) -> Result<Self, Unusable> {
        let Some((header, _)) = file.split_first_chunk::<HEADER>() else {
            return Err(Unusable::Truncated);
        };
        if header[..8] != MAGIC[..] {
            return Err(Unusable::Magic);
        }
        if header[8] != VERSION {
            return Err(Unusable::Version(header[8]));
        }
        let number = |at: usize| u64::from_le_bytes(part(header, at));
        let length = |length: u64| usize::try_from(length).map_err(|_| Unusable::Header);
        let header = Self {
            kind: header[9],
            checksum: u32::from_le_bytes(part(header, 12)),
            expiry: Expiry(number(16)),
            key: length(number(32))?,
            payload: length(number(24))?,
        };
        header.length().map(|_| header).ok_or(Unusable::Header)
    }

    /// How many bytes the file has.
    pub(crate) fn length(&self) -> Option<usize> {
        HEADER.checked_add(self.key)?.checked_add(self.payload)
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// An entry in the bytes of its file.
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
    /// What a value is on disk. Objects do not leave the process, and are never given to this store.
    pub(crate) fn of(value: &'a Value) -> Result<Self> {
        match value {
            Value::Int(number) => Ok(Self::Int(*number)),
            Value::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            _ => Err(Error::new(ErrorKind::Encode, "a file holds integers and bytes only")),
        }
    }

    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Int(number) => Value::Int(number),
            Self::Bytes(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// The entry of `key` in the bytes of a whole file.
pub(crate) fn read<'a>(file: &'a [u8], key: &str) -> Result<Entry<'a>, Unusable> {
    let header = Header::read(file)?;
    let length = header.length().ok_or(Unusable::Header)?;
    if file.len() != length {
        return Err(if file.len() < length { Unusable::Truncated } else { Unusable::Overlong });
    }
    let content = &file[HEADER..];
    if checksum(&file[..HEADER], &[content]) != header.checksum {
        return Err(Unusable::Checksum);
    }
    let (written_key, payload) = content.split_at(header.key);
    if written_key != key.as_bytes() {
        return Err(Unusable::Key);
    }
    let payload = match (header.kind, payload.try_into()) {
        (0, Ok(number)) => Payload::Int(i64::from_le_bytes(number)),
        (1, _) => Payload::Bytes(payload),
        _ => return Err(Unusable::Header),
    };
    Ok(Entry { expiry: header.expiry, payload })
}

/// Writes the file of an entry, by few calls and without a copy of a large payload.
pub(crate) fn write(key: &str, entry: &Entry<'_>, mut file: impl Write) -> io::Result<()> {
    let number;
    let (kind, payload) = match entry.payload {
        Payload::Int(value) => {
            number = value.to_le_bytes();
            (0, &number[..])
        }
        Payload::Bytes(bytes) => (1, bytes),
    };
    let mut head = Vec::with_capacity(HEADER + key.len() + payload.len().min(COPIED_BELOW));
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0, 0, 0]);
    for number in [entry.expiry.0, payload.len() as u64, key.len() as u64] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(&head, &[key.as_bytes(), payload]);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(key.as_bytes());
    if payload.len() < COPIED_BELOW {
        head.extend_from_slice(payload);
        return file.write_all(&head);
    }
    file.write_all(&head)?;
    file.write_all(payload)
}

/// To copy so many bytes costs less than another call.
const COPIED_BELOW: usize = 16 << 10;

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

    fn written(payload: Payload<'_>) -> Vec<u8> {
        let mut file = Vec::new();
        write(KEY, &Entry { expiry: Expiry(7), payload }, &mut file).expect("there is room");
        file
    }

    #[test]
    fn what_was_written_is_read() {
        for payload in [
            Payload::Int(i64::MIN),
            Payload::Int(42),
            Payload::Bytes(b""),
            Payload::Bytes(b"12345678"),
        ] {
            let file = written(payload);
            let entry = read(&file, KEY).expect("it is fine");
            assert_eq!((entry.expiry, entry.payload), (Expiry(7), payload));
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay_what_they_are() {
        let file = written(Payload::Int(-2));
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
    fn a_file_that_is_cut_anywhere_is_unusable() {
        let file = written(Payload::Bytes(b"value"));
        for length in 0..file.len() {
            assert_eq!(
                read(&file[..length], KEY).err(),
                Some(Unusable::Truncated),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_file_with_more_bytes_is_unusable() {
        let mut file = written(Payload::Bytes(b"value"));
        file.push(0);
        assert_eq!(read(&file, KEY).err(), Some(Unusable::Overlong));
    }

    #[test]
    fn any_bit_that_is_flipped_makes_a_file_unusable() {
        let file = written(Payload::Bytes(b"value"));
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, KEY).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_entry_of_another_key_is_unusable() {
        let file = written(Payload::Bytes(b"value"));
        assert_eq!(read(&file, ":1:K").err(), Some(Unusable::Key));
    }

    #[test]
    fn another_version_is_told_with_its_number() {
        let mut file = written(Payload::Int(1));
        file[8] = 2;
        assert_eq!(read(&file, KEY).err(), Some(Unusable::Version(2)));
        assert_eq!(
            Unusable::Version(2).to_string(),
            "its format is version 2, and this build reads 1"
        );
    }

    #[test]
    fn lengths_that_no_file_has_are_no_reason_to_panic() {
        let mut file = written(Payload::Int(1));
        file[24..40].fill(0xFF);
        assert_eq!(read(&file, KEY).err(), Some(Unusable::Header));
    }
}
