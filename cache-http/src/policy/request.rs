//! Which requests the cache handles, and what distinguishes them.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION,
        CONTENT_LENGTH, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE, PROXY_AUTHORIZATION, RANGE,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use super::{
    Policy, Reason,
    cookies::{self, Remaining},
    languages,
    third_party::is_third_party,
};
use crate::{
    request_flags::{OVERRIDES, RequestFlags, names_end_to_end_header},
    vary::{Syntax, combined_value, normalize},
};

impl Policy {
    /// Checks whether the cache handles a request. `empty` states that it has no body.
    ///
    /// # Errors
    ///
    /// Returns the reason why the request bypasses the cache. If it is an [unknown](Self#cookies)
    /// cookie, [`check_response`](Self::check_response) accepts responses that are `public` or have
    /// `s-maxage`, and stored ones may be served: see [`CacheMeta::public`](super::CacheMeta).
    pub fn check_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        empty: bool,
    ) -> Result<(), Reason> {
        let flags = RequestFlags::from_headers(headers);
        match self.check_request_with_flags(method, headers, flags, empty)? {
            RequestCheck::AllPages => Ok(()),
            RequestCheck::PublicPages => self.check_unknown_cookies(headers),
        }
    }

    pub(crate) fn check_request_with_flags(
        &self,
        method: &Method,
        headers: &HeaderMap,
        flags: RequestFlags,
        empty: bool,
    ) -> Result<RequestCheck, Reason> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Reason::Method);
        }
        if !empty {
            return Err(Reason::RequestBody);
        }
        if flags.bypass {
            self.check_bypass_headers(headers)?;
        }
        if !flags.cookie {
            return Ok(RequestCheck::AllPages);
        }
        let mut check = RequestCheck::AllPages;
        for (name, _) in cookies::all(headers) {
            match self.cookie_kind(name) {
                CookieKind::Session => return Err(Reason::SessionCookie),
                CookieKind::Unknown => check = RequestCheck::PublicPages,
                CookieKind::Ignored | CookieKind::Allowed => {}
            }
        }
        Ok(check)
    }

    /// Checks the headers that may make a request bypass the cache.
    #[cold]
    fn check_bypass_headers(&self, headers: &HeaderMap) -> Result<(), Reason> {
        if headers.contains_key(TRANSFER_ENCODING) || announces_body(headers) {
            return Err(Reason::RequestBody);
        }
        if is_authorized(headers) && !self.authorization {
            return Err(Reason::Authorization);
        }
        if OVERRIDES.iter().any(|name| headers.contains_key(format!("x-{name}"))) {
            return Err(Reason::Override);
        }
        let mut lines = headers.get_all(CONNECTION).iter();
        if lines.any(|line| names_end_to_end_header(line.as_bytes())) {
            return Err(Reason::Connection);
        }
        if headers.keys().any(|name| name.as_str().contains('_')) {
            return Err(Reason::HeaderName);
        }
        if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Err(Reason::Precondition);
        }
        if headers.contains_key(UPGRADE) {
            return Err(Reason::Upgrade);
        }
        if headers.contains_key(RANGE) && !self.shared {
            return Err(Reason::Range);
        }
        Ok(())
    }

    fn cookie_kind(&self, name: &[u8]) -> CookieKind {
        let contains = |names: &Option<Arc<[String]>>| {
            names.iter().flat_map(|names| names.iter()).any(|other| other.as_bytes() == name)
        };
        if contains(&self.session_cookies) {
            CookieKind::Session
        } else if !self.shared && contains(&self.vary_cookies) {
            CookieKind::Allowed
        } else if self.ignored_cookies.iter().any(|pattern| pattern.matches(name)) {
            match contains(&self.vary_cookies) {
                true => CookieKind::Allowed,
                false => CookieKind::Ignored,
            }
        } else if is_third_party(name) {
            if self.shared { CookieKind::Allowed } else { CookieKind::Ignored }
        } else if self.session_cookies.is_some() {
            CookieKind::Allowed
        } else if !self.shared {
            CookieKind::Unknown
        } else if cookies::looks_like_a_session(name) {
            CookieKind::Session
        } else {
            CookieKind::Allowed
        }
    }

    fn is_ignored_cookie(&self, name: &[u8]) -> bool {
        self.cookie_kind(name) == CookieKind::Ignored
    }

    /// The names of the cookies that are unknown.
    pub(crate) fn unknown_cookies<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a [u8]> {
        cookies::all(headers)
            .map(|(name, _)| name)
            .filter(|name| self.cookie_kind(name) == CookieKind::Unknown)
    }

    /// Rejects a request with an unknown cookie.
    pub(crate) fn check_unknown_cookies(&self, headers: &HeaderMap) -> Result<(), Reason> {
        let mut unknown = self.unknown_cookies(headers).peekable();
        if unknown.peek().is_none() {
            Ok(())
        } else if unknown.any(cookies::looks_like_a_session) {
            Err(Reason::SessionCookie)
        } else {
            Err(Reason::UnknownCookie)
        }
    }

    /// Removes the ignored cookies from a request.
    pub(crate) fn remove_ignored_cookies(&self, headers: &mut HeaderMap) {
        let Remaining::Some(line) = cookies::without(headers, |name| self.is_ignored_cookie(name))
        else {
            return;
        };
        match HeaderValue::from_bytes(&line) {
            Ok(line) if !line.is_empty() => drop(headers.insert(COOKIE, line)),
            _ => drop(headers.remove(COOKIE)),
        }
    }

    /// Reduces `Accept-Language` of a request to a language of the site.
    pub(crate) fn reduce_languages(&self, headers: &mut HeaderMap) {
        if self.languages.is_empty() {
            return;
        }
        match HeaderValue::from_str(languages::negotiate(&self.languages, headers)) {
            Ok(language) => drop(headers.insert(ACCEPT_LANGUAGE, language)),
            Err(_) => drop(headers.remove(ACCEPT_LANGUAGE)),
        }
    }

    /// Reads what a request has in the headers `names`.
    pub(crate) fn secondary_key(&self, names: &[HeaderName], headers: &HeaderMap) -> SecondaryKey {
        let values = names.iter().map(|name| (name.clone(), self.selecting_value(name, headers)));
        SecondaryKey(values.collect())
    }

    fn selecting_value(&self, name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
        if name == ACCEPT_ENCODING {
            return Some(accepted_codings(headers));
        }
        if name == ACCEPT_ENCODING_AS_SENT {
            return combined_value(headers, &ACCEPT_ENCODING);
        }
        if name == ACCEPT_LANGUAGE && !self.languages.is_empty() {
            return Some(languages::negotiate(&self.languages, headers).into());
        }
        if name != COOKIE {
            let mut value = combined_value(headers, name)?;
            if let Some(syntax) = self.syntax(name) {
                normalize(&mut value, syntax);
            }
            return Some(value);
        }
        if let Some(names) = &self.vary_cookies {
            return Some(cookie_values(names, headers));
        }
        // What the inner service sees: see `remove_ignored_cookies`.
        match cookies::without(headers, |name| self.is_ignored_cookie(name)) {
            Remaining::All => combined_value(headers, name),
            Remaining::Some(line) => (!line.is_empty()).then_some(line),
        }
    }

    /// The syntax of a request header, as far as it is known.
    fn syntax(&self, name: &HeaderName) -> Option<Syntax> {
        if [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name) {
            Some(Syntax::NamesWithParameters)
        } else {
            self.list_headers.contains(name).then_some(Syntax::List)
        }
    }

    /// Whether a request has the same values as the one that a page was produced for.
    pub(crate) fn matches(&self, stored: &SecondaryKey, headers: &HeaderMap) -> bool {
        stored.0.iter().all(|(name, value)| self.selecting_value(name, headers) == *value)
    }
}

