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
//! Entries that record more than their value have the longer [header] of format 2.
//!
//! Raw bytes, text, msgpack and json describe themselves and are decoded in every alias. postcard
//! is positional: it would decode any bytes as some value, so an alias decodes it only if it names
//! it.
//!
//! Strings and bytes follow the header unchanged, so decoding `Bytes` copies nothing.

mod depth;
#[cfg(test)]
mod format_1;
mod format_2;
mod header;
mod layout;
mod plain;

use std::{
    any::{Any, type_name},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, IgnoredAny},
};

use crate::{Error, ErrorKind, Result, Value};
use depth::Limited;
pub(crate) use format_2::{describe, has_meta, has_tags, meta};
pub(crate) use header::{MAX_TAG_NAME, MAX_TAGS};
pub(crate) use layout::{Layout, layout};
use plain::{NumberReader, Plain, RawReader, TextReader};

/// How to encode values that are not integers, strings or bytes.
///
/// Decoding uses the codec in the header of each entry, so entries stay readable if the codec is
/// changed. Entries that were encoded with `Postcard` do so only if
/// [`also_decode`](crate::Settings::also_decode) lists it.
///
/// A value that is nested more than 128 levels deep can be encoded, but not decoded: an entry that
/// another program wrote must not overflow the stack.
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
    /// `serde_json::Value`, `flatten` and untagged enums.
    #[cfg(feature = "postcard")]
    Postcard,
}

const MAGIC: u8 = 0xC1;
const FORMAT_1: u8 = 0x10;
const FORMAT_2: u8 = 0x20;
const RAW: u8 = FORMAT_1;
const TEXT: u8 = FORMAT_1 | 1;
const MSGPACK: u8 = FORMAT_1 | 2;
const JSON: u8 = FORMAT_1 | 3;
const POSTCARD: u8 = FORMAT_1 | 4;
/// An integer, which format 1 never has: it is stored as an integer.
const INTEGER: u8 = FORMAT_1 | 5;
const HEADER: usize = 2;

/// The maximum depth of lists and maps, as in `serde_json`. [`Limited`] counts other nesting.
const MAX_DEPTH: usize = 128;

/// The codecs of an alias.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codecs {
    /// Encodes new entries.
    pub(crate) encode: Codec,
    /// Decode entries in addition to `encode` and the self-describing codecs.
    #[cfg_attr(not(feature = "postcard"), expect(dead_code, reason = "only postcard is optional"))]
    pub(crate) also_decode: Arc<[Codec]>,
}

impl Codecs {
    #[cfg(feature = "postcard")]
    fn decode(&self, codec: Codec) -> bool {
        self.encode == codec || self.also_decode.contains(&codec)
    }
}

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
pub(crate) fn decode<T: DeserializeOwned + 'static>(value: Value, codecs: &Codecs) -> Result<T> {
    match value {
        Value::Int(number) => decode_integer(number),
        Value::Bytes(bytes) => decode_bytes(bytes, codecs),
        Value::Object(object) => decode(object.encode(codecs.encode)?, codecs),
    }
}

/// Like [`decode`], but returns an object of this type as it is.
pub(crate) fn decode_shared<T>(value: Value, codecs: &Codecs) -> Result<Arc<T>>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let value = match value {
        Value::Object(object) => match object.downcast() {
            Ok(object) => return Ok(object),
            Err(object) => Value::Object(object),
        },
        encoded => encoded,
    };
    decode(value, codecs).map(Arc::new)
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

fn decode_bytes<T: DeserializeOwned + 'static>(bytes: Bytes, codecs: &Codecs) -> Result<T> {
    match *bytes {
        [MAGIC, tag, ..] if tag & 0xF0 == FORMAT_1 && tag != INTEGER => {
            decode_body(tag, bytes, HEADER, codecs)
        }
        [MAGIC, tag, ..] if tag & 0xF0 == FORMAT_2 => format_2::decode(bytes, codecs),
        [MAGIC, tag, ..] => Err(unknown_codec(tag)),
        _ => Err(Error::new(
            ErrorKind::Decode,
            "the entry has no header of cachette: another program wrote it",
        )),
    }
}

