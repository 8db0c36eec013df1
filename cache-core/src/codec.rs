//! Encoding typed values as [`Value`] and decoding them.
//!
//! An integer that fits in an `i64` becomes [`Value::Int`]. Any other value becomes bytes after a
//! header of two bytes, so that an entry can be decoded whatever codec is configured today:
//!
//! | byte | content |
//! |---|---|
//! | 0 | `0xC1`, with which no MessagePack, no UTF-8 text and no JSON begins |
//! | 1, high half | the version of the format: 1 |
//! | 1, low half | the codec: 0 raw bytes, 1 text, 2 msgpack, 3 json, 4 postcard |
//!
//! Strings and bytes follow the header unchanged, so decoding `Bytes` copies nothing.

mod plain;

use std::any::{Any, type_name};

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, IgnoredAny},
};

use crate::{Error, ErrorKind, Result, Value};
use plain::{NumberReader, Plain, RawReader, TextReader};

/// How to encode values that are not integers, strings or bytes.
///
/// Decoding uses the codec in the header of each entry, so changing the codec keeps old entries
/// readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// [MessagePack](https://msgpack.org) with field names. Fields may be added, removed and
    /// reordered between deployments.
    #[default]
    MsgPack,
    /// JSON, which other tools can read. It has no NaN and no infinity: these cannot be decoded.
    Json,
    /// [postcard](https://postcard.jamesmunns.com): half the size and time of MessagePack, without
    /// field names.
    ///
    /// If a struct changes, old entries fail to decode, or decode as wrong values if fields were
    /// reordered: change VERSION with it. postcard cannot decode self-describing types such as
    /// `serde_json::Value`, `flatten` and untagged enums. It does not limit the depth of nesting,
    /// so do not decode recursive types from a store that others can write to.
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

/// The maximum depth of nesting, as in `serde_json`: an entry must not overflow the stack.
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

/// Returns the integer that the value serializes as, if it is one.
pub(crate) fn as_int<T: Serialize>(value: &T) -> Option<i64> {
    plain::probe_int(value)
}

/// Decodes a value of a store.
pub(crate) fn decode<T: DeserializeOwned + 'static>(value: Value, codec: Codec) -> Result<T> {
    match value {
        Value::Int(number) => T::deserialize(NumberReader(number))
            .map_err(|error| decode_error::<T>(error, "an integer")),
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
            rmp_serde::encode::write_named(&mut bytes, value).map_err(encode_error::<T>)?;
            Ok(bytes)
        }
        Codec::Json => {
            let mut bytes = header(JSON, 126);
            serde_json::to_writer(&mut bytes, value).map_err(encode_error::<T>)?;
            Ok(bytes)
        }
        #[cfg(feature = "postcard")]
        Codec::Postcard => {
            postcard::to_extend(value, header(POSTCARD, 62)).map_err(encode_error::<T>)
        }
    }
}

fn decode_bytes<T: DeserializeOwned + 'static>(bytes: &Bytes) -> Result<T> {
    let &[MAGIC, tag, ref body @ ..] = &**bytes else {
        return Err(Error::new(
            ErrorKind::Decode,
            "the entry has no header of cachette: another program wrote it",
        ));
    };
    match tag {
        RAW => decode_raw(bytes),
        TEXT => {
            let text = str::from_utf8(body).map_err(|error| decode_error::<T>(error, "text"))?;
            T::deserialize(TextReader(text)).map_err(|error| decode_error::<T>(error, "text"))
        }
        MSGPACK => decode_msgpack(body).map_err(|error| decode_error::<T>(error, "msgpack")),
        JSON => serde_json::from_slice(body).map_err(|error| decode_error::<T>(error, "json")),
        #[cfg(feature = "postcard")]
        POSTCARD => decode_postcard(body).map_err(|error| decode_error::<T>(error, "postcard")),
        #[cfg(not(feature = "postcard"))]
        POSTCARD => {
            let message =
                "the entry is encoded with postcard: enable the feature `postcard` to decode it";
            Err(Error::new(ErrorKind::Decode, message))
        }
        _ => {
            let message =
                format!("the header of the entry has the unknown codec or format {tag:#04x}");
            Err(Error::new(ErrorKind::Decode, message))
        }
    }
}

/// Decodes raw bytes: `Bytes` as a slice of the entry, `Vec<u8>` as a copy, other types through
/// serde.
fn decode_raw<T: DeserializeOwned + 'static>(entry: &Bytes) -> Result<T> {
    let mut decoded = None::<T>;
    let slot: &mut dyn Any = &mut decoded;
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(entry.slice(HEADER..));
    } else if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(entry[HEADER..].to_vec());
    }
    match decoded {
        Some(value) => Ok(value),
        None => T::deserialize(RawReader(&entry[HEADER..]))
            .map_err(|error| decode_error::<T>(error, "bytes")),
    }
}

fn decode_msgpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut reader)?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(de::Error::custom("trailing bytes")),
    }
}

