//! Reason a response was not stored, or not reused.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal,)+) => {
        /// The reason reason a request passed by the cache, was not answered from it, or was not kept in it.
        ///
        /// Its name is a label of metrics and the `detail` of `Cache-Status`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$reason,)+];

            /// A short name, of lower-case letters and hyphens.
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
    /// The request's method is neither GET nor HEAD.
    Method = "method",
    /// The request has a body.
    RequestBody = "request-body",
    /// The request has `Authorization`.
    Authorization = "authorization",
    /// The request has a cookie that looks like a session's.
    SessionCookie = "session-cookie",
    /// The request asks for a part.
    Range = "range",
    /// The request has `If-Match` or `If-Unmodified-Since`.
    Precondition = "precondition",
    /// The request has a header that changes its method or its path behind the cache's back.
    Override = "override-header",
    /// The request wants another protocol.
    Upgrade = "upgrade",
    /// The request's host is invalid, or there are several.
    Host = "host",
    /// The request's host is not among those allowed.
    HostNotAllowed = "host-not-allowed",
    /// The request says `no-store`.
    RequestNoStore = "request-no-store",
    /// The application said [`NoStore`](crate::NoStore).
    OptOut = "opt-out",
    /// A layer further inside looks after this response: per view wins over per site.
    InnerCache = "inner-cache",
    /// Answers with this status are not kept.
    Status = "status",
    /// The response sets a cookie.
    SetCookie = "set-cookie",
    /// The response says `private`.
    Private = "private",
    /// The response says `no-store`.
    NoStore = "no-store",
    /// The response says `no-cache`.
    NoCache = "no-cache",
    /// The response varies on something that no request tells (`Vary: *`), on too much, or on what the cache takes out.
    Vary = "vary",
    /// The response is a part.
    Partial = "partial",
    /// The response has no known end.
    Streaming = "streaming",
    /// The response is encoded in a way that this cache does not tell apart.
    Encoding = "encoding",
    /// The body is larger than the limit.
    TooLarge = "too-large",
    /// The body is not as long as `Content-Length` says.
    Length = "length",
    /// The body has trailers.
    Trailers = "trailers",
    /// The body failed, or nobody read it to its end.
    Incomplete = "incomplete",
    /// The response is out of date already, or what it says about that cannot be read.
    Expired = "expired",
    /// Nothing says how long it lives.
    NoLifetime = "no-lifetime",
    /// It was purged while it was made.
    Purged = "purged",
    /// The store failed.
    StoreFailed = "store-failed",
    /// Nothing is stored for the URI.
    UriMiss = "uri-miss",
    /// Something is stored for the URI, but for other headers of the request.
    VaryMiss = "vary-miss",
    /// What is stored is too old.
    Stale = "stale",
    /// The request's `Cache-Control` asks for something fresher.
    Request = "request",
    /// The inner service failed.
    Failed = "failed",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
