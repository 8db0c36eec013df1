//! The decisions, over random headers: no panic, nothing stored that must not be, nothing reused that is too old.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache_http::policy::{BodyLength, CacheMeta, Policy, Reuse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::{collection::vec, prelude::*, sample::select};

const NOW: Duration = Duration::from_secs(1_767_225_600);

const DIRECTIVES: &[&str] = &[
    "private",
    "PRIVATE",
    "no-store",
    "No-Store",
    "no-cache",
    "no-cache=\"a\"",
    "public",
    "max-age=60",
    "max-age=0",
    "max-age=99999999999999999999",
    "max-age='60'",
    "max-age=\"60\"",
    "max-age",
    "s-maxage=10",
    "s-maxage=0",
    "must-revalidate",
    "proxy-revalidate",
    "stale-while-revalidate=30",
    "stale-if-error=30",
    "immutable",
    "x=\"",
    "x=\"\\",
    "=",
    "",
    " ",
    "private;max-age=3",
    "foo=\"no-store\"",
    "\tprivate\t",
];

const NAMES: &[&str] = &[
    "vary",
    "set-cookie",
    "expires",
    "date",
    "age",
    "last-modified",
    "etag",
    "pragma",
    "content-length",
    "content-encoding",
    "content-range",
    "content-type",
    "transfer-encoding",
    "authorization",
    "cookie",
    "range",
    "if-match",
    "accept-encoding",
    "x-original-url",
    "cache-control",
    "upgrade",
];

const VALUES: &[&str] = &[
    "*",
    "Cookie",
    "a, *",
    " * ",
    "a=1",
    "sessionid=1",
    "_ga=2",
    "0",
    "7",
    "-1",
    "gzip",
    "br;q=0",
    "nonsense",
    "text/event-stream",
    "bytes 0-1/2",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "Wed, 31 Dec 2025 23:59:00 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "no-cache",
    "no-store",
    "",
    "\"tag\"",
    "18446744073709551616",
];

fn a_value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        4 => select(VALUES).prop_map(HeaderValue::from_static),
        3 => vec(select(DIRECTIVES), 0..4)
            .prop_map(|some| HeaderValue::from_str(&some.join(",")).expect("visible")),
        1 => vec(any::<u8>(), 0..12).prop_map(|bytes| {
            HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("x"))
        }),
    ]
}

fn some_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![2 => Just("cache-control"), 3 => select(NAMES)];
    vec((name, a_value()), 0..6).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    })
}

fn a_policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>()).prop_map(|(shared, asked)| {
        let policy = if shared {
            Policy::shared()
        } else {
            Policy::site().statuses([StatusCode::NOT_FOUND])
        };
        policy.request_directives(asked)
    })
}

fn a_length() -> impl Strategy<Value = BodyLength> {
    prop_oneof![(0_u64..9).prop_map(BodyLength::Known), Just(BodyLength::Unknown)]
}

