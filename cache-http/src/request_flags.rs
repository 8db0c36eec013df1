//! Which kinds of headers a request has, found in one pass over their names.
//!
//! Most requests have none of the headers that matter here. Looking up each of them would cost more
//! than the rest of a hit.

use http::{HeaderMap, header::CONNECTION};

/// Headers that change the method or the path of a request after the cache has seen it, without
/// their prefix `x-`.
pub(crate) const OVERRIDES: [&str; 6] = [
    "http-method-override",
    "http-method",
    "method-override",
    "original-url",
    "rewrite-url",
    "original-uri",
];

/// Headers by which proxies tell an application its own address, which it uses in links, without
/// their prefix `x-`.
pub(crate) const FORWARDED_BY_PROXIES: [&str; 15] = [
    "forwarded-host",
    "forwarded-proto",
    "forwarded-prefix",
    "forwarded-scheme",
    "forwarded-port",
    "forwarded-server",
    "forwarded-ssl",
    "forwarded-protocol",
    "forwarded-path",
    "forwarded-uri",
    "script-name",
    "url-scheme",
    "host",
    "original-host",
    "http-host-override",
];

/// The kinds of headers that a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFlags {
    /// `Cookie`.
    pub(crate) cookie: bool,
    /// A header that may make the request bypass the cache, or `Range`.
    pub(crate) bypass: bool,
    /// `If-None-Match` or `If-Modified-Since`.
    pub(crate) conditional: bool,
    /// A header by which proxies tell an application its own address.
    pub(crate) forwarded: bool,
    /// An unknown cookie, which the policy recognizes: only public pages may be served.
    pub(crate) public_pages_only: bool,
}

impl RequestFlags {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut flags = Self::default();
        // Compares texts, which differ in length first. `HeaderName` constants would be built again
        // for each comparison.
        for name in headers.keys() {
            match name.as_str() {
                // What browsers always send comes first: it is not searched for other things.
                "accept" | "accept-encoding" | "accept-language" | "host" | "user-agent" => {}
                "connection" => {
                    let mut lines = headers.get_all(CONNECTION).iter();
                    flags.bypass |= lines.any(|line| names_end_to_end_header(line.as_bytes()));
                }
                "cookie" => flags.cookie = true,
                "if-modified-since" | "if-none-match" => flags.conditional = true,
                "authorization"
                | "content-length"
                | "if-match"
                | "if-unmodified-since"
                | "proxy-authorization"
                | "range"
                | "transfer-encoding"
                | "upgrade" => flags.bypass = true,
                "forwarded" => flags.forwarded = true,
                name => {
                    // Servers of WSGI, CGI, PHP and Rack read `_` as `-`.
                    flags.bypass |= name.contains('_');
                    if let Some(rest) = name.strip_prefix("x-") {
                        flags.bypass |= OVERRIDES.contains(&rest);
                        flags.forwarded |= FORWARDED_BY_PROXIES.contains(&rest);
                    }
                }
            }
        }
        flags
    }
}

/// Whether a line of `Connection` names a header that a proxy must not remove.
pub(crate) fn names_end_to_end_header(line: &[u8]) -> bool {
    const OPTIONS: [&str; 5] = ["close", "keep-alive", "te", "upgrade", "http2-settings"];
    let is_option = |name: &[u8]| {
        name.is_empty() || OPTIONS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    };
    !line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).all(is_option)
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderName, HeaderValue,
        header::{
            AUTHORIZATION, CONTENT_LENGTH, IF_MATCH, IF_UNMODIFIED_SINCE, PROXY_AUTHORIZATION,
            RANGE, TRANSFER_ENCODING, UPGRADE,
        },
    };

    use super::*;

    fn flags(name: &str) -> RequestFlags {
        let name: HeaderName = name.parse().expect("valid header name");
        RequestFlags::from_headers(&[(name, HeaderValue::from_static(""))].into_iter().collect())
    }

    #[test]
    fn each_relevant_header_sets_its_flag_and_others_set_none() {
        for name in [
            AUTHORIZATION,
            CONTENT_LENGTH,
            IF_MATCH,
            IF_UNMODIFIED_SINCE,
            PROXY_AUTHORIZATION,
            RANGE,
            TRANSFER_ENCODING,
            UPGRADE,
        ] {
            assert!(flags(name.as_str()).bypass, "{name}");
        }
        for name in OVERRIDES {
            assert!(flags(&format!("x-{name}")).bypass, "{name}");
        }
        for name in FORWARDED_BY_PROXIES {
            assert!(flags(&format!("X-{name}")).forwarded, "{name}");
        }
        assert!(flags("Forwarded").forwarded && flags("Cookie").cookie);
        assert!(flags("If-None-Match").conditional && flags("if-modified-since").conditional);
        for name in
            ["host", "accept", "x-forwarded-for", "x-", "upgrade-insecure-requests", "if-range"]
        {
            assert_eq!(flags(name), RequestFlags::default(), "{name}");
        }
    }
}
