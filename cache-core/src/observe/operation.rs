//! What is observed: operations and their outcomes.

use crate::{ErrorKind, Result};

/// An operation that is observed.
///
/// All but the last three are methods of [`Cache`](crate::Cache) and [`Leases`](crate::Leases).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `get` and `get_now`.
    Get,
    /// `get_many`.
    GetMany,
    /// `get_and_touch`.
    GetAndTouch,
    /// `contains`.
    Contains,
    /// `ttl`.
    Ttl,
    /// `set` and `set_now`.
    Set,
    /// `set_many`.
    SetMany,
    /// `add`.
    Add,
    /// `touch`.
    Touch,
    /// `incr`.
    Incr,
    /// `incr_or_set`.
    IncrOrSet,
    /// `delete`.
    Delete,
    /// `delete_many`.
    DeleteMany,
    /// `clear`.
    Clear,
    /// `purge_expired`.
    PurgeExpired,
    /// `acquire` of a lease.
    Acquire,
    /// `fill` through a lease.
    Fill,
    /// `release` of a lease.
    Release,
    /// `revoke` of the lease of another holder.
    Revoke,
    /// Reading the records of tags, to find out whether entries were purged, or the generation
    /// that [`Clear::Generation`](crate::Clear::Generation) replaces.
    ReadTags,
    /// Producing a missing value: from the call of the producer until its value is stored.
    Produce,
    /// Waiting for a value that another caller produces.
    Wait,
}

impl Operation {
    pub(super) const COUNT: usize = Self::Wait as usize + 1;

    /// Returns the name, such as `"get_many"`: the value of the label `op`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::GetAndTouch => "get_and_touch",
            Self::Contains => "contains",
            Self::Ttl => "ttl",
            Self::Set => "set",
            Self::SetMany => "set_many",
            Self::Add => "add",
            Self::Touch => "touch",
            Self::Incr => "incr",
            Self::IncrOrSet => "incr_or_set",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::Clear => "clear",
            Self::PurgeExpired => "purge_expired",
            Self::Acquire => "acquire",
            Self::Fill => "fill",
            Self::Release => "release",
            Self::Revoke => "revoke",
            Self::ReadTags => "read_tags",
            Self::Produce => "produce",
            Self::Wait => "wait",
        }
    }

    /// Returns whether the operation looks keys up, so that its outcomes are hits and misses.
    #[must_use]
    pub const fn is_lookup(self) -> bool {
        matches!(self, Self::Get | Self::GetMany | Self::GetAndTouch | Self::Contains)
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A lookup found an entry.
    Hit,
    /// A lookup found an entry of [`fetch`](crate::FillOptions) that is past its fresh time.
    Stale,
    /// A lookup found no entry.
    Miss,
    /// The operation did what it was to do.
    Ok,
    /// The store changed nothing, for a reason that is no failure: the key is absent, or exists, or
    /// is invalid; the value is too large, or not an integer; the lease is held or has ended.
    Rejected,
    /// The store failed.
    Error,
    /// A value was produced and stored.
    Stored,
    /// A value was produced but not stored, because its key was written meanwhile, or its lease
    /// ended.
    Lost,
    /// A producer returned an error.
    Failed,
    /// A producer panicked.
    Panicked,
    /// A value was produced but not stored: the producer asked for that, the store is unavailable,
    /// another process holds the lease, the value is too large or cannot be encoded, or one of its
    /// tags was purged meanwhile.
    NotStored,
    /// The operation still runs, or its future was dropped.
    Unfinished,
}

impl Outcome {
    /// Returns the name, such as `"hit"`: the value of the label `outcome`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Error => "error",
            Self::Stored => "stored",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::NotStored => "not_stored",
            Self::Unfinished => "unfinished",
        }
    }

    /// [`Ok`](Self::Ok) or [`Rejected`](Self::Rejected).
    pub(super) const fn ok_if(is_ok: bool) -> Self {
        if is_ok { Self::Ok } else { Self::Rejected }
    }

    /// [`Rejected`](Self::Rejected) or [`Error`](Self::Error).
    pub(super) const fn of_error(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidKey
            | ErrorKind::NotFound
            | ErrorKind::NotAnInteger
            | ErrorKind::Overflow
            | ErrorKind::TooLarge
            | ErrorKind::StorageFull => Self::Rejected,
            _ => Self::Error,
        }
    }
}

/// What an operation came to: the number of keys with each outcome, and the size of the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) hits: usize,
    pub(super) stale: usize,
    pub(super) misses: usize,
    pub(super) ok: usize,
    pub(super) rejected: usize,
    pub(super) errors: usize,
    pub(super) error: Option<ErrorKind>,
    /// How many of the hits are entries with tags. Their handle counts them: they are misses if a
    /// tag was purged.
    pub(super) undecided: usize,
    /// The bytes of the values that were read or stored.
    pub(super) size: Option<usize>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome, count: usize) {
        let counted = match outcome {
            Outcome::Hit => &mut self.hits,
            Outcome::Stale => &mut self.stale,
            Outcome::Miss => &mut self.misses,
            Outcome::Ok => &mut self.ok,
            Outcome::Rejected => &mut self.rejected,
            _ => &mut self.errors,
        };
        *counted += count;
    }

    /// Adds a key that was looked up, with what [`Observer::lookup`](super::Observer::lookup)
    /// returned.
    pub(super) fn add_lookup(&mut self, outcome: Option<Outcome>) {
        self.undecided += usize::from(outcome.is_none());
        self.add(outcome.unwrap_or(Outcome::Hit), 1);
    }

    pub(super) fn one(outcome: Outcome) -> Self {
        let mut tally = Self::default();
        tally.add(outcome, 1);
        tally
    }

    /// Counts a result, with the outcome of its value or of its error.
    pub(super) fn of<T>(
        operation: Operation,
        keys: usize,
        result: &Result<T>,
        tally: impl FnOnce(&T) -> Self,
    ) -> Self {
        match result {
            Ok(value) => tally(value),
            Err(error) => {
                let outcome = match operation.is_lookup() {
                    true => Outcome::Error,
                    false => Outcome::of_error(error.kind()),
                };
                let mut failed = Self { error: Some(error.kind()), ..Self::default() };
                failed.add(outcome, keys.max(1));
                failed
            }
        }
    }

    /// One outcome for the whole operation: of several, the first in this order.
    pub(super) fn outcome(&self) -> Outcome {
        let counts = [
            (Outcome::Error, self.errors),
            (Outcome::Hit, self.hits),
            (Outcome::Stale, self.stale),
            (Outcome::Miss, self.misses),
            (Outcome::Ok, self.ok),
        ];
        let found = counts.into_iter().find(|(_, count)| *count > 0);
        found.map_or(Outcome::Rejected, |(outcome, _)| outcome)
    }
}
