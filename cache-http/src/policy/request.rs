//! What a request must be for the cache to look at it, and what tells it from others.

use http::{
    HeaderMap, HeaderName, Method,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE,
        PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::{Policy, Reason, cookies};
use crate::{request_flags::RequestFlags, vary::combined};

/// Headers by which a client changes the method or the path behind the cache's back, without the `x-` before them.
pub(crate) const OVERRIDES: [&str; 6] = [
    "http-method-override",
    "http-method",
    "method-override",
    "original-url",
    "rewrite-url",
    "original-uri",
];

impl Policy {
    /// Whether the cache has anything to do with a request. `empty` says that it has no body.
    ///
    /// # Errors
    /// Reason it passes by.
    pub fn admit(&self, method: &Method, headers: &HeaderMap, empty: bool) -> Result<(), Reason> {
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
        if flags.telling {
            self.admit_telling(headers)?;
        }
        if flags.cookie && self.is_session(headers) {
            return Err(Reason::SessionCookie);
        }
        Ok(())
    }

    /// Looks closer at headers of which some may tell that the request is to pass by.
    #[cold]
    fn admit_telling(&self, headers: &HeaderMap) -> Result<(), Reason> {
        if headers.contains_key(TRANSFER_ENCODING) || announces_a_body(headers) {
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

    fn is_session(&self, headers: &HeaderMap) -> bool {
        cookies::all(headers).any(|(name, _)| match &self.session_cookies {
            Some(names) => names.iter().any(|session| session.as_bytes() == name),
            None => cookies::looks_like_a_session(name),
        })
    }

    /// What the request says about each of `names`.
    pub(crate) fn secondary_key(&self, names: &[HeaderName], headers: &HeaderMap) -> SecondaryKey {
        SecondaryKey(
            names.iter().map(|name| (name.clone(), self.selecting_value(name, headers))).collect(),
        )
    }

    fn selecting_value(&self, name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
        if name == ACCEPT_ENCODING {
            return Some(bucket(headers));
        }
        match &self.cookies {
            Some(names) if name == COOKIE => Some(named_cookies(names, headers)),
            _ => combined(headers, name),
        }
    }

    /// Whether the request says the same as the one that `stored` was made of.
    pub(crate) fn matches(&self, stored: &SecondaryKey, headers: &HeaderMap) -> bool {
        stored.0.iter().all(|(name, value)| self.selecting_value(name, headers) == *value)
    }
}

fn announces_a_body(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes().trim_ascii() != b"0")
}

/// Names of headers, each with what a request has under it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecondaryKey(pub(crate) Vec<(HeaderName, Option<Vec<u8>>)>);

/// Codings that are told apart. A response in any other is not stored.
pub(super) const CODINGS: [&str; 5] = ["br", "deflate", "gzip", "identity", "zstd"];

/// Which codings the request accepts, a bit each: those who accept the same can be given the same.
fn bucket(headers: &HeaderMap) -> Vec<u8> {
    let Some(line) = combined(headers, &ACCEPT_ENCODING) else { return b"-".to_vec() };
    let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let mut others = None;
    let mut accepted = [None; CODINGS.len()];
    for member in line.split(',') {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = match coding.trim() {
            "x-gzip" => "gzip",
            coding => coding,
        };
        let wanted = is_wanted(parameters);
        if coding == "*" {
            others = Some(wanted);
        } else if let Some(place) = CODINGS.iter().position(|known| *known == coding) {
            // Of two that contradict each other, the rejection counts.
            accepted[place] = Some(accepted[place].unwrap_or(true) && wanted);
        }
    }
    let by_default = |coding: &str| others.unwrap_or(coding == "identity");
    let bits = CODINGS
        .iter()
        .zip(accepted)
        .map(|(coding, said)| u8::from(said.unwrap_or_else(|| by_default(coding))));
    bits.map(|bit| b'0' + bit).collect()
}

/// A weight of zero is a rejection, and so is one that cannot be read.
fn is_wanted(parameters: &str) -> bool {
    parameters.split(';').map(str::trim).all(|parameter| match parameter.strip_prefix("q=") {
        Some(weight) => weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0),
        None => true,
    })
}

/// The values of the cookies named, lengths before parts.
fn named_cookies(names: &[String], headers: &HeaderMap) -> Vec<u8> {
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

    fn admitted(policy: &Policy, lines: &[(&'static str, &'static str)]) -> Result<(), Reason> {
        policy.admit(&Method::GET, &headers(lines), true)
    }

    #[test]
    fn what_a_visitor_alone_may_see_passes_by() {
        for policy in [Policy::site(), Policy::shared()] {
            assert_eq!(admitted(&policy, &[]), Ok(()));
            assert_eq!(admitted(&policy, &[("authorization", "")]), Err(Reason::Authorization));
            assert_eq!(
                admitted(&policy, &[("cookie", "_ga=1;sessionid=x")]),
                Err(Reason::SessionCookie)
            );
            assert_eq!(
                admitted(&policy, &[("cookie", "_ga=1"), ("cookie", "SESSIONID")]),
                Err(Reason::SessionCookie)
            );
        }
    }

    #[test]
    fn the_names_of_session_cookies_can_be_set() {
        let policy = Policy::site().session_cookies(["who"]);
        assert_eq!(admitted(&policy, &[("cookie", "who=me")]), Err(Reason::SessionCookie));
        assert_eq!(admitted(&policy, &[("cookie", "sessionid=x")]), Ok(()));
    }

    #[test]
    fn a_body_passes_by_however_it_is_announced() {
        assert_eq!(
            Policy::site().admit(&Method::GET, &HeaderMap::new(), false),
            Err(Reason::RequestBody)
        );
        assert_eq!(
            admitted(&Policy::site(), &[("transfer-encoding", "chunked")]),
            Err(Reason::RequestBody)
        );
        assert_eq!(admitted(&Policy::site(), &[("content-length", "3")]), Err(Reason::RequestBody));
        assert_eq!(admitted(&Policy::site(), &[("content-length", "0")]), Ok(()));
    }

    #[test]
    fn those_who_accept_the_same_codings_are_in_one_bucket() {
        let bucket = |line| bucket(&headers(&[("accept-encoding", line)]));
        assert_eq!(bucket("gzip, br"), bucket("br;q=0.5,GZIP"));
        assert_eq!(bucket("gzip;q=0, br"), bucket("br"));
        assert_ne!(bucket("gzip"), bucket("deflate"));
        assert_ne!(bucket("gzip"), bucket("gzip, identity;q=0"));
        assert_eq!(bucket("*;q=0"), bucket("identity;q=0"));
        assert_eq!(bucket("x-gzip"), bucket("gzip"));
        assert_ne!(bucket(""), super::bucket(&HeaderMap::new()));
    }

    #[test]
    fn named_cookies_alone_make_variants_and_nothing_in_them_is_ambiguous() {
        let policy = Policy::site().vary_on_cookies(["a", "b"]);
        let of = |line| policy.selecting_value(&COOKIE, &headers(&[("cookie", line)]));
        assert_eq!(of("a=1; _ga=7"), of("_ga=8; a=1"));
        assert_ne!(of("a=1; b=23"), of("a=12; b=3"));
        assert_ne!(of("a="), of("b="));
        assert_ne!(of("a="), of("_ga="));
    }
}
