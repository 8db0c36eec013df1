//! Entries of format 2: a value with its [`Meta`].

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    Codecs, FORMAT_1, FORMAT_2, INTEGER, MAGIC, decode_body, decode_integer, header::Header,
};
use crate::{Error, ErrorKind, Result, Value, meta::Meta};

/// Whether an entry records more than its value.
///
/// This comparison is all that other entries pay for format 2.
#[inline]
pub(crate) fn has_meta(value: &Value) -> bool {
    match value {
        Value::Int(_) => false,
        Value::Bytes(bytes) => matches!(**bytes, [MAGIC, tag, ..] if tag & 0xF0 == FORMAT_2),
        Value::Object(object) => object.meta().is_some(),
    }
}

/// Returns what an entry records, if it records anything.
pub(crate) fn meta(value: &Value) -> Result<Option<Cow<'_, Meta>>> {
    match value {
        Value::Bytes(bytes) if has_meta(value) => {
            Ok(Some(Cow::Owned(Header::decode(bytes)?.0.meta)))
        }
        Value::Int(_) | Value::Bytes(_) => Ok(None),
        Value::Object(object) => Ok(object.meta().map(Cow::Borrowed)),
    }
}

/// Whether an entry has tags, so that their generations decide about it.
#[cold]
pub(crate) fn has_tags(value: &Value) -> bool {
    meta(value).ok().flatten().is_some_and(|meta| !meta.tags.is_empty())
}

/// Decodes an entry of format 2.
#[cold]
pub(super) fn decode<T: DeserializeOwned + 'static>(entry: Bytes, codecs: &Codecs) -> Result<T> {
    let (header, body_at) = Header::decode(&entry)?;
    header.check()?;
    match FORMAT_1 | header.codec {
        INTEGER => match entry[body_at..].try_into() {
            Ok(number) => decode_integer(i64::from_be_bytes(number)),
            Err(_) => {
                let message = "the entry is an integer that does not have 8 bytes";
                Err(Error::new(ErrorKind::Decode, message))
            }
        },
        tag => decode_body(tag, entry, body_at, codecs),
    }
}

/// Adds `meta` to a value that has none.
pub(crate) fn describe(value: Value, meta: Meta) -> Result<Value> {
    match value {
        Value::Int(number) => with_header(INTEGER, meta, &number.to_be_bytes()),
        Value::Bytes(entry) => match &*entry {
            [MAGIC, tag, body @ ..] if tag & 0xF0 == FORMAT_1 => with_header(*tag, meta, body),
            _ => unreachable!("a codec writes a header of format 1"),
        },
        Value::Object(object) => Ok(Value::Object(object.with_meta(meta))),
    }
}

