//! Values as entries keep them.

use cache_core::{Bytes, Object, Value};

/// A [`Value`] in four words instead of five, so that an entry takes fewer lines of the processor's cache: which kind it is
/// is told by pointers that are not null.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Bytes(Bytes),
    Other(Other),
}

#[derive(Clone, Debug)]
pub(crate) enum Other {
    Int(i64),
    Object(Object),
}

impl Kept {
    /// The memory that it takes outside its entry, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Other(Other::Int(_)) => 0,
            Self::Other(Other::Object(object)) => object.size(),
        }
    }

    /// The value, for whoever asked for it. It shares the memory of this one.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Self::Other(Other::Int(number)) => Value::Int(*number),
            Self::Other(Other::Object(object)) => Value::Object(object.clone()),
        }
    }
}

impl From<Value> for Kept {
    fn from(value: Value) -> Self {
        match value {
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Int(number) => Self::Other(Other::Int(number)),
            Value::Object(object) => Self::Other(Other::Object(object)),
            _ => unreachable!("values are integers, bytes and objects"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_kept_value_takes_as_much_room_as_bytes_alone() {
        assert_eq!(size_of::<Kept>(), size_of::<Bytes>());
    }

    #[test]
    fn a_value_of_each_kind_comes_back_and_takes_what_it_took() {
        let object = Object::new(Arc::new(String::from("Ada"))).owning(3);
        for value in
            [Value::Int(-1), Value::Bytes(Bytes::from_static(b"bytes")), Value::Object(object)]
        {
            let kept = Kept::from(value.clone());
            assert_eq!(kept.value(), value);
            assert_eq!(kept.size(), value.size());
        }
    }
}
