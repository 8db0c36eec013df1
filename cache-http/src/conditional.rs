//! Conditional requests: what `If-Match`, `If-None-Match` and their kin ask (RFC 9110, section 13).

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, SET_COOKIE, VARY,
    },
};

use crate::{cache_control::members, date};

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The response is sent as it is.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: what the client wants to change is not what it believes.
    Failed,
}

/// Evaluates a request's preconditions against the validators `ETag` and `Last-Modified` of the current representation,
/// in the order of RFC 9110, section 13.2.2.
#[must_use]
pub fn precondition(method: &Method, request: &HeaderMap, current: &HeaderMap) -> Precondition {
    let reads = method == Method::GET || method == Method::HEAD;
    if request.contains_key(IF_MATCH) {
        if !any_tag(request, &IF_MATCH, current, strongly_equal) {
            return Precondition::Failed;
        }
    } else if let Some(since) = date::read(request, &IF_UNMODIFIED_SINCE)
        && date::read(current, &LAST_MODIFIED).is_some_and(|modified| modified > since)
    {
        return Precondition::Failed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        return match (any_tag(request, &IF_NONE_MATCH, current, weakly_equal), reads) {
            (false, _) => Precondition::Proceed,
            (true, true) => Precondition::NotModified,
            (true, false) => Precondition::Failed,
        };
    }
    if reads
        && let Some(since) = date::read(request, &IF_MODIFIED_SINCE)
        && date::read(current, &LAST_MODIFIED).is_some_and(|modified| modified <= since)
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// As [`precondition`], of a page that is stored: one that does not tell when it last changed had not changed after it was made
/// (RFC 9111, section 4.3.2).
pub(crate) fn precondition_of_stored(
    method: &Method,
    request: &HeaderMap,
    stored: &HeaderMap,
) -> Precondition {
    let dated = !request.contains_key(IF_NONE_MATCH) && !stored.contains_key(LAST_MODIFIED);
    match (
        dated.then(|| date::read(request, &IF_MODIFIED_SINCE)).flatten(),
        date::read(stored, &DATE),
    ) {
        (Some(since), Some(made)) if made <= since => Precondition::NotModified,
        _ => precondition(method, request, stored),
    }
}

/// Whether a list of entity tags has the current one. `*` means any that exists.
fn any_tag(
    request: &HeaderMap,
    name: &HeaderName,
    current: &HeaderMap,
    equal: fn(&str, &str) -> bool,
) -> bool {
    let current = current.get(ETAG).and_then(|tag| tag.to_str().ok());
    request.get_all(name).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        members(line)
            .into_iter()
            .map(str::trim)
            .any(|tag| tag == "*" || current.is_some_and(|current| equal(tag, current)))
    })
}

pub(crate) fn strongly_equal(one: &str, other: &str) -> bool {
    one == other && is_tag(one)
}

fn weakly_equal(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    strongly_equal(&opaque(one), &opaque(other))
}

fn is_tag(tag: &str) -> bool {
    tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')
}

/// The headers that a 304 has, where the 200 would have them.
const NOT_MODIFIED_HEADERS: [HeaderName; 8] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY, SET_COOKIE];

/// What a 304 says of all the headers of the 200.
pub(crate) fn not_modified_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(NOT_MODIFIED_HEADERS.len());
    for name in NOT_MODIFIED_HEADERS {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Django's `condition`, `etag` and `last_modified` in one: gives a response its validators, and answers 304 or 412 where
/// the request asks for that.
///
/// A handler that knows the validators before it does the work asks [`check`](Self::check) first.
///
/// ```
/// use cache_http::Condition;
/// use http::{Request, Response, StatusCode};
///
/// let request = Request::get("/").header("if-none-match", "W/\"v7\"").body(()).unwrap();
/// let condition = Condition::new().etag("v7");
/// let response: Response<String> = condition.apply(request.method(), request.headers(), Response::new("long".into()));
/// assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
/// assert_eq!(response.headers()["etag"], "\"v7\"");
/// assert!(response.body().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Condition {
    validators: HeaderMap,
}

impl Condition {
    /// No validator.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A strong entity tag: it changes whenever a byte of the response does. Quotes are added; a text with quotes or
    /// anything else that a tag cannot have gives no tag.
    #[must_use]
    pub fn etag(self, opaque: &str) -> Self {
        self.with_tag("", opaque)
    }

