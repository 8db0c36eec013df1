//! The decisions: may this be stored and for how long, may this be reused, and if not, reason.
//!
//! Nothing here does I/O or reads a clock.

mod cookies;
mod lifetime;
mod reason;
mod request;
mod response;
mod reuse;

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};

pub use self::{
    reason::Reason,
    response::{BodyLength, CacheMeta},
    reuse::Reuse,
};
pub(crate) use self::{
    request::{OVERRIDES, SecondaryKey},
    response::{STRIPPED_REQUEST_HEADERS, content_length},
};

/// What may be stored, for how long, and when it may be reused.
///
/// Two presets of one engine:
///
/// | | [`site`](Self::site): the output cache of the application itself | [`shared`](Self::shared): a cache by RFC 9111 |
/// |---|---|---|
/// | statuses | 200, and those asked for | those that are cacheable by default, and others with an explicit lifetime |
/// | lifetime, where the response tells none | [`ttl`](Self::ttl), 600 seconds | a tenth of its age, a day at most |
/// | bodies of unknown length | not stored | stored when they end well |
/// | `Range` | passes by | answered from a stored whole |
/// | stale, with a validator | gone | validated |
/// | changes by unsafe methods | – | invalidate |
/// | the request's `no-store` | – | obeyed |
///
/// In both, these are never stored: a response with `Set-Cookie`, one that says `private`, `no-store` or `no-cache` in any case
/// and spacing, one with `Vary: *`, a part, a body that broke off or is not as long as it says; and a request passes
/// by that has `Authorization`, a cookie that looks like a session's, a body, or a header that changes its method or path.
#[derive(Clone, Debug)]
pub struct Policy {
    shared: bool,
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    statuses: Vec<StatusCode>,
    strip_cookies: bool,
    authorization: bool,
    session_cookies: Option<Arc<[String]>>,
    cookies: Option<Arc<[String]>>,
    streaming: bool,
    max_body: u64,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    request_directives: bool,
    targeted: Arc<[HeaderName]>,
}

const MIB: u64 = 1 << 20;

impl Policy {
    /// The output cache of an application: it knows that it is the origin. See the [table](Self).
    #[must_use]
    pub fn site() -> Self {
        Self {
            shared: false,
            ttl: Some(Duration::from_secs(600)),
            max_ttl: None,
            statuses: Vec::new(),
            strip_cookies: false,
            authorization: false,
            session_cookies: None,
            cookies: None,
            streaming: false,
            max_body: 2 * MIB,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            request_directives: false,
            targeted: Arc::new([]),
        }
    }

    /// A shared cache by RFC 9111, as in a proxy. See the [table](Self).
    #[must_use]
    pub fn shared() -> Self {
        Self { shared: true, ttl: None, streaming: true, ..Self::site() }
    }

    /// Source long a response lives that does not say so itself.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Source long a response lives at most, whatever it says.
    #[must_use]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Further statuses to store in a site: 404, say. 206, 304 and those below 200 never are, and those from 500 on only
    /// if the response itself says how long.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses.extend(statuses);
        self
    }

    /// Stores responses that set cookies, without those cookies. The visitor who caused it gets them, nobody else does.
    #[must_use]
    pub fn strip_cookies(mut self) -> Self {
        self.strip_cookies = true;
        self
    }

    /// Lets requests with `Authorization` in, by RFC 9111, section 3.5: they are answered from the store, and their
    /// responses are stored if they say `public`, `s-maxage` or `must-revalidate`.
    #[must_use]
    pub fn authorization_by_response(mut self) -> Self {
        self.authorization = true;
        self
    }

    /// The cookies that tell a visitor from others: a request with one of them passes by. It takes the place of the rule
    /// that is there otherwise: names that sessions usually have (`sessionid`, `sid`, `id`, `PHPSESSID`…), and any that has
    /// `sess`, `auth`, `token`, `jwt`, `login` or `user` in it.
    #[must_use]
    pub fn session_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.session_cookies = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The cookies that responses with `Vary: Cookie` depend on, so that those of others (an analyst's, say) make no variants.
    /// Name all that the application reads.
    #[must_use]
    pub fn vary_on_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.cookies = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Whether bodies are stored whose length is not known in advance.
    #[must_use]
    pub fn streaming(mut self, streaming: bool) -> Self {
        self.streaming = streaming;
        self
    }

    /// The largest body that is stored, in bytes; 2 MiB unless set. Larger ones pass through.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Source long after its lifetime a response is still served while a fresh one is made, where it does not say so itself
    /// (RFC 5861).
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// Source long after its lifetime a response is still served when making a fresh one fails, where it does not say so
    /// itself (RFC 5861).
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// Whether the `Cache-Control` of requests is obeyed: `no-cache`, `max-age`, `min-fresh`, `only-if-cached`. Anybody can then
    /// have a page made anew.
    #[must_use]
    pub fn request_directives(mut self, obeyed: bool) -> Self {
        self.request_directives = obeyed;
        self
    }

    /// Headers that speak to this cache alone (RFC 9213), the most specific first: `Shop-Cache-Control`. The first that is
    /// there and reads takes the place of `Cache-Control` and `Expires`. They are taken out of what goes out.
    #[must_use]
    pub fn targeted(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targeted = names.into_iter().collect();
        self
    }

    /// Whether this is the [`shared`](Self::shared) preset.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    pub(crate) fn body_limit(&self) -> u64 {
        self.max_body
    }

    pub(crate) fn targets(&self) -> &[HeaderName] {
        &self.targeted
    }
}
