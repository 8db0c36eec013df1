//! The error type of all crates, one word wide.

use std::{borrow::Cow, error, fmt, iter, result};

use crate::{config::redact, key::shown};

/// A [`Result`](result::Result) with [`Error`] as its error.
pub type Result<T, E = Error> = result::Result<T, E>;

/// An error of a cache operation or of a configuration.
///
/// A miss is not an error: it is `Ok(None)` or `Ok(false)`. Code decides by [`kind`](Self::kind)
/// and [`is_temporary`](Self::is_temporary).
///
/// # Formatting
///
/// | format | shows |
/// |---|---|
/// | `{}` | the alias, the store and what failed, but not the [`source`](error::Error::source) |
/// | `{:#}` | the same and each source, separated by `: ` |
/// | `{:?}` | the same and each source on a line of its own: what `fn main() -> Result<()>` prints |
/// | `{:#?}` | the fields of the error |
///
/// All but `{}` remove secrets from sources. Messages of cachette contain none.
///
/// # Examples
///
/// ```
/// use cache_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "no reply within 500 ms").in_store("redis");
/// assert_eq!(error.to_string(), "redis: no reply within 500 ms");
/// assert!(error.is_temporary());
/// ```
pub struct Error(Box<Inner>);

/// The reason for an [`Error`], for code that has to decide what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key breaks the rules of the alias or of the store. Nothing was read or written.
    InvalidKey,
    /// The value cannot be encoded. Nothing was stored.
    Encode,
    /// The entry cannot be decoded as the requested type.
    ///
    /// Returned only if the alias is configured with
    /// [`Undecodable::Error`](crate::Undecodable::Error); a miss otherwise.
    Decode,
    /// `incr` or `decr` found a value that is not an integer. The entry is unchanged.
    NotAnInteger,
    /// The key of `incr`, `decr` or `incr_version` is absent or expired.
    NotFound,
    /// The result of `incr` or `decr` does not fit in an `i64`. The entry is unchanged.
    Overflow,
    /// The entry is larger than the store accepts. Nothing was stored.
    ///
    /// After `set` the key is absent: the previous entry was removed.
    TooLarge,
    /// The store has no room for the entry: its memory, its disk or its quota is used up. Nothing
    /// was stored, and the previous entry may still be there.
    StorageFull,
    /// The configuration is invalid. The message names the setting, the value found and the values
    /// allowed.
    Config,
    /// The store cannot be reached, or did not reply in time.
    Unavailable,
    /// A caller of `get_or_set` has waited while two other callers tried to produce the value, and
    /// both failed. Or the task of `fetch` that would have produced it was dropped.
    FillFailed,
    /// Any other error of the store.
    Backend,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    alias: Option<Box<str>>,
    store: Option<Box<str>>,
    setting: Option<Box<str>>,
    temporary: bool,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error.
    ///
    /// It is temporary if the kind is [`Unavailable`](ErrorKind::Unavailable),
    /// [`StorageFull`](ErrorKind::StorageFull) or [`FillFailed`](ErrorKind::FillFailed); change
    /// that with [`temporary`](Self::temporary).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            alias: None,
            store: None,
            setting: None,
            temporary: matches!(
                kind,
                ErrorKind::Unavailable | ErrorKind::StorageFull | ErrorKind::FillFailed
            ),
            source: None,
        }))
    }

    /// Creates a [`NotAnInteger`](ErrorKind::NotAnInteger) error with the message that all stores
    /// use.
    #[must_use]
    pub fn not_an_integer(key: &str) -> Self {
        Self::new(
            ErrorKind::NotAnInteger,
            format!("the key {} does not hold an integer", shown(key)),
        )
    }

    /// Creates an [`Overflow`](ErrorKind::Overflow) error with the message that all stores use.
    #[must_use]
    pub fn overflow(key: &str, number: i64, delta: i64) -> Self {
        let key = shown(key);
        let message =
            format!("the key {key} holds {number}: adding {delta} overflows a 64-bit integer");
        Self::new(ErrorKind::Overflow, message)
    }

    /// Creates a [`TooLarge`](ErrorKind::TooLarge) error with the message that all stores use.
    ///
    /// Both sizes are in bytes.
    #[must_use]
    pub fn too_large(key: &str, size: usize, max: usize) -> Self {
        let message =
            format!("the entry {} takes {size} bytes, but the maximum is {max}", shown(key));
        Self::new(ErrorKind::TooLarge, message)
    }

    /// Creates a [`StorageFull`](ErrorKind::StorageFull) error with the message that all stores
    /// use.
    #[must_use]
    pub fn storage_full(reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::StorageFull, format!("the store is full: {reason}"))
    }

    /// Puts a place, such as a file or a setting, before the message.
    ///
    /// Removes secrets from the place and the message.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.0.message = redact(&format!("{place}: {}", self.0.message)).into();
        self
    }

    /// Sets the underlying error, which [`source`](error::Error::source) returns.
    ///
    /// The message must not repeat the text of the source, as reports print both.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Sets whether the same call may succeed later without a change by the caller.
    #[must_use]
    pub fn temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// Sets the name of the store, if none is set.
    #[must_use]
    pub fn in_store(mut self, store: &str) -> Self {
        self.0.store.get_or_insert_with(|| store.into());
        self
    }

    /// Sets the alias of the cache, if none is set.
    #[must_use]
    pub fn in_cache(mut self, alias: &str) -> Self {
        self.0.alias.get_or_insert_with(|| alias.into());
        self
    }

    /// Sets the setting that is wrong, as its path in the configuration of an alias:
    /// `OPTIONS.max_entries`.
    ///
    /// Replaces a setting that was set before. The message must name the setting as well.
    #[must_use]
    pub fn with_setting(mut self, setting: &str) -> Self {
        self.0.setting = Some(setting.into());
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns `true` if the same call may succeed later, for example when a server is back or a
    /// lock is released.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// Returns the name of the store that reported the error.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.0.store.as_deref()
    }

    /// Returns the setting that is wrong, if the error is about one: `OPTIONS.max_entries`.
    ///
    /// [`invalid_setting`](crate::config::invalid_setting) and
    /// [`StoreConfig::options`](crate::config::StoreConfig::options) set it.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.0.setting.as_deref()
    }

    /// Returns the alias of the cache in which the error occurred.
    #[must_use]
    pub fn cache(&self) -> Option<&str> {
        self.0.alias.as_deref()
    }

    /// Returns the texts of all sources, without secrets.
    fn causes(&self) -> impl Iterator<Item = String> {
        let first = error::Error::source(self);
        iter::successors(first, |cause| cause.source()).map(|cause| redact(&cause.to_string()))
    }
}