/// The stored pages that a request may be served with, and the responses to it that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestCheck {
    AllPages,
    /// The request has an unknown cookie. Only pages that explicitly allow sharing.
    PublicPages,
}

/// What a cookie means for the request that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieKind {
    /// The request bypasses the cache.
    Session,
    /// The request bypasses the cache, unless the response explicitly allows sharing.
    Unknown,
    /// The cookie is removed from the request.
    Ignored,
    /// The cookie is passed on.
    Allowed,
}

/// Whether a request has credentials, for the origin or for a proxy in front of it.
pub(super) fn is_authorized(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(PROXY_AUTHORIZATION)
}

fn announces_body(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes().trim_ascii() != b"0")
}

/// The secondary key of a response that varies: the headers that it varies on, with what the
/// request has in them (RFC 9111, sections 2 and 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecondaryKey(pub(crate) Vec<(HeaderName, Option<Vec<u8>>)>);

/// Stands for `Accept-Encoding` in the secondary key of a page with a coding that is not in
/// [`CODINGS`]. It is not a header: the page is served to requests that have sent the same
/// `Accept-Encoding`.
pub(super) const ACCEPT_ENCODING_AS_SENT: HeaderName =
    HeaderName::from_static("accept-encoding-as-sent");

/// The content codings that are distinguished.
pub(super) const CODINGS: [&str; 5] = ["br", "deflate", "gzip", "identity", "zstd"];

