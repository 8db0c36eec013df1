//! The methods of a store by name.

use std::fmt;

/// An asynchronous method of [`Cache`](cache_core::Cache), apart from
/// [`diagnose`](cache_core::Cache::diagnose), or of its [`Leases`](cache_core::Leases).
///
/// [`get_now`](cache_core::Cache::get_now) counts as [`Get`](Self::Get), and
/// [`set_now`](cache_core::Cache::set_now) as [`Set`](Self::Set). The methods of leases are
/// [`Acquire`](Self::Acquire), [`Fill`](Self::Fill), [`Release`](Self::Release) and
/// [`Revoke`](Self::Revoke).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each verb is documented at the method with its name")]
pub enum Verb {
    Get,
    GetMany,
    Contains,
    Ttl,
    Set,
    SetMany,
    Add,
    Touch,
    Incr,
    IncrOrSet,
    GetAndTouch,
    Delete,
    DeleteMany,
    Clear,
    Acquire,
    Fill,
    Release,
    Revoke,
    Stats,
    PurgeExpired,
    Close,
}

impl Verb {
    /// Every verb, in the order of the variants.
    const ALL: [Self; 21] = [
        Self::Get,
        Self::GetMany,
        Self::Contains,
        Self::Ttl,
        Self::Set,
        Self::SetMany,
        Self::Add,
        Self::Touch,
        Self::Incr,
        Self::IncrOrSet,
        Self::GetAndTouch,
        Self::Delete,
        Self::DeleteMany,
        Self::Clear,
        Self::Acquire,
        Self::Fill,
        Self::Release,
        Self::Revoke,
        Self::Stats,
        Self::PurgeExpired,
        Self::Close,
    ];

    /// Returns the name of the method, such as `"get_many"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Contains => "contains",
            Self::Ttl => "ttl",
            Self::Set => "set",
            Self::SetMany => "set_many",
            Self::Add => "add",
            Self::Touch => "touch",
            Self::Incr => "incr",
            Self::IncrOrSet => "incr_or_set",
            Self::GetAndTouch => "get_and_touch",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::Clear => "clear",
            Self::Acquire => "acquire",
            Self::Fill => "fill",
            Self::Release => "release",
            Self::Revoke => "revoke",
            Self::Stats => "stats",
            Self::PurgeExpired => "purge_expired",
            Self::Close => "close",
        }
    }
}

/// Shows the name of the method.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Verb`]s.
///
/// Where one is expected, a [`Verb`] or an array of them will do.
///
/// # Examples
///
/// ```
/// use cache_testing::{Verb, Verbs};
///
/// let verbs = Verbs::from([Verb::Get, Verb::GetMany]);
/// assert!(verbs.contains(Verb::Get));
/// assert!(!verbs.contains(Verb::Set));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verbs(u32);

impl Verbs {
    /// Every verb.
    pub const ALL: Self = Self::of(&Verb::ALL);

    /// The verbs that read entries: `get`, `get_many`, `contains`, `ttl` and `acquire`.
    pub const READS: Self =
        Self::of(&[Verb::Get, Verb::GetMany, Verb::Contains, Verb::Ttl, Verb::Acquire]);

    /// The verbs that change entries: `set`, `set_many`, `add`, `touch`, `incr`, `incr_or_set`,
    /// `get_and_touch`, `delete`, `delete_many`, `clear` and `fill`.
    pub const WRITES: Self = Self::of(&[
        Verb::Set,
        Verb::SetMany,
        Verb::Add,
        Verb::Touch,
        Verb::Incr,
        Verb::IncrOrSet,
        Verb::GetAndTouch,
        Verb::Delete,
        Verb::DeleteMany,
        Verb::Clear,
        Verb::Fill,
    ]);

    /// The verbs of leases: `acquire`, `fill`, `release` and `revoke`.
    pub const LEASES: Self = Self::of(&[Verb::Acquire, Verb::Fill, Verb::Release, Verb::Revoke]);

    /// The verbs with several entries: `get_many`, `set_many` and `delete_many`.
    pub const BATCHES: Self = Self::of(&[Verb::GetMany, Verb::SetMany, Verb::DeleteMany]);

    const fn of(verbs: &[Verb]) -> Self {
        let (mut bits, mut position) = (0, 0);
        // `for` is not allowed in a constant function.
        while position < verbs.len() {
            bits |= 1 << verbs[position] as u32;
            position += 1;
        }
        Self(bits)
    }

    /// Returns whether the set contains `verb`.
    #[must_use]
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u32) != 0
    }
}

impl From<Verb> for Verbs {
    fn from(verb: Verb) -> Self {
        Self::of(&[verb])
    }
}

impl<const N: usize> From<[Verb; N]> for Verbs {
    fn from(verbs: [Verb; N]) -> Self {
        Self::of(&verbs)
    }
}

/// Shows the names of the verbs.
impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contained = Verb::ALL.into_iter().filter(|verb| self.contains(*verb));
        f.debug_set().entries(contained.map(Verb::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_own_place_in_the_list() {
        for (position, verb) in Verb::ALL.into_iter().enumerate() {
            assert_eq!(verb as usize, position, "{verb}");
        }
    }

    #[test]
    fn verb_reads_or_writes_entries_but_not_both() {
        for verb in Verb::ALL {
            assert!(!(Verbs::READS.contains(verb) && Verbs::WRITES.contains(verb)), "{verb}");
        }
    }

    #[test]
    fn set_shows_its_verbs() {
        let verbs = Verbs::from([Verb::SetMany, Verb::Get]);
        assert_eq!(format!("{verbs:?}"), r#"{"get", "set_many"}"#);
    }
}
