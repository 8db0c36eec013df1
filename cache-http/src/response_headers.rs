//! Headers of responses that are stored or sent.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, EXPIRES,
        LAST_MODIFIED, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use sha2::{Digest as _, Sha256};

use crate::{
    cache_control::{CacheControl, MAX_SECONDS},
    date::{self, UnixTime},
    patch::patch_cache_control,
    policy::{CacheMeta, Policy},
    settings::{BrowserTtl, Settings},
};

/// Headers of one connection, and headers that are set again for each response.
const NOT_STORED: [HeaderName; 7] =
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, AGE, CONTENT_LENGTH];
const NOT_STORED_NAMES: [&str; 5] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];

/// Selects the headers of a response that are stored (RFC 9111, section 3.1).
pub(crate) fn headers_to_store(headers: &HeaderMap, policy: &Policy) -> HeaderMap {
    let mut stored = headers.clone();
    for line in headers.get_all(CONNECTION) {
        for name in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if let Ok(name) = HeaderName::from_bytes(name) {
                stored.remove(name);
            }
        }
    }
    NOT_STORED.iter().for_each(|name| drop(stored.remove(name)));
    NOT_STORED_NAMES.iter().for_each(|name| drop(stored.remove(*name)));
    if !policy.stores_cookies() {
        stored.remove(SET_COOKIE);
        stored.remove("set-cookie2");
    }
    stored
}

/// Sets `Date`, and with [`BrowserTtl::SameAsCache`] also `Expires` and `max-age`, of a page that
/// is about to be stored.
pub(crate) fn set_freshness(
    headers: &mut HeaderMap,
    browser_ttl: BrowserTtl,
    meta: &CacheMeta,
    now: UnixTime,
) {
    headers.entry(DATE).or_insert_with(|| date::write(now));
    if browser_ttl == BrowserTtl::Revalidate {
        headers.remove(EXPIRES);
        let revalidate = CacheControl::new().max_age(Duration::ZERO).must_revalidate();
        patch_cache_control(headers, &revalidate);
    }
    if browser_ttl != BrowserTtl::SameAsCache {
        return;
    }
    if !headers.contains_key(EXPIRES) {
        headers.insert(EXPIRES, date::write(meta.date.saturating_add(meta.lifetime)));
    }
    let directives = CacheControl::from_headers(headers);
    if !(directives.has("s-maxage") && directives.has("max-age")) {
        patch_cache_control(headers, &CacheControl::new().max_age(meta.lifetime));
    }
}

/// With [`BrowserTtl::Revalidate`], adds an entity tag to a page that has none.
///
/// The origin does not know it, so a page with `Last-Modified` in a shared cache, which is
/// validated with that, gets none.
pub(crate) fn add_etag(headers: &mut HeaderMap, settings: &Settings, body: &[u8]) {
    let validated = settings.policy.is_shared() && headers.contains_key(LAST_MODIFIED);
    if settings.browser_ttl != BrowserTtl::Revalidate || headers.contains_key(ETAG) || validated {
        return;
    }
    let mut hash = Sha256::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.update(body);
    let digest: [u8; 32] = hash.finalize().into();
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{digits}\"")) {
        headers.insert(ETAG, tag);
    }
}

/// With [`BrowserTtl::Fixed`], sets `Expires` and `max-age` of a page of this age.
pub(crate) fn set_fixed_browser_ttl(
    headers: &mut HeaderMap,
    browser_ttl: BrowserTtl,
    age: Duration,
    now: impl Fn() -> UnixTime,
) {
    let BrowserTtl::Fixed(lifetime) = browser_ttl else { return };
    let max_age = Duration::from_secs(age.as_secs()).saturating_add(lifetime);
    if !headers.contains_key(EXPIRES) {
        headers.insert(EXPIRES, date::write(now().saturating_add(lifetime)));
    }
    patch_cache_control(headers, &CacheControl::new().max_age(max_age));
}

/// Removes the headers that are addressed to this cache only: those of RFC 9213, and tags.
pub(crate) fn remove_targeted(headers: &mut HeaderMap, policy: &Policy) {
    for name in policy.own_headers() {
        headers.remove(name);
    }
}

/// Sets `Age`, in whole seconds.
pub(crate) fn set_age(headers: &mut HeaderMap, age: Duration) {
    let age = seconds(age.as_secs().min(MAX_SECONDS));
    // `insert` may grow the map even if the header is present.
    match headers.get_mut(AGE) {
        Some(old) => *old = age,
        None => drop(headers.insert(AGE, age)),
    }
}

/// The number of precomputed header values. Most pages are younger than this many seconds, and
/// their `Age` allocates nothing.
const PRECOMPUTED: usize = 1000;

/// Each number as three digits.
static DIGITS: [[u8; 3]; PRECOMPUTED] = {
    let (mut all, mut number) = ([[0; 3]; PRECOMPUTED], 0);
    while number < PRECOMPUTED {
        #[expect(clippy::cast_possible_truncation, reason = "these are digits")]
        {
            all[number] = [
                b'0' + (number / 100) as u8,
                b'0' + (number / 10 % 10) as u8,
                b'0' + (number % 10) as u8,
            ];
        }
        number += 1;
    }
    all
};

fn seconds(number: u64) -> HeaderValue {
    let precomputed = usize::try_from(number).ok().and_then(|number| DIGITS.get(number));
    let Some(digits) = precomputed else { return HeaderValue::from(number) };
    let leading_zeros = if number < 10 { 2 } else { usize::from(number < 100) };
    HeaderValue::from_static(str::from_utf8(&digits[leading_zeros..]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SetCookies;

    #[test]
    fn connection_headers_are_not_stored() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("age", "3"),
            ("set-cookie", "a=1"),
            ("link", "stored"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let stored = |policy| headers_to_store(&headers, &policy);
        assert_eq!(stored(Policy::site()).keys().collect::<Vec<_>>(), ["link"]);
        let mut stored = stored(Policy::site().set_cookies(SetCookies::Store));
        assert!(stored.remove("set-cookie").is_some());
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["link"]);
    }

    #[test]
    fn precomputed_seconds_equal_formatted_ones() {
        for number in (0..1100).chain([MAX_SECONDS]) {
            assert_eq!(seconds(number), number.to_string());
        }
    }
}
