//! Which responses are stored (RFC 9111, section 3).

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, COOKIE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, LAST_MODIFIED, PRAGMA, RANGE, SET_COOKIE, TRANSFER_ENCODING,
    },
};

use super::{
    Policy, Reason, SetCookies,
    lifetime::{self, Lifetime},
    request::{ACCEPT_ENCODING_AS_SENT, CODINGS, is_authorized},
};
use crate::{
    cache_control::{CacheControl, members},
    vary::Vary,
};

/// What is known about the length of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The length in bytes.
    Known(u64),
    /// The length is unknown until the body ends.
    Unknown,
}

/// The caching metadata of a response that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMeta {
    /// How long the response is fresh, counted from its date.
    pub lifetime: Duration,
    /// The age of the response when it was received.
    pub initial_age: Duration,
    /// The date of the response, as the time since 1970-01-01 UTC.
    pub date: Duration,
    /// The request headers that the response varies on. `accept-encoding-as-sent` stands for
    /// `Accept-Encoding` compared as it was sent, instead of by the codings that it accepts.
    pub vary: Vec<HeaderName>,
    /// How long after its lifetime it may be served while a fresh one is fetched.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime it may be served if fetching a fresh one fails.
    pub stale_if_error: Duration,
    /// How long after its lifetime it is kept in order to be validated.
    pub validation_window: Duration,
    /// Whether the response explicitly allows sharing: it is `public` or has `s-maxage`. Only such
    /// a response is served to requests with an [unknown cookie](Policy#cookies).
    pub public: bool,
}

impl CacheMeta {
    /// Returns the time to live of the entry in the store, counted from when the response was
    /// received.
    #[must_use]
    pub fn store_ttl(&self) -> Duration {
        let beyond =
            self.stale_while_revalidate.max(self.stale_if_error).max(self.validation_window);
        self.lifetime.saturating_add(beyond).saturating_sub(self.initial_age)
    }
}

fn must_revalidate(directives: &CacheControl) -> bool {
    directives.has("must-revalidate") || directives.has("proxy-revalidate")
}

/// How long a page with a validator is kept after its lifetime.
const VALIDATION_WINDOW: Duration = Duration::from_secs(86_400);
/// Headers that the cache removes from a request whose response it may store. No page may vary on
/// them.
pub(crate) const STRIPPED_REQUEST_HEADERS: [HeaderName; 6] =
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

impl Policy {
    /// Checks whether the response to a GET that has passed [`check_request`](Self::check_request)
    /// may be stored. `now` is the time since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// Returns the reason why the response must not be stored.
    pub fn check_response(
        &self,
        request: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        now: Duration,
    ) -> Result<CacheMeta, Reason> {
        self.check_status(status)?;
        self.check_cookies(headers)?;
        let (directives, targeted) = self.directives(headers);
        self.check_directives(status, &directives, headers, targeted)?;
        self.check_complete(status, headers)?;
        self.check_length(headers, body)?;
        self.check_request_headers(request, &directives)?;
        let mut vary = vary(headers)?;
        if vary.len() > self.max_vary_headers {
            return Err(Reason::Vary);
        }
        if self.varies_on_named_cookies() && !vary.contains(&COOKIE) {
            vary.push(COOKIE);
        }
        let (initial_age, date) = lifetime::age_and_date(headers, now);
        let no_cache = has_no_cache(&directives, headers, targeted);
        let lifetime = if no_cache {
            Lifetime { duration: Duration::ZERO, explicit: true }
        } else {
            self.lifetime(status, &directives, headers, date, targeted)?
        };
        if !lifetime.explicit && !self.may_assume_lifetime(status, &directives) {
            return Err(Reason::Status);
        }
        let has_s_maxage = directives.has("s-maxage");
        let never_stale =
            no_cache || must_revalidate(&directives) || (has_s_maxage && !self.stale_with_s_maxage);
        let window = |name: &str, default: Duration| match directives.seconds(name).duration() {
            _ if never_stale => Duration::ZERO,
            Some(stated) => stated,
            // An error is not served after the origin has recovered. `s-maxage` forbids serving
            // stale pages, unless the origin itself states a window.
            None if has_s_maxage || status.is_server_error() => Duration::ZERO,
            None => default,
        };
        let meta = CacheMeta {
            lifetime: lifetime.duration,
            initial_age,
            date,
            vary,
            stale_while_revalidate: window("stale-while-revalidate", self.stale_while_revalidate),
            stale_if_error: window("stale-if-error", self.stale_if_error),
            validation_window: self.validation_window(headers),
            public: is_public(&directives),
        };
        if meta.lifetime > initial_age || !meta.validation_window.is_zero() {
            Ok(meta)
        } else {
            Err(if no_cache { Reason::NoCache } else { Reason::Expired })
        }
    }