/// Shows the alias, the store and the message; the alternate form shows all sources as well.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cache(), self.store()) {
            (Some(alias), Some(store)) => write!(f, "cache {alias:?} ({store}): ")?,
            (Some(alias), None) => write!(f, "cache {alias:?}: ")?,
            (None, Some(store)) => write!(f, "{store}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.0.message)?;
        if f.alternate() {
            self.causes().try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

/// Shows a report with all sources, as `main` prints the `Debug` form of an error that it returns.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("kind", &self.0.kind)
                .field("message", &self.to_string())
                .field("temporary", &self.0.temporary)
                .field("sources", &self.causes().collect::<Vec<_>>())
                .finish();
        }
        write!(f, "{self}")?;
        for (number, cause) in self.causes().enumerate() {
            if number == 0 {
                f.write_str("\n\nCaused by:")?;
            }
            write!(f, "\n    {}", cause.replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error with two sources, the inner one with a password in its text.
    fn unavailable() -> Error {
        let refused = io::Error::other("cannot connect to redis://ada:lovelace@host");
        let inner = Error::new(ErrorKind::Backend, "no primary").with_source(refused);
        Error::new(ErrorKind::Unavailable, "cannot read").with_source(inner).in_store("redis")
    }

    #[test]
    fn error_is_one_word_wide() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn first_store_and_alias_are_kept() {
        let error = Error::new(ErrorKind::Backend, "broken").in_store("inner").in_store("outer");
        let error = error.in_cache("default").in_cache("other");
        assert_eq!(error.to_string(), r#"cache "default" (inner): broken"#);
    }

    #[test]
    fn source_returns_the_underlying_error() {
        let below = io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Backend, "cannot write").with_source(below);
        let source = error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("disk on fire"));
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        assert_eq!(unavailable().to_string(), "redis: cannot read");
    }

    #[test]
    fn alternate_display_is_one_line_with_all_sources() {
        assert_eq!(
            format!("{:#}", unavailable()),
            "redis: cannot read: no primary: cannot connect to redis://***@host"
        );
    }

    #[test]
    fn debug_is_a_report_with_all_sources() {
        assert_eq!(
            format!("{:?}", unavailable()),
            "redis: cannot read\n\nCaused by:\n    no primary\n    cannot connect to \
             redis://***@host"
        );
        let without_source = Error::new(ErrorKind::Backend, "broken");
        assert_eq!(format!("{without_source:?}"), "broken");
    }

    #[test]
    fn alternate_debug_shows_the_fields() {
        let shown = format!("{:#?}", unavailable());
        for field in ["kind: Unavailable", "temporary: true", "no primary", "redis://***@host"] {
            assert!(shown.contains(field), "{shown}");
        }
    }

    #[test]
    fn within_removes_secrets_and_keeps_the_source() {
        let error = Error::new(ErrorKind::Unavailable, "redis://ada:lovelace@host is down")
            .with_source(io::Error::other("cannot connect to redis://ada:lovelace@host"));
        let error = error.in_store("redis").within("caches.toml");
        assert_eq!(error.to_string(), "redis: caches.toml: redis://***@host is down");
        assert!(error::Error::source(&error).is_some());
        for shown in [format!("{error:?}"), format!("{error:#?}"), format!("{error:#}")] {
            assert!(!shown.contains("lovelace"), "{shown}");
        }
    }

    #[test]
    fn only_unavailable_is_temporary_by_default() {
        assert!(Error::new(ErrorKind::Unavailable, "down").is_temporary());
        assert!(!Error::new(ErrorKind::Backend, "broken").is_temporary());
        assert!(Error::new(ErrorKind::Backend, "locked").temporary(true).is_temporary());
    }
}