fn with_header(tag: u8, meta: Meta, body: &[u8]) -> Result<Value> {
    let header = Header { codec: tag & 0x0F, meta, ..Header::default() };
    let mut entry = header.encode(body.len())?;
    entry.extend_from_slice(body);
    Ok(Value::Bytes(entry.into_boxed_slice().into()))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{super::format_1, *};
    use crate::{
        Codec, Object,
        codec::{decode, encode},
        meta::Times,
    };

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn meta() -> Meta {
        let times = Some(Times::new(NOW, Some(Duration::from_secs(300))));
        Meta { stamp: Some(*b"stamp678"), times, ..Meta::default() }
    }

    /// A value in format 1 and in format 2.
    fn both<T: serde::Serialize + ?Sized>(value: &T, codec: Codec) -> [Value; 2] {
        let plain = encode(value, codec).expect("it can be encoded");
        [plain.clone(), describe(plain, meta()).expect("it has no tags")]
    }

    fn bytes(value: &Value) -> &[u8] {
        match value {
            Value::Bytes(bytes) => bytes,
            other => panic!("{other:?} is not bytes"),
        }
    }

    #[test]
    fn body_is_that_of_format_1() {
        const HEADER: &[u8] = b"\x21stamp678\x01\xA3\x18\x5C\x50\x00\x00\x00\x04\x93\xE0";
        for (value, tag, body) in [
            (both("hi", Codec::MsgPack), 0x21, &b"hi"[..]),
            (both(&b"hi"[..], Codec::MsgPack), 0x20, b"hi"),
            (both(&true, Codec::MsgPack), 0x22, b"\xC3"),
            (both(&true, Codec::Json), 0x23, b"true"),
            (both(&7, Codec::MsgPack), 0x25, b"\0\0\0\0\0\0\0\x07"),
            (both(&-1, Codec::Json), 0x25, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
        ] {
            assert_eq!(bytes(&value[1]), [&[MAGIC, tag], HEADER, body].concat());
        }
    }

    #[test]
    fn values_decode_as_in_format_1() {
        fn assert_same<T>(value: &T)
        where
            T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
        {
            for codec in [
                Codec::MsgPack,
                Codec::Json,
                #[cfg(feature = "postcard")]
                Codec::Postcard,
            ] {
                let codecs = Codecs { encode: codec, ..Codecs::default() };
                for stored in both(value, codec) {
                    let decoded: T = decode(stored, &codecs).expect("it can be decoded");
                    assert_eq!(&decoded, value);
                }
            }
        }
        assert_same(&7_u8);
        assert_same(&i64::MIN);
        assert_same(&i128::from(i64::MAX));
        assert_same(&Some(7_u16));
        assert_same(&String::from("text"));
        assert_same(&Bytes::from_static(b"bytes"));
        assert_same(&b"bytes".to_vec());
        assert_same(&(1_u8, Some("two".to_owned()), vec![3.5]));
    }

    #[test]
    fn bytes_are_a_slice_of_the_entry() {
        let [_, stored] = both(&b"bytes"[..], Codec::MsgPack);
        let decoded: Bytes = decode(stored.clone(), &Codecs::default()).expect("decoded");
        assert_eq!(decoded.as_ptr_range().end, bytes(&stored).as_ptr_range().end);
    }

    #[test]
    fn integer_of_another_length_is_undecodable() {
        for body in [&b""[..], b"\0\0\0\0\0\0\x07", b"\0\0\0\0\0\0\0\0\x07"] {
            let entry = [&[MAGIC, FORMAT_2 | 5, 0], body].concat();
            let error = decode::<u8>(Value::Bytes(entry.into()), &Codecs::default());
            assert_eq!(error.expect_err("not 8 bytes").kind(), ErrorKind::Decode);
        }
    }

    #[test]
    fn meta_is_that_of_the_header_or_of_the_object() {
        let times = |value: &Value| super::meta(value).map(|meta| meta.and_then(|meta| meta.times));
        let object = Value::Object(Object::new(Arc::new(String::from("Ada"))));
        assert!(!has_meta(&object));
        assert_eq!(times(&object).expect("no header"), None);
        let described = describe(object, meta()).expect("it has no tags");
        assert_eq!(times(&described).expect("no header"), meta().times);
        for value in [both("hi", Codec::MsgPack), both(&7, Codec::MsgPack)] {
            assert_eq!(value.each_ref().map(has_meta), [false, true]);
            let times = value.map(|value| times(&value).expect("it is not truncated"));
            assert_eq!(times, [None, meta().times]);
        }
    }

    #[test]
    fn object_encodes_with_its_meta() {
        let object = Object::new(Arc::new(String::from("Ada"))).with_meta(meta());
        let [_, expected] = both("Ada", Codec::MsgPack);
        assert_eq!(object.encode(Codec::MsgPack).expect("it can be encoded"), expected);
    }

    /// Two releases on one store: the older one misses, and its own entries are hits of the newer.
    #[test]
    fn release_that_knows_format_1_only_reports_format_2_as_undecodable() {
        for value in [both("hi", Codec::Json), both(&true, Codec::Json), both(&[1.5], Codec::Json)]
        {
            let [plain, described] = value.each_ref().map(bytes);
            assert!(format_1::read(plain).is_ok());
            let tag = described[1];
            assert_eq!(format_1::read(described), Err(format_1::Undecodable::UnknownTag(tag)));
        }
    }
}
