//! Requests that differ in one header from another request.

use std::collections::BTreeSet;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, ORIGIN, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
    request::Parts,
};

use crate::{
    policy::{CacheMeta, STRIPPED_REQUEST_HEADERS},
    settings::Settings,
    vary::combined_value,
};

/// A request that is served the same page as another one, although one of its headers differs.
pub(super) struct Probe {
    pub(super) header: HeaderName,
    /// The name of the cookie that differs.
    pub(super) cookie: Option<String>,
    pub(super) headers: HeaderMap,
}

/// Headers of the connection, and `Host`, which is part of every cache's key. The cache removes
/// further ones from requests: see [`STRIPPED_REQUEST_HEADERS`].
const IRRELEVANT: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Values of headers on which pages often depend. They are tried even if the request has no such
/// header.
static COMMON: [(HeaderName, &[&str]); 8] = [
    (ACCEPT, &["application/json", "text/html"]),
    (ACCEPT_LANGUAGE, &["en, fr;q=0.9, zh;q=0.8, ar;q=0.7", "de, es;q=0.9, ja;q=0.8, pt;q=0.7"]),
    (ORIGIN, &["https://vary-check.example"]),
    (USER_AGENT, &["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148"]),
    (HeaderName::from_static("hx-request"), &["true"]),
    (HeaderName::from_static("x-forwarded-host"), &["vary-check.example"]),
    (HeaderName::from_static("x-forwarded-proto"), &["https", "http"]),
    (HeaderName::from_static("x-requested-with"), &["XMLHttpRequest"]),
];

/// The value of other headers and of cookies.
const OTHER: &str = "vary-check";

/// The requests that would be served the page of this request.
///
/// What the page varies on, what the key function distinguishes and what bypasses the cache is left
/// out.
pub(super) fn probes(
    settings: &Settings,
    parts: &Parts,
    meta: &CacheMeta,
    ignored: &[HeaderName],
) -> Vec<Probe> {
    let mut names: BTreeSet<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
    names.extend(COMMON.iter().map(|(name, _)| name.as_str()));
    let names = names.into_iter().filter_map(|name| HeaderName::try_from(name).ok());
    let is_relevant = |name: &HeaderName| {
        [&IRRELEVANT[..], &STRIPPED_REQUEST_HEADERS, ignored]
            .iter()
            .all(|list| !list.contains(name))
    };
    let of_header = |name: HeaderName| match name == COOKIE {
        true => cookie_probes(&parts.headers),
        false => header_probes(&parts.headers, &name),
    };
    let page = Page { settings, parts, meta };
    names.filter(is_relevant).flat_map(of_header).filter(|probe| page.is_served_to(probe)).collect()
}

/// Changes a header to other values, and removes it.
fn header_probes(headers: &HeaderMap, name: &HeaderName) -> Vec<Probe> {
    let common = COMMON.iter().find(|(common, _)| common == name).map(|(_, values)| *values);
    let values = common.unwrap_or(&[OTHER]).iter().map(|value| HeaderValue::from_static(value));
    let values = values.filter(|value| headers.get(name) != Some(value)).map(Some);
    let removed = headers.contains_key(name).then_some(None);
    let probe = |value: Option<HeaderValue>| {
        let mut headers = headers.clone();
        match value {
            Some(value) => drop(headers.insert(name.clone(), value)),
            None => drop(headers.remove(name)),
        }
        Probe { header: name.clone(), cookie: None, headers }
    };
    values.chain(removed).map(probe).collect()
}

/// Changes each cookie to another value, and removes it.
fn cookie_probes(headers: &HeaderMap) -> Vec<Probe> {
    let line = combined_value(headers, &COOKIE).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().trim().to_owned();
    let pairs: Vec<&str> = line.split(';').map(str::trim).filter(|pair| !pair.is_empty()).collect();
    let names: BTreeSet<String> = pairs.iter().map(|pair| name(pair)).collect();
    let probe = |cookie: &String, value: Option<String>| {
        let others = pairs.iter().map(|pair| (*pair).to_owned());
        let others = others.filter(|pair| name(pair) != *cookie);
        let line = others.chain(value).collect::<Vec<_>>().join("; ");
        let mut headers = headers.clone();
        headers.remove(COOKIE);
        if let Ok(line) = HeaderValue::try_from(line)
            && !line.is_empty()
        {
            headers.insert(COOKIE, line);
        }
        Probe { header: COOKIE, cookie: Some(cookie.clone()), headers }
    };
    let of_cookie =
        |cookie: &String| [probe(cookie, Some(format!("{cookie}={OTHER}"))), probe(cookie, None)];
    names.iter().flat_map(of_cookie).collect()
}

/// The page of a request, and whom it would be served to.
struct Page<'a> {
    settings: &'a Settings,
    parts: &'a Parts,
    meta: &'a CacheMeta,
}

impl Page<'_> {
    fn is_served_to(&self, probe: &Probe) -> bool {
        let (settings, meta) = (self.settings, self.meta);
        let mut parts = self.parts.clone();
        parts.headers.clone_from(&probe.headers);
        let Ok((flags, _)) = settings.check_request(&parts, true) else { return false };
        let variant = |parts: &Parts| settings.policy.secondary_key(&meta.vary, &parts.headers);
        // The headers by which proxies tell an application its address are also part of this
        // cache's key, but not of other caches'. A page that depends on them needs `Vary`.
        let key_part =
            |parts: &Parts| settings.key_builder.function.as_ref().map(|function| function(parts));
        (meta.public || !flags.public_pages_only)
            && variant(&parts) == variant(self.parts)
            && key_part(&parts) == key_part(self.parts)
    }
}
