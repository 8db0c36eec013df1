//! The reasons of misses, bypasses and rejected responses.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal,)+) => {
        /// The reason why a request bypassed the cache or was not served from it, or why a
        /// response was not stored.
        ///
        /// Its [name](Self::name) is the label `reason` of the metrics and the `detail` of
        /// `Cache-Status`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$reason,)+];

            /// Returns a short name in lower-case letters and hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// The method of the request is neither GET nor HEAD.
    Method = "method",
    /// The request has a body.
    RequestBody = "request-body",
    /// The request has `Authorization`, or its response needs `public`, `s-maxage` or
    /// `must-revalidate` to be stored.
    Authorization = "authorization",
    /// The request has a cookie that is, or looks like, a session cookie.
    SessionCookie = "session-cookie",
    /// The request has a cookie that may identify a visitor or change the page, and the policy does
    /// not list it.
    UnknownCookie = "unknown-cookie",
    /// The request has `Range`.
    Range = "range",
    /// The request has `If-Match` or `If-Unmodified-Since`.
    Precondition = "precondition",
    /// The request has a header that overrides its method or path.
    Override = "override-header",
    /// `Connection` of the request names an end-to-end header, which a proxy would remove.
    Connection = "connection",
    /// The name of a request header contains `_`, which some servers read as `-`.
    HeaderName = "header-name",
    /// The request has `Upgrade`.
    Upgrade = "upgrade",
    /// The host of the request is invalid, or there are several.
    Host = "host",
    /// The host of the request is not allowed.
    HostNotAllowed = "host-not-allowed",
    /// The request has `no-store`.
    RequestNoStore = "request-no-store",
    /// The request or the response has the extension [`NoStore`](crate::NoStore).
    OptOut = "opt-out",
    /// [`bypass_if`](crate::HttpCacheLayer::bypass_if) accepts the request.
    BypassIf = "bypass-if",
    /// [`do_not_store_if`](crate::HttpCacheLayer::do_not_store_if) accepts the response.
    DoNotStoreIf = "do-not-store-if",
    /// A cache layer further inside handles the response: per view takes precedence over per site.
    InnerCache = "inner-cache",
    /// Responses with this status are not stored.
    Status = "status",
    /// The response sets a cookie.
    SetCookie = "set-cookie",
    /// The response has `private`.
    Private = "private",
    /// The response has `no-store`.
    NoStore = "no-store",
    /// The response has `no-cache`.
    NoCache = "no-cache",
    /// The response varies on something other than headers (`Vary: *`), on too many headers, or on
    /// a header that the cache removes from requests.
    Vary = "vary",
    /// The response is partial.
    Partial = "partial",
    /// The response has no known end.
    Streaming = "streaming",
    /// The response has more than 64 tags, or a tag that is longer than 1,024 bytes or not UTF-8.
    Tags = "tags",
    /// The body is longer than the limit.
    TooLarge = "too-large",
    /// The bodies that are being collected for the store take too many bytes, see
    /// [`HttpCacheLayer::max_fill_bytes`](crate::HttpCacheLayer::max_fill_bytes).
    FillBytes = "fill-bytes",
    /// The length of the body differs from `Content-Length`.
    Length = "length",
    /// The body has trailers.
    Trailers = "trailers",
    /// The body failed, or did not end in time after its client had left.
    Incomplete = "incomplete",
    /// The response has expired already, or its lifetime is invalid.
    Expired = "expired",
    /// The response has no lifetime, and there is no default.
    NoLifetime = "no-lifetime",
    /// The inner service did not respond within the
    /// [`origin_timeout`](crate::HttpCacheLayer::origin_timeout).
    OriginTimeout = "origin-timeout",
    /// The inner service failed for other requests that this one has waited for.
    OriginFailed = "origin-failed",
    /// The URI has as many variants as [`max_variants`](crate::Policy::max_variants) allows, and
    /// they are requested at least as often.
    VariantLimit = "variant-limit",
    /// The page is new, and more new pages were requested than are stored: see
    /// [`new_page_limit`](crate::HttpCacheLayer::new_page_limit).
    NewPageLimit = "new-page-limit",
    /// The page was requested less often than [`min_uses`](crate::HttpCacheLayer::min_uses).
    MinUses = "min-uses",
    /// The page was purged, possibly while it was produced.
    Purged = "purged",
    /// The store failed.
    StoreFailed = "store-failed",
    /// Nothing is stored for the URI.
    UriMiss = "uri-miss",
    /// Only other variants are stored for the URI.
    VaryMiss = "vary-miss",
    /// The page is stale.
    Stale = "stale",
    /// The origin confirmed another version than the stored one.
    Validator = "validator",
    /// The `Cache-Control` of the request requires a fresher response.
    Request = "request",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
