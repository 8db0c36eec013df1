//! The check for pages that depend on request headers that are not in their `Vary`.

mod common;

use axum::body::Body;
use cache_http::{HttpCacheLayer, NoStore, Policy, VaryCheckLayer, VaryDifference};
use common::{Got, Site, View, page, request};
use http::{HeaderName, Method, Request, StatusCode};
use tower::{Layer, ServiceExt};

const STORED: (&str, &str) = ("cache-control", "public, max-age=60");

fn layers() -> [HttpCacheLayer; 2] {
    [Site::in_memory().layer(), Site::in_memory().shared()]
}

fn header<'a>(request: &'a Request<Body>, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("none")
}

/// A view whose page shows what a request has in a header, and which has these headers.
fn shows(name: &'static str, headers: &'static [(&'static str, &'static str)]) -> View {
    View::new(move |request, _| page(headers, &format!("<p>{}</p>", header(&request, name))))
}

async fn send(check: &VaryCheckLayer, view: &View, headers: &[(&str, &str)]) -> Got {
    let request = request(Method::GET, "/page?x=1", headers);
    Got::of(check.layer(view.service()).oneshot(request).await.expect("infallible")).await
}

/// The headers and cookies that the check finds in the page for a request.
async fn found(layer: &HttpCacheLayer, view: &View, headers: &[(&str, &str)]) -> Vec<String> {
    let check = layer.vary_check();
    send(&check, view, headers).await;
    let name = |finding: cache_http::VaryFinding| {
        assert_eq!(finding.path, "/page");
        finding.cookie.unwrap_or_else(|| finding.header.to_string())
    };
    check.findings().into_iter().map(name).collect()
}

#[tokio::test]
async fn header_that_changes_a_page_is_reported_unless_the_page_varies_on_it() {
    for layer in layers() {
        for (name, headers) in [
            ("accept-language", &[][..]),
            ("accept-language", &[("accept-language", "de")]),
            ("x-forwarded-host", &[]),
            ("x-forwarded-host", &[("x-forwarded-host", "shop.example")]),
            ("x-tenant", &[("x-tenant", "a")]),
        ] {
            assert_eq!(found(&layer, &shows(name, &[STORED]), headers).await, [name]);
        }
        for (name, varying) in [
            ("accept-language", &[STORED, ("vary", "accept, accept-language")]),
            ("x-forwarded-host", &[STORED, ("vary", "X-Forwarded-Host")]),
        ] {
            assert!(found(&layer, &shows(name, varying), &[(name, "a")]).await.is_empty());
        }
    }
}

#[tokio::test]
async fn cookie_that_changes_a_page_is_reported_by_name() {
    let view = View::new(|request, _| {
        let dark = header(&request, "cookie").contains("theme=dark");
        page(&[STORED], if dark { "dark" } else { "light" })
    });
    let cookies = [("cookie", "lang=de; theme=dark; _ga=1")];
    for layer in layers() {
        assert_eq!(found(&layer, &view, &cookies).await, ["theme"]);
    }
}

#[tokio::test]
async fn cookies_that_the_page_varies_on_are_not_reported() {
    let varies = shows("cookie", &[STORED, ("vary", "cookie")]);
    for layer in layers() {
        assert!(found(&layer, &varies, &[("cookie", "theme=dark")]).await.is_empty());
    }
    let site = Site::in_memory().layer().policy(Policy::site().vary_on_cookies(["theme"]));
    let view = View::new(|request, _| {
        let dark = header(&request, "cookie").contains("theme=dark");
        page(&[], if dark { "dark" } else { "light" })
    });
    assert!(found(&site, &view, &[("cookie", "theme=dark")]).await.is_empty());
}

#[tokio::test]
async fn what_the_key_function_distinguishes_is_not_reported() {
    for layer in layers() {
        let layer = layer.key_function(|parts| match parts.headers.get("accept-language") {
            Some(language) => String::from_utf8_lossy(language.as_bytes()).into_owned(),
            None => String::new(),
        });
        assert!(found(&layer, &shows("accept-language", &[STORED]), &[]).await.is_empty());
    }
}

#[tokio::test]
async fn parts_that_change_by_themselves_are_not_reported() {
    let unstable = |language: &str, calls: usize| {
        let nonce = calls.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut response = page(
            &[STORED, ("content-security-policy", &format!("script-src 'nonce-{nonce:x}'"))],
            &format!(
                "<script nonce='{nonce:x}'>a()</script><p>{language}</p>\
                 <script nonce='{nonce:x}'>b()</script><time>{}</time>{}",
                calls / 3,
                "<li>".repeat(calls % 4),
            ),
        );
        response.headers_mut().insert("x-request", calls.into());
        response
    };
    let nonce = View::new(move |_, calls| unstable("en", calls));
    let forgets =
        View::new(move |request, calls| unstable(header(&request, "accept-language"), calls));
    for layer in layers() {
        assert!(found(&layer, &nonce, &[("x-any", "1"), ("accept", "*/*")]).await.is_empty());
        assert_eq!(found(&layer, &forgets, &[]).await, ["accept-language"]);
    }
}

