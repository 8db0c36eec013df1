//! Range requests for stored responses (RFC 9110, section 14).

use std::ops;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
    },
};

use crate::{conditional::is_strong_match, date};

/// The part of a body that a request selects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Full,
    Part(ops::Range<usize>),
    Unsatisfiable,
}

/// Selects the part of a stored body for a request.
///
/// The full body is selected if there are several ranges, which a server may ignore, or if the body
/// has a content coding.
pub(crate) fn range(request: &HeaderMap, stored: &HeaderMap, length: usize) -> Range {
    if stored.contains_key(CONTENT_ENCODING) || !if_range_matches(request, stored) {
        return Range::Full;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Range::Full };
    line.to_str().ok().and_then(|line| parse(line, length)).unwrap_or(Range::Full)
}

/// Evaluates `If-Range` (RFC 9110, section 13.1.5): entity tags are compared strongly, and a date
/// must equal that of the last modification.
fn if_range_matches(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    if stored.get(ETAG).is_some_and(|tag| is_strong_match(&text(tag), &text(condition))) {
        return true;
    }
    let date = date::read(request, &IF_RANGE);
    date.is_some() && date == date::read(stored, &LAST_MODIFIED)
}

/// The first byte of the single range that a request selects, if it counts from the start.
pub(crate) fn first_byte(request: &HeaderMap) -> Option<u64> {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (unit, set) = line.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, _) = set.trim().split_once('-')?;
    number(first)?.map(|first| first as u64)
}

/// Sets the headers and returns the status of a response with this part of a body of `total` bytes.
pub(crate) fn set_range_headers(
    selected: &Range,
    total: usize,
    headers: &mut HeaderMap,
) -> StatusCode {
    let (status, range, length) = match selected {
        Range::Full => return StatusCode::OK,
        Range::Part(part) => (
            StatusCode::PARTIAL_CONTENT,
            format!("bytes {}-{}/{total}", part.start, part.end - 1),
            part.len(),
        ),
        Range::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{total}"), 0),
    };
    if let Ok(range) = HeaderValue::from_str(&range) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    status
}

fn parse(line: &str, length: usize) -> Option<Range> {
    let (unit, set) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let part = match (first, last) {
        (None, None) => return None,
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), last) => {
            first..last.map_or(length, |last| last.saturating_add(1).min(length))
        }
        (None, Some(last)) => length.saturating_sub(last)..length,
    };
    Some(if part.is_empty() { Range::Unsatisfiable } else { Range::Part(part) })
}

/// Parses an optional number. The outer `None` means that the text is invalid. A number that is too
/// large becomes the largest one.
fn number(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some(text.parse().unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(line: &'static str) -> Range {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_static(line));
        range(&request, &HeaderMap::new(), 10)
    }

    #[test]
    fn single_range_ends_with_the_body_at_the_latest() {
        assert_eq!(range_of("bytes=0-0"), Range::Part(0..1));
        assert_eq!(range_of("bytes=2-"), Range::Part(2..10));
        assert_eq!(range_of("Bytes=-3"), Range::Part(7..10));
        assert_eq!(range_of("bytes=-99"), Range::Part(0..10));
        assert_eq!(range_of("bytes=5-99999999999999999999999"), Range::Part(5..10));
    }

    #[test]
    fn range_after_the_end_is_unsatisfiable() {
        assert_eq!(range_of("bytes=10-"), Range::Unsatisfiable);
        assert_eq!(range_of("bytes=-0"), Range::Unsatisfiable);
    }

    #[test]
    fn invalid_or_multiple_ranges_select_the_full_body() {
        for line in ["bytes=0-1,3-4", "lines=1-2", "bytes=3-2", "bytes=-", "bytes=a-b", "bytes"] {
            assert_eq!(range_of(line), Range::Full, "{line}");
        }
    }

    #[test]
    fn first_byte_is_that_of_a_single_range_from_the_start() {
        let first = |line: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::from_static(line));
            first_byte(&request)
        };
        assert_eq!(first("bytes=0-"), Some(0));
        assert_eq!(first("Bytes=7-9"), Some(7));
        for line in ["bytes=-5", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes"] {
            assert_eq!(first(line), None, "{line}");
        }
    }

    #[test]
    fn failed_if_range_selects_the_full_body() {
        let headers = |name, value| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
            headers.insert(name, HeaderValue::from_static(value));
            headers
        };
        let stored = headers(ETAG, "\"a\"");
        assert_eq!(range(&headers(IF_RANGE, "\"a\""), &stored, 10), Range::Part(0..1));
        assert_eq!(range(&headers(IF_RANGE, "W/\"a\""), &stored, 10), Range::Full);
        assert_eq!(range(&headers(IF_RANGE, "\"b\""), &stored, 10), Range::Full);
    }
}
