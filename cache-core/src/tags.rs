//! The engine of tags, for values, fragments and pages. Hidden: for cachette's own crates.
//!
//! A tag has a *record* in the store, with its `Generation`. Entries are stamped with the
//! generations of their tags, and a purge replaces them. What else is purged at once, such as the
//! pages of a URI, has records of its own.

mod fill;
mod generation;
mod names;
mod records;

pub use self::{
    fill::{Fill, GenerationId, last_purge, remember_purge},
    generation::{Generation, GenerationCheck, Purge, PurgeCounter, Stamp},
    names::Tags,
    records::{DAY, Record, Records},
};
pub(crate) use self::{
    names::Seen,
    records::{read_entries, record_ttl},
};
