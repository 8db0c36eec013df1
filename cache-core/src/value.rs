//! What a store keeps: an integer, bytes, or the very object.

use std::{
    any::{Any, type_name},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;

use crate::{Codec, codec};

/// A value on its way between a [`CacheHandle`](crate::CacheHandle) and a store.
///
/// A store hands back what it was given: an [`Int`](Self::Int) stays an integer, so that `incr` works on it, and the
/// bytes are a matter of the handle alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// An integer, for a store to count with.
    Int(i64),
    /// Anything else, encoded.
    Bytes(Bytes),
    /// An object that never leaves the process. Given only to stores that say
    /// [`keeps_objects`](crate::Cache::keeps_objects).
    Object(Object),
}

impl Value {
    /// The memory that the value takes beyond the `Value` itself, in bytes. Of an object, what lies directly in its `Arc`, and
    /// what it is [said to own](Object::owning).
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Object(object) => object.size(),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// Integers and bytes are equal by content; objects, when they are the same object.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => Arc::ptr_eq(&one.shared, &other.shared),
            _ => false,
        }
    }
}

/// An `Arc<T>` of any `T` that can also be encoded, should somebody ask for it as another type.
#[derive(Clone)]
pub struct Object {
    shared: Arc<dyn Shared>,
    owned: usize,
}

impl Object {
    /// Takes the object. Costs no allocation.
    #[must_use]
    pub fn new<T: Serialize + Send + Sync + 'static>(object: Arc<T>) -> Self {
        Self { shared: object, owned: 0 }
    }

    /// Says how many bytes the object owns beyond those that lie directly in its `Arc`, which nobody else can see: the
    /// content of its strings and vectors. For stores that are bounded by bytes.
    #[must_use]
    pub fn owning(self, bytes: usize) -> Self {
        Self { owned: bytes, ..self }
    }

    /// The object, where it is a `T`. No reference is counted, as this value is the one that is handed out.
    ///
    /// # Errors
    /// This value as it was, where it is none.
    ///
    /// # Panics
    /// Never: it is asked for its type before.
    pub fn downcast<T: Send + Sync + 'static>(self) -> Result<Arc<T>, Self> {
        let any: &dyn Any = &*self.shared;
        if !any.is::<T>() {
            return Err(self);
        }
        let any: Arc<dyn Any + Send + Sync> = self.shared;
        Ok(any.downcast().expect("it was asked before"))
    }

    /// Encodes the object with `codec`, as [`CacheHandle::set`](crate::CacheHandle::set) would.
    ///
    /// For wrappers that take objects for a store that does not: the result is a [`Value::Int`] or
    /// a [`Value::Bytes`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the object cannot be serialized.
    pub fn encode(&self, codec: Codec) -> crate::Result<Value> {
        self.shared.encode(codec)
    }

    /// The memory that the object takes: what lies directly in its `Arc`, and what it is [said to own](Self::owning), in
    /// bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_val(&*self.shared).saturating_add(self.owned)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.shared.type_name())
    }
}

trait Shared: Any + Send + Sync {
    fn encode(&self, codec: Codec) -> crate::Result<Value>;
    fn type_name(&self) -> &'static str;
}

impl<T: Serialize + Send + Sync + 'static> Shared for T {
    fn encode(&self, codec: Codec) -> crate::Result<Value> {
        codec::encode(self, codec)
    }

    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_as_its_own_type_only() {
        let name = Arc::new(String::from("Ada"));
        let object = Object::new(Arc::clone(&name));
        let object = object.downcast::<u8>().expect_err("it is a string");
        assert!(object.downcast::<String>().is_ok_and(|same| Arc::ptr_eq(&same, &name)));
        assert_eq!(Arc::strong_count(&name), 1);
    }

    #[test]
    fn an_object_takes_what_it_is_and_what_it_is_said_to_own() {
        let object = Object::new(Arc::new(String::from("Ada")));
        assert_eq!(Value::Object(object.clone()).size(), size_of::<String>());
        assert_eq!(Value::Object(object.owning(3)).size(), size_of::<String>() + 3);
    }

    #[test]
    fn an_object_shows_its_type_and_not_its_content() {
        let value = Value::Object(Object::new(Arc::new(String::from("secret"))));
        assert_eq!(format!("{value:?}"), "Object(Object(alloc::string::String))");
    }
}
