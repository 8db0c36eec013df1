//! Per-site and per-view caching of responses, for any `tower` service, on any store of cachette.

mod cache_control;
mod conditional;
mod date;
mod headers;
mod patch;
mod vary;

pub use self::{
    cache_control::{CacheControl, MOST_SECONDS, Seconds},
    conditional::{Condition, Precondition, precondition},
    headers::{ChangeHeaders, ChangeHeadersFuture, cache_control, never_cache, vary_on_cookie, vary_on_headers},
    patch::{
        add_never_cache_headers, has_vary_header, patch_cache_control, patch_response_headers, patch_vary_headers,
    },
    vary::Vary,
};
