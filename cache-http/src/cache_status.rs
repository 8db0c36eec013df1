//! The header `Cache-Status` (RFC 9211).

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::policy::Reason;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a cache has handled a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CacheStatus {
    Hit {
        /// The remaining lifetime in seconds; zero or negative if the page is stale.
        ttl: i64,
        /// Another request has produced the page meanwhile.
        collapsed: bool,
    },
    Forwarded {
        reason: Reason,
        /// The status of the response of the inner service.
        status: Option<StatusCode>,
        stored: bool,
        /// Why the response was not stored, if that is known.
        detail: Option<Reason>,
    },
}

impl CacheStatus {
    /// Appends the status to the header, if the cache has a name.
    pub(crate) fn append_to(&self, headers: &mut HeaderMap, name: Option<&str>) {
        let Some(name) = name else { return };
        if let Ok(value) = HeaderValue::from_str(&self.member(name)) {
            headers.append(CACHE_STATUS, value);
        }
    }

    fn member(&self, name: &str) -> String {
        let mut text = name.to_owned();
        // Writing into a String never fails.
        let _ = match self {
            Self::Hit { ttl, collapsed: false } => write!(text, "; hit; ttl={ttl}"),
            Self::Hit { ttl, collapsed: true } => write!(text, "; fwd=miss; collapsed; ttl={ttl}"),
            Self::Forwarded { reason, status, stored, detail } => {
                let _ = write!(text, "; fwd={}", forward_reason(*reason));
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

/// Maps a reason to the parameter `fwd` (RFC 9211, section 2.2).
fn forward_reason(reason: Reason) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_is_a_structured_field() {
        let hit = CacheStatus::Hit { ttl: -3, collapsed: false };
        assert_eq!(hit.member("shop"), "shop; hit; ttl=-3");
        let miss = CacheStatus::Forwarded {
            reason: Reason::UriMiss,
            status: Some(StatusCode::OK),
            stored: true,
            detail: None,
        };
        assert_eq!(
            miss.member("shop"),
            "shop; fwd=uri-miss; fwd-status=200; stored; detail=uri-miss"
        );
    }
}
