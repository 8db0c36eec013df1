//! What an entry says about itself, without decoding its value.

use std::borrow::Cow;

use super::{
    FORMAT_1, FORMAT_2, HEADER, INTEGER, JSON, MAGIC, MSGPACK, POSTCARD, RAW, TEXT, header::Header,
};
use crate::{Result, Value, meta::Meta};

/// How an entry is encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The version of the format, if the entry has a header.
    pub(crate) format: Option<u8>,
    /// The codec, or why there is none.
    pub(crate) codec: &'static str,
    pub(crate) meta: Meta,
}

impl Layout {
    /// The layout of an entry whose header cannot be decoded.
    pub(crate) fn damaged() -> Self {
        Self { format: None, codec: "damaged", meta: Meta::default() }
    }
}

/// Returns the layout of a value.
///
/// # Errors
///
/// Returns [`ErrorKind::Decode`](crate::ErrorKind::Decode) if the header is damaged.
pub(crate) fn layout(value: &Value) -> Result<Layout> {
    let plain = |format, codec| Layout { format, codec, meta: Meta::default() };
    let Value::Bytes(bytes) = value else {
        let meta = super::meta(value)?.map(Cow::into_owned).unwrap_or_default();
        let codec = if matches!(value, Value::Int(_)) { "integer" } else { "object" };
        return Ok(Layout { format: None, codec, meta });
    };
    match **bytes {
        [MAGIC, tag, ..] if tag & 0xF0 == FORMAT_1 => Ok(plain(Some(1), name(tag))),
        [MAGIC, tag, ..] if tag & 0xF0 == FORMAT_2 && bytes.len() > HEADER => {
            let (header, _) = Header::decode(bytes)?;
            let codec = name(FORMAT_1 | header.codec);
            Ok(Layout { format: Some(2), codec, meta: header.meta })
        }
        _ => Ok(plain(None, "foreign")),
    }
}

fn name(tag: u8) -> &'static str {
    match tag {
        RAW => "bytes",
        TEXT => "text",
        MSGPACK => "msgpack",
        JSON => "json",
        POSTCARD => "postcard",
        INTEGER => "integer",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Codec,
        codec::{describe, encode},
        meta::Times,
    };

    fn encoded(codec: Codec) -> Value {
        encode(&[1.5], codec).expect("it can be encoded")
    }

    #[test]
    fn layout_names_the_format_and_the_codec() {
        let foreign = |bytes: &'static [u8]| Value::Bytes(bytes.into());
        for (value, expected) in [
            (Value::Int(7), (None, "integer")),
            (encoded(Codec::MsgPack), (Some(1), "msgpack")),
            (encoded(Codec::Json), (Some(1), "json")),
            (encode("hi", Codec::Json).expect("it can be encoded"), (Some(1), "text")),
            (foreign(b"\xC1\x10hi"), (Some(1), "bytes")),
            (foreign(b"\xC1\x1Fhi"), (Some(1), "unknown")),
            (foreign(b"hi"), (None, "foreign")),
            (foreign(b"\xC1\x31hi"), (None, "foreign")),
            (foreign(b"\xC1\x21"), (None, "foreign")),
        ] {
            let layout = layout(&value).expect("the header is valid");
            assert_eq!((layout.format, layout.codec), expected, "{value:?}");
        }
    }

    #[test]
    fn layout_of_format_2_has_its_meta() {
        let times = Times::new(Duration::from_secs(9), Some(Duration::from_secs(5)));
        let meta = Meta { times: Some(times), ..Meta::default() };
        let value = describe(encoded(Codec::Json), meta.clone()).expect("it has no tags");
        let expected = Layout { format: Some(2), codec: "json", meta };
        assert_eq!(layout(&value).expect("the header is valid"), expected);
    }

    #[test]
    fn damaged_header_of_format_2_is_an_error() {
        assert!(layout(&Value::Bytes(b"\xC1\x21\x01"[..].into())).is_err());
    }
}