/// The text of all lines of a header, in lower case.
fn text(headers: &HeaderMap, name: &str) -> String {
    let lines = headers
        .get_all(name)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()).to_lowercase());
    lines.collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_must_not_be_stored_never_is(
        policy in a_policy(), request in some_headers(), response in some_headers(), status in 100_u16..600, body in a_length(),
    ) {
        let status = StatusCode::from_u16(status).expect("it is one");
        let Ok(meta) = policy.check_response(&request, status, &response, body, NOW) else { return Ok(()) };
        let directives = text(&response, "cache-control");
        for never in ["private", "no-store", "no-cache"] {
            prop_assert!(!directives.contains(never), "{directives}");
        }
        prop_assert!(!response.contains_key("set-cookie"));
        prop_assert!(!text(&response, "vary").contains('*'));
        prop_assert!(!response.contains_key("content-range"));
        prop_assert!(status.as_u16() >= 200 && status != 206 && status != 304);
        prop_assert!(policy.is_shared() || status == 200 || status == 404);
        let allowed = ["public", "s-maxage", "must-revalidate"].iter().any(|name| directives.contains(name));
        prop_assert!(!request.contains_key("authorization") || allowed);
        if let (BodyLength::Known(known), Some(stated)) = (body, response.get("content-length")) {
            prop_assert_eq!(stated.to_str().ok().and_then(|text| text.trim().parse().ok()), Some(known));
        }
        prop_assert!(policy.is_shared() || meta.lifetime > meta.initial_age);
    }

    #[test]
    fn who_must_pass_by_does(policy in a_policy(), request in some_headers(), empty: bool) {
        if policy.check_request(&Method::GET, &request, empty).is_ok() {
            prop_assert!(empty);
            for never in ["authorization", "x-original-url", "if-match", "upgrade", "transfer-encoding"] {
                prop_assert!(!request.contains_key(never), "{never}");
            }
            prop_assert!(!text(&request, "cookie").contains("sessionid"));
        }
    }

    #[test]
    fn nothing_is_fresh_beyond_its_lifetime_or_stale_beyond_its_window(
        policy in a_policy(), request in some_headers(), lifetime in 0_u64..99, age in 0_u64..200, while_ in 0_u64..99,
        error in 0_u64..99, purged: bool,
    ) {
        let seconds = Duration::from_secs;
        let meta = CacheMeta {
            lifetime: seconds(lifetime), initial_age: Duration::ZERO, date: NOW, vary: Vec::new(),
            stale_while_revalidate: seconds(while_), stale_if_error: seconds(error), validation_window: Duration::ZERO,
        };
        match policy.reuse(&meta, seconds(age), purged, &request) {
            Reuse::Fresh(left) => prop_assert!(!purged && left == seconds(lifetime - age)),
            Reuse::StaleWhileRevalidate => prop_assert!(age < lifetime + while_),
            Reuse::StaleIfError(_) => prop_assert!(age < lifetime + error),
            Reuse::No(_) => {}
        }
    }

    /// On headers that it reads as RFC 9111 says, another implementation agrees. It takes
    /// `proxy-revalidate` for a lifetime of zero, and stores no 500 whatever its lifetime: those are not among them.
    #[test]
    fn what_is_stored_another_implementation_would_store_too(
        directives in vec(select(&["public", "max-age=60", "s-maxage=10", "must-revalidate", "no-transform", "max-age=0",
            "private", "no-store"][..]), 0..4),
        status in select(&[200_u16, 203, 204, 301, 302, 404, 410][..]),
        age in prop::option::of(0_u64..100), modified: bool, authorized: bool,
    ) {
        let mut response = Response::builder().status(status).header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        let mut lookup: Vec<&str> = Vec::new();
        for directive in directives {
            let name = directive.split('=').next().expect("there is a first");
            if !lookup.iter().any(|other| other.split('=').next() == Some(name)) {
                lookup.push(directive);
            }
        }
        if !lookup.is_empty() {
            response = response.header("cache-control", lookup.join(", "));
        }
        if let Some(age) = age {
            response = response.header("age", age);
        }
        if modified {
            response = response.header("last-modified", "Wed, 31 Dec 2025 23:59:00 GMT");
        }
        let response = response.body(()).expect("it is one");
        let mut request = Request::get("https://example.org/");
        if authorized {
            request = request.header("authorization", "Basic x");
        }
        let request = request.body(()).expect("it is one");

        let policy = Policy::shared().authorization_by_response();
        let ours = policy.check_response(request.headers(), response.status(), response.headers(), BodyLength::Known(3), NOW);
        let time: SystemTime = UNIX_EPOCH + NOW;
        let options = CacheOptions { shared: true, ..CacheOptions::default() };
        let theirs = CachePolicy::new_options(&request, &response, time, options);
        if let Ok(meta) = ours {
            prop_assert!(theirs.is_storable());
            let fresh = meta.lifetime.saturating_sub(meta.initial_age);
            prop_assert!(fresh <= theirs.time_to_live(time) + Duration::from_secs(1), "{fresh:?}");
        }
    }
}
