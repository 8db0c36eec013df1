//! Conditional requests (RFC 9110, section 13).

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, SET_COOKIE, VARY,
    },
};

use crate::{cache_control::members, date};

/// The result of evaluating the preconditions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The request is processed as if it had no preconditions.
    Proceed,
    /// The client has the current representation. The response is a 304.
    NotModified,
    /// A precondition failed. The response is a 412.
    Failed,
}

/// Evaluates the preconditions of a request, in the order of RFC 9110, section 13.2.2.
///
/// `current` contains the validators of the current representation: `ETag` and `Last-Modified`.
#[must_use]
pub fn precondition(method: &Method, request: &HeaderMap, current: &HeaderMap) -> Precondition {
    let is_read = method == Method::GET || method == Method::HEAD;
    if request.contains_key(IF_MATCH) {
        if !any_tag_matches(request, &IF_MATCH, current, is_strong_match) {
            return Precondition::Failed;
        }
    } else if let Some(since) = date::read(request, &IF_UNMODIFIED_SINCE)
        && date::read(current, &LAST_MODIFIED).is_some_and(|modified| modified > since)
    {
        return Precondition::Failed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        return match (any_tag_matches(request, &IF_NONE_MATCH, current, is_weak_match), is_read) {
            (false, _) => Precondition::Proceed,
            (true, true) => Precondition::NotModified,
            (true, false) => Precondition::Failed,
        };
    }
    if is_read
        && let Some(since) = date::read(request, &IF_MODIFIED_SINCE)
        && date::read(current, &LAST_MODIFIED).is_some_and(|modified| modified <= since)
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// Like [`precondition`], for a stored page. If the page has no `Last-Modified`, its `Date` is used
/// instead (RFC 9111, section 4.3.2).
pub(crate) fn precondition_of_stored(
    method: &Method,
    request: &HeaderMap,
    stored: &HeaderMap,
) -> Precondition {
    let uses_date = !request.contains_key(IF_NONE_MATCH) && !stored.contains_key(LAST_MODIFIED);
    match (
        uses_date.then(|| date::read(request, &IF_MODIFIED_SINCE)).flatten(),
        date::read(stored, &DATE),
    ) {
        (Some(since), Some(date)) if date <= since => Precondition::NotModified,
        _ => precondition(method, request, stored),
    }
}

/// Whether a list of entity tags contains the current one. `*` matches every existing
/// representation.
fn any_tag_matches(
    request: &HeaderMap,
    name: &HeaderName,
    current: &HeaderMap,
    is_match: fn(&str, &str) -> bool,
) -> bool {
    let current = current.get(ETAG).and_then(|tag| tag.to_str().ok());
    request.get_all(name).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        members(line)
            .into_iter()
            .map(str::trim)
            .any(|tag| tag == "*" || current.is_some_and(|current| is_match(tag, current)))
    })
}

/// Compares entity tags strongly (RFC 9110, section 8.8.3.2).
pub(crate) fn is_strong_match(one: &str, other: &str) -> bool {
    one == other && is_strong_tag(one)
}

/// Compares entity tags weakly (RFC 9110, section 8.8.3.2).
pub(crate) fn is_weak_match(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    is_strong_match(&opaque(one), &opaque(other))
}

fn is_strong_tag(tag: &str) -> bool {
    tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')
}

/// Headers of the 200 that a 304 must have as well (RFC 9110, section 15.4.5), and two more:
/// `Last-Modified`, for responses without an entity tag, and `Set-Cookie`.
const NOT_MODIFIED_HEADERS: [HeaderName; 8] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY, SET_COOKIE];

/// Returns the headers of a 304 from those of the 200.
pub(crate) fn not_modified_headers(headers: &HeaderMap) -> HeaderMap {
    let mut selected = HeaderMap::with_capacity(NOT_MODIFIED_HEADERS.len());
    for name in NOT_MODIFIED_HEADERS {
        for value in headers.get_all(&name) {
            selected.append(name.clone(), value.clone());
        }
    }
    selected
}

/// Validators of a response, and the evaluation of preconditions against them.
///
/// Combines Django's decorators `condition`, `etag` and `last_modified`. A handler that knows the
/// validators before it does the work can call [`check`](Self::check) first.
///
/// # Examples
///
/// ```
/// use cache_http::Condition;
/// use http::{Request, Response, StatusCode};
///
/// let request = Request::get("/").header("if-none-match", "W/\"v7\"").body(()).unwrap();
/// let response = Response::new("a long text".to_owned());
/// let response = Condition::new()
///     .etag("v7")
///     .apply(request.method(), request.headers(), response);
/// assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
/// assert_eq!(response.headers()["etag"], "\"v7\"");
/// assert!(response.body().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Condition {
    validators: HeaderMap,
}

impl Condition {
    /// Creates a condition without validators.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a strong entity tag, which changes whenever a byte of the response changes.
    ///
    /// Quotes are added. If the text contains characters that a tag cannot have, such as quotes, no
    /// tag is set.
    #[must_use]
    pub fn etag(self, opaque: &str) -> Self {
        self.with_tag("", opaque)
    }

    /// Sets a weak entity tag, which changes whenever the meaning of the response changes.
    #[must_use]
    pub fn weak_etag(self, opaque: &str) -> Self {
        self.with_tag("W/", opaque)
    }

    /// Sets the time of the last modification. Fractions of a second are cut off.
    #[must_use]
    pub fn last_modified(mut self, time: SystemTime) -> Self {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.validators.insert(LAST_MODIFIED, date::write(time));
        self
    }