/// Encodes which codings a request accepts, one digit for each. Clients that accept the same
/// codings share a page.
fn accepted_codings(headers: &HeaderMap) -> Vec<u8> {
    let Some(line) = combined_value(headers, &ACCEPT_ENCODING) else { return b"-".to_vec() };
    let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let mut others = None;
    let mut accepted = [None; CODINGS.len()];
    for member in line.split(',') {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = match coding.trim() {
            "x-gzip" => "gzip",
            coding => coding,
        };
        let is_accepted = has_positive_weight(parameters);
        if coding == "*" {
            others = Some(is_accepted);
        } else if let Some(index) = CODINGS.iter().position(|known| *known == coding) {
            // If two members contradict each other, the coding is not accepted.
            accepted[index] = Some(accepted[index].unwrap_or(true) && is_accepted);
        }
    }
    let by_default = |coding: &str| others.unwrap_or(coding == "identity");
    let bits = CODINGS
        .iter()
        .zip(accepted)
        .map(|(coding, accepted)| u8::from(accepted.unwrap_or_else(|| by_default(coding))));
    bits.map(|bit| b'0' + bit).collect()
}

/// Whether the weight is absent or positive. An invalid weight counts as zero.
fn has_positive_weight(parameters: &str) -> bool {
    parameters.split(';').map(str::trim).all(|parameter| match parameter.strip_prefix("q=") {
        Some(weight) => weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0),
        None => true,
    })
}

