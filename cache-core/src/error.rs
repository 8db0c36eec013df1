//! One error type, one word wide.

use std::{borrow::Cow, error, fmt, result};

use crate::{config::redact, key::shown};

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = result::Result<T, E>;

/// Why an operation failed.
///
/// A miss is not an error: it is `Ok(None)` or `Ok(false)`. What to do about an error is told by its
/// [`kind`](Error::kind) and by [`is_temporary`](Error::is_temporary); what happened, by its text and its
/// [`source`](error::Error::source).
///
/// ```
/// use cache_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "no answer within 500 ms").in_store("redis");
/// assert_eq!(error.to_string(), "redis: no answer within 500 ms");
/// assert!(error.is_temporary());
/// ```
pub struct Error(Box<Inner>);

/// The reason behind an [`Error`], for code that has to choose what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key breaks the rules of the alias or of the store. Nothing was read or written.
    InvalidKey,
    /// The value could not be encoded. Nothing was stored.
    Encode,
    /// What is stored does not read as the type asked for. Told only where the alias asks for it
    /// ([`Undecodable::Error`](crate::Undecodable::Error)); a miss otherwise.
    Decode,
    /// `incr` or `decr` met something that is not an integer. It was left as it is.
    NotAnInteger,
    /// `incr`, `decr` or `incr_version` of a key that is absent or expired.
    NotFound,
    /// The result of `incr` or `decr` does not fit an `i64`. The value was left as it is.
    Overflow,
    /// The entry is larger than the store takes. Nothing was stored, and what the key held before is gone.
    TooLarge,
    /// A configuration says something that can't be meant. The text names the place and what would be right.
    Config,
    /// The store cannot be reached, or did not answer in time.
    Unavailable,
    /// Anything else that the store reported.
    Backend,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    alias: Option<Box<str>>,
    store: Option<Box<str>>,
    temporary: bool,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind. [`Unavailable`](ErrorKind::Unavailable) counts as temporary, all others do not.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            alias: None,
            store: None,
            temporary: kind == ErrorKind::Unavailable,
            source: None,
        }))
    }

    /// [`NotAnInteger`](ErrorKind::NotAnInteger), as every store words it.
    #[must_use]
    pub fn not_an_integer(key: &str) -> Self {
        Self::new(
            ErrorKind::NotAnInteger,
            format!("the key {} does not hold an integer", shown(key)),
        )
    }

    /// [`Overflow`](ErrorKind::Overflow), as every store words it.
    #[must_use]
    pub fn overflow(key: &str, number: i64, delta: i64) -> Self {
        let key = shown(key);
        let message = format!(
            "the key {key} holds {number}: adding {delta} does not fit a signed 64-bit integer"
        );
        Self::new(ErrorKind::Overflow, message)
    }

    /// [`TooLarge`](ErrorKind::TooLarge), as every store words it. The sizes are in bytes.
    #[must_use]
    pub fn too_large(key: &str, size: usize, most: usize) -> Self {
        let message = format!(
            "the entry {} takes {size} bytes, and {most} is the most for one entry",
            shown(key)
        );
        Self::new(ErrorKind::TooLarge, message)
    }

    /// Puts the place before the message where it happened, and takes secrets out of both.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.0.message = redact(&format!("{place}: {}", self.0.message)).into();
        self
    }

    /// Keeps the error underneath, to be found by [`source`](error::Error::source).
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether the same call may succeed later without anybody's doing.
    #[must_use]
    pub fn temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// Names the store, unless one is named already.
    #[must_use]
    pub fn in_store(mut self, store: &str) -> Self {
        self.0.store.get_or_insert_with(|| store.into());
        self
    }

    /// Names the cache's alias, unless one is named already.
    #[must_use]
    pub fn in_cache(mut self, alias: &str) -> Self {
        self.0.alias.get_or_insert_with(|| alias.into());
        self
    }

    /// The reason, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// True where the same call may succeed later: a server that is away, a lock that is held.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// The store that reported it, where one did.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.0.store.as_deref()
    }

    /// The alias of the cache it happened in, where it is known.
    #[must_use]
    pub fn cache(&self) -> Option<&str> {
        self.0.alias.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cache(), self.store()) {
            (Some(alias), Some(store)) => write!(f, "cache {alias:?} ({store}): ")?,
            (Some(alias), None) => write!(f, "cache {alias:?}: ")?,
            (None, Some(store)) => write!(f, "{store}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("temporary", &self.0.temporary)
            .field("source", &self.0.source.as_ref().map(|source| redact(&format!("{source:?}"))))
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn keeps_the_first_store_and_alias_that_are_named() {
        let error = Error::new(ErrorKind::Backend, "broken").in_store("inner").in_store("outer");
        let error = error.in_cache("default").in_cache("other");
        assert_eq!(error.to_string(), r#"cache "default" (inner): broken"#);
    }

    #[test]
    fn keeps_the_error_underneath() {
        let below = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Backend, "cannot write").with_source(below);
        let source = error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("disk on fire"));
    }

    #[test]
    fn an_error_within_a_place_keeps_all_but_the_secrets() {
        let below = std::io::Error::other("cannot reach redis://ada:lovelace@host");
        let error = Error::new(ErrorKind::Unavailable, "redis://ada:lovelace@host is away")
            .with_source(below);
        let error = error.in_store("redis").within("caches.toml");
        assert_eq!(error.to_string(), "redis: caches.toml: redis://***@host is away");
        assert!(error::Error::source(&error).is_some());
        assert!(!format!("{error:?}").contains("lovelace"), "{error:?}");
    }

    #[test]
    fn only_an_unavailable_store_is_temporary_by_itself() {
        assert!(Error::new(ErrorKind::Unavailable, "away").is_temporary());
        assert!(!Error::new(ErrorKind::Backend, "broken").is_temporary());
        assert!(Error::new(ErrorKind::Backend, "locked").temporary(true).is_temporary());
    }
}
