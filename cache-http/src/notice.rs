//! What the headers of a request are about, seen in one pass over their names. Most requests have none of those that
//! matter, and to look each of these up would cost more than all the rest of a hit.

use http::{
    HeaderMap, HeaderName,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, COOKIE, FORWARDED, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_UNMODIFIED_SINCE, PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{key::FORWARDED_BY_PROXIES, policy::OVERRIDES};

/// Which kinds of headers a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) cookie: bool,
    /// One for which requests may pass by.
    pub(crate) telling: bool,
    /// One that asks whether the client's copy is still right.
    pub(crate) conditional: bool,
    /// One that says what the site is called.
    pub(crate) forwarded: bool,
}

/// For these, those that begin with `x-` aside, a request may pass by.
///
/// A static, for a constant of this type would be made anew for each comparison.
static TELLING: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    PROXY_AUTHORIZATION,
    RANGE,
    TRANSFER_ENCODING,
    UPGRADE,
];

impl Notice {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for name in headers.keys() {
            if let Some(rest) = name.as_str().strip_prefix("x-") {
                all.telling |= OVERRIDES.contains(&rest);
                all.forwarded |= FORWARDED_BY_PROXIES.contains(&rest);
            } else {
                all.cookie |= name == COOKIE;
                all.telling |= TELLING.contains(name);
                all.conditional |= name == IF_NONE_MATCH || name == IF_MODIFIED_SINCE;
                all.forwarded |= name == FORWARDED;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn notice(name: &str) -> Notice {
        let name: HeaderName = name.parse().expect("it is a name");
        Notice::of(&[(name, HeaderValue::from_static(""))].into_iter().collect())
    }

    #[test]
    fn each_name_that_matters_is_noticed_and_others_are_not() {
        for name in &TELLING {
            assert!(notice(name.as_str()).telling, "{name}");
        }
        for name in OVERRIDES {
            assert!(notice(&format!("x-{name}")).telling, "{name}");
        }
        for name in FORWARDED_BY_PROXIES {
            assert!(notice(&format!("X-{name}")).forwarded, "{name}");
        }
        assert!(notice("Forwarded").forwarded && notice("Cookie").cookie);
        assert!(notice("If-None-Match").conditional && notice("if-modified-since").conditional);
        for name in ["host", "accept", "x-forwarded-for", "x-", "upgrade-insecure-requests", "if-range"] {
            assert_eq!(notice(name), Notice::default(), "{name}");
        }
    }
}
