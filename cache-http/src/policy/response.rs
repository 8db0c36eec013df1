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

use super::{Policy, Why, lifetime, request::CODINGS};
use crate::{CacheControl, Vary, date::UnixTime};

/// What is known about the length of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly so many bytes.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

/// On which terms a response is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long it is fresh, from when it was made.
    pub lifetime: Duration,
    /// How old it was when it came.
    pub age: Duration,
    /// When it was made, since 1970.
    pub date: Duration,
    /// The request's headers that it varies on.
    pub vary: Vec<HeaderName>,
    /// How long after its lifetime it may be served while a fresh one is made.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime it may be served when making a fresh one fails.
    pub stale_if_error: Duration,
    /// How long after its lifetime it is kept to be validated.
    pub keep: Duration,
}

impl Terms {
    /// How long the store keeps it.
    #[must_use]
    pub fn kept(&self) -> Duration {
        let beyond = self.stale_while_revalidate.max(self.stale_if_error).max(self.keep);
        self.lifetime.saturating_add(beyond).saturating_sub(self.age)
    }
}

/// A page may vary on so many headers.
const MOST_DIMENSIONS: usize = 16;
/// How long a page with a validator is kept beyond its lifetime.
const KEEP: Duration = Duration::from_secs(86_400);
/// Headers that the cache takes out of the requests whose answers it stores, and which no page may vary on.
pub(crate) const STRIPPED: [HeaderName; 6] =
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

impl Policy {
    /// Whether the response to an [admitted](Self::admit) GET may be stored. `now` is the time since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn store(
        &self,
        request: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        now: Duration,
    ) -> Result<Terms, Why> {
        self.check_status(status)?;
        self.check_cookies(headers)?;
        let (directives, targeted) = self.directives(headers);
        check_directives(&directives, headers, targeted)?;
        check_whole(headers)?;
        self.check_length(headers, body)?;
        self.check_request(request, &directives)?;
        let vary = dimensions(headers)?;
        let (age, date) = lifetime::age_and_date(headers, now);
        let lifetime = self.lifetime(status, &directives, headers, date, targeted)?;
        if status.as_u16() >= 500 && !lifetime.explicit {
            return Err(Why::Status);
        }
        if self.shared && !lifetime::is_heuristic(status) && !lifetime.explicit {
            return Err(Why::Status);
        }
        let terms = self.terms(lifetime.length, age, date, vary, &directives, headers);
        let worthless = terms.lifetime <= age && terms.keep.is_zero();
        if worthless { Err(Why::Expired) } else { Ok(terms) }
    }

    fn terms(
        &self,
        lifetime: Duration,
        age: Duration,
        date: UnixTime,
        vary: Vec<HeaderName>,
        directives: &CacheControl,
        headers: &HeaderMap,
    ) -> Terms {
        let never_stale = ["must-revalidate", "proxy-revalidate", "s-maxage"]
            .iter()
            .any(|name| directives.has(name));
        let window = |name: &str, default: Duration| match directives.seconds(name).duration() {
            _ if never_stale => Duration::ZERO,
            Some(stated) => stated,
            None => default,
        };
        let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        Terms {
            lifetime,
            age,
            date,
            vary,
            stale_while_revalidate: window("stale-while-revalidate", self.stale_while_revalidate),
            stale_if_error: window("stale-if-error", self.stale_if_error),
            keep: if self.shared && validator { KEEP } else { Duration::ZERO },
        }
    }

    fn check_status(&self, status: StatusCode) -> Result<(), Why> {
        match status.as_u16() {
            206 | 304 => Err(Why::Partial),
            200 => Ok(()),
            201.. if self.shared || self.statuses.contains(&status) => Ok(()),
            _ => Err(Why::Status),
        }
    }

    fn check_cookies(&self, headers: &HeaderMap) -> Result<(), Why> {
        let sets = headers.contains_key(SET_COOKIE) || headers.contains_key("set-cookie2");
        if sets && !self.strip_cookies { Err(Why::SetCookie) } else { Ok(()) }
    }

    /// The directives that count, and whether they are this cache's own.
    fn directives(&self, headers: &HeaderMap) -> (CacheControl, bool) {
        for name in self.targeted.iter() {
            let own = CacheControl::read(headers, name);
            if !own.is_empty() && is_dictionary(headers, name) {
                return (own, true);
            }
        }
        (CacheControl::of(headers), false)
    }

    fn check_length(&self, headers: &HeaderMap, body: BodyLength) -> Result<(), Why> {
        let length = match (stated_length(headers)?, body) {
            (Some(stated), BodyLength::Known(known)) if stated != known => return Err(Why::Length),
            (Some(length), _) | (None, BodyLength::Known(length)) => length,
            (None, BodyLength::Unknown) if self.streaming => return Ok(()),
            (None, BodyLength::Unknown) => return Err(Why::Streaming),
        };
        if length > self.most_body { Err(Why::TooLarge) } else { Ok(()) }
    }

    fn check_request(&self, request: &HeaderMap, directives: &CacheControl) -> Result<(), Why> {
        let allowed =
            ["public", "s-maxage", "must-revalidate"].iter().any(|name| directives.has(name));
        if request.contains_key(AUTHORIZATION) && !allowed {
            return Err(Why::Authorization);
        }
        if self.is_told_not_to_store(request) { Err(Why::RequestNoStore) } else { Ok(()) }
    }

    fn is_told_not_to_store(&self, request: &HeaderMap) -> bool {
        (self.shared || self.request_directives) && says(request, "no-store")
    }

    /// Whether it may be the request's fault that its answer is not stored. Then that says nothing about other requests, and
    /// nobody should wait for it.
    pub(crate) fn is_particular(&self, request: &HeaderMap) -> bool {
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
) -> Result<(), Why> {
    for (name, why) in
        [("private", Why::Private), ("no-store", Why::NoStore), ("no-cache", Why::NoCache)]
    {
        if directives.has(name) || (!targeted && says(headers, name)) {
            return Err(why);
        }
    }
    let pragma = |line: &http::HeaderValue| {
        line.as_bytes().to_ascii_lowercase().windows(8).any(|part| part == b"no-cache")
    };
    if directives.is_empty() && headers.get_all(PRAGMA).iter().any(pragma) {
        return Err(Why::NoCache);
    }
    Ok(())
}

