//! Functions that change the headers of a response, with the semantics of [`django.utils.cache`].
//!
//! [`django.utils.cache`]: https://docs.djangoproject.com/en/5.2/ref/utils/

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, EXPIRES, VARY},
};

use crate::{
    cache_control::CacheControl,
    date::{self, UnixTime},
    vary::Vary,
};

/// Adds directives to `Cache-Control`.
///
/// [`CacheControl::patch`] defines how they are combined with the directives that are present.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_http::{CacheControl, patch_cache_control};
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("cache-control", "private, max-age=30".parse().unwrap());
/// let minute = CacheControl::new().public().max_age(Duration::from_secs(60));
/// patch_cache_control(&mut headers, &minute);
/// assert_eq!(headers["cache-control"], "max-age=30, public");
/// ```
pub fn patch_cache_control(headers: &mut HeaderMap, new: &CacheControl) {
    let mut all = CacheControl::from_headers(headers);
    all.patch(new);
    if let Some(value) = all.to_value() {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// Adds names to `Vary`.
///
/// Names that are present keep their order and spelling. If any name is `*`, the header becomes
/// `*`.
///
/// # Examples
///
/// ```
/// use cache_http::patch_vary_headers;
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("vary", "Accept-ENCODING".parse().unwrap());
/// patch_vary_headers(&mut headers, ["Accept-Encoding", "Cookie"]);
/// assert_eq!(headers["vary"], "Accept-ENCODING, Cookie");
/// ```
pub fn patch_vary_headers<'a>(headers: &mut HeaderMap, names: impl IntoIterator<Item = &'a str>) {
    let mut all: Vec<String> = Vec::new();
    for line in headers.get_all(VARY) {
        let line = String::from_utf8_lossy(line.as_bytes());
        all.extend(
            line.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned),
        );
    }
    for name in names {
        if !all.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            all.push(name.to_owned());
        }
    }
    let joined = if all.iter().any(|name| name == "*") { "*".to_owned() } else { all.join(", ") };
    // If the names are not a valid header value, the response varies on something unknown.
    let value = HeaderValue::from_str(&joined).unwrap_or(HeaderValue::from_static("*"));
    if !value.is_empty() {
        headers.insert(VARY, value);
    }
}

/// Returns `true` if `Vary` contains this name or `*`.
#[must_use]
pub fn has_vary_header(headers: &HeaderMap, name: &HeaderName) -> bool {
    match Vary::from_headers(headers) {
        Vary::Any => true,
        Vary::Headers(names) => names.contains(name),
    }
}

/// Forbids every cache to store the response.
///
/// Sets `Cache-Control` to `max-age=0, no-cache, no-store, must-revalidate, private`, and `Expires`
/// to a date in the past.
///
/// # Examples
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// cache_http::add_never_cache_headers(&mut headers);
/// assert_eq!(headers["cache-control"], "max-age=0, no-cache, no-store, must-revalidate, private");
/// ```
pub fn add_never_cache_headers(headers: &mut HeaderMap) {
    let never = CacheControl::new()
        .max_age(Duration::ZERO)
        .no_cache()
        .no_store()
        .must_revalidate()
        .private();
    headers.insert(EXPIRES, date::write(UnixTime::ZERO));
    patch_cache_control(headers, &never);
}

/// Sets the lifetime of the response for browsers and caches.
///
/// Sets `Expires`, unless it is present, and `max-age`, unless a smaller one is present. `now` is
/// the time since 1970-01-01 UTC.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let mut headers = http::HeaderMap::new();
/// cache_http::patch_response_headers(&mut headers, Duration::from_secs(60), Duration::ZERO);
/// assert_eq!(headers["cache-control"], "max-age=60");
/// assert_eq!(headers["expires"], "Thu, 01 Jan 1970 00:01:00 GMT");
/// ```
pub fn patch_response_headers(headers: &mut HeaderMap, lifetime: Duration, now: Duration) {
    if !headers.contains_key(EXPIRES) {
        headers.insert(EXPIRES, date::write(now.saturating_add(lifetime)));
    }
    patch_cache_control(headers, &CacheControl::new().max_age(lifetime));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_replaces_the_other_names() {
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static("Cookie"));
        headers.append(VARY, HeaderValue::from_static("*"));
        patch_vary_headers(&mut headers, ["Accept"]);
        assert_eq!(headers[VARY], "*");
        assert!(has_vary_header(&headers, &http::header::ACCEPT));
    }

    #[test]
    fn all_lines_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static("a,b"));
        headers.append(VARY, HeaderValue::from_static("C"));
        patch_vary_headers(&mut headers, ["c", "d"]);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["a, b, C, d"]);
    }

    #[test]
    fn never_cache_overrides_the_headers_of_the_view() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        headers.insert(EXPIRES, HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"));
        add_never_cache_headers(&mut headers);
        assert_eq!(
            headers[CACHE_CONTROL],
            "max-age=0, no-cache, no-store, must-revalidate, private"
        );
        assert_eq!(headers[EXPIRES], "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn expires_of_the_view_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(EXPIRES, HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"));
        patch_response_headers(&mut headers, Duration::from_secs(60), Duration::ZERO);
        assert_eq!(headers[EXPIRES], "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
    }
}
