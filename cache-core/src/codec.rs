//! From typed values to [`Value`] and back.
//!
//! An integer that fits an `i64` becomes [`Value::Int`]. Everything else becomes bytes behind a header of two bytes, so
//! that what one codec wrote is readable whatever the codec configured today:
//!
//! | byte | |
//! |---|---|
//! | 0 | `0xC1`: no MessagePack, no UTF-8 text and no JSON begins with it |
//! | 1 | the format's version (high half: 1) and the codec (low half: 0 raw bytes, 1 text, 2 msgpack, 3 json, 4 postcard) |
//!
//! Strings and bytes stand behind the header as they are, so reading `Bytes` copies nothing.

mod plain;

use std::any::{Any, type_name};

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, IgnoredAny},
};

use crate::{Error, ErrorKind, Result, Value};
use plain::{NumberReader, Plain, RawReader, TextReader};

/// How values that are neither integers nor strings nor bytes are written. Reading goes by each entry's own header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// [MessagePack](https://msgpack.org) with field names: a struct may gain, lose and re-order fields between deploys.
    #[default]
    MsgPack,
    /// JSON, for reading entries with other tools. It has no NaN and no infinity: they come back as nothing that reads.
    Json,
    /// [postcard](https://postcard.jamesmunns.com): half the size and time, no field names. A struct that changed reads
    /// as an error or, when fields change places, as nonsense: put a new `VERSION` with each change. It writes but cannot
    /// read types that ask what comes next: `serde_json::Value`, `flatten`, untagged enums. It has no limit of depth, so read
    /// no recursive types from a store that others may write to.
    #[cfg(feature = "postcard")]
    Postcard,
}

const MAGIC: u8 = 0xC1;
const FORMAT_1: u8 = 0x10;
const RAW: u8 = FORMAT_1;
const TEXT: u8 = FORMAT_1 | 1;
const MSGPACK: u8 = FORMAT_1 | 2;
const JSON: u8 = FORMAT_1 | 3;
const POSTCARD: u8 = FORMAT_1 | 4;
const HEADER: usize = 2;

/// How deep lists and tables may be nested, as in `serde_json`: an entry must not overflow its reader's stack.
const MAX_DEPTH: usize = 128;

/// Encodes a value for a store.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, codec: Codec) -> Result<Value> {
    match plain::probe(value) {
        Some(Plain::Int(number)) => Ok(Value::Int(number)),
        Some(Plain::Text(bytes) | Plain::Raw(bytes)) => Ok(Value::Bytes(bytes.into())),
        None => {
            encode_with(value, codec).map(|bytes| Value::Bytes(bytes.into_boxed_slice().into()))
        }
    }
}

/// The integer that a value is, where it is one.
pub(crate) fn as_int<T: Serialize>(value: &T) -> Option<i64> {
    plain::probe_int(value)
}

/// Decodes what a store answered.
pub(crate) fn decode<T: DeserializeOwned + 'static>(value: Value, codec: Codec) -> Result<T> {
    match value {
        Value::Int(number) => T::deserialize(NumberReader(number))
            .map_err(|error| unreadable::<T>(error, "an integer")),
        Value::Bytes(bytes) => decode_bytes(&bytes),
        Value::Object(object) => decode(object.encode(codec)?, codec),
    }
}

fn header(tag: u8, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + capacity);
    bytes.extend([MAGIC, tag]);
    bytes
}

fn encode_with<T: Serialize + ?Sized>(value: &T, codec: Codec) -> Result<Vec<u8>> {
    match codec {
        Codec::MsgPack => {
            let mut bytes = header(MSGPACK, 126);
            rmp_serde::encode::write_named(&mut bytes, value).map_err(unwritable::<T>)?;
            Ok(bytes)
        }
        Codec::Json => {
            let mut bytes = header(JSON, 126);
            serde_json::to_writer(&mut bytes, value).map_err(unwritable::<T>)?;
            Ok(bytes)
        }
        #[cfg(feature = "postcard")]
        Codec::Postcard => {
            postcard::to_extend(value, header(POSTCARD, 62)).map_err(unwritable::<T>)
        }
    }
}

