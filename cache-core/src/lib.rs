//! The ground of cachette: the trait that a store implements, the handle that an application holds, and the rules that
//! are the same for all stores.
//!
//! - [`Cache`] is for authors of stores: object-safe, composed keys and resolved times in, values out.
//! - [`CacheHandle`] is for applications: typed verbs, with a key prefix, a version, a default timeout and a codec.
//!
//! Applications depend on the crate `cachette`, which adds configuration and the stores; a store of your own needs only
//! this crate, and `cache-conformance` to test it. This crate does no I/O.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod clock;
mod codec;
pub mod config;
mod cull;
mod error;
mod forward;
mod handle;
mod key;
mod settings;
mod stats;
mod timeout;
mod value;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use self::{
    cache::{Cache, set_one_by_one},
    clock::{Clock, ManualClock, Moment},
    codec::Codec,
    cull::entries_after_cull,
    error::{Error, ErrorKind, Result},
    forward::__std,
    handle::CacheHandle,
    key::{KeyCheck, KeyFunction, MAX_KEY_CHARS, Version},
    settings::{Settings, Undecodable},
    stats::Stats,
    timeout::{Timeout, Ttl},
    value::{Object, Value},
};
