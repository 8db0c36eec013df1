//! What the headers of a request are about, lookup in one pass over their names. Most requests have none of those that
//! matter, and to look each of these up would cost more than all the rest of a hit.

use http::{HeaderMap, HeaderName};

use crate::{key::FORWARDED_BY_PROXIES, policy::OVERRIDES};

/// Which kinds of headers a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFlags {
    pub(crate) cookie: bool,
    /// One for which requests may pass by.
    pub(crate) telling: bool,
    /// One that asks whether the client's copy is still right.
    pub(crate) conditional: bool,
    /// One that says what the site is called.
    pub(crate) forwarded: bool,
}

impl RequestFlags {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        // By their texts, which are told apart by their lengths first: constants of names would be made anew each time.
        for name in headers.keys().map(HeaderName::as_str) {
            match name {
                "cookie" => all.cookie = true,
                "if-modified-since" | "if-none-match" => all.conditional = true,
                "authorization"
                | "content-length"
                | "if-match"
                | "if-unmodified-since"
                | "proxy-authorization"
                | "range"
                | "transfer-encoding"
                | "upgrade" => all.telling = true,
                "forwarded" => all.forwarded = true,
                name => {
                    if let Some(rest) = name.strip_prefix("x-") {
                        all.telling |= OVERRIDES.contains(&rest);
                        all.forwarded |= FORWARDED_BY_PROXIES.contains(&rest);
                    }
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderValue,
        header::{
            AUTHORIZATION, CONTENT_LENGTH, IF_MATCH, IF_UNMODIFIED_SINCE, PROXY_AUTHORIZATION,
            RANGE, TRANSFER_ENCODING, UPGRADE,
        },
    };

    use super::*;

    fn flags(name: &str) -> RequestFlags {
        let name: HeaderName = name.parse().expect("it is a name");
        RequestFlags::from_headers(&[(name, HeaderValue::from_static(""))].into_iter().collect())
    }

    #[test]
    fn each_name_that_matters_is_noticed_and_others_are_not() {
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
            assert!(flags(name.as_str()).telling, "{name}");
        }
        for name in OVERRIDES {
            assert!(flags(&format!("x-{name}")).telling, "{name}");
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
