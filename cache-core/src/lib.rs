//! Core types of cachette: the trait that stores implement, the handle that applications use, and
//! the rules that all stores share.
//!
//! - [`Cache`] is for authors of stores. It is object-safe and works on composed keys and resolved
//!   times.
//! - [`CacheHandle`] is for applications. It has typed verbs, a key prefix, a version, a default
//!   timeout and a codec.
//!
//! Applications depend on the crate `cachette`, which adds configuration and stores. A store of
//! your own needs only this crate, and `cache-conformance` to test it. This crate does no I/O.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod clock;
mod codec;
pub mod config;
mod cull;
mod diagnosis;
mod error;
mod fill_options;
mod forward;
mod handle;
mod inspector;
mod key;
mod lease;
mod meta;
pub mod observe;
mod settings;
mod stats;
mod tag_options;
/// For cachette's own crates.
#[doc(hidden)]
pub mod tags;
mod timeout;
#[doc(hidden)]
pub mod timer;
mod value;

pub use async_trait::async_trait;
pub use bytes::Bytes;

#[doc(hidden)]
pub use self::forward::__std;
#[cfg(feature = "fetch")]
#[cfg_attr(docsrs, doc(cfg(feature = "fetch")))]
pub use self::handle::fetch::{Fetch, FetchError, FetchShared, Fill};
/// For cachette's own crates.
#[doc(hidden)]
pub use self::handle::single_flight;
pub use self::{
    cache::{Cache, RejectedEntries, set_one_by_one},
    clock::{Clock, ManualClock, Moment},
    codec::Codec,
    cull::entries_after_cull,
    diagnosis::{Finding, Severity, shown_size},
    error::{Error, ErrorKind, Result},
    fill_options::FillOptions,
    handle::{
        CacheHandle, Freshness, InspectedEntry, InspectedTag, Inspection, Keys, Lock, LockGuard,
        TagState,
    },
    inspector::{Inspector, KeyPages, KeyState, ListedKey, Location},
    key::{KeyCheck, KeyFunction, MAX_KEY_CHARS, Version},
    lease::{Acquired, Ask, Lease, Leases},
    settings::{Clear, OnOutage, Settings, Share, Undecodable},
    stats::Stats,
    tag_options::TagOptions,
    tags::{Purge, Tags},
    timeout::{Timeout, Ttl},
    value::{Object, Value},
};