    /// Evaluates the preconditions of a request.
    #[must_use]
    pub fn check(&self, method: &Method, request: &HeaderMap) -> Precondition {
        precondition(method, request, &self.validators)
    }

    /// Adds the validators to a response, unless it has them, and evaluates the preconditions of
    /// the request.
    ///
    /// The result is the response, or a 304 or a 412 in its place. A response that is not
    /// successful stays unchanged.
    #[must_use]
    pub fn apply<B: Default>(
        &self,
        method: &Method,
        request: &HeaderMap,
        mut response: Response<B>,
    ) -> Response<B> {
        if !response.status().is_success() {
            return response;
        }
        for (name, value) in &self.validators {
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        let status = match precondition(method, request, response.headers()) {
            Precondition::Proceed => return response,
            Precondition::NotModified => StatusCode::NOT_MODIFIED,
            Precondition::Failed => StatusCode::PRECONDITION_FAILED,
        };
        let mut replacement = Response::new(B::default());
        *replacement.status_mut() = status;
        *replacement.headers_mut() = not_modified_headers(response.headers());
        replacement
    }

    fn with_tag(mut self, prefix: &str, opaque: &str) -> Self {
        let is_valid = opaque
            .bytes()
            .all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte) || byte >= 0x80);
        if is_valid && let Ok(tag) = HeaderValue::from_str(&format!("{prefix}\"{opaque}\"")) {
            self.validators.insert(ETAG, tag);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const NEW: &str = "Sun, 30 Oct 1994 19:43:31 GMT";

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn check(method: &Method, request: &[(&'static str, &'static str)]) -> Precondition {
        precondition(
            method,
            &headers(request),
            &headers(&[("etag", "\"a\""), ("last-modified", NEW)]),
        )
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(check(&Method::PUT, &[("if-match", "\"b\", \"a\"")]), Precondition::Proceed);
        assert_eq!(check(&Method::PUT, &[("if-match", "W/\"a\"")]), Precondition::Failed);
        assert_eq!(check(&Method::PUT, &[("if-match", "*")]), Precondition::Proceed);
    }

    #[test]
    fn if_match_takes_precedence_over_if_unmodified_since() {
        assert_eq!(check(&Method::PUT, &[("if-unmodified-since", OLD)]), Precondition::Failed);
        assert_eq!(
            check(&Method::PUT, &[("if-match", "\"a\""), ("if-unmodified-since", OLD)]),
            Precondition::Proceed
        );
    }

    #[test]
    fn if_none_match_compares_weakly_and_gives_304_only_for_reads() {
        assert_eq!(
            check(&Method::GET, &[("if-none-match", "\"b\" , W/\"a\"")]),
            Precondition::NotModified
        );
        assert_eq!(check(&Method::HEAD, &[("if-none-match", "*")]), Precondition::NotModified);
        assert_eq!(check(&Method::PUT, &[("if-none-match", "*")]), Precondition::Failed);
    }

    #[test]
    fn comma_within_a_tag_does_not_separate_tags() {
        assert_eq!(check(&Method::GET, &[("if-none-match", "\"b,\"a\"")]), Precondition::Proceed);
    }

    #[test]
    fn if_none_match_takes_precedence_over_if_modified_since() {
        assert_eq!(check(&Method::GET, &[("if-modified-since", NEW)]), Precondition::NotModified);
        assert_eq!(check(&Method::GET, &[("if-modified-since", OLD)]), Precondition::Proceed);
        assert_eq!(
            check(&Method::GET, &[("if-none-match", "\"b\""), ("if-modified-since", NEW)]),
            Precondition::Proceed
        );
        assert_eq!(check(&Method::PUT, &[("if-modified-since", NEW)]), Precondition::Proceed);
    }

    #[test]
    fn stored_page_without_last_modified_uses_its_date() {
        let check = |request: &[(&'static str, &'static str)],
                     stored: &[(&'static str, &'static str)]| {
            precondition_of_stored(&Method::GET, &headers(request), &headers(stored))
        };
        assert_eq!(
            check(&[("if-modified-since", NEW)], &[("date", OLD)]),
            Precondition::NotModified
        );
        assert_eq!(check(&[("if-modified-since", OLD)], &[("date", NEW)]), Precondition::Proceed);
        assert_eq!(
            check(&[("if-modified-since", OLD)], &[("date", OLD), ("last-modified", NEW)]),
            Precondition::Proceed
        );
        assert_eq!(
            check(&[("if-modified-since", NEW), ("if-none-match", "\"a\"")], &[("date", OLD)]),
            Precondition::Proceed
        );
        assert_eq!(check(&[], &[("date", OLD)]), Precondition::Proceed);
    }

    #[test]
    fn invalid_date_is_ignored() {
        assert_eq!(
            check(&Method::GET, &[("if-modified-since", "yesterday")]),
            Precondition::Proceed
        );
    }

    #[test]
    fn failed_response_gets_no_validators_and_never_becomes_a_304() {
        let mut failed = Response::new("sorry".to_owned());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let request = headers(&[("if-none-match", "\"a\"")]);
        let response = Condition::new().etag("a").apply(&Method::GET, &request, failed);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key(ETAG));
    }

    #[test]
    fn invalid_tag_is_not_set() {
        for hostile in ["a\"b", "a b", "a\r\nb"] {
            assert!(!Condition::new().etag(hostile).validators.contains_key(ETAG), "{hostile}");
        }
    }
}
