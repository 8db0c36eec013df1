//! The rules: whether a response may be stored and for how long, whether a stored response may be
//! used, and if not, why.
//!
//! Nothing in this module does I/O or reads a clock.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use cache_http::policy::{BodyLength, Policy, Reason, Reuse};
//! use http::{HeaderMap, StatusCode};
//!
//! let (policy, request) = (Policy::shared(), HeaderMap::new());
//! let mut response = HeaderMap::new();
//! response.insert("cache-control", "max-age=60".parse().unwrap());
//! let length = BodyLength::Known(5);
//! let meta = policy.check_response(&request, StatusCode::OK, &response, length, Duration::ZERO)?;
//!
//! let reuse = |age| policy.reuse(&meta, Duration::from_secs(age), false, &request);
//! assert_eq!(reuse(20), Reuse::Fresh(Duration::from_secs(40)));
//! assert_eq!(reuse(60), Reuse::No(Reason::Stale));
//! # Ok::<(), Reason>(())
//! ```

mod cookies;
mod languages;
mod lifetime;
mod reason;
mod request;
mod response;
mod reuse;
mod third_party;

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};

pub use self::{
    reason::Reason,
    response::{BodyLength, CacheMeta},
    reuse::Reuse,
};
pub(crate) use self::{
    request::{RequestCheck, SecondaryKey},
    response::{STRIPPED_REQUEST_HEADERS, content_length},
};
use crate::pattern::Pattern;

/// Decides which responses are stored, for how long, and when they are used.
///
/// There are two presets: [`site`](Self::site), the output cache of an application that is itself
/// the origin, and [`shared`](Self::shared), a shared cache as defined in RFC 9111.
///
/// | | `site` | `shared` |
/// |---|---|---|
/// | stored statuses | 200, and those in [`statuses`](Self::statuses) and [`status_ttl`](Self::status_ttl) | those that are heuristically cacheable (RFC 9110, section 15.1), those in [`status_ttl`](Self::status_ttl), and others with an explicit lifetime or `public` |
/// | lifetime if the response states none | [`ttl`](Self::ttl), 600 seconds by default | a tenth of the time since `Last-Modified`, at most a day (RFC 9111, section 4.2.2); none for 500, 502, 503 and 504 |
/// | bodies of unknown length | not stored | stored if they end without an error |
/// | requests with cookies | bypass the cache if one of them is unknown, unless the response is `public` or has `s-maxage` | bypass the cache if one of them looks like a session cookie |
/// | third-party cookies | are removed from requests | are passed on |
/// | HEAD | is served from the page of GET; a miss calls the inner service with GET and stores the page | as in a site |
/// | requests with `Range` | bypass the cache | are served from a stored complete response; a miss fetches and stores it if the range begins within [`max_body`](Self::max_body), and is passed on otherwise |
/// | `s-maxage` with `stale-while-revalidate` or `stale-if-error` | is served stale | is not served stale, unless [`stale_with_s_maxage`](Self::stale_with_s_maxage) is set |
/// | stale responses with a validator | are not used | are validated (RFC 9111, section 4.3) |
/// | requests with unsafe methods | have no effect, unless [`invalidation`](Self::invalidation) is set | invalidate (RFC 9111, section 4.4) |
/// | `no-store` in a request | is ignored | is obeyed (RFC 9111, section 5.2.1.5) |
///
/// With both presets, these responses are not stored: with `Set-Cookie` (unless
/// [`set_cookies`](Self::set_cookies) is set); with `private`, `no-store` (unless
/// [`obey_must_understand`](Self::obey_must_understand) is set) or `no-cache` (unless
/// [`validate_no_cache`](Self::validate_no_cache) is set) in any case and spacing; with `Vary: *`;
/// partial responses; and bodies that end early or differ in length from `Content-Length`. Requests
/// bypass the cache if they have `Authorization` (unless
/// [`authorization_by_response`](Self::authorization_by_response) is set), a body, or a header that
/// overrides the method or the path.
///
/// # Cookies
///
/// No list of session cookies can be complete. In the `site` preset, each cookie of a request is
/// therefore one of these:
///
/// - A cookie in [`vary_on_cookies`](Self::vary_on_cookies): pages are stored for each of its
///   values.
/// - An *ignored* cookie: one in [`ignore_cookies`](Self::ignore_cookies), or a third-party cookie
///   that only scripts in browsers, load balancers and content delivery networks read, such as
///   `_ga`, `_fbp` or `AWSALB`. It is removed from each request that the cache handles, so no page
///   can depend on it.
/// - An *unknown* cookie: any other one. The request bypasses the cache with
///   [`Reason::SessionCookie`] or [`Reason::UnknownCookie`], unless the response explicitly allows
///   sharing: it is stored for all visitors, and served to them, if it is `public` or has
///   `s-maxage`.
///
/// The first bypass because of each unknown cookie is logged with its name, and all of them are
/// counted in [`Counts::unknown_cookies`](crate::Counts::unknown_cookies). If
/// [`session_cookies`](Self::session_cookies) is set, no cookie is unknown: the listed cookies
/// bypass the cache, and others are passed on.
///
/// Cookies of language, theme, consent or CSRF protection are unknown unless they are listed.
#[derive(Clone, Debug)]
pub struct Policy {
    shared: bool,
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    ttl_jitter: f64,
    early_refresh: Option<f64>,
    statuses: Vec<StatusCode>,
    set_cookies: SetCookies,
    ignores_content_range: bool,
    must_understand: bool,
    status_ttls: Vec<(StatusCode, Duration)>,
    validates_no_cache: bool,
    authorization: bool,
    session_cookies: Option<Arc<[String]>>,
    ignored_cookies: Arc<[Pattern]>,
    vary_cookies: Option<Arc<[String]>>,
    languages: Arc<[String]>,
    max_vary_headers: usize,
    max_variants: usize,
    streaming: bool,
    max_body: u64,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    stale_with_s_maxage: bool,
    request_directives: bool,
    targeted: Arc<[HeaderName]>,
    forwards_targeted: bool,
    tag_headers: Arc<[HeaderName]>,
    invalidation: bool,
    list_headers: Arc<[HeaderName]>,
}