#[cfg(feature = "postcard")]
fn decode_postcard<T: DeserializeOwned>(body: &[u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(body)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

fn encode_error<T: ?Sized>(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("cannot encode a value of type {}", type_name::<T>());
    Error::new(ErrorKind::Encode, message).with_source(error)
}

fn decode_error<T>(error: impl std::error::Error + Send + Sync + 'static, stored: &str) -> Error {
    let message = format!("cannot decode {stored} as {}", type_name::<T>());
    Error::new(ErrorKind::Decode, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bytes_of<T: Serialize + ?Sized>(value: &T, codec: Codec) -> Vec<u8> {
        match encode(value, codec).expect("the value can be encoded") {
            Value::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is not bytes"),
        }
    }

    fn read<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
        decode(Value::Bytes(Bytes::copy_from_slice(bytes)), Codec::default())
    }

    #[test]
    fn header_states_the_format_and_the_codec() {
        assert_eq!(bytes_of("hi", Codec::Json), b"\xc1\x11hi");
        assert_eq!(bytes_of(&b"hi"[..], Codec::Json), b"\xc1\x10hi");
        assert_eq!(bytes_of(&true, Codec::MsgPack), b"\xc1\x12\xc3");
        assert_eq!(bytes_of(&json!({"a": [1]}), Codec::Json), b"\xc1\x13{\"a\":[1]}");
        #[cfg(feature = "postcard")]
        assert_eq!(bytes_of(&Some(true), Codec::Postcard), b"\xc1\x14\x01\x01");
    }

    #[test]
    fn entry_is_decoded_with_the_codec_in_its_header() {
        let value = (1_u8, Some("two".to_owned()), 3.5);
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::MsgPack))
                .expect("it can be decoded"),
            value
        );
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::Json))
                .expect("it can be decoded"),
            value
        );
        #[cfg(feature = "postcard")]
        assert_eq!(
            read::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::Postcard))
                .expect("it can be decoded"),
            value
        );
    }

    #[test]
    fn list_of_wider_integers_is_not_encoded_as_bytes() {
        assert_eq!(bytes_of(&vec![1_u32, 2], Codec::Json), b"\xc1\x13[1,2]");
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        for codec in [Codec::MsgPack, Codec::Json] {
            let bytes = [bytes_of(&true, codec), vec![0xC3]].concat();
            assert_eq!(
                read::<bool>(&bytes).expect_err("a byte follows the value").kind(),
                ErrorKind::Decode
            );
        }
        #[cfg(feature = "postcard")]
        assert!(read::<bool>(b"\xc1\x14\x01\x01").is_err());
    }

    #[test]
    fn entry_of_another_program_is_an_error() {
        for (bytes, fact) in [
            (&b""[..], "no header"),
            (b"\xc1", "no header"),
            (b"hello", "no header"),
            (b"\xc1\x1fhello", "0x1f"),
            (b"\xc1\x21hello", "0x21"),
        ] {
            let error = read::<String>(bytes).expect_err("the header is invalid");
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains(fact), "{error}");
        }
    }

    #[test]
    fn text_decodes_as_a_variant_and_bytes_as_text() {
        assert_eq!(
            read::<Codec>(&bytes_of("json", Codec::MsgPack)).expect("it can be decoded"),
            Codec::Json
        );
        assert_eq!(
            read::<String>(&bytes_of(&b"hi"[..], Codec::MsgPack)).expect("it can be decoded"),
            "hi"
        );
        assert_eq!(
            read::<Vec<u16>>(&bytes_of(&b"hi"[..], Codec::MsgPack)).expect("it can be decoded"),
            [104, 105]
        );
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pixel(u8);

    #[test]
    fn bytes_in_wrappers_round_trip() {
        fn round_trips<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(
            value: &T,
        ) {
            assert_eq!(
                &read::<T>(&bytes_of(value, Codec::MsgPack)).expect("it can be decoded"),
                value
            );
        }
        round_trips(&vec![Some(1_u8), Some(2)]);
        round_trips(&vec![Some(1_u8), None]);
        round_trips(&vec![Pixel(1), Pixel(2)]);
        round_trips(&[Pixel(1), Pixel(2)]);
        round_trips(&(1_u8, Some(2_u8)));
        round_trips(&vec![(1_u8, 2_u8)]);
        round_trips(&Some(vec![Some(Pixel(1))]));
    }

    #[test]
    fn non_negative_integer_is_visited_as_unsigned() {
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
    fn too_deep_nesting_is_an_error() {
        for (tag, open) in [(MSGPACK, 0x91), (JSON, b'[')] {
            let deep = [vec![MAGIC, tag], vec![open; 100_000]].concat();
            assert_eq!(
                read::<serde_json::Value>(&deep).expect_err("the nesting is too deep").kind(),
                ErrorKind::Decode
            );
            assert!(read::<Pixel>(&deep).is_err());
        }
    }

    #[test]
    fn encoded_bytes_have_no_spare_capacity() {
        let Ok(Value::Bytes(bytes)) = encode(&(1_u8, "two"), Codec::MsgPack) else {
            panic!("the value is encoded as bytes")
        };
        let vector = Vec::from(bytes);
        assert_eq!(vector.capacity(), vector.len());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(
            tag in 0x10..0x16_u8,
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [&[MAGIC, tag], &body[..]].concat();
            let _ = read::<String>(&bytes);
            let _ = read::<Vec<(u8, Option<String>)>>(&bytes);
            let _ = read::<serde_json::Value>(&bytes);
            let _ = read::<std::collections::HashMap<String, i64>>(&bytes);
            let _ = read::<f32>(&bytes);
        }

        #[test]
        fn json_values_round_trip(
            text in "[a-z\\PC]{0,20}",
            number in any::<u64>(),
            float in -1e300..1e300_f64,
        ) {
            let value = json!({"text": text, "list": [number, null, float, {"deep": [true]}]});
            for codec in [Codec::MsgPack, Codec::Json] {
                let decoded: serde_json::Value =
                    read(&bytes_of(&value, codec)).expect("it can be decoded");
                prop_assert_eq!(&decoded, &value);
            }
        }
    }
}
