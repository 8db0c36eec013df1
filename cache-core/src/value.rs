//! Values of a store: integers, bytes and shared objects.

use std::{
    any::{Any, type_name},
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::Serialize;

use crate::{Codec, codec, meta::Meta, tags::GenerationCheck};

/// A value that a [`CacheHandle`](crate::CacheHandle) passes to a store and gets back.
///
/// A store returns the same variant that it was given. An [`Int`](Self::Int) stays an integer, so
/// that `incr` works on it. [`Bytes`](Self::Bytes) are opaque to the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// An integer, which the store can increment.
    Int(i64),
    /// Any other value, encoded.
    Bytes(Bytes),
    /// An object that stays in this process.
    ///
    /// Passed only to stores whose [`keeps_objects`](crate::Cache::keeps_objects) returns `true`.
    Object(Object),
}

impl Value {
    /// Returns the size of the value in bytes, without the `Value` itself.
    ///
    /// The size of an integer is 0, that of an object is its [`Object::size`].
    #[inline]
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

/// Compares integers and bytes by content, and objects by identity.
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

/// An `Arc<T>` of any `T` that can also be encoded.
///
/// The handle encodes it if it is requested as another type.
#[derive(Clone)]
pub struct Object {
    shared: Arc<dyn Shared>,
    owned: usize,
}

impl Object {
    /// Creates an object without an allocation.
    #[must_use]
    pub fn new<T: Serialize + Send + Sync + 'static>(object: Arc<T>) -> Self {
        Self { shared: object, owned: 0 }
    }

    /// Sets how many bytes the object owns besides those directly in its `Arc`.
    ///
    /// These are the contents of its strings and vectors, for example, which the store cannot see.
    /// Stores that are bounded by bytes count them.
    #[must_use]
    pub fn owning(self, bytes: usize) -> Self {
        Self { owned: bytes, ..self }
    }

    /// Returns the object as a `T`.
    ///
    /// Does not change the reference count. Also returns an object that is stale.
    ///
    /// # Errors
    ///
    /// Returns `self` if the object is not a `T`.
    pub fn downcast<T: Send + Sync + 'static>(self) -> Result<Arc<T>, Self> {
        match self.downcast_plain() {
            Ok(object) => Ok(object),
            Err(object) => object.downcast_described(),
        }
    }

    /// Like [`downcast`](Self::downcast), but only if nothing is recorded about the object.
    pub(crate) fn downcast_plain<T: Send + Sync + 'static>(self) -> Result<Arc<T>, Self> {
        let any: &dyn Any = &*self.shared;
        if !any.is::<T>() {
            return Err(self);
        }
        let any: Arc<dyn Any + Send + Sync> = self.shared;
        Ok(any.downcast().expect("the type was checked"))
    }

    #[cold]
    fn downcast_described<T: Send + Sync + 'static>(self) -> Result<Arc<T>, Self> {
        let any: &dyn Any = &*self.shared;
        let object = any.downcast_ref().map(|Described { object, .. }| Arc::clone(object));
        let object: Arc<dyn Any + Send + Sync> = object.ok_or_else(|| self.clone())?;
        object.downcast().map_err(|_| self)
    }

    /// Records facts about the object.
    ///
    /// They are in an object around this one and not in a field of this struct: other objects then
    /// pay nothing for them, neither a word nor a second reference count.
    pub(crate) fn with_meta(self, meta: Meta) -> Self {
        let described = Described { object: self.shared, meta, check: OnceLock::new() };
        Self { shared: Arc::new(described), owned: self.owned }
    }

    /// Returns what is recorded about the object.
    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.shared.described().map(|described| &described.meta)
    }

    /// Returns when the tags of the object were last found to be current, if it can have any.
    pub(crate) fn check(&self) -> Option<&OnceLock<GenerationCheck>> {
        self.shared.described().map(|described| &described.check)
    }

    /// Encodes the object with `codec`, as [`CacheHandle::set`](crate::CacheHandle::set) does.
    ///
    /// Returns a [`Value::Int`] or a [`Value::Bytes`]. Wrappers use it to pass objects on to a
    /// store that does not keep them.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the object cannot be serialized.
    pub fn encode(&self, codec: Codec) -> crate::Result<Value> {
        self.shared.encode(codec)
    }

    /// Returns the size of the object in bytes: what is directly in its `Arc`, plus what it
    /// [owns](Self::owning).
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.size().saturating_add(self.owned)
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

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn described(&self) -> Option<&Described> {
        None
    }
}

impl<T: Serialize + Send + Sync + 'static> Shared for T {
    fn encode(&self, codec: Codec) -> crate::Result<Value> {
        codec::encode(self, codec)
    }

    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }
}

/// An object with what is recorded about it.
struct Described {
    object: Arc<dyn Shared>,
    meta: Meta,
    check: OnceLock<GenerationCheck>,
}

impl Shared for Described {
    fn encode(&self, codec: Codec) -> crate::Result<Value> {
        codec::describe(self.object.encode(codec)?, self.meta.clone())
    }

    fn type_name(&self) -> &'static str {
        self.object.type_name()
    }

    fn size(&self) -> usize {
        size_of_val(self).saturating_add(self.object.size())
    }

    fn described(&self) -> Option<&Described> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_downcasts_to_its_own_type_only() {
        let name = Arc::new(String::from("Ada"));
        let object = Object::new(Arc::clone(&name));
        let object = object.downcast::<u8>().expect_err("the object is a string");
        assert!(object.downcast::<String>().is_ok_and(|same| Arc::ptr_eq(&same, &name)));
        assert_eq!(Arc::strong_count(&name), 1);
    }

    #[test]
    fn described_object_downcasts_to_its_own_type_only() {
        let name = Arc::new(String::from("Ada"));
        let object = Object::new(Arc::clone(&name)).with_meta(Meta::default());
        let object = object.downcast_plain::<String>().expect_err("facts are recorded");
        let object = object.downcast::<u8>().expect_err("the object is a string");
        assert!(object.downcast::<String>().is_ok_and(|same| Arc::ptr_eq(&same, &name)));
        assert_eq!(Arc::strong_count(&name), 1);
    }

    #[test]
    fn size_includes_what_is_recorded() {
        let object = Object::new(Arc::new(String::from("Ada"))).owning(3);
        let size = object.size();
        assert_eq!(object.with_meta(Meta::default()).size(), size + size_of::<Described>());
    }

    #[test]
    fn object_is_three_words() {
        assert_eq!(size_of::<Object>(), 3 * size_of::<usize>());
    }

    #[test]
    fn size_includes_owned_bytes() {
        let object = Object::new(Arc::new(String::from("Ada")));
        assert_eq!(Value::Object(object.clone()).size(), size_of::<String>());
        assert_eq!(Value::Object(object.owning(3)).size(), size_of::<String>() + 3);
    }

    #[test]
    fn debug_shows_the_type_but_not_the_content() {
        let value = Value::Object(Object::new(Arc::new(String::from("secret"))));
        assert_eq!(format!("{value:?}"), "Object(Object(alloc::string::String))");
    }
}