/// Decodes the rest of an entry from `body_at`. `tag` is the codec as in format 1.
#[cfg_attr(
    not(feature = "postcard"),
    expect(unused_variables, reason = "only postcard is optional")
)]
#[inline]
fn decode_body<T: DeserializeOwned + 'static>(
    tag: u8,
    entry: Bytes,
    body_at: usize,
    codecs: &Codecs,
) -> Result<T> {
    let body = &entry[body_at..];
    match tag {
        RAW => decode_raw(entry, body_at),
        TEXT => {
            let text = str::from_utf8(body).map_err(|error| decode_error::<T>(error, "text"))?;
            T::deserialize(Limited::new(TextReader(text)))
                .map_err(|error| decode_error::<T>(error, "text"))
        }
        MSGPACK => decode_msgpack(body).map_err(|error| decode_error::<T>(error, "msgpack")),
        JSON => decode_json(body).map_err(|error| decode_error::<T>(error, "json")),
        #[cfg(feature = "postcard")]
        POSTCARD if !codecs.decode(Codec::Postcard) => {
            let message = "the entry is encoded with postcard: set CODEC to postcard, or list it \
                           in ALSO_DECODE";
            Err(Error::new(ErrorKind::Decode, message))
        }
        #[cfg(feature = "postcard")]
        POSTCARD => decode_postcard(body).map_err(|error| decode_error::<T>(error, "postcard")),
        #[cfg(not(feature = "postcard"))]
        POSTCARD => {
            let message =
                "the entry is encoded with postcard: enable the feature `postcard` to decode it";
            Err(Error::new(ErrorKind::Decode, message))
        }
        _ => Err(unknown_codec(entry[1])),
    }
}

#[cold]
fn unknown_codec(tag: u8) -> Error {
    let message = format!("the header of the entry has the unknown codec or format {tag:#04x}");
    Error::new(ErrorKind::Decode, message)
}

#[inline]
fn decode_integer<T: DeserializeOwned>(number: i64) -> Result<T> {
    T::deserialize(Limited::new(NumberReader(number)))
        .map_err(|error| decode_error::<T>(error, "an integer"))
}

/// Decodes raw bytes: `Bytes` as a slice of the entry, `Vec<u8>` as a copy, other types through
/// serde.
fn decode_raw<T: DeserializeOwned + 'static>(mut entry: Bytes, body_at: usize) -> Result<T> {
    let mut decoded = None::<T>;
    let slot: &mut dyn Any = &mut decoded;
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        entry.advance(body_at);
        *slot = Some(entry);
    } else if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(entry[body_at..].to_vec());
    } else {
        return T::deserialize(Limited::new(RawReader(&entry[body_at..])))
            .map_err(|error| decode_error::<T>(error, "bytes"));
    }
    Ok(decoded.expect("the slot was just filled"))
}

fn decode_msgpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(Limited::new(&mut reader))?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(de::Error::custom("trailing bytes")),
    }
}

fn decode_json<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = T::deserialize(Limited::new(&mut reader))?;
    reader.end()?;
    Ok(value)
}

