//! Times to live, as callers state them and as stores report them.

use std::time::Duration;

/// When an entry expires, counted from the call that stores it.
///
/// Every verb that stores takes `impl Into<Timeout>`, so you can pass a [`Duration`]. `None` means
/// never, as in [Django](https://docs.djangoproject.com/en/5.2/topics/cache/#cache-arguments).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::Timeout;
///
/// assert_eq!(Timeout::from(Duration::from_secs(30)), Timeout::After(Duration::from_secs(30)));
/// assert_eq!(Timeout::from(None), Timeout::Never);
/// assert_eq!(Timeout::secs(30), Duration::from_secs(30).into());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// The TIMEOUT of the alias, or 300 seconds if it has none.
    #[default]
    Default,
    /// The entry never expires. The store may still evict it.
    Never,
    /// The entry expires after this time.
    ///
    /// Zero means that it has expired already: `set` and `touch` delete the entry, and `add`
    /// returns what it otherwise would but stores nothing.
    After(Duration),
}

impl Timeout {
    /// A timeout of zero: the entry has expired already.
    pub const EXPIRED: Self = Self::After(Duration::ZERO);

    /// Creates a timeout of this many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self::After(Duration::from_secs(seconds))
    }
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Never, Self::After)
    }
}

impl From<Ttl> for Timeout {
    fn from(ttl: Ttl) -> Self {
        Option::from(ttl).into()
    }
}

/// The remaining time to live of an entry that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    /// The entry expires after this time, which is never zero.
    Left(Duration),
    /// The entry never expires.
    Never,
}

impl From<Ttl> for Option<Duration> {
    fn from(ttl: Ttl) -> Self {
        match ttl {
            Ttl::Left(left) => Some(left),
            Ttl::Never => None,
        }
    }
}

/// A [`Timeout`] with the alias's default resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Expired,
    For(Duration),
    Forever,
}

impl Lifetime {
    #[inline]
    pub(crate) fn of(timeout: Timeout, default: Timeout) -> Self {
        let timeout = if timeout == Timeout::Default { default } else { timeout };
        match timeout {
            Timeout::Default => Self::For(DJANGO_DEFAULT),
            Timeout::Never => Self::Forever,
            Timeout::After(Duration::ZERO) => Self::Expired,
            Timeout::After(duration) => Self::For(duration),
        }
    }
}

/// The TIMEOUT of settings that have none.
const DJANGO_DEFAULT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_without_a_configured_timeout_is_300_seconds() {
        assert_eq!(
            Lifetime::of(Timeout::Default, Timeout::Default),
            Lifetime::For(Duration::from_secs(300))
        );
    }

    #[test]
    fn default_is_the_configured_timeout() {
        assert_eq!(Lifetime::of(Timeout::Default, Timeout::Never), Lifetime::Forever);
        assert_eq!(Lifetime::of(Timeout::Default, Timeout::EXPIRED), Lifetime::Expired);
    }

    #[test]
    fn timeout_of_the_call_overrides_the_default() {
        assert_eq!(
            Lifetime::of(Timeout::secs(1), Timeout::Never),
            Lifetime::For(Duration::from_secs(1))
        );
        assert_eq!(Lifetime::of(Timeout::Never, Timeout::EXPIRED), Lifetime::Forever);
    }
}