/// The values of the named cookies, each preceded by its length.
fn cookie_values(names: &[String], headers: &HeaderMap) -> Vec<u8> {
    let mut all = Vec::new();
    for name in names {
        let values: Vec<&[u8]> = cookies::all(headers)
            .filter(|(other, _)| *other == name.as_bytes())
            .map(|(_, value)| value)
            .collect();
        all.extend_from_slice(&(values.len() as u64).to_be_bytes());
        for value in values {
            all.extend_from_slice(&(value.len() as u64).to_be_bytes());
            all.extend_from_slice(value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn check(policy: &Policy, lines: &[(&'static str, &'static str)]) -> Result<(), Reason> {
        policy.check_request(&Method::GET, &headers(lines), true)
    }

    #[test]
    fn requests_of_identified_visitors_bypass_the_cache() {
        for policy in [Policy::site(), Policy::shared()] {
            assert_eq!(check(&policy, &[]), Ok(()));
            assert_eq!(check(&policy, &[("authorization", "")]), Err(Reason::Authorization));
            assert_eq!(
                check(&policy, &[("cookie", "_ga=1;sessionid=x")]),
                Err(Reason::SessionCookie)
            );
            assert_eq!(
                check(&policy, &[("cookie", "_ga=1"), ("cookie", "SESSIONID")]),
                Err(Reason::SessionCookie)
            );
        }
    }

    #[test]
    fn names_of_session_cookies_can_be_set() {
        let policy = Policy::site().session_cookies(["who"]);
        assert_eq!(check(&policy, &[("cookie", "who=me")]), Err(Reason::SessionCookie));
        assert_eq!(check(&policy, &[("cookie", "sessionid=x; any=1")]), Ok(()));
    }

    #[test]
    fn unknown_cookie_bypasses_a_site_and_not_a_shared_cache() {
        for (cookies, reason) in [
            ("theme=dark", Reason::UnknownCookie),
            ("_ga=1; theme=dark", Reason::UnknownCookie),
            ("theme=dark; csrftoken=1", Reason::SessionCookie),
        ] {
            assert_eq!(check(&Policy::site(), &[("cookie", cookies)]), Err(reason), "{cookies}");
        }
        assert_eq!(check(&Policy::shared(), &[("cookie", "_hjSession_1=2; theme=dark")]), Ok(()));
    }

    #[test]
    fn listed_cookies_do_not_bypass_the_cache() {
        let policy =
            Policy::site().ignore_cookies(["sessionid", "t*"]).vary_on_cookies(["csrftoken"]);
        assert_eq!(
            check(&policy, &[("cookie", "csrftoken=1; theme=2; sessionid=3; _gid=4")]),
            Ok(())
        );
        assert_eq!(check(&policy, &[("cookie", "themes=1; lang=2")]), Err(Reason::UnknownCookie));
    }

    #[test]
    fn session_and_variant_cookies_are_not_ignored() {
        for policy in [Policy::site(), Policy::shared()] {
            let policy =
                policy.ignore_cookies(["*"]).session_cookies(["who"]).vary_on_cookies(["_ga"]);
            assert_eq!(check(&policy, &[("cookie", "who=me")]), Err(Reason::SessionCookie));
            let mut headers = headers(&[("cookie", "a=1; _ga=2; who=3; _gid=4")]);
            policy.remove_ignored_cookies(&mut headers);
            assert_eq!(headers[COOKIE], "_ga=2; who=3");
        }
    }

    #[test]
    fn variants_by_cookie_depend_on_what_remains_of_the_cookies() {
        let policy = Policy::site().session_cookies(["who"]);
        let value = |line| policy.selecting_value(&COOKIE, &headers(&[("cookie", line)]));
        for line in ["a=1;b=2", "_ga=1; a=1;b = 2", "_ga=1;_gid=2", "a=1; _fbp"] {
            let mut seen = headers(&[("cookie", line)]);
            policy.remove_ignored_cookies(&mut seen);
            assert_eq!(value(line), combined_value(&seen, &COOKIE), "{line}");
            assert_eq!(value(line), policy.selecting_value(&COOKIE, &seen), "{line}");
        }
        assert_eq!(value("_ga=1"), None);
    }

    #[test]
    fn request_with_a_body_bypasses_the_cache() {
        let policy = Policy::site();
        assert_eq!(
            policy.check_request(&Method::GET, &HeaderMap::new(), false),
            Err(Reason::RequestBody)
        );
        assert_eq!(check(&policy, &[("transfer-encoding", "chunked")]), Err(Reason::RequestBody));
        assert_eq!(check(&policy, &[("content-length", "3")]), Err(Reason::RequestBody));
        assert_eq!(check(&policy, &[("content-length", "0")]), Ok(()));
    }

    #[test]
    fn clients_that_accept_the_same_codings_share_a_key() {
        let codings = |line| accepted_codings(&headers(&[("accept-encoding", line)]));
        assert_eq!(codings("gzip, br"), codings("br;q=0.5,GZIP"));
        assert_eq!(codings("gzip;q=0, br"), codings("br"));
        assert_ne!(codings("gzip"), codings("deflate"));
        assert_ne!(codings("gzip"), codings("gzip, identity;q=0"));
        assert_eq!(codings("*;q=0"), codings("identity;q=0"));
        assert_eq!(codings("x-gzip"), codings("gzip"));
        assert_ne!(codings(""), accepted_codings(&HeaderMap::new()));
    }

    #[test]
    fn white_space_and_case_without_meaning_create_no_variants() {
        let policy = Policy::shared();
        let value = |name: &'static str, line| {
            policy.selecting_value(&HeaderName::from_static(name), &headers(&[(name, line)]))
        };
        assert_eq!(
            value("accept-language", "en, de;q=0.5"),
            value("accept-language", "EN,de; q=0.5")
        );
        assert_eq!(value("accept", "text/html;A=B"), value("accept", "Text/HTML ; A=B"));
        assert_ne!(value("accept", "text/html;A=B"), value("accept", "text/html;A=b"));
        assert_ne!(value("accept-language", "en, de"), value("accept-language", "de, en"));
        assert_ne!(value("x-list", "1,2"), value("x-list", "1, 2"));
        let policy = policy.list_headers([HeaderName::from_static("x-list")]);
        let value = |line| {
            policy
                .selecting_value(&HeaderName::from_static("x-list"), &headers(&[("x-list", line)]))
        };
        assert_eq!(value("1,2"), value(" 1 , 2"));
        assert_ne!(value("a"), value("A"));
    }

    #[test]
    fn only_named_cookies_create_variants_and_their_values_are_unambiguous() {
        let policy = Policy::site().vary_on_cookies(["a", "b"]);
        let value = |line| policy.selecting_value(&COOKIE, &headers(&[("cookie", line)]));
        assert_eq!(value("a=1; _ga=7"), value("_ga=8; a=1"));
        assert_ne!(value("a=1; b=23"), value("a=12; b=3"));
        assert_ne!(value("a="), value("b="));
        assert_ne!(value("a="), value("_ga="));
    }
}
