//! Per-site and per-view caching of responses, for any `tower` service, on any store of cachette.

mod answer;
mod body;
mod cache_control;
mod conditional;
mod config;
mod counts;
mod date;
mod fill;
mod flight;
mod generation;
mod headers;
mod key;
mod outgoing;
mod patch;
pub mod policy;
mod purge;
mod range;
mod serve;
mod service;
mod shelf;
mod stored;
mod vary;

pub use self::{
    body::CachedBody,
    cache_control::{CacheControl, MOST_SECONDS, Seconds},
    conditional::{Condition, Precondition, precondition},
    config::{Browser, CacheTags, HttpCache, NoStore, cache_page},
    counts::Counts,
    generation::Purge,
    headers::{ChangeHeaders, ChangeHeadersFuture, cache_control, never_cache, vary_on_cookie, vary_on_headers},
    patch::{
        add_never_cache_headers, has_vary_header, patch_cache_control, patch_response_headers, patch_vary_headers,
    },
    policy::{Policy, Why},
    service::{CachedFuture, CachedService},
    vary::Vary,
};
