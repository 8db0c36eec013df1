//! Headers on their way out, and into the store.

use std::{fmt::Write, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CONNECTION, CONTENT_LENGTH, DATE, EXPIRES, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use crate::{
    CacheControl, date,
    patch::patch_cache_control,
    policy::{CacheMeta, Reason},
    settings::{BrowserTtl, Settings},
};

/// Headers of one connection, and those that are made anew for each answer.
const NOT_STORED: [HeaderName; 8] =
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, AGE, SET_COOKIE, CONTENT_LENGTH];
const NOT_STORED_EITHER: [&str; 6] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "set-cookie2",
];

/// What is stored of a response's headers (RFC 9111, section 3.1).
pub(crate) fn to_store(headers: &HeaderMap) -> HeaderMap {
    let mut stored = headers.clone();
    for line in headers.get_all(CONNECTION) {
        for name in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if let Ok(name) = HeaderName::from_bytes(name) {
                stored.remove(name);
            }
        }
    }
    NOT_STORED.iter().for_each(|name| drop(stored.remove(name)));
    NOT_STORED_EITHER.iter().for_each(|name| drop(stored.remove(*name)));
    stored
}

impl Settings {
    /// Tells browsers how long a page lives that is about to be stored.
    pub(crate) fn announce(&self, headers: &mut HeaderMap, meta: &CacheMeta, now: Duration) {
        headers.entry(DATE).or_insert_with(|| date::write(now));
        if self.browser_ttl != BrowserTtl::SameAsCache {
            return;
        }
        if !headers.contains_key(EXPIRES) {
            headers.insert(EXPIRES, date::write(meta.date.saturating_add(meta.lifetime)));
        }
        let directives = CacheControl::from_headers(headers);
        if !(directives.has("s-maxage") && directives.has("max-age")) {
            patch_cache_control(headers, &CacheControl::new().max_age(meta.lifetime));
        }
    }

    /// A lifetime of the browser's own, for a page of this age.
    pub(crate) fn announce_for_browser(
        &self,
        headers: &mut HeaderMap,
        age: Duration,
        now: impl Fn() -> Duration,
    ) {
        let BrowserTtl::Fixed(lifetime) = self.browser_ttl else { return };
        let until = Duration::from_secs(age.as_secs()).saturating_add(lifetime);
        if !headers.contains_key(EXPIRES) {
            headers.insert(EXPIRES, date::write(now().saturating_add(lifetime)));
        }
        patch_cache_control(headers, &CacheControl::new().max_age(until));
    }

    /// Takes out what is said to this cache alone.
    pub(crate) fn strip_targets(&self, headers: &mut HeaderMap) {
        for name in self.policy.targets() {
            headers.remove(name);
        }
    }

    /// Appends this cache's member to `Cache-Status`.
    pub(crate) fn report(&self, headers: &mut HeaderMap, status: &Status) {
        let Some(name) = &self.cache_status else { return };
        if let Ok(value) = HeaderValue::from_str(&status.text(name)) {
            headers.append("cache-status", value);
        }
    }
}

/// What `Cache-Status` tells (RFC 9211).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Status {
    /// So many seconds are left; none or fewer where it is stale.
    Hit {
        ttl: i64,
        collapsed: bool,
    },
    Forwarded {
        reason: Reason,
        status: Option<StatusCode>,
        stored: bool,
        detail: Option<Reason>,
    },
}

impl Status {
    fn text(&self, name: &str) -> String {
        let mut text = name.to_owned();
        // Writing into a String never fails.
        let _ = match self {
            Self::Hit { ttl, collapsed: false } => write!(text, "; hit; ttl={ttl}"),
            Self::Hit { ttl, collapsed: true } => write!(text, "; fwd=miss; collapsed; ttl={ttl}"),
            Self::Forwarded { reason, status, stored, detail } => {
                let _ = write!(text, "; fwd={}", forwarded(*reason));
                if let Some(status) = status {
                    let _ = write!(text, "; fwd-status={}", status.as_u16());
                }
                if *stored {
                    text.push_str("; stored");
                }
                let detail = detail.unwrap_or(*reason);
                write!(text, "; detail={detail}")
            }
        };
        text
    }
}

/// The reason, in the words that RFC 9211 has.
fn forwarded(reason: Reason) -> &'static str {
    match reason {
        Reason::Method => "method",
        Reason::UriMiss => "uri-miss",
        Reason::VaryMiss => "vary-miss",
        Reason::Stale => "stale",
        Reason::Request => "request",
        Reason::Purged | Reason::StoreFailed => "miss",
        _ => "bypass",
    }
}

/// `Age`, in whole seconds.
pub(crate) fn set_age(headers: &mut HeaderMap, age: Duration) {
    let age = seconds(age.as_secs().min(crate::MAX_SECONDS));
    // Where it is there, `insert` might still make room for one more.
    match headers.get_mut(AGE) {
        Some(old) => *old = age,
        None => drop(headers.insert(AGE, age)),
    }
}

/// So many numbers are there ready-made: most pages are younger, and their age then allocates nothing.
const READY: usize = 1000;

/// Each number, in three digits.
static DIGITS: [[u8; 3]; READY] = {
    let (mut all, mut number) = ([[0; 3]; READY], 0);
    while number < READY {
        #[expect(clippy::cast_possible_truncation, reason = "these are digits")]
        {
            all[number] = [
                b'0' + (number / 100) as u8,
                b'0' + (number / 10 % 10) as u8,
                b'0' + (number % 10) as u8,
            ];
        }
        number += 1;
    }
    all
};

fn seconds(number: u64) -> HeaderValue {
    let ready = usize::try_from(number).ok().and_then(|number| DIGITS.get(number));
    let Some(digits) = ready else { return HeaderValue::from(number) };
    let zeros = if number < 10 { 2 } else { usize::from(number < 100) };
    HeaderValue::from_static(str::from_utf8(&digits[zeros..]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_is_not_stored() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("age", "3"),
            ("set-cookie", "a=1"),
            ("link", "kept"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(to_store(&headers).keys().collect::<Vec<_>>(), ["link"]);
    }

    #[test]
    fn seconds_are_written_the_same_whether_they_are_there_ready_made_or_not() {
        for number in (0..1100).chain([crate::MAX_SECONDS]) {
            assert_eq!(seconds(number), number.to_string());
        }
    }

    #[test]
    fn a_report_is_a_structured_field() {
        let hit = Status::Hit { ttl: -3, collapsed: false };
        assert_eq!(hit.text("shop"), "shop; hit; ttl=-3");
        let miss = Status::Forwarded {
            reason: Reason::UriMiss,
            status: Some(StatusCode::OK),
            stored: true,
            detail: None,
        };
        assert_eq!(
            miss.text("shop"),
            "shop; fwd=uri-miss; fwd-status=200; stored; detail=uri-miss"
        );
    }
}