#[cfg(feature = "postcard")]
fn decode_postcard<T: DeserializeOwned>(body: &[u8]) -> Result<T, postcard::Error> {
    let mut reader = postcard::Deserializer::from_bytes(body);
    let value = T::deserialize(Limited::new(&mut reader))?;
    match reader.finalize()? {
        [] => Ok(value),
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
        decode(Value::Bytes(Bytes::copy_from_slice(bytes)), &Codecs::default())
    }

    /// Like [`read`], but also decodes postcard if it is built in.
    fn read_any<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
        #[cfg(feature = "postcard")]
        let codecs = Codecs { also_decode: [Codec::Postcard].into(), ..Codecs::default() };
        #[cfg(not(feature = "postcard"))]
        let codecs = Codecs::default();
        decode(Value::Bytes(Bytes::copy_from_slice(bytes)), &codecs)
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
            read_any::<(u8, Option<String>, f64)>(&bytes_of(&value, Codec::Postcard))
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
        assert!(read_any::<bool>(b"\xc1\x14\x01\x01").is_err());
    }

    #[test]
    fn entry_of_another_program_is_an_error() {
        for (bytes, fact) in [
            (&b""[..], "no header"),
            (b"\xc1", "no header"),
            (b"hello", "no header"),
            (b"\xc1\x15\0\0\0\0\0\0\0\x07", "0x15"),
            (b"\xc1\x1fhello", "0x1f"),
            (b"\xc1\x2f\0hello", "0x2f"),
            (b"\xc1\x31hello", "0x31"),
            (b"\xc1\x21hello", "unknown flags 0x40"),
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
        assert!(decode::<OnlyUnsigned>(Value::Int(7), &Codecs::default()).is_ok());
        assert!(decode::<OnlyUnsigned>(Value::Int(-7), &Codecs::default()).is_err());
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

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node(Box<Tree>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct List {
        next: Option<Box<List>>,
    }

    /// A type that can nest itself without a byte of the entry.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        List(Vec<Untagged>),
        Map { next: Box<Untagged> },
    }

    /// Runs on a thread with half of the stack that a worker of tokio has.
    fn on_a_small_stack(test: fn()) {
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(test);
        thread.expect("a thread").join().expect("the test passes");
    }

    /// Asserts that nesting of every kind, in every format, is an error and no stack overflow.
    fn assert_undecodable<T: DeserializeOwned + std::fmt::Debug + 'static>() {
        const MANY: usize = 1 << 20;
        let repeated = |tag: u8, part: &[u8]| [&[MAGIC, tag][..], &part.repeat(MANY)].concat();
        for entry in [
            repeated(MSGPACK, &[0x81, 0x01]),
            repeated(MSGPACK, &[0x91]),
            repeated(MSGPACK, &[0x92, 0x01]),
            repeated(MSGPACK, b"\x81\xa4next"),
            repeated(MSGPACK, b"\x81\xa4Node"),
            repeated(JSON, b"{\"Node\":"),
            repeated(JSON, b"{\"next\":"),
            repeated(JSON, b"["),
            repeated(JSON, b"1"),
            repeated(TEXT, b"1"),
            repeated(RAW, b"1"),
            repeated(POSTCARD, &[1]),
        ] {
            let error = read_any::<T>(&entry).expect_err("the nesting is too deep");
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
        let integer = decode::<T>(Value::Int(1), &Codecs::default());
        assert_eq!(integer.expect_err("not an integer").kind(), ErrorKind::Decode);
    }

    #[test]
    fn too_deep_recursive_enum_is_an_error() {
        on_a_small_stack(assert_undecodable::<Tree>);
    }

    #[test]
    fn too_deep_recursive_struct_is_an_error() {
        on_a_small_stack(assert_undecodable::<List>);
    }

    #[test]
    fn too_deep_recursive_newtype_is_an_error() {
        on_a_small_stack(assert_undecodable::<Chain>);
    }

    #[test]
    fn too_deep_recursive_list_of_options_is_an_error() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only decoded")]
        struct Options(Vec<Option<Options>>);
        // The bytes of an entry are a list of numbers, which are no lists.
        on_a_small_stack(assert_undecodable::<Options>);
    }

    #[test]
    fn too_deep_untagged_enum_is_an_error() {
        on_a_small_stack(|| {
            for (tag, open) in [(MSGPACK, &[0x91][..]), (MSGPACK, b"\x81\xa4next"), (JSON, b"[")] {
                let deep = [&[MAGIC, tag][..], &open.repeat(100_000)].concat();
                let error = read::<Untagged>(&deep).expect_err("the nesting is too deep");
                assert_eq!(error.kind(), ErrorKind::Decode);
            }
        });
    }

    #[test]
    fn value_of_a_hundred_levels_round_trips() {
        on_a_small_stack(|| {
            let tree = (0..100).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)));
            let list =
                (0..100).fold(List { next: None }, |list, _| List { next: Some(Box::new(list)) });
            for codec in [
                Codec::MsgPack,
                Codec::Json,
                #[cfg(feature = "postcard")]
                Codec::Postcard,
            ] {
                assert_eq!(read_any::<Tree>(&bytes_of(&tree, codec)).expect("decoded"), tree);
                assert_eq!(read_any::<List>(&bytes_of(&list, codec)).expect("decoded"), list);
            }
        });
    }

    #[cfg(feature = "postcard")]
    #[test]
    fn postcard_is_decoded_only_if_the_alias_names_it() {
        let entry = Bytes::from(bytes_of(&Some(true), Codec::Postcard));
        let decode = |codecs: &Codecs| decode::<Option<bool>>(Value::Bytes(entry.clone()), codecs);
        let error = decode(&Codecs::default()).expect_err("the alias does not name postcard");
        assert_eq!(error.kind(), ErrorKind::Decode);
        let encodes = Codecs { encode: Codec::Postcard, ..Codecs::default() };
        assert_eq!(decode(&encodes).expect("it can be decoded"), Some(true));
        let lists = Codecs { also_decode: [Codec::Postcard].into(), ..Codecs::default() };
        assert_eq!(decode(&lists).expect("it can be decoded"), Some(true));
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
            tag in 0x10..0x26_u8,
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [&[MAGIC, tag], &body[..]].concat();
            let _ = read_any::<String>(&bytes);
            let _ = read_any::<Vec<(u8, Option<String>)>>(&bytes);
            let _ = read_any::<serde_json::Value>(&bytes);
            let _ = read_any::<std::collections::HashMap<String, i64>>(&bytes);
            let _ = read_any::<f32>(&bytes);
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