    /// Whether a stored response with these headers must be validated for each request (RFC 9111,
    /// section 5.2.2.4).
    pub(crate) fn requires_validation(&self, headers: &HeaderMap) -> bool {
        let (directives, targeted) = self.directives(headers);
        has_no_cache(&directives, headers, targeted)
    }

    /// Whether a response with these headers must not be served stale without a successful
    /// validation (RFC 9111, section 4.2.4).
    pub(crate) fn forbids_stale(&self, headers: &HeaderMap) -> bool {
        let (directives, targeted) = self.directives(headers);
        has_no_cache(&directives, headers, targeted)
            || must_revalidate(&directives)
            || directives.has("s-maxage")
    }

    /// Whether a response with these headers may state its lifetime.
    pub(crate) fn states_lifetime(&self, headers: &HeaderMap) -> bool {
        [CACHE_CONTROL, EXPIRES]
            .iter()
            .chain(&*self.targeted)
            .any(|name| headers.contains_key(name))
    }

    fn validation_window(&self, headers: &HeaderMap) -> Duration {
        let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        if self.shared && has_validator { VALIDATION_WINDOW } else { Duration::ZERO }
    }

    fn check_status(&self, status: StatusCode) -> Result<(), Reason> {
        match status.as_u16() {
            206 | 304 => Err(Reason::Partial),
            200 => Ok(()),
            201.. if self.shared || self.statuses.contains(&status) => Ok(()),
            201.. if self.ttl_of_status(status).is_some() => Ok(()),
            _ => Err(Reason::Status),
        }
    }

    /// Whether the lifetime of a response that states none may be assumed (RFC 9111,
    /// section 4.2.2).
    fn may_assume_lifetime(&self, status: StatusCode, directives: &CacheControl) -> bool {
        match status.as_u16() {
            // Failures, in spite of `public`: they would outlast the failure.
            500 | 502 | 503 | 504 => false,
            // `ttl` is for pages.
            500.. if self.ttl.is_some() => false,
            _ => !self.shared || lifetime::is_heuristic(status) || directives.has("public"),
        }
    }

    fn check_cookies(&self, headers: &HeaderMap) -> Result<(), Reason> {
        let sets = headers.contains_key(SET_COOKIE) || headers.contains_key("set-cookie2");
        if sets && self.set_cookies == SetCookies::Never { Err(Reason::SetCookie) } else { Ok(()) }
    }

    /// Rejects responses with `private`, `no-store` or `no-cache`, and those with `must-understand`
    /// whose status is unknown (RFC 9111, section 5.2.2.3).
    fn check_directives(
        &self,
        status: StatusCode,
        directives: &CacheControl,
        headers: &HeaderMap,
        targeted: bool,
    ) -> Result<(), Reason> {
        let must_understand = directives.has("must-understand");
        if must_understand && !is_understood(status) {
            return Err(Reason::Status);
        }
        let has = |name| directives.has(name) || (!targeted && mentions(headers, name));
        if has("private") {
            return Err(Reason::Private);
        }
        if has("no-store") && !(must_understand && self.must_understand) {
            return Err(Reason::NoStore);
        }
        if has_no_cache(directives, headers, targeted) && !self.validates_no_cache {
            return Err(Reason::NoCache);
        }
        Ok(())
    }