fn decode_bytes<T: DeserializeOwned + 'static>(bytes: &Bytes) -> Result<T> {
    let &[MAGIC, tag, ref body @ ..] = &**bytes else {
        return Err(Error::new(
            ErrorKind::Decode,
            "the entry has no header of ours: something else wrote it",
        ));
    };
    match tag {
        RAW => decode_raw(bytes),
        TEXT => {
            let text = str::from_utf8(body).map_err(|error| unreadable::<T>(error, "text"))?;
            T::deserialize(TextReader(text)).map_err(|error| unreadable::<T>(error, "text"))
        }
        MSGPACK => decode_msgpack(body).map_err(|error| unreadable::<T>(error, "msgpack")),
        JSON => serde_json::from_slice(body).map_err(|error| unreadable::<T>(error, "json")),
        #[cfg(feature = "postcard")]
        POSTCARD => decode_postcard(body).map_err(|error| unreadable::<T>(error, "postcard")),
        #[cfg(not(feature = "postcard"))]
        POSTCARD => {
            let message =
                "the entry is written by postcard: enable the feature `postcard` to read it";
            Err(Error::new(ErrorKind::Decode, message))
        }
        _ => {
            let message = format!("the entry's header has the unknown codec or format {tag:#04x}");
            Err(Error::new(ErrorKind::Decode, message))
        }
    }
}

/// `Bytes` are a slice of the entry itself, and a `Vec<u8>` is one copy; anything else reads them through serde.
fn decode_raw<T: DeserializeOwned + 'static>(entry: &Bytes) -> Result<T> {
    let mut wanted = None::<T>;
    let slot: &mut dyn Any = &mut wanted;
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(entry.slice(HEADER..));
    } else if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(entry[HEADER..].to_vec());
    }
    match wanted {
        Some(value) => Ok(value),
        None => T::deserialize(RawReader(&entry[HEADER..]))
            .map_err(|error| unreadable::<T>(error, "bytes")),
    }
}

fn decode_msgpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut reader)?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(de::Error::custom("bytes are left over")),
    }
}

