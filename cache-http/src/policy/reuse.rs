//! Whether what is stored may be served, by its age.

use std::time::Duration;

use http::HeaderMap;

use super::{Policy, Terms, Why};
use crate::{CacheControl, Seconds};

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it: it is fresh for so long.
    Fresh(Duration),
    /// Serve it, and have a fresh one made meanwhile.
    WhileRevalidating,
    /// Make a fresh one, and serve this only if that fails.
    IfError(Why),
    /// Do not serve it, unless the origin says that it is still right.
    No(Why),
}

impl Policy {
    /// Whether a stored response of that age may answer the request. One that was purged softly counts as stale.
    #[must_use]
    pub fn reuse(&self, terms: &Terms, age: Duration, purged: bool, request: &HeaderMap) -> Reuse {
        let left = terms.lifetime.saturating_sub(age);
        let mut why = if purged { Why::Purged } else { Why::Stale };
        if !purged && !left.is_zero() {
            if !self.is_too_old_for(request, age, left) {
                return Reuse::Fresh(left);
            }
            why = Why::Request;
        } else if !self.is_too_old_for(request, age, Duration::MAX)
            && within(terms, age, terms.stale_while_revalidate)
        {
            return Reuse::WhileRevalidating;
        }
        if within(terms, age, terms.stale_if_error) { Reuse::IfError(why) } else { Reuse::No(why) }
    }

    fn is_too_old_for(&self, request: &HeaderMap, age: Duration, left: Duration) -> bool {
        if !self.request_directives {
            return false;
        }
        let asked = CacheControl::of(request);
        let over = |name, most: Duration| match asked.seconds(name) {
            Seconds::Absent => false,
            Seconds::Invalid => true,
            Seconds::Of(seconds) => Duration::from_secs(seconds) < most,
        };
        let at_least = match asked.seconds("min-fresh") {
            Seconds::Of(seconds) => left < Duration::from_secs(seconds),
            Seconds::Absent => false,
            Seconds::Invalid => true,
        };
        asked.has("no-cache")
            || at_least
            || over("max-age", age)
            || asked.seconds("max-age") == Seconds::Of(0)
    }

    /// Whether the request wants an answer from the store or none.
    pub(crate) fn only_if_cached(&self, request: &HeaderMap) -> bool {
        self.request_directives && CacheControl::of(request).has("only-if-cached")
    }
}

fn within(terms: &Terms, age: Duration, window: Duration) -> bool {
    !window.is_zero() && age < terms.lifetime.saturating_add(window)
}