    /// A weak entity tag: it changes whenever the response's meaning does.
    #[must_use]
    pub fn weak_etag(self, opaque: &str) -> Self {
        self.with_tag("W/", opaque)
    }

    /// When the representation last changed; fractions of a second are cut.
    #[must_use]
    pub fn last_modified(mut self, time: SystemTime) -> Self {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.validators.insert(LAST_MODIFIED, date::write(time));
        self
    }

    /// What the request's preconditions come to.
    #[must_use]
    pub fn check(&self, method: &Method, request: &HeaderMap) -> Precondition {
        precondition(method, request, &self.validators)
    }

    /// The response with the validators, unless it has them; or, if it is a success, what the preconditions make of it.
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
        let mut short = Response::new(B::default());
        *short.status_mut() = status;
        *short.headers_mut() = not_modified_headers(response.headers());
        short
    }

    fn with_tag(mut self, weak: &str, opaque: &str) -> Self {
        let fits = opaque
            .bytes()
            .all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte) || byte >= 0x80);
        if fits && let Ok(tag) = HeaderValue::from_str(&format!("{weak}\"{opaque}\"")) {
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
    fn if_match_wants_the_very_same_tag() {
        assert_eq!(check(&Method::PUT, &[("if-match", "\"b\", \"a\"")]), Precondition::Proceed);
        assert_eq!(check(&Method::PUT, &[("if-match", "W/\"a\"")]), Precondition::Failed);
        assert_eq!(check(&Method::PUT, &[("if-match", "*")]), Precondition::Proceed);
    }

    #[test]
    fn if_match_comes_before_if_unmodified_since() {
        assert_eq!(check(&Method::PUT, &[("if-unmodified-since", OLD)]), Precondition::Failed);
        assert_eq!(
            check(&Method::PUT, &[("if-match", "\"a\""), ("if-unmodified-since", OLD)]),
            Precondition::Proceed
        );
    }

    #[test]
    fn if_none_match_compares_weakly_and_is_a_304_for_readers_only() {
        assert_eq!(
            check(&Method::GET, &[("if-none-match", "\"b\" , W/\"a\"")]),
            Precondition::NotModified
        );
        assert_eq!(check(&Method::HEAD, &[("if-none-match", "*")]), Precondition::NotModified);
        assert_eq!(check(&Method::PUT, &[("if-none-match", "*")]), Precondition::Failed);
    }

    #[test]
    fn a_comma_within_a_tag_separates_nothing() {
        assert_eq!(check(&Method::GET, &[("if-none-match", "\"b,\"a\"")]), Precondition::Proceed);
    }

    #[test]
    fn if_none_match_comes_before_if_modified_since() {
        assert_eq!(check(&Method::GET, &[("if-modified-since", NEW)]), Precondition::NotModified);
        assert_eq!(check(&Method::GET, &[("if-modified-since", OLD)]), Precondition::Proceed);
        assert_eq!(
            check(&Method::GET, &[("if-none-match", "\"b\""), ("if-modified-since", NEW)]),
            Precondition::Proceed
        );
        assert_eq!(check(&Method::PUT, &[("if-modified-since", NEW)]), Precondition::Proceed);
    }

    #[test]
    fn a_stored_page_that_does_not_tell_when_it_changed_had_not_changed_after_it_was_made() {
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
    fn a_date_that_is_none_asks_nothing() {
        assert_eq!(
            check(&Method::GET, &[("if-modified-since", "yesterday")]),
            Precondition::Proceed
        );
    }

    #[test]
    fn a_failed_response_has_no_validators_and_is_never_a_304() {
        let mut failed = Response::new("sorry".to_owned());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let request = headers(&[("if-none-match", "\"a\"")]);
        let response = Condition::new().etag("a").apply(&Method::GET, &request, failed);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key(ETAG));
    }

    #[test]
    fn a_text_that_no_tag_can_have_gives_none() {
        for hostile in ["a\"b", "a b", "a\r\nb"] {
            assert!(!Condition::new().etag(hostile).validators.contains_key(ETAG), "{hostile}");
        }
    }
}
