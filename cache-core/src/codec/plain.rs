//! Integers, strings and bytes, which are detected with serde, so that callers need no marker type.

use std::{any::Any, fmt};

use serde::{
    Deserializer, Serialize, Serializer,
    de::{
        self, IntoDeserializer, Visitor,
        value::{BorrowedStrDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
    ser::{self, Impossible, SerializeSeq, SerializeTuple},
};

use super::{RAW, TEXT, header};

/// A value that needs no codec. Text and bytes already have their header.
pub(super) enum Plain {
    Int(i64),
    Text(Vec<u8>),
    Raw(Vec<u8>),
}

/// Returns the value as a [`Plain`], or `None` if it needs a codec.
///
/// Serializes the value and stops at the first part that is not plain.
pub(super) fn probe<T: Serialize + ?Sized>(value: &T) -> Option<Plain> {
    value.serialize(Probe).ok()
}

/// Like [`probe`], but detects only integers and copies nothing.
pub(super) fn probe_int<T: Serialize + ?Sized>(value: &T) -> Option<i64> {
    value.serialize(IntProbe).ok()
}

/// The value is not plain. Never leaves this module.
#[derive(Debug)]
pub(super) struct NotPlain;

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("needs a codec")
    }
}

impl std::error::Error for NotPlain {}

impl ser::Error for NotPlain {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

fn int(number: impl TryInto<i64>) -> Result<i64, NotPlain> {
    number.try_into().map_err(|_| NotPlain)
}

/// Only a `u8` is a byte: a list of small `u32` is not encoded as bytes.
fn byte(number: impl Any) -> Result<u8, NotPlain> {
    let number: &dyn Any = &number;
    number.downcast_ref().copied().ok_or(NotPlain)
}

/// The methods that all probes share: numbers are converted, newtypes and `Some` are looked into,
/// and everything else is not plain.
macro_rules! serialize_plain {
    (numbers by $number:expr) => {
        serialize_plain! { $number;
            serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
            serialize_i128 i128, serialize_u8 u8, serialize_u16 u16, serialize_u32 u32,
            serialize_u64 u64, serialize_u128 u128 }
        serialize_plain! { |_| Err(NotPlain);
            serialize_bool bool, serialize_f32 f32, serialize_f64 f64, serialize_char char,
            serialize_unit_struct &'static str }

        type Error = NotPlain;
        type SerializeTupleStruct = Impossible<Self::Ok, NotPlain>;
        type SerializeTupleVariant = Impossible<Self::Ok, NotPlain>;
        type SerializeMap = Impossible<Self::Ok, NotPlain>;
        type SerializeStruct = Impossible<Self::Ok, NotPlain>;
        type SerializeStructVariant = Impossible<Self::Ok, NotPlain>;

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, NotPlain> {
            value.serialize(self)
        }
        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            value: &T,
        ) -> Result<Self::Ok, NotPlain> {
            value.serialize(self)
        }
        fn serialize_none(self) -> Result<Self::Ok, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_unit(self) -> Result<Self::Ok, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_unit_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
        ) -> Result<Self::Ok, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStruct, NotPlain> {
            Err(NotPlain)
        }
        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, NotPlain> {
            Err(NotPlain)
        }
    };
    ($convert:expr; $($method:ident $type:ty),+) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<Self::Ok, NotPlain> {
            let convert: fn($type) -> Result<Self::Ok, NotPlain> = $convert;
            convert(value)
        })+
    };
}

struct Probe;

impl Serializer for Probe {
    type Ok = Plain;
    type SerializeSeq = ByteSequence;
    type SerializeTuple = ByteSequence;

    serialize_plain! { numbers by |number| int(number).map(Plain::Int) }

    fn serialize_str(self, text: &str) -> Result<Plain, NotPlain> {
        let mut bytes = header(TEXT, text.len());
        bytes.extend_from_slice(text.as_bytes());
        Ok(Plain::Text(bytes))
    }