/// Types of bodies that have no end, or are a part.
fn check_whole(headers: &HeaderMap) -> Result<(), Why> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Why::Partial);
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .map(|kind| kind.as_bytes().to_ascii_lowercase())
        .unwrap_or_default();
    match &*kind {
        kind if kind.starts_with(b"text/event-stream") => Err(Why::Streaming),
        kind if kind.starts_with(b"multipart/x-mixed-replace") => Err(Why::Streaming),
        kind if kind.starts_with(b"multipart/byteranges") => Err(Why::Partial),
        _ => Ok(()),
    }
}

/// `Content-Length`: of several, all must be the same.
pub(crate) fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, Why> {
    let mut stated = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse().ok()).ok_or(Why::Length)?;
        if stated.is_some_and(|other: u64| other != length) {
            return Err(Why::Length);
        }
        stated = Some(length);
    }
    if stated.is_some() && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Why::Length);
    }
    Ok(stated)
}

/// What the response varies on. One that is encoded varies on `Accept-Encoding`, whether it says so or not.
fn dimensions(headers: &HeaderMap) -> Result<Vec<HeaderName>, Why> {
    let Vary::On(mut names) = Vary::of(headers) else { return Err(Why::Vary) };
    if headers.contains_key(CONTENT_ENCODING) {
        check_coding(headers)?;
        if !names.contains(&ACCEPT_ENCODING) {
            names.push(ACCEPT_ENCODING);
        }
    }
    let lost = names.iter().any(|name| STRIPPED.contains(name));
    if lost || names.len() > MOST_DIMENSIONS { Err(Why::Vary) } else { Ok(names) }
}

fn check_coding(headers: &HeaderMap) -> Result<(), Why> {
    let known = |coding: &[u8]| {
        CODINGS.iter().any(|known| coding.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
    };
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    if lines.all(|line| line.as_bytes().split(|byte| *byte == b',').all(known)) {
        Ok(())
    } else {
        Err(Why::Encoding)
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
