//! Headers of a response that is being made, by
//! [Django's rules](https://docs.djangoproject.com/en/5.2/ref/utils/#module-django.utils.cache).

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

/// Puts directives into `Cache-Control`: see [`CacheControl::patch`] for which one wins.
///
/// ```
/// use std::time::Duration;
/// use cache_http::{CacheControl, patch_cache_control};
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("cache-control", "private, max-age=30".parse().unwrap());
/// patch_cache_control(&mut headers, &CacheControl::new().public().max_age(Duration::from_secs(60)));
/// assert_eq!(headers["cache-control"], "max-age=30, public");
/// ```
pub fn patch_cache_control(headers: &mut HeaderMap, new: &CacheControl) {
    let mut all = CacheControl::from_headers(headers);
    all.patch(new);
    if let Some(value) = all.to_value() {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// Adds names to `Vary`, after those that are there, which keep their order and spelling. With a `*` among them, the
/// header is `*` alone.
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
    // What is no text of a header means that nobody can know what it varies on.
    let value = HeaderValue::from_str(&joined).unwrap_or(HeaderValue::from_static("*"));
    if !value.is_empty() {
        headers.insert(VARY, value);
    }
}

/// Whether `Vary` has this name, or a `*`.
#[must_use]
pub fn has_vary_header(headers: &HeaderMap, name: &HeaderName) -> bool {
    match Vary::from_headers(headers) {
        Vary::Any => true,
        Vary::Headers(names) => names.contains(name),
    }
}

/// Forbids every cache to keep the response: `max-age=0, no-cache, no-store, must-revalidate, private`, and an `Expires`
/// that has passed.
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

/// Tells browsers and caches how long the response lives: `Expires`, unless it has one, and `max-age`, where the smaller
/// one wins. `now` is the time since 1970.
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
    fn a_star_swallows_the_other_names() {
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static("Cookie"));
        headers.append(VARY, HeaderValue::from_static("*"));
        patch_vary_headers(&mut headers, ["Accept"]);
        assert_eq!(headers[VARY], "*");
        assert!(has_vary_header(&headers, &http::header::ACCEPT));
    }

    #[test]
    fn all_lines_become_one() {
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static("a,b"));
        headers.append(VARY, HeaderValue::from_static("C"));
        patch_vary_headers(&mut headers, ["c", "d"]);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["a, b, C, d"]);
    }

    #[test]
    fn never_cache_wins_over_what_the_view_said() {
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
    fn an_expires_of_the_view_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(EXPIRES, HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"));
        patch_response_headers(&mut headers, Duration::from_secs(60), Duration::ZERO);
        assert_eq!(headers[EXPIRES], "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
    }
}
