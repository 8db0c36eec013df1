//! Whether what is stored may be served, by its age.

use std::time::Duration;

use http::HeaderMap;

use super::{CacheMeta, Policy, Reason};
use crate::{CacheControl, Seconds};

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it: it is fresh for so long.
    Fresh(Duration),
    /// Serve it, and have a fresh one made meanwhile.
    StaleWhileRevalidate,
    /// Make a fresh one, and serve this only if that fails.
    StaleIfError(Reason),
    /// Do not serve it, unless the origin says that it is still right.
    No(Reason),
}

impl Policy {
    /// Whether a stored response of that age may answer the request. One that was purged softly counts as stale.
    #[must_use]
    pub fn reuse(
        &self,
        meta: &CacheMeta,
        age: Duration,
        purged: bool,
        request: &HeaderMap,
    ) -> Reuse {
        let left = meta.lifetime.saturating_sub(age);
        let mut reason = if purged { Reason::Purged } else { Reason::Stale };
        if !purged && !left.is_zero() {
            if !self.is_too_old_for(request, age, left) {
                return Reuse::Fresh(left);
            }
            reason = Reason::Request;
        } else if !self.is_too_old_for(request, age, Duration::MAX)
            && within(meta, age, meta.stale_while_revalidate)
        {
            return Reuse::StaleWhileRevalidate;
        }
        if within(meta, age, meta.stale_if_error) {
            Reuse::StaleIfError(reason)
        } else {
            Reuse::No(reason)
        }
    }

    fn is_too_old_for(&self, request: &HeaderMap, age: Duration, left: Duration) -> bool {
        if !self.request_directives {
            return false;
        }
        let asked = CacheControl::from_headers(request);
        let over = |name, most: Duration| match asked.seconds(name) {
            Seconds::Absent => false,
            Seconds::Invalid => true,
            Seconds::Value(seconds) => Duration::from_secs(seconds) < most,
        };
        let at_least = match asked.seconds("min-fresh") {
            Seconds::Value(seconds) => left < Duration::from_secs(seconds),
            Seconds::Absent => false,
            Seconds::Invalid => true,
        };
        asked.has("no-cache")
            || at_least
            || over("max-age", age)
            || asked.seconds("max-age") == Seconds::Value(0)
    }

    /// Whether the request wants an answer from the store or none.
    pub(crate) fn only_if_cached(&self, request: &HeaderMap) -> bool {
        self.request_directives && CacheControl::from_headers(request).has("only-if-cached")
    }
}

fn within(meta: &CacheMeta, age: Duration, window: Duration) -> bool {
    !window.is_zero() && age < meta.lifetime.saturating_add(window)
}
