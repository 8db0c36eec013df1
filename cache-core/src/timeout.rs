//! How long an entry lives, as a caller says it and as a store answers it.

use std::time::Duration;

/// How long an entry shall live, from the moment it is stored.
///
/// Every verb that stores takes `impl Into<Timeout>`, so a plain [`Duration`] will do; `None` means never, as in
/// [Django](https://docs.djangoproject.com/en/5.2/topics/cache/#cache-arguments).
///
/// ```
/// use std::time::Duration;
/// use cache_core::Timeout;
///
/// assert_eq!(Timeout::from(Duration::from_secs(30)), Timeout::After(Duration::from_secs(30)));
/// assert_eq!(Timeout::from(None), Timeout::Never);
/// assert_eq!(Timeout::secs(30), Duration::from_secs(30).into());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// What the alias is configured with; 300 seconds where it is not.
    #[default]
    Default,
    /// The entry does not expire. It may still be evicted when the store needs room.
    Never,
    /// The entry expires this long after it was stored. Zero means that it has expired already: `set` then deletes,
    /// `add` answers as ever but leaves nothing, `touch` deletes.
    After(Duration),
}

impl Timeout {
    /// Expired already.
    pub const EXPIRED: Self = Self::After(Duration::ZERO);

    /// This many seconds.
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

/// How long an entry that exists will still live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    /// It expires when this much time has gone by. Never zero.
    Left(Duration),
    /// It does not expire.
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

/// A [`Timeout`] after the alias's default was put in: all that a store needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Expired,
    For(Duration),
    Forever,
}

impl Lifetime {
    pub(crate) fn of(timeout: Timeout, default: Timeout) -> Self {
        match timeout {
            Timeout::Default if default == Timeout::Default => Self::For(DJANGO_DEFAULT),
            Timeout::Default => Self::of(default, default),
            Timeout::Never => Self::Forever,
            Timeout::After(Duration::ZERO) => Self::Expired,
            Timeout::After(duration) => Self::For(duration),
        }
    }
}

/// TIMEOUT where the settings have none.
const DJANGO_DEFAULT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_an_alias_without_a_timeout_is_django_s_300_seconds() {
        assert_eq!(
            Lifetime::of(Timeout::Default, Timeout::Default),
            Lifetime::For(Duration::from_secs(300))
        );
    }

    #[test]
    fn the_default_is_what_the_alias_says() {
        assert_eq!(Lifetime::of(Timeout::Default, Timeout::Never), Lifetime::Forever);
        assert_eq!(Lifetime::of(Timeout::Default, Timeout::EXPIRED), Lifetime::Expired);
    }

    #[test]
    fn a_timeout_given_with_the_call_beats_the_default() {
        assert_eq!(
            Lifetime::of(Timeout::secs(1), Timeout::Never),
            Lifetime::For(Duration::from_secs(1))
        );
        assert_eq!(Lifetime::of(Timeout::Never, Timeout::EXPIRED), Lifetime::Forever);
    }
}
