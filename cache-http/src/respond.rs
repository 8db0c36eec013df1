//! Responses from stored pages, and responses that pass through.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, RANGE},
    request::Parts,
    response,
};
use http_body::Body;

use crate::{
    body::CachedBody,
    cache_status::CacheStatus,
    conditional::{Precondition, not_modified_headers, precondition_of_stored},
    extensions::OuterCache,
    policy::{Reason, content_length},
    range::{Range, range, set_range_headers},
    record::Page,
    request_flags::RequestFlags,
    response_headers::{remove_targeted, set_age, set_fixed_browser_ttl},
    settings::Settings,
};

/// A response of [`HttpCache`](crate::HttpCache).
pub(crate) type CachedResponse<B> = Response<CachedBody<B>>;

/// How the page of a response was obtained.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PageSource {
    /// From the store.
    Stored,
    /// From another request, which has produced it meanwhile.
    Collapsed,
    /// From the store, after the origin has validated it.
    Validated { reason: Reason, stored: bool },
}

/// Creates the response to a request from a page of this age: in full, or as its preconditions and
/// its range demand.
pub(crate) fn page_response<B: Body>(
    settings: &Settings,
    page: &Page,
    age: Duration,
    parts: &Parts,
    flags: RequestFlags,
    source: PageSource,
) -> CachedResponse<B> {
    let mut headers = page.headers.clone();
    // They are stored, because a 304 need not repeat them.
    remove_targeted(&mut headers, &settings.policy);
    set_age(&mut headers, age);
    set_fixed_browser_ttl(&mut headers, settings.browser_ttl, age, || settings.clock.unix_time());
    let (status, body) = select_content(settings, page, parts, flags, &mut headers);
    let ttl = seconds(page.meta.lifetime) - seconds(age);
    let cache_status = match source {
        PageSource::Stored => CacheStatus::Hit { ttl, collapsed: false },
        PageSource::Collapsed => CacheStatus::Hit { ttl, collapsed: true },
        PageSource::Validated { reason, stored } => CacheStatus::Forwarded {
            reason,
            status: Some(StatusCode::NOT_MODIFIED),
            stored,
            detail: None,
        },
    };
    cache_status.append_to(&mut headers, settings.cache_status.as_deref());
    stored_response(status, headers, body)
}

/// Selects the status and the body for a request, and adapts the headers.
fn select_content(
    settings: &Settings,
    page: &Page,
    parts: &Parts,
    flags: RequestFlags,
    headers: &mut HeaderMap,
) -> (StatusCode, Bytes) {
    // Requests with other preconditions bypass the cache.
    if flags.conditional
        && page.status.is_success()
        && precondition_of_stored(&parts.method, &parts.headers, &page.headers)
            == Precondition::NotModified
    {
        let mut not_modified = not_modified_headers(headers);
        if let Some(age) = headers.remove(AGE) {
            not_modified.insert(AGE, age);
        }
        *headers = not_modified;
        return (StatusCode::NOT_MODIFIED, Bytes::new());
    }
    if parts.method == Method::HEAD {
        return (page.status, Bytes::new());
    }
    if !flags.bypass || !settings.policy.is_shared() || page.status != StatusCode::OK {
        return (page.status, page.body.clone());
    }
    let selected = range(&parts.headers, &page.headers, page.body.len());
    let status = set_range_headers(&selected, page.body.len(), headers);
    let body = match selected {
        Range::Full => page.body.clone(),
        Range::Part(part) => page.body.slice(part),
        Range::Unsatisfiable => Bytes::new(),
    };
    (status, body)
}

/// Selects what a HEAD or a request for a range gets of the whole response of the inner service.
///
/// The rest of the body is not read here. If the body is collected for the store, a task continues
/// to read it.
pub(crate) fn select_part<B: Body>(
    parts: &Parts,
    mut head: response::Parts,
    body: CachedBody<B>,
) -> CachedResponse<B> {
    let length = body.size_hint().exact().or_else(|| content_length(&head.headers).ok()?);
    if parts.method == Method::HEAD {
        if let Some(length) = length.filter(|_| head.status != StatusCode::NO_CONTENT) {
            head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        return Response::from_parts(head, CachedBody::default());
    }
    let length = length.and_then(|length| usize::try_from(length).ok());
    let Some(length) =
        length.filter(|_| head.status == StatusCode::OK && parts.headers.contains_key(RANGE))
    else {
        return Response::from_parts(head, body);
    };
    let selected = range(&parts.headers, &head.headers, length);
    head.status = set_range_headers(&selected, length, &mut head.headers);
    let body = match selected {
        Range::Full => body,
        Range::Part(part) => CachedBody::part(body, part),
        Range::Unsatisfiable => CachedBody::default(),
    };
    Response::from_parts(head, body)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Creates a response with a body that is in memory.
pub(crate) fn stored_response<B: Body>(
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> CachedResponse<B> {
    let mut response = Response::new(CachedBody::stored(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Passes on a response of the inner service that is not stored.
pub(crate) fn pass_through<B: Body>(
    settings: &Settings,
    response: Response<B>,
    reason: Reason,
    outer: OuterCache,
) -> CachedResponse<B> {
    let (mut head, body) = response.into_parts();
    remove_targeted(&mut head.headers, &settings.policy);
    let status =
        CacheStatus::Forwarded { reason, status: Some(head.status), stored: false, detail: None };
    status.append_to(&mut head.headers, settings.cache_status.as_deref());
    outer.notify(Response::from_parts(head, CachedBody::pass_through(body)))
}
