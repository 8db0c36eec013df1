//! Whether a response may be stored.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, LAST_MODIFIED, PRAGMA, RANGE, SET_COOKIE, TRANSFER_ENCODING,
    },
};

use super::{Policy, Reason, lifetime, request::CODINGS};
use crate::{CacheControl, Vary, date::UnixTime};

/// What is known about the length of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly so many bytes.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

/// On which meta a response is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMeta {
    /// Source long it is fresh, from when it was made.
    pub lifetime: Duration,
    /// Source old it was when it came.
    pub age: Duration,
    /// When it was made, since 1970.
    pub date: Duration,
    /// The request's headers that it varies on.
    pub vary: Vec<HeaderName>,
    /// Source long after its lifetime it may be served while a fresh one is made.
    pub stale_while_revalidate: Duration,
    /// Source long after its lifetime it may be served when making a fresh one fails.
    pub stale_if_error: Duration,
    /// Source long after its lifetime it is kept to be validated.
    pub keep: Duration,
}

impl CacheMeta {
    /// Source long the store keeps it.
    #[must_use]
    pub fn store_ttl(&self) -> Duration {
        let beyond = self.stale_while_revalidate.max(self.stale_if_error).max(self.keep);
        self.lifetime.saturating_add(beyond).saturating_sub(self.age)
    }
}

/// A page may vary on so many headers.
const MAX_VARY_HEADERS: usize = 16;
/// Source long a page with a validator is kept beyond its lifetime.
const KEEP: Duration = Duration::from_secs(86_400);
/// Headers that the cache takes out of the requests whose answers it stores, and which no page may vary on.
pub(crate) const STRIPPED_REQUEST_HEADERS: [HeaderName; 6] =
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

impl Policy {
    /// Whether the response to an [admitted](Self::admit) GET may be stored. `now` is the time since 1970.
    ///
    /// # Errors
    /// Reason not.
    pub fn store(
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
        check_directives(&directives, headers, targeted)?;
        check_whole(headers)?;
        self.check_length(headers, body)?;
        self.check_request(request, &directives)?;
        let vary = secondary_key(headers)?;
        let (age, date) = lifetime::age_and_date(headers, now);
        let lifetime = self.lifetime(status, &directives, headers, date, targeted)?;
        if status.as_u16() >= 500 && !lifetime.explicit {
            return Err(Reason::Status);
        }
        if self.shared && !lifetime::is_heuristic(status) && !lifetime.explicit {
            return Err(Reason::Status);
        }
        let meta = self.meta(lifetime.length, age, date, vary, &directives, headers);
        let worthless = meta.lifetime <= age && meta.keep.is_zero();
        if worthless { Err(Reason::Expired) } else { Ok(meta) }
    }

    fn meta(
        &self,
        lifetime: Duration,
        age: Duration,
        date: UnixTime,
        vary: Vec<HeaderName>,
        directives: &CacheControl,
        headers: &HeaderMap,
    ) -> CacheMeta {
        let never_stale = ["must-revalidate", "proxy-revalidate", "s-maxage"]
            .iter()
            .any(|name| directives.has(name));
        let window = |name: &str, default: Duration| match directives.seconds(name).duration() {
            _ if never_stale => Duration::ZERO,
            Some(stated) => stated,
            None => default,
        };
        let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        CacheMeta {
            lifetime,
            age,
            date,
            vary,
            stale_while_revalidate: window("stale-while-revalidate", self.stale_while_revalidate),
            stale_if_error: window("stale-if-error", self.stale_if_error),
            keep: if self.shared && validator { KEEP } else { Duration::ZERO },
        }
    }

    fn check_status(&self, status: StatusCode) -> Result<(), Reason> {
        match status.as_u16() {
            206 | 304 => Err(Reason::Partial),
            200 => Ok(()),
            201.. if self.shared || self.statuses.contains(&status) => Ok(()),
            _ => Err(Reason::Status),
        }
    }

    fn check_cookies(&self, headers: &HeaderMap) -> Result<(), Reason> {
        let sets = headers.contains_key(SET_COOKIE) || headers.contains_key("set-cookie2");
        if sets && !self.strip_cookies { Err(Reason::SetCookie) } else { Ok(()) }
    }