/// What happens to responses that set cookies (RFC 9111, section 7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookies {
    /// They are not stored.
    #[default]
    Never,
    /// They are stored without the cookies. Only the client whose request produced the response
    /// receives them.
    Strip,
    /// They are stored with the cookies, and **every visitor receives the same cookies**.
    ///
    /// If one of them is a session cookie, the first visitor's session is handed to everybody. Use
    /// this only in front of an origin that is known to set the same cookies for all visitors in
    /// the responses that it allows to be stored.
    Store,
}

const MIB: u64 = 1 << 20;

impl Policy {
    /// Creates the preset for the output cache of an application.
    ///
    /// See the [table](Self).
    #[must_use]
    pub fn site() -> Self {
        Self {
            shared: false,
            ttl: Some(Duration::from_secs(600)),
            max_ttl: None,
            ttl_jitter: 0.0,
            early_refresh: None,
            statuses: Vec::new(),
            set_cookies: SetCookies::Never,
            ignores_content_range: false,
            must_understand: false,
            status_ttls: Vec::new(),
            validates_no_cache: false,
            authorization: false,
            session_cookies: None,
            ignored_cookies: Arc::new([]),
            vary_cookies: None,
            languages: Arc::new([]),
            max_vary_headers: 16,
            max_variants: 100,
            streaming: false,
            max_body: 2 * MIB,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_with_s_maxage: true,
            request_directives: false,
            targeted: Arc::new([]),
            forwards_targeted: false,
            tag_headers: Arc::new([]),
            invalidation: false,
            list_headers: Arc::new([]),
        }
    }

    /// Creates the preset for a shared cache as defined in RFC 9111, such as the cache of a proxy.
    ///
    /// See the [table](Self).
    #[must_use]
    pub fn shared() -> Self {
        Self {
            shared: true,
            ttl: None,
            streaming: true,
            invalidation: true,
            stale_with_s_maxage: false,
            ..Self::site()
        }
    }

    /// Sets the lifetime of responses that do not state one.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the maximum lifetime of responses, whatever they state.
    #[must_use]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Shortens the lifetime of each page by a random part of up to `share`, so that pages that
    /// were stored together do not expire together. The default is 0; 0.1 is a tenth.
    #[must_use]
    pub fn ttl_jitter(mut self, share: f64) -> Self {
        // Not a number becomes zero.
        self.ttl_jitter = if share > 0.0 { share.min(1.0) } else { 0.0 };
        self
    }

