//! A stored page as an answer.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE},
    request::Parts,
};

use crate::{
    body::CachedBody,
    conditional::{Precondition, of_not_modified, precondition_of_stored},
    outgoing::{Status, set_age},
    policy::Reason,
    range::{Range, range},
    record::Page,
    request_flags::RequestFlags,
    settings::Settings,
};

/// Source a page came to be the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Stored,
    /// Another request has just made it.
    Collapsed,
    /// The origin said that it is still right.
    Validated {
        reason: Reason,
        stored: bool,
    },
}

impl Settings {
    /// Source old a page is: how old it came, and how long it lay here. A clock that was set back makes nothing younger than it
    /// came.
    pub(crate) fn age(&self, page: &Page) -> Duration {
        let here = match page.born {
            Some(born) => self.clock.now().since(born),
            None => self.clock.unix_time().saturating_sub(page.stored),
        };
        page.meta.age.saturating_add(here)
    }

    /// The page of this age as the answer to a request: whole, or what its preconditions and its range make of it.
    pub(crate) fn answer<B: http_body::Body>(
        &self,
        page: &Page,
        age: Duration,
        parts: &Parts,
        flags: RequestFlags,
        source: Source,
    ) -> Response<CachedBody<B>> {
        let mut headers = page.headers.clone();
        set_age(&mut headers, age);
        self.announce_for_browser(&mut headers, age, || self.clock.unix_time());
        let (status, body) = self.shape(page, parts, flags, &mut headers);
        let ttl = seconds(page.meta.lifetime) - seconds(age);
        self.report(
            &mut headers,
            &match source {
                Source::Stored => Status::Hit { ttl, collapsed: false },
                Source::Collapsed => Status::Hit { ttl, collapsed: true },
                Source::Validated { reason, stored } => Status::Forwarded {
                    reason,
                    status: Some(StatusCode::NOT_MODIFIED),
                    stored,
                    detail: None,
                },
            },
        );
        respond(status, headers, body)
    }

    fn shape(
        &self,
        page: &Page,
        parts: &Parts,
        flags: RequestFlags,
        headers: &mut HeaderMap,
    ) -> (StatusCode, Bytes) {
        // Those with other conditions passed by.
        if flags.conditional
            && page.status.is_success()
            && precondition_of_stored(&parts.method, &parts.headers, &page.headers)
                == Precondition::NotModified
        {
            let mut short = of_not_modified(headers);
            if let Some(age) = headers.remove(http::header::AGE) {
                short.insert(http::header::AGE, age);
            }
            *headers = short;
            return (StatusCode::NOT_MODIFIED, Bytes::new());
        }
        if parts.method == Method::HEAD {
            return (page.status, Bytes::new());
        }
        if !flags.telling || !self.policy.is_shared() || page.status != StatusCode::OK {
            return (page.status, page.body.clone());
        }
        match range(&parts.headers, &page.headers, page.body.len()) {
            Range::Whole => (page.status, page.body.clone()),
            Range::Part(part) => {
                let total = page.body.len();
                set(headers, &format!("bytes {}-{}/{total}", part.start, part.end - 1));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.len()));
                (StatusCode::PARTIAL_CONTENT, page.body.slice(part))
            }
            Range::Unsatisfiable => {
                set(headers, &format!("bytes */{}", page.body.len()));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
        }
    }
}

fn set(headers: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(CONTENT_RANGE, range);
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn respond<B: http_body::Body>(
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> Response<CachedBody<B>> {
    let mut response = Response::new(CachedBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
