//! Which requests the cache handles, and what distinguishes them.

use http::{
    HeaderMap, HeaderName, Method,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE,
        PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::{Policy, Reason, cookies};
use crate::{
    request_flags::{OVERRIDES, RequestFlags},
    vary::combined_value,
};

impl Policy {
    /// Checks whether the cache handles a request. `empty` states that it has no body.
    ///
    /// # Errors
    ///
    /// Returns the reason why the request bypasses the cache.
    pub fn check_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        empty: bool,
    ) -> Result<(), Reason> {
        self.check_request_with_flags(method, headers, RequestFlags::from_headers(headers), empty)
    }

    pub(crate) fn check_request_with_flags(
        &self,
        method: &Method,
        headers: &HeaderMap,
        flags: RequestFlags,
        empty: bool,
    ) -> Result<(), Reason> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Reason::Method);
        }
        if !empty {
            return Err(Reason::RequestBody);
        }
        if flags.bypass {
            self.check_bypass_headers(headers)?;
        }
        if flags.cookie && self.has_session_cookie(headers) {
            return Err(Reason::SessionCookie);
        }
        Ok(())
    }

    /// Checks the headers that may make a request bypass the cache.
    #[cold]
    fn check_bypass_headers(&self, headers: &HeaderMap) -> Result<(), Reason> {
        if headers.contains_key(TRANSFER_ENCODING) || announces_body(headers) {
            return Err(Reason::RequestBody);
        }
        let authorized =
            headers.contains_key(AUTHORIZATION) || headers.contains_key(PROXY_AUTHORIZATION);
        if authorized && !self.authorization {
            return Err(Reason::Authorization);
        }
        if OVERRIDES.iter().any(|name| headers.contains_key(format!("x-{name}"))) {
            return Err(Reason::Override);
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

    fn has_session_cookie(&self, headers: &HeaderMap) -> bool {
        cookies::all(headers).any(|(name, _)| match &self.session_cookies {
            Some(names) => names.iter().any(|session| session.as_bytes() == name),
            None => cookies::looks_like_a_session(name),
        })
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
        match &self.vary_cookies {
            Some(names) if name == COOKIE => Some(cookie_values(names, headers)),
            _ => combined_value(headers, name),
        }
    }

    /// Whether a request has the same values as the one that a page was produced for.
    pub(crate) fn matches(&self, stored: &SecondaryKey, headers: &HeaderMap) -> bool {
        stored.0.iter().all(|(name, value)| self.selecting_value(name, headers) == *value)
    }
}

fn announces_body(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes().trim_ascii() != b"0")
}

/// The secondary key of a response that varies: the headers that it varies on, with what the
/// request has in them (RFC 9111, sections 2 and 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecondaryKey(pub(crate) Vec<(HeaderName, Option<Vec<u8>>)>);

/// The content codings that are distinguished. Responses with other codings are not stored.
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
    use http::HeaderValue;

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
        assert_eq!(check(&policy, &[("cookie", "sessionid=x")]), Ok(()));
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
    fn only_named_cookies_create_variants_and_their_values_are_unambiguous() {
        let policy = Policy::site().vary_on_cookies(["a", "b"]);
        let value = |line| policy.selecting_value(&COOKIE, &headers(&[("cookie", line)]));
        assert_eq!(value("a=1; _ga=7"), value("_ga=8; a=1"));
        assert_ne!(value("a=1; b=23"), value("a=12; b=3"));
        assert_ne!(value("a="), value("b="));
        assert_ne!(value("a="), value("_ga="));
    }
}