#[tokio::test]
async fn page_that_changes_once_during_the_check_is_not_reported() {
    for layer in layers() {
        for change in 3..20 {
            let view = View::new(move |_, calls| {
                page(&[STORED], if calls < change { "<p>old</p>" } else { "<p>new</p>" })
            });
            assert!(found(&layer, &view, &[]).await.is_empty(), "changed at call {change}");
        }
    }
}

#[tokio::test]
async fn difference_is_named() {
    let view =
        View::new(|request, _| match header(&request, "accept-language").split(',').next() {
            Some("de") => {
                let mut response = page(&[STORED], "");
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
            _ => page(&[STORED, ("content-language", header(&request, "x-lang"))], ""),
        });
    for layer in layers() {
        let check = layer.vary_check();
        send(&check, &view, &[("x-lang", "de")]).await;
        let found: Vec<_> =
            check.findings().into_iter().map(|found| (found.header, found.difference)).collect();
        let name = HeaderName::from_static;
        let expected = [
            (name("accept-language"), VaryDifference::Status),
            (name("x-lang"), VaryDifference::Header(name("content-language"))),
        ];
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn response_passes_unchanged_and_each_header_is_reported_once() {
    for layer in layers() {
        let (check, view) = (layer.vary_check(), shows("x-a", &[STORED]));
        for _ in 0..2 {
            let got = send(&check, &view, &[("x-a", "1")]).await;
            assert_eq!(
                (got.body.as_str(), got.header("cache-control")),
                ("<p>1</p>", Some(STORED.1))
            );
            assert_eq!(check.clone().findings().len(), 1);
        }
    }
}

#[tokio::test]
async fn requests_and_responses_that_bypass_the_cache_are_not_checked() {
    for layer in layers() {
        let check = layer.vary_check();
        for private in [("cache-control", "private"), ("set-cookie", "a=1"), ("vary", "*")] {
            let view = View::new(move |_, _| page(&[private], ""));
            send(&check, &view, &[]).await;
            assert_eq!(view.calls(), 1, "{private:?}");
        }
        let opted_out = View::new(|_, _| {
            let mut response = page(&[STORED], "");
            response.extensions_mut().insert(NoStore);
            response
        });
        send(&check, &opted_out, &[]).await;
        assert_eq!(opted_out.calls(), 1);
        let view = View::with(&[STORED]);
        send(&check, &view, &[("authorization", "x")]).await;
        let post = request(Method::POST, "/page", &[]);
        check.layer(view.service()).oneshot(post).await.expect("infallible");
        assert_eq!(view.calls(), 2);
    }
}

#[tokio::test]
async fn ignored_headers_are_not_checked() {
    for layer in layers() {
        let name = HeaderName::from_static("x-forwarded-host");
        let check = layer.vary_check().ignore_headers([name]);
        send(&check, &shows("x-forwarded-host", &[STORED]), &[]).await;
        assert_eq!(check.findings(), []);
    }
}

#[tokio::test]
async fn check_inside_of_another_check_does_not_multiply_the_calls() {
    for layer in layers() {
        let (inner, outer) = (layer.vary_check(), layer.vary_check());
        let count = async |check: &VaryCheckLayer, view: &View| {
            send(check, view, &[]).await;
            view.calls()
        };
        let once = count(&inner, &View::with(&[STORED])).await;
        let view = View::with(&[STORED]);
        let both = outer.layer(inner.layer(view.service()));
        both.oneshot(request(Method::GET, "/page", &[])).await.expect("infallible");
        assert_eq!(view.calls(), 2 * once - 1, "the request itself is sent once");
    }
}

#[tokio::test]
async fn check_inside_of_the_cache_sees_each_page_that_is_stored() {
    for layer in layers() {
        let (check, view) = (layer.vary_check(), shows("accept-language", &[STORED]));
        let cached = layer.layer(check.layer(view.service()));
        for hit in [false, true] {
            let got = cached.clone().oneshot(request(Method::GET, "/page", &[])).await;
            let got = Got::of(got.expect("infallible")).await;
            assert_eq!((got.body.as_str(), got.is_hit()), ("<p>none</p>", hit));
        }
        assert_eq!(check.findings().len(), 1);
    }
}
