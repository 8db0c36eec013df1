//! The lifetime and the age of a response (RFC 9111, section 4.2).

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{AGE, DATE, LAST_MODIFIED},
};

use super::{CacheMeta, Policy, Reason};
use crate::{
    cache_control::{CacheControl, MAX_SECONDS},
    date::{self, UnixTime},
};

/// A lifetime, and whether the response has stated it, or the policy for this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) duration: Duration,
    pub(super) explicit: bool,
}

const DAY: Duration = Duration::from_secs(86_400);

/// Whether a status is heuristically cacheable (RFC 9110, section 15.1).
pub(super) fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The lifetime that a response states.
fn explicit_lifetime(
    directives: &CacheControl,
    headers: &HeaderMap,
    date: UnixTime,
    targeted: bool,
) -> Option<Duration> {
    let stated = directives
        .seconds("s-maxage")
        .duration()
        .or_else(|| directives.seconds("max-age").duration());
    if stated.is_some() || targeted {
        return stated;
    }
    date::read_expires(headers).map(|expires| expires.saturating_sub(date))
}

impl Policy {
    pub(super) fn lifetime(
        &self,
        status: StatusCode,
        directives: &CacheControl,
        headers: &HeaderMap,
        date: UnixTime,
        targeted: bool,
    ) -> Result<Lifetime, Reason> {
        let stated = explicit_lifetime(directives, headers, date, targeted);
        let explicit = stated.or_else(|| self.ttl_of_status(status));
        let duration = explicit.or(self.ttl).or_else(|| {
            let heuristic = self.shared && (is_heuristic(status) || directives.has("public"));
            heuristic.then(|| heuristic_lifetime(headers, date)).flatten()
        });
        let duration = duration.ok_or(Reason::NoLifetime)?;
        let duration = self.max_ttl.map_or(duration, |max| duration.min(max));
        Ok(Lifetime { duration, explicit: explicit.is_some() })
    }
}

impl Policy {
    /// Shortens the lifetime of a response. `random` is from 0 to 1.
    ///
    /// The age on arrival does not count: a response that was about to expire would be stale.
    pub(crate) fn shorten_lifetime(&self, meta: &mut CacheMeta, random: f64) {
        let rest = meta.lifetime.saturating_sub(meta.initial_age);
        meta.lifetime -= rest.mul_f64(self.ttl_jitter * random);
    }
}

/// A tenth of the time since the last modification (RFC 9111, section 4.2.2).
fn heuristic_lifetime(headers: &HeaderMap, date: UnixTime) -> Option<Duration> {
    let modified = date::read(headers, &LAST_MODIFIED)?;
    Some((date.checked_sub(modified)? / 10).min(DAY))
}

/// The age of a response when it was received, and its date (RFC 9111, section 4.2.3).
pub(super) fn age_and_date(headers: &HeaderMap, now: UnixTime) -> (Duration, UnixTime) {
    let date = date::read(headers, &DATE);
    let apparent =
        date.map_or(Duration::ZERO, |date| Duration::from_secs(now.as_secs()).saturating_sub(date));
    // If there are several values, the first one counts (RFC 9111, section 5.1).
    let first = headers.get(AGE).and_then(|line| line.to_str().ok()?.split(',').next());
    let stated = first.and_then(|age| age.trim().parse().ok());
    let stated = Duration::from_secs(stated.unwrap_or(0).min(MAX_SECONDS));
    (apparent.max(stated), date.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn jitter_shortens_what_remains_of_the_lifetime() {
        let seconds = Duration::from_secs;
        let shortened = |policy: Policy, random| {
            let mut meta = CacheMeta {
                lifetime: seconds(100),
                initial_age: seconds(80),
                date: Duration::ZERO,
                vary: Vec::new(),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                validation_window: Duration::ZERO,
                public: false,
            };
            policy.shorten_lifetime(&mut meta, random);
            meta.lifetime
        };
        assert_eq!(shortened(Policy::site(), 1.0), seconds(100));
        for (share, shortest) in [(0.5, 90), (9.0, 80), (-1.0, 100), (f64::NAN, 100)] {
            let policy = Policy::site().ttl_jitter(share);
            assert_eq!(shortened(policy.clone(), 1.0), seconds(shortest), "{share}");
            assert_eq!(shortened(policy, 0.0), seconds(100), "{share}");
        }
    }

    #[test]
    fn first_of_several_ages_counts() {
        let age = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (AGE, HeaderValue::from_static(line)));
            age_and_date(&lines.collect(), Duration::ZERO).0.as_secs()
        };
        assert_eq!(age(&["7200, 0"]), 7200);
        assert_eq!(age(&["0, 7200"]), 0);
        assert_eq!(age(&["5", "7200"]), 5);
    }
}