#[cfg(feature = "postcard")]
fn decode_postcard<T: DeserializeOwned>(body: &[u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(body)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

fn unwritable<T: ?Sized>(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("cannot encode a value of type {}", type_name::<T>());
    Error::new(ErrorKind::Encode, message).with_source(error)
}

fn unreadable<T>(error: impl std::error::Error + Send + Sync + 'static, stored: &str) -> Error {
    let message = format!("cannot decode {stored} as {}", type_name::<T>());
    Error::new(ErrorKind::Decode, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bytes_of<T: Serialize + ?Sized>(value: &T, codec: Codec) -> Vec<u8> {
        match encode(value, codec).expect("it can be written") {
            Value::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is not bytes"),
        }
    }

    fn read<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
        decode(Value::Bytes(Bytes::copy_from_slice(bytes)), Codec::default())
    }

    #[test]
    fn the_header_tells_the_format_and_the_codec() {
        assert_eq!(bytes_of("hi", Codec::Json), b"\xc1\x11hi");
        assert_eq!(bytes_of(&b"hi"[..], Codec::Json), b"\xc1\x10hi");
        assert_eq!(bytes_of(&true, Codec::MsgPack), b"\xc1\x12\xc3");
        assert_eq!(bytes_of(&json!({"a": [1]}), Codec::Json), b"\xc1\x13{\"a\":[1]}");
        #[cfg(feature = "postcard")]
        assert_eq!(bytes_of(&Some(true), Codec::Postcard), b"\xc1\x14\x01\x01");
    }

    #[test]
    fn each_entry_reads_by_its_own_header() {
        let value = (1_u8, Some("two".to_owned()), 3.5);
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::MsgPack)).expect("it reads"),
            value
        );
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::Json)).expect("it reads"),
            value
        );
        #[cfg(feature = "postcard")]
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::Postcard))
                .expect("it reads"),
            value
        );
    }

    #[test]
    fn a_list_of_small_numbers_that_are_no_bytes_is_no_string_of_bytes() {
        assert_eq!(bytes_of(&vec![1_u32, 2], Codec::Json), b"\xc1\x13[1,2]");
    }

    #[test]
    fn bytes_that_are_left_over_are_an_error() {
        for codec in [Codec::MsgPack, Codec::Json] {
            let bytes = [bytes_of(&true, codec), vec![0xC3]].concat();
            assert_eq!(
                read::<bool>(&bytes).expect_err("one byte is left").kind(),
                ErrorKind::Decode
            );
        }
        #[cfg(feature = "postcard")]
        assert!(read::<bool>(b"\xc1\x14\x01\x01").is_err());
    }

    #[test]
    fn what_something_else_wrote_is_told_apart() {
        for (bytes, told) in [
            (&b""[..], "the entry has no header of ours: something else wrote it"),
            (b"\xc1", "the entry has no header of ours: something else wrote it"),
            (b"hello", "the entry has no header of ours: something else wrote it"),
            (b"\xc1\x1fhello", "the entry's header has the unknown codec or format 0x1f"),
            (b"\xc1\x21hello", "the entry's header has the unknown codec or format 0x21"),
        ] {
            assert_eq!(read::<String>(bytes).expect_err("it is not ours").to_string(), told);
        }
    }

    #[test]
    fn text_reads_as_the_name_of_a_variant_and_bytes_as_text() {
        assert_eq!(
            read::<Codec>(&bytes_of("json", Codec::MsgPack)).expect("it reads"),
            Codec::Json
        );
        assert_eq!(read::<String>(&bytes_of(&b"hi"[..], Codec::MsgPack)).expect("it reads"), "hi");
        assert_eq!(
            read::<Vec<u16>>(&bytes_of(&b"hi"[..], Codec::MsgPack)).expect("it reads"),
            [104, 105]
        );
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pixel(u8);

    #[test]
    fn bytes_in_wrappers_come_back() {
        fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(
            value: &T,
        ) {
            assert_eq!(&read::<T>(&bytes_of(value, Codec::MsgPack)).expect("it reads"), value);
        }
        comes_back(&vec![Some(1_u8), Some(2)]);
        comes_back(&vec![Some(1_u8), None]);
        comes_back(&vec![Pixel(1), Pixel(2)]);
        comes_back(&[Pixel(1), Pixel(2)]);
        comes_back(&(1_u8, Some(2_u8)));
        comes_back(&vec![(1_u8, 2_u8)]);
        comes_back(&Some(vec![Some(Pixel(1))]));
    }

    #[test]
    fn an_integer_is_offered_unsigned_where_it_can_be() {
        struct OnlyUnsigned;
        impl<'de> Deserialize<'de> for OnlyUnsigned {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = OnlyUnsigned;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a number")
                    }
                    fn visit_u64<E>(self, _: u64) -> Result<OnlyUnsigned, E> {
                        Ok(OnlyUnsigned)
                    }
                }
                deserializer.deserialize_u64(Visitor)
            }
        }
        assert!(decode::<OnlyUnsigned>(Value::Int(7), Codec::default()).is_ok());
        assert!(decode::<OnlyUnsigned>(Value::Int(-7), Codec::default()).is_err());
    }

    #[test]
    fn an_entry_that_is_nested_too_deep_is_an_error_and_not_the_end_of_the_process() {
        for (tag, open) in [(MSGPACK, 0x91), (JSON, b'[')] {
            let deep = [vec![MAGIC, tag], vec![open; 100_000]].concat();
            assert_eq!(
                read::<serde_json::Value>(&deep).expect_err("it has no end").kind(),
                ErrorKind::Decode
            );
            assert!(read::<Pixel>(&deep).is_err());
        }
    }

    #[test]
    fn what_is_encoded_takes_no_more_room_than_it_has_bytes() {
        let Ok(Value::Bytes(bytes)) = encode(&(1_u8, "two"), Codec::MsgPack) else {
            panic!("it is bytes")
        };
        let vector = Vec::from(bytes);
        assert_eq!(vector.capacity(), vector.len());
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(tag in 0x10..0x16_u8, body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = [&[MAGIC, tag], &body[..]].concat();
            let _ = read::<String>(&bytes);
            let _ = read::<Vec<(u8, Option<String>)>>(&bytes);
            let _ = read::<serde_json::Value>(&bytes);
            let _ = read::<std::collections::HashMap<String, i64>>(&bytes);
            let _ = read::<f32>(&bytes);
        }

        #[test]
        fn any_json_comes_back(text in "[a-z\\PC]{0,20}", number in any::<u64>(), float in -1e300..1e300_f64) {
            let value = json!({"text": text, "list": [number, null, float, {"deep": [true]}]});
            for codec in [Codec::MsgPack, Codec::Json] {
                prop_assert_eq!(&read::<serde_json::Value>(&bytes_of(&value, codec)).expect("it reads"), &value);
            }
        }
    }
}