    /// Rejects partial responses, and content types of bodies that have no end.
    fn check_complete(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), Reason> {
        let ignored = self.ignores_content_range && status == StatusCode::OK;
        if headers.contains_key(CONTENT_RANGE) && !ignored {
            return Err(Reason::Partial);
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .map(|content_type| content_type.as_bytes().to_ascii_lowercase())
            .unwrap_or_default();
        let is = |prefix: &[u8]| content_type.starts_with(prefix);
        if is(b"text/event-stream") || is(b"multipart/x-mixed-replace") {
            Err(Reason::Streaming)
        } else if is(b"multipart/byteranges") {
            Err(Reason::Partial)
        } else {
            Ok(())
        }
    }

    /// The directives that apply, and whether they come from a targeted header.
    fn directives(&self, headers: &HeaderMap) -> (CacheControl, bool) {
        for name in self.targeted.iter() {
            let targeted = CacheControl::from_field(headers, name);
            if !targeted.is_empty() && is_dictionary(headers, name) {
                return (targeted, true);
            }
        }
        (CacheControl::from_headers(headers), false)
    }

    fn check_length(&self, headers: &HeaderMap, body: BodyLength) -> Result<(), Reason> {
        let length = match (content_length(headers)?, body) {
            (Some(stated), BodyLength::Known(known)) if stated != known => {
                return Err(Reason::Length);
            }
            (Some(length), _) | (None, BodyLength::Known(length)) => length,
            (None, BodyLength::Unknown) if self.streaming => return Ok(()),
            (None, BodyLength::Unknown) => return Err(Reason::Streaming),
        };
        if length > self.max_body { Err(Reason::TooLarge) } else { Ok(()) }
    }

    fn check_request_headers(
        &self,
        request: &HeaderMap,
        directives: &CacheControl,
    ) -> Result<(), Reason> {
        let allowed =
            ["public", "s-maxage", "must-revalidate"].iter().any(|name| directives.has(name));
        if is_authorized(request) && !allowed {
            return Err(Reason::Authorization);
        }
        if !is_public(directives) {
            self.check_unknown_cookies(request)?;
        }
        if self.has_no_store(request) { Err(Reason::RequestNoStore) } else { Ok(()) }
    }

    fn has_no_store(&self, request: &HeaderMap) -> bool {
        (self.shared || self.request_directives) && mentions(request, "no-store")
    }

    /// Whether the response may be rejected because of this request. That does not predict
    /// anything about other requests, which must not wait for this one.
    pub(crate) fn forbids_storing(&self, request: &HeaderMap) -> bool {
        is_authorized(request) || self.has_no_store(request)
    }
}

/// Whether a response explicitly allows sharing (RFC 9111, sections 5.2.2.9 and 5.2.2.10).
fn is_public(directives: &CacheControl) -> bool {
    directives.has("public") || directives.has("s-maxage")
}

/// Whether `Cache-Control` contains this text anywhere, in any case. A malformed directive counts
/// as well: it was meant to forbid storing.
fn mentions(headers: &HeaderMap, text: &str) -> bool {
    let contains = |line: &[u8]| {
        line.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    };
    headers.get_all(CACHE_CONTROL).iter().any(|line| contains(line.as_bytes()))
}

/// Whether a response has `no-cache` in any form. Without `Cache-Control`, `Pragma` counts.
fn has_no_cache(directives: &CacheControl, headers: &HeaderMap, targeted: bool) -> bool {
    directives.has("no-cache")
        || (!targeted && mentions(headers, "no-cache"))
        || (directives.is_empty() && has_pragma_no_cache(headers))
}

fn has_pragma_no_cache(headers: &HeaderMap) -> bool {
    let is_no_cache = |line: &http::HeaderValue| {
        line.as_bytes().to_ascii_lowercase().windows(8).any(|part| part == b"no-cache")
    };
    headers.get_all(PRAGMA).iter().any(is_no_cache)
}

/// Whether the requirements for caching responses with this status are known: those with the
/// registered statuses. Incomplete responses are rejected in any case.
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

/// Parses `Content-Length`. Several values must be equal (RFC 9110,
/// section 8.6).
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    let mut stated = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse().ok()).ok_or(Reason::Length)?;
        if stated.is_some_and(|other: u64| other != length) {
            return Err(Reason::Length);
        }
        stated = Some(length);
    }
    if stated.is_some() && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Reason::Length);
    }
    Ok(stated)
}

/// The headers that a response varies on. A response with a content coding varies on
/// `Accept-Encoding`, even if its `Vary` does not list it.
fn vary(headers: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let Vary::Headers(mut names) = Vary::from_headers(headers) else { return Err(Reason::Vary) };
    if headers.contains_key(CONTENT_ENCODING) {
        let name = match has_known_codings(headers) {
            true => ACCEPT_ENCODING,
            false => ACCEPT_ENCODING_AS_SENT,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let stripped = names.iter().any(|name| STRIPPED_REQUEST_HEADERS.contains(name));
    if stripped { Err(Reason::Vary) } else { Ok(names) }
}

fn has_known_codings(headers: &HeaderMap) -> bool {
    let is_known = |coding: &[u8]| {
        CODINGS.iter().any(|known| coding.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
    };
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    lines.all(|line| line.as_bytes().split(|byte| *byte == b',').all(is_known))
}

/// Whether a header is a dictionary of structured fields (RFC 9651), as far as directives need it:
/// keys are in lower case, and seconds are integers and not strings.
fn is_dictionary(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_key = |key: &str| {
        key.starts_with(|first: char| first.is_ascii_lowercase() || first == '*')
            && key.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
            })
    };
    let is_member = |member: &str| match member.trim().split_once('=') {
        Some(("max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error", value)) => {
            !value.is_empty()
                && value.len() <= 15
                && value.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some((key, value)) => is_key(key) && !value.is_empty(),
        None => is_key(member.trim()),
    };
    let is_line = |line: &str| members(line).into_iter().all(is_member);
    headers.get_all(name).iter().all(|line| line.to_str().is_ok_and(is_line))
}