    /// Refreshes a page in the background, by one request at a time, as soon as this share of its
    /// lifetime has passed. Visitors of a page that is requested often then never wait for it.
    ///
    /// With 0.9, a page with a lifetime of 10 minutes is refreshed by the first request in its last
    /// minute. The lifetime counts from when the page was received. By default, and with 1 or more,
    /// pages are refreshed when they have expired. Hits cost more while a refresh is due.
    #[must_use]
    pub fn early_refresh(mut self, share: f64) -> Self {
        self.early_refresh = (0.0..1.0).contains(&share).then_some(share);
        self
    }

    /// Adds statuses that a [`site`](Self::site) stores, for example 404.
    ///
    /// 206, 304 and statuses below 200 are never stored. Statuses of 500 and above are stored only
    /// if the response states its lifetime, or with [`status_ttl`](Self::status_ttl).
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses.extend(statuses);
        self
    }

    /// Sets the lifetime of responses with this status that do not state one, and stores them.
    ///
    /// With short lifetimes, an origin is not asked again for what does not exist, or while it
    /// fails. 206, 304 and statuses below 200 are never stored, and `private` or `no-store` of the
    /// response is obeyed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use cache_http::Policy;
    /// use http::StatusCode;
    ///
    /// let policy = Policy::site()
    ///     .status_ttl(StatusCode::NOT_FOUND, Duration::from_secs(30))
    ///     .status_ttl(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn status_ttl(mut self, status: StatusCode, ttl: Duration) -> Self {
        self.status_ttls.retain(|(other, _)| *other != status);
        self.status_ttls.push((status, ttl));
        self
    }

    /// Sets what happens to responses that set cookies. By default, they are not stored.
    #[must_use]
    pub fn set_cookies(mut self, set_cookies: SetCookies) -> Self {
        self.set_cookies = set_cookies;
        self
    }

    /// Ignores `Content-Range` in responses with status 200, where it means nothing (RFC 9110,
    /// section 14.4).
    ///
    /// By default, such a response is not stored: its body may be a part that a faulty origin has
    /// sent with the wrong status.
    #[must_use]
    pub fn ignore_content_range(mut self) -> Self {
        self.ignores_content_range = true;
        self
    }

    /// Stores responses with `must-understand` in spite of their `no-store`, which is for caches
    /// that do not know `must-understand` (RFC 9111, section 5.2.2.3).
    ///
    /// By default, `no-store` always counts. With or without this setting, a response with
    /// `must-understand` and an unregistered status is not stored.
    #[must_use]
    pub fn obey_must_understand(mut self) -> Self {
        self.must_understand = true;
        self
    }

    /// Stores responses with `no-cache` and a validator in a [`shared`](Self::shared) cache, and
    /// validates them for each request (RFC 9111, section 5.2.2.4).
    ///
    /// They are never served without a successful validation, not even if the origin fails, and
    /// concurrent requests do not share one. By default, `no-cache` is treated like `no-store`.
    #[must_use]
    pub fn validate_no_cache(mut self) -> Self {
        self.validates_no_cache = true;
        self
    }

    /// Handles requests with `Authorization` as RFC 9111, section 3.5, defines.
    ///
    /// They are served from the store. Their responses are stored if they have `public`,
    /// `s-maxage` or `must-revalidate`.
    #[must_use]
    pub fn authorization_by_response(mut self) -> Self {
        self.authorization = true;
        self
    }

    /// Sets the cookies that identify a visitor. A request with one of them bypasses the cache.
    ///
    /// No other cookie makes a request bypass the cache then, and a view that depends on one must
    /// list it in `Vary`. List every cookie by which the application recognizes a visitor.
    ///
    /// If this is not set, a [`site`](Self::site) serves requests with any [unknown](Self#cookies)
    /// cookie from explicitly shared pages only. In a [`shared`](Self::shared) cache, these cookies
    /// make a request bypass the cache: those with the usual names of session cookies
    /// (`sessionid`, `sid`, `id`, `PHPSESSID` …), and those with `sess`, `auth`, `token`, `jwt`,
    /// `login` or `user` in their names.
    #[must_use]
    pub fn session_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.session_cookies = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Adds cookies that no page depends on, such as those of scripts. In a name, one `*` stands
    /// for any characters.
    ///
    /// They are removed from each request that the cache handles: the inner service never sees
    /// them. They do not make a request bypass the cache and create no variants. A cookie that is
    /// also in [`session_cookies`](Self::session_cookies) or
    /// [`vary_on_cookies`](Self::vary_on_cookies) is not ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_http::Policy;
    /// use http::{HeaderMap, Method};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("cookie", "banner_seen=1; exp_42=b".parse().unwrap());
    /// let policy = Policy::site();
    /// assert!(policy.check_request(&Method::GET, &headers, true).is_err());
    /// let policy = policy.ignore_cookies(["banner_seen", "exp_*"]);
    /// assert!(policy.check_request(&Method::GET, &headers, true).is_ok());
    /// ```
    #[must_use]
    pub fn ignore_cookies<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let added = names.into_iter().map(|name| Pattern::new(name.as_ref()));
        self.ignored_cookies = self.ignored_cookies.iter().cloned().chain(added).collect();
        self
    }

    /// Sets the cookies that pages depend on.
    ///
    /// In a [`site`](Self::site), pages are stored for each combination of their values, whether or
    /// not the response has `Vary: Cookie`. In a [`shared`](Self::shared) cache, this applies to
    /// responses with `Vary: Cookie`. Other cookies, such as those of analytics, create no
    /// variants.
    ///
    /// In a `site`, these cookies do not make a request bypass the cache. List cookies with few
    /// values, such as the theme or the language.
    #[must_use]
    pub fn vary_on_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.vary_cookies = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the languages of the site, such as `en` and `pt-BR`. The first one is the default.
    ///
    /// `Accept-Language` is reduced to one of them, so that pages with `Vary: Accept-Language` have
    /// one variant for each language. Each request that the cache handles has the reduced header,
    /// even if the client has sent none: no page can depend on anything else in it.
    ///
    /// The language is found by lookup (RFC 4647, section 3.4): the ranges of the header, those
    /// with the greatest weight first, are shortened until a language equals them. `pt` also
    /// matches `pt-BR`. If no language is acceptable, the default is used.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_http::Policy;
    ///
    /// // `de-CH, fr;q=0.8` becomes `de`, and `it` becomes `en`.
    /// let policy = Policy::site().languages(["en", "de", "fr"]);
    /// ```
    #[must_use]
    pub fn languages<L: Into<String>>(mut self, languages: impl IntoIterator<Item = L>) -> Self {
        self.languages = languages.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum number of headers that the pages of a URI vary on. The default is 16.
    ///
    /// The headers of all its responses count. A response with too many is not stored, with
    /// [`Reason::Vary`].
    #[must_use]
    pub fn max_vary_headers(mut self, headers: usize) -> Self {
        self.max_vary_headers = headers;
        self
    }

    /// Sets the maximum number of variants of a URI that are stored. The default is 100.
    ///
    /// If there are more, those stay that are requested most often in this process. Others are not
    /// stored, with [`Reason::VariantLimit`].
    #[must_use]
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.max_variants = variants;
        self
    }

    /// Sets whether bodies whose length is not known in advance are stored.
    #[must_use]
    pub fn streaming(mut self, streaming: bool) -> Self {
        self.streaming = streaming;
        self
    }

    /// Sets the maximum length in bytes of bodies that are stored. The default is 2 MiB.
    ///
    /// Longer bodies pass through.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets how long a stale response is served while a fresh one is fetched, if the response does
    /// not say so itself (RFC 5861, section 3). The default is zero.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// Sets how long a stale response is served if fetching a fresh one fails, if the response does
    /// not say so itself (RFC 5861, section 4). The default is zero.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// Sets whether responses with `s-maxage` are served stale if they state for how long, with
    /// `stale-while-revalidate` or `stale-if-error`.
    ///
    /// The default is `true` in a [`site`](Self::site): applications that send both directives
    /// mean it. It is `false` in a [`shared`](Self::shared) cache, where `s-maxage` forbids that
    /// (RFC 9111, sections 4.2.4 and 5.2.2.10). `must-revalidate` and `proxy-revalidate` are always
    /// obeyed, and the windows of the policy never apply to responses with `s-maxage`.
    #[must_use]
    pub fn stale_with_s_maxage(mut self, served: bool) -> Self {
        self.stale_with_s_maxage = served;
        self
    }

    /// Sets whether these directives of requests are obeyed: `no-cache`, `max-age`, `min-fresh` and
    /// `only-if-cached` (RFC 9111, section 5.2.1). The default is `false`.
    ///
    /// If they are obeyed, any client can force a page to be produced again.
    #[must_use]
    pub fn request_directives(mut self, obeyed: bool) -> Self {
        self.request_directives = obeyed;
        self
    }

    /// Sets the headers that are addressed to this cache only, such as `Shop-Cache-Control`, the
    /// most specific first (RFC 9213).
    ///
    /// The first of them that is present and valid replaces `Cache-Control` and `Expires`. These
    /// headers are removed from responses, unless [`forward_targeted`](Self::forward_targeted) is
    /// set.
    #[must_use]
    pub fn targeted(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targeted = names.into_iter().collect();
        self
    }

    /// Sends the [`targeted`](Self::targeted) headers on, for other caches that they are addressed
    /// to as well, such as `CDN-Cache-Control` in a chain of content delivery networks.
    #[must_use]
    pub fn forward_targeted(mut self) -> Self {
        self.forwards_targeted = true;
        self
    }

    /// Sets whether successful requests with unsafe methods, such as `POST` and `DELETE`, purge the
    /// pages of their URI (RFC 9111, section 4.4).
    ///
    /// They also purge the pages of `Location` of a 201 and of `Content-Location`, if these have
    /// the same host. The default is `true` for a [`shared`](Self::shared) cache and `false` for a
    /// [`site`](Self::site), where the application knows better what a request has changed. There,
    /// any client that may send such a request can make a page be produced again.
    #[must_use]
    pub fn invalidation(mut self, enabled: bool) -> Self {
        self.invalidation = enabled;
        self
    }

    /// Sets the response headers from which the tags of pages are read, such as `Surrogate-Key` and
    /// `Cache-Tag`. The default is none.
    ///
    /// The tags of `Surrogate-Key` and `xkey` are separated by white space, and those of other
    /// headers by commas. They are added to those of [`CacheTags`](crate::CacheTags) and
    /// [`HttpCacheLayer::tag`](crate::HttpCacheLayer::tag). A response with more than 64 tags, or
    /// with a tag of more than 1,024 bytes, is not stored ([`Reason::Tags`]).
    ///
    /// These headers are removed from every response. List only those that are meant for this
    /// cache: a content delivery network in front of it may need the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_http::Policy;
    /// use http::HeaderName;
    ///
    /// let policy = Policy::site().tag_headers([HeaderName::from_static("surrogate-key")]);
    /// ```
    #[must_use]
    pub fn tag_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.tag_headers = names.into_iter().collect();
        self
    }

    /// Sets the request headers whose values are comma-separated lists. White space around their
    /// commas creates no variants (RFC 9111, section 4.1).
    ///
    /// `Accept`, `Accept-Charset` and `Accept-Language` need not be listed: white space around
    /// their commas and semicolons never creates variants, nor does the case of media types,
    /// charsets and languages. `Accept-Encoding` is reduced to the codings that it accepts.
    #[must_use]
    pub fn list_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.list_headers = names.into_iter().collect();
        self
    }

    /// Whether this is the [`shared`](Self::shared) preset.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The lifetime of responses with this status.
    fn ttl_of_status(&self, status: StatusCode) -> Option<Duration> {
        self.status_ttls.iter().find(|(other, _)| *other == status).map(|(_, ttl)| *ttl)
    }

    /// The cookies that every page varies on.
    fn varies_on_named_cookies(&self) -> bool {
        !self.shared && self.vary_cookies.is_some()
    }

    pub(crate) fn stores_cookies(&self) -> bool {
        self.set_cookies == SetCookies::Store
    }

    pub(crate) fn invalidates(&self) -> bool {
        self.invalidation
    }

    pub(crate) fn body_limit(&self) -> u64 {
        self.max_body
    }

    pub(crate) fn vary_header_limit(&self) -> usize {
        self.max_vary_headers
    }

    pub(crate) fn variant_limit(&self) -> usize {
        self.max_variants
    }

    /// The headers that are addressed to this cache only, and are not sent.
    pub(crate) fn own_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let targeted = if self.forwards_targeted { &[] } else { &*self.targeted };
        targeted.iter().chain(&*self.tag_headers)
    }

    pub(crate) fn headers_with_tags(&self) -> &[HeaderName] {
        &self.tag_headers
    }
}