    fn serialize_bytes(self, raw: &[u8]) -> Result<Plain, NotPlain> {
        let mut bytes = header(RAW, raw.len());
        bytes.extend_from_slice(raw);
        Ok(Plain::Raw(bytes))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ByteSequence, NotPlain> {
        match length {
            Some(length @ 1..) => Ok(ByteSequence { bytes: Vec::new(), length }),
            _ => Err(NotPlain),
        }
    }

    fn serialize_tuple(self, length: usize) -> Result<ByteSequence, NotPlain> {
        self.serialize_seq(Some(length))
    }
}

/// Defines a serializer that accepts only numbers.
macro_rules! number_probe {
    ($name:ident -> $number:ty, by $convert:expr) => {
        struct $name;

        impl Serializer for $name {
            type Ok = $number;
            type SerializeSeq = Impossible<$number, NotPlain>;
            type SerializeTuple = Impossible<$number, NotPlain>;

            serialize_plain! { numbers by $convert }

            fn serialize_str(self, _: &str) -> Result<$number, NotPlain> {
                Err(NotPlain)
            }
            fn serialize_bytes(self, _: &[u8]) -> Result<$number, NotPlain> {
                Err(NotPlain)
            }
            fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotPlain> {
                Err(NotPlain)
            }
            fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotPlain> {
                Err(NotPlain)
            }
        }
    };
}

number_probe! { IntProbe -> i64, by |number| int(number) }
number_probe! { ByteProbe -> u8, by |number| byte(number) }

/// A sequence of `u8`, such as `Vec<u8>`, `[u8]` and `[u8; N]`. Allocates at the first element.
struct ByteSequence {
    bytes: Vec<u8>,
    length: usize,
}

impl SerializeSeq for ByteSequence {
    type Ok = Plain;
    type Error = NotPlain;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), NotPlain> {
        let byte = element.serialize(ByteProbe)?;
        if self.bytes.is_empty() {
            self.bytes = header(RAW, self.length);
        }
        self.bytes.push(byte);
        Ok(())
    }

    fn end(self) -> Result<Plain, NotPlain> {
        Ok(Plain::Raw(self.bytes))
    }
}

impl SerializeTuple for ByteSequence {
    type Ok = Plain;
    type Error = NotPlain;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), NotPlain> {
        SerializeSeq::serialize_element(self, element)
    }

    fn end(self) -> Result<Plain, NotPlain> {
        SerializeSeq::end(self)
    }
}

/// Deserializes `Option` and newtypes, which the plain forms do not contain.
macro_rules! deserialize_wrappers {
    () => {
        type Error = de::value::Error;

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_some(self)
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            visitor.visit_newtype_struct(self)
        }
    };
}

/// Deserializes an integer as any type that accepts one.
pub(super) struct NumberReader(pub(super) i64);

impl<'de> Deserializer<'de> for NumberReader {
    deserialize_wrappers! {}

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match u64::try_from(self.0) {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_i64(self.0),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, de::value::Error> for NumberReader {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Deserializes text as any type that accepts a string, including an enum by the name of a variant.
pub(super) struct TextReader<'de>(pub(super) &'de str);

impl<'de> Deserializer<'de> for TextReader<'de> {
    deserialize_wrappers! {}

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Deserializes bytes as bytes if the type requests them, and as a sequence of `u8` otherwise.
pub(super) struct RawReader<'de>(pub(super) &'de [u8]);

impl<'de> RawReader<'de> {
    fn visit_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, de::value::Error> {
        visitor.visit_borrowed_bytes(self.0)
    }
}

impl<'de> Deserializer<'de> for RawReader<'de> {
    deserialize_wrappers! {}

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        SeqDeserializer::new(self.0.iter().map(|byte| NumberReader(i64::from(*byte))))
            .deserialize_any(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.visit_bytes(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.visit_bytes(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.visit_bytes(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.visit_bytes(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