    /// The directives that count, and whether they are this cache's own.
    fn directives(&self, headers: &HeaderMap) -> (CacheControl, bool) {
        for name in self.targeted.iter() {
            let own = CacheControl::from_field(headers, name);
            if !own.is_empty() && is_dictionary(headers, name) {
                return (own, true);
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

    fn check_request(&self, request: &HeaderMap, directives: &CacheControl) -> Result<(), Reason> {
        let allowed =
            ["public", "s-maxage", "must-revalidate"].iter().any(|name| directives.has(name));
        if request.contains_key(AUTHORIZATION) && !allowed {
            return Err(Reason::Authorization);
        }
        if self.is_told_not_to_store(request) { Err(Reason::RequestNoStore) } else { Ok(()) }
    }

    fn is_told_not_to_store(&self, request: &HeaderMap) -> bool {
        (self.shared || self.request_directives) && says(request, "no-store")
    }

    /// Whether it may be the request's fault that its answer is not stored. Then that says nothing about other requests, and
    /// nobody should wait for it.
    pub(crate) fn forbids_storing(&self, request: &HeaderMap) -> bool {
        request.contains_key(AUTHORIZATION) || self.is_told_not_to_store(request)
    }
}

/// Whether `Cache-Control` has this text anywhere, in any case: also where it is no well-formed directive, for who wrote it
/// meant something by it.
fn says(headers: &HeaderMap, text: &str) -> bool {
    let contains = |line: &[u8]| {
        line.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    };
    headers.get_all(CACHE_CONTROL).iter().any(|line| contains(line.as_bytes()))
}

fn check_directives(
    directives: &CacheControl,
    headers: &HeaderMap,
    targeted: bool,
) -> Result<(), Reason> {
    for (name, reason) in
        [("private", Reason::Private), ("no-store", Reason::NoStore), ("no-cache", Reason::NoCache)]
    {
        if directives.has(name) || (!targeted && says(headers, name)) {
            return Err(reason);
        }
    }
    let pragma = |line: &http::HeaderValue| {
        line.as_bytes().to_ascii_lowercase().windows(8).any(|part| part == b"no-cache")
    };
    if directives.is_empty() && headers.get_all(PRAGMA).iter().any(pragma) {
        return Err(Reason::NoCache);
    }
    Ok(())
}

/// Types of bodies that have no end, or are a part.
fn check_whole(headers: &HeaderMap) -> Result<(), Reason> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Reason::Partial);
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .map(|kind| kind.as_bytes().to_ascii_lowercase())
        .unwrap_or_default();
    match &*kind {
        kind if kind.starts_with(b"text/event-stream") => Err(Reason::Streaming),
        kind if kind.starts_with(b"multipart/x-mixed-replace") => Err(Reason::Streaming),
        kind if kind.starts_with(b"multipart/byteranges") => Err(Reason::Partial),
        _ => Ok(()),
    }
}

/// `Content-Length`: of several, all must be the same.
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

/// What the response varies on. One that is encoded varies on `Accept-Encoding`, whether it says so or not.
fn secondary_key(headers: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
    let Vary::Headers(mut names) = Vary::from_headers(headers) else { return Err(Reason::Vary) };
    if headers.contains_key(CONTENT_ENCODING) {
        check_coding(headers)?;
        if !names.contains(&ACCEPT_ENCODING) {
            names.push(ACCEPT_ENCODING);
        }
    }
    let lost = names.iter().any(|name| STRIPPED_REQUEST_HEADERS.contains(name));
    if lost || names.len() > MAX_VARY_HEADERS { Err(Reason::Vary) } else { Ok(names) }
}

fn check_coding(headers: &HeaderMap) -> Result<(), Reason> {
    let known = |coding: &[u8]| {
        CODINGS.iter().any(|known| coding.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
    };
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    if lines.all(|line| line.as_bytes().split(|byte| *byte == b',').all(known)) {
        Ok(())
    } else {
        Err(Reason::Encoding)
    }
}

/// A dictionary of structured fields (RFC 9651), as far as directives need one: keys in lower case, and the seconds whole
/// numbers, not texts.
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
    let is_line = |line: &str| crate::cache_control::members(line).into_iter().all(is_member);
    headers.get_all(name).iter().all(|line| line.to_str().is_ok_and(is_line))
}
