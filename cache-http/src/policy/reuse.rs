//! Whether a stored response may be used, depending on its age (RFC 9111, section 4).

use std::time::Duration;

use http::HeaderMap;

use super::{CacheMeta, Policy, Reason};
use crate::cache_control::{CacheControl, Seconds};

/// How a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it. It is fresh for this much longer.
    Fresh(Duration),
    /// Serve it, and fetch a fresh response in the background.
    StaleWhileRevalidate,
    /// Fetch a fresh response, and serve this one only if that fails.
    StaleIfError(Reason),
    /// Do not serve it, unless the origin validates it.
    No(Reason),
}

impl Policy {
    /// Returns how a stored response of this age may be used for a request.
    ///
    /// A soft-purged response is treated as stale.
    #[must_use]
    pub fn reuse(
        &self,
        meta: &CacheMeta,
        age: Duration,
        soft_purged: bool,
        request: &HeaderMap,
    ) -> Reuse {
        let remaining = meta.lifetime.saturating_sub(age);
        let mut reason = if soft_purged { Reason::Purged } else { Reason::Stale };
        if !soft_purged && !remaining.is_zero() {
            if !self.requires_fresher(request, age, remaining) {
                return Reuse::Fresh(remaining);
            }
            reason = Reason::Request;
        } else if !self.requires_fresher(request, age, Duration::MAX)
            && is_within(meta, age, meta.stale_while_revalidate)
        {
            return Reuse::StaleWhileRevalidate;
        }
        if is_within(meta, age, meta.stale_if_error) {
            Reuse::StaleIfError(reason)
        } else {
            Reuse::No(reason)
        }
    }

    /// Whether a fresh response of this age is refreshed in the background.
    pub(crate) fn is_refresh_due(&self, meta: &CacheMeta, age: Duration) -> bool {
        let lifetime = meta.lifetime.saturating_sub(meta.initial_age);
        self.early_refresh
            .is_some_and(|share| age >= meta.initial_age.saturating_add(lifetime.mul_f64(share)))
    }

    /// Whether the directives of a request require a fresher response.
    pub(crate) fn requires_fresher(
        &self,
        request: &HeaderMap,
        age: Duration,
        remaining: Duration,
    ) -> bool {
        if !self.request_directives {
            return false;
        }
        let directives = CacheControl::from_headers(request);
        let exceeds_max_age = match directives.seconds("max-age") {
            Seconds::Absent => false,
            Seconds::Invalid | Seconds::Value(0) => true,
            Seconds::Value(seconds) => Duration::from_secs(seconds) < age,
        };
        let misses_min_fresh = match directives.seconds("min-fresh") {
            Seconds::Absent => false,
            Seconds::Invalid => true,
            Seconds::Value(seconds) => remaining < Duration::from_secs(seconds),
        };
        directives.has("no-cache") || exceeds_max_age || misses_min_fresh
    }

    /// Whether the request accepts only a stored response.
    pub(crate) fn only_if_cached(&self, request: &HeaderMap) -> bool {
        self.request_directives && CacheControl::from_headers(request).has("only-if-cached")
    }
}

fn is_within(meta: &CacheMeta, age: Duration, window: Duration) -> bool {
    !window.is_zero() && age < meta.lifetime.saturating_add(window)
}
