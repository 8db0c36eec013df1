//! Known mistakes of HTTP caches, tested on each store.

mod common;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use cache_core::ManualClock;
use cache_http::{BrowserTtl, Policy, Purge, SetCookies, cache_page};
use common::{Got, Site, View, page, request};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tower::{Layer, ServiceExt};

/// Sends the same request twice and returns the second response.
async fn twice(view: &View, layer: &cache_http::HttpCacheLayer, headers: &[(&str, &str)]) -> Got {
    let cached = view.cached(layer);
    cached.get_with("/", headers).await;
    cached.get_with("/", headers).await
}

/// Creates a body of these frames. The last one may be an error.
fn frames(frames: Vec<Result<Frame<Bytes>, &'static str>>) -> Body {
    Body::new(StreamBody::new(Frames(frames.into())))
}

struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, &'static str>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, &'static str>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

// CVE-2026-48588, CVE-2026-35192.
async fn response_with_set_cookie_is_not_stored(site: Site) {
    let view = View::new(|_, calls| {
        page(
            &[
                ("set-cookie", &format!("sessionid=user{calls}")),
                ("cache-control", "public, max-age=60"),
            ],
            "",
        )
    });
    for layer in [site.layer(), site.shared()] {
        let second = twice(&view, &layer, &[]).await;
        assert!(!second.is_hit() && second.reason() == "set-cookie", "{second:?}");
    }
    let last = view.calls() - 1;
    assert_eq!(last, 3, "each client has its own cookie");
}

async fn stripped_cookie_is_sent_only_to_its_client(site: Site) {
    let view = View::with(&[("set-cookie", "sessionid=1")]);
    let cached = view.cached(&site.layer().policy(Policy::site().set_cookies(SetCookies::Strip)));
    assert!(cached.get("/").await.header("set-cookie").is_some());
    let second = cached.get("/").await;
    assert!(second.is_hit() && second.header("set-cookie").is_none(), "{second:?}");
}

async fn stored_cookie_is_sent_to_every_client_only_if_enabled(site: Site) {
    let headers = &[("cache-control", "max-age=60"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
    for (name, layer, policy) in
        [("site", site.layer(), Policy::site()), ("shared", site.shared(), Policy::shared())]
    {
        let layer = layer.key_prefix(name).policy(policy.set_cookies(SetCookies::Store));
        let second = twice(&View::with(headers), &layer, &[]).await;
        let cookies: Vec<_> = second.headers.get_all("set-cookie").iter().collect();
        assert!(second.is_hit() && cookies == ["a=1", "b=2"], "{name}: {second:?}");
    }
}

// CVE-2026-35193.
async fn response_to_an_authorized_request_is_not_shared(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        let private = view.get_with("/", &[("authorization", "Basic x")]).await;
        assert_eq!(private.reason(), "authorization");
        assert!(!view.get("/").await.is_hit());
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn authorized_response_is_stored_only_if_its_directives_allow_it(site: Site) {
    for (directives, stored) in [
        (&[("cache-control", "max-age=60")], false),
        (&[("cache-control", "max-age=60, proxy-revalidate")], false),
        (&[("cache-control", "max-age=60, public")], true),
        (&[("cache-control", "max-age=60, must-revalidate")], true),
        (&[("cache-control", "s-maxage=60")], true),
    ] {
        for (layer, policy) in [(site.layer(), Policy::site()), (site.shared(), Policy::shared())] {
            let layer = layer.policy(policy.authorization_by_response());
            for header in ["authorization", "proxy-authorization"] {
                let second = twice(&View::with(directives), &layer, &[(header, "Basic x")]).await;
                assert_eq!(second.is_hit(), stored, "{header} {directives:?}: {second:?}");
                layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
            }
        }
    }
}

async fn response_to_a_request_with_a_session_is_not_shared(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        let private = view.get_with("/", &[("cookie", "_ga=1; sessionid=7")]).await;
        assert_eq!(private.reason(), "session-cookie");
        assert!(!view.get("/").await.is_hit());
        assert!(!view.get_with("/", &[("cookie", "sessionid=8")]).await.is_hit());
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

const SESSION_COOKIES: [&str; 30] = [
    "PHPSESSID",
    "JSESSIONID",
    "ASP.NET_SessionId",
    ".ASPXAUTH",
    ".AspNetCore.Session",
    ".AspNetCore.Identity.Application",
    ".AspNetCore.Cookies",
    "sessionid",
    "_app_session",
    "connect.sid",
    "laravel_session",
    "remember_web_59ba36ad",
    "wordpress_logged_in_0123",
    "wordpress_sec_0123",
    "CAKEPHP",
    "remember-me",
    "KEYCLOAK_IDENTITY",
    "AUTH_SESSION_ID",
    "_my_app_key",
    "_identity",
    "mojolicious",
    "phpbb3_abcde_u",
    "__ac",
    "i_like_gitea",
    "PrestaShop-0123",
    "frontend",
    "DW0123456789abcdef0123456789abcdef",
    "SSESS0123",
    "AWSELBAuthSessionCookie-0",
    "session",
];

async fn request_with_a_session_cookie_bypasses_the_cache(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        view.get("/").await;
        for name in SESSION_COOKIES {
            let got = view.get_with("/", &[("cookie", &format!("{name}=1"))]).await;
            assert_eq!((got.is_hit(), got.reason()), (false, "session-cookie"), "{name}");
        }
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

const TRACKERS: &str = "_ga=1; _ga_ABC=2; _gid=3; _fbp=4; _hjSessionUser_1=5; _pk_id.1.a=6; \
    _clck=7; AWSALB=8; __stripe_sid=9; mp_1_mixpanel=10";

async fn request_with_ten_trackers_is_a_hit(site: Site) {
    let view = View::with(&[("vary", "Cookie")]);
    for layer in [site.layer(), cache_page(&site.cache, Duration::from_secs(60)).cache_status("c")]
    {
        let cached = view.cached(&layer);
        assert!(!cached.get_with("/", &[("cookie", TRACKERS)]).await.is_hit());
        assert!(cached.get_with("/", &[("cookie", TRACKERS)]).await.is_hit());
        assert!(cached.get("/").await.is_hit());
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn request_with_an_unknown_cookie_bypasses_the_cache(site: Site) {
    for layer in [site.layer(), cache_page(&site.cache, Duration::from_secs(60)).cache_status("c")]
    {
        let cached = View::with(&[]).cached(&layer);
        cached.get("/").await;
        for _ in 0..2 {
            let got = cached.get_with("/", &[("cookie", "_ga=1; who=me")]).await;
            assert_eq!((got.is_hit(), got.reason()), (false, "unknown-cookie"));
        }
        assert_eq!(layer.counts().unknown_cookies, [("who".to_owned(), 2)]);
        assert_eq!((layer.counts().bypasses, layer.counts().rejected), (2, 0));
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn explicitly_shared_page_is_stored_and_served_despite_unknown_cookies(site: Site) {
    for directives in ["public", "s-maxage=60"] {
        let view = View::new(move |_, _| page(&[("cache-control", directives)], ""));
        let cached = view.cached(&site.layer().key_prefix(directives));
        cached.get_with("/", &[("cookie", "who=me")]).await;
        assert!(cached.get_with("/", &[("cookie", "who=you")]).await.is_hit());
        assert!(cached.get("/").await.is_hit());
    }
}

async fn handler_never_sees_an_ignored_cookie(site: Site) {
    let view = View::new(|request, _| page(&[], &format!("{:?}", request.headers().get("cookie"))));
    let policy = Policy::site().ignore_cookies(["ad_*"]).vary_on_cookies(["theme"]);
    let cached = view.cached(&site.layer().policy(policy));
    let cookies = format!("{TRACKERS}; theme=dark; ad_1=2");
    for _ in 0..2 {
        let got = cached.get_with("/", &[("cookie", &cookies)]).await;
        assert_eq!(got.body, "Some(\"theme=dark\")");
    }
    let got = cached.get_with("/", &[("cookie", TRACKERS)]).await;
    assert_eq!((&*got.body, got.is_hit()), ("None", false));
}

async fn site_stores_a_page_for_each_value_of_the_named_cookies(site: Site) {
    let layer = site.layer().policy(Policy::site().vary_on_cookies(["theme"]));
    let cached = View::with(&[]).cached(&layer);
    cached.get_with("/", &[("cookie", "theme=dark")]).await;
    assert!(!cached.get_with("/", &[("cookie", "theme=light")]).await.is_hit());
    assert!(!cached.get("/").await.is_hit());
    assert!(cached.get_with("/", &[("cookie", "theme=dark; _ga=1")]).await.is_hit());
}

async fn adjacent_vary_values_are_not_confused(site: Site) {
    let view = View::with(&[("vary", "X-A, X-B")]).cached(&site.layer());
    view.get_with("/", &[("x-a", "ab"), ("x-b", "c")]).await;
    assert!(view.get_with("/", &[("x-a", "ab"), ("x-b", "c")]).await.is_hit());
    assert!(!view.get_with("/", &[("x-a", "a"), ("x-b", "bc")]).await.is_hit());
}

// CVE-2026-113593.
async fn absent_header_differs_from_empty_header(site: Site) {
    let view = View::with(&[("vary", "X-A")]).cached(&site.layer());
    view.get("/").await;
    assert!(!view.get_with("/", &[("x-a", "")]).await.is_hit());
    assert!(view.get("/").await.is_hit() && view.get_with("/", &[("x-a", "")]).await.is_hit());
}

async fn variants_are_stored_side_by_side(site: Site) {
    let view = View::with(&[("vary", "Accept-Language")]).cached(&site.layer());
    for language in ["de", "en", "fr"] {
        view.get_with("/", &[("accept-language", language)]).await;
    }
    for (language, body) in [("de", "page 0"), ("en", "page 1"), ("fr", "page 2")] {
        let again = view.get_with("/", &[("accept-language", language)]).await;
        assert!(again.is_hit() && again.body == body, "{again:?}");
    }
}

async fn uri_that_has_varied_continues_to_vary(site: Site) {
    let view = View::new(|request, calls| match calls {
        0 => page(&[("vary", "X-A")], "varies"),
        _ => page(&[], request.headers()["x-a"].to_str().expect("ASCII")),
    });
    let cached = view.cached(&site.layer());
    cached.get_with("/", &[("x-a", "1")]).await;
    cached.get_with("/", &[("x-a", "2")]).await;
    assert_eq!(cached.get_with("/", &[("x-a", "3")]).await.body, "3");
}

// CVE-2014-1418 and similar.
async fn page_that_varies_on_cookies_requires_equal_cookies(site: Site) {
    let layer = site.layer().policy(Policy::site().session_cookies(["sessionid"]));
    let view = View::with(&[("vary", "Cookie")]).cached(&layer);
    view.get_with("/", &[("cookie", "theme=dark")]).await;
    assert!(!view.get_with("/", &[("cookie", "theme=light")]).await.is_hit());
    assert!(!view.get("/").await.is_hit());
    assert!(view.get_with("/", &[("cookie", "theme=dark")]).await.is_hit());
}

async fn unlisted_cookies_create_no_variants(site: Site) {
    let layer = site.layer().policy(Policy::site().vary_on_cookies(["theme"]));
    let view = View::with(&[("vary", "Cookie")]).cached(&layer);
    view.get_with("/", &[("cookie", "_ga=1; theme=dark")]).await;
    assert!(view.get_with("/", &[("cookie", "theme=dark; _ga=2")]).await.is_hit());
    assert!(!view.get_with("/", &[("cookie", "theme=light; _ga=1")]).await.is_hit());
}

async fn forwarded_headers_do_not_poison_pages(site: Site) {
    let view = View::new(|request, _| {
        let host = request
            .headers()
            .get("x-forwarded-host")
            .map_or("none", |host| host.to_str().expect("ASCII"));
        page(&[], &format!("<a href=//{host}>"))
    });
    let cached = view.cached(&site.layer());
    cached.get_with("/", &[("x-forwarded-host", "evil.example")]).await;
    assert_eq!(cached.get("/").await.body, "<a href=//none>");
}

async fn request_with_an_override_header_bypasses_the_cache(site: Site) {
    for name in ["x-http-method-override", "x-original-url", "x-rewrite-url"] {
        let view = View::with(&[]).cached(&site.layer());
        assert_eq!(view.get_with("/", &[(name, "/admin")]).await.reason(), "override-header");
    }
    assert!(!View::with(&[]).cached(&site.layer()).get("/").await.is_hit());
}

async fn connection_that_names_an_end_to_end_header_bypasses_the_cache(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        view.get("/").await;
        for value in ["Host", "cookie", "close, Accept-Language", "x-forwarded-proto"] {
            assert_eq!(view.get_with("/", &[("connection", value)]).await.reason(), "connection");
        }
        for value in ["close", "Keep-Alive", "TE, , upgrade", "HTTP2-Settings", ""] {
            assert!(view.get_with("/", &[("connection", value)]).await.is_hit(), "{value}");
        }
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn underscore_in_a_header_name_bypasses_the_cache(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("cache-control", "max-age=60")]).cached(&layer);
        view.get("/").await;
        for name in
            ["X_Forwarded_Host", "X_Rewrite_URL", "x_http_method_override", "accept_language"]
        {
            assert_eq!(view.get_with("/", &[(name, "a")]).await.reason(), "header-name", "{name}");
        }
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn hosts_have_separate_pages_and_others_bypass_the_cache(site: Site) {
    let view = View::with(&[]).cached(&site.layer().hosts(["example.org", ".shop.org"]));
    view.get_with("/", &[("host", "example.org")]).await;
    assert!(!view.get_with("/", &[("host", "a.shop.org")]).await.is_hit());
    for _ in 0..2 {
        assert_eq!(
            view.get_with("/", &[("host", "evil.example")]).await.reason(),
            "host-not-allowed"
        );
    }
    assert_eq!(view.get_with("/", &[("host", "a b")]).await.reason(), "host");
}

async fn get_with_a_body_bypasses_the_cache(site: Site) {
    let cached = View::with(&[]).cached(&site.layer());
    let mut fat = request(Method::GET, "/", &[]);
    *fat.body_mut() = Body::from("x");
    assert_eq!(cached.send(fat).await.reason(), "request-body");
    assert!(!cached.get("/").await.is_hit());
}

async fn private_page_with_a_static_extension_is_not_stored(site: Site) {
    let view = View::with(&[("cache-control", "private")]).cached(&site.layer());
    view.get("/account/x.css").await;
    assert!(!view.get("/account/x.css").await.is_hit());
}

async fn path_is_not_normalized(site: Site) {
    let view = View::with(&[]).cached(&site.layer());
    view.get("/a/../b").await;
    view.get("/%62").await;
    for path in ["/b", "/a%2F..%2Fb", "/b/", "/b?", "//b"] {
        assert!(!view.get(path).await.is_hit(), "{path}");
    }
}

async fn body_that_differs_from_content_length_is_not_stored(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::with(&[("content-length", "99"), ("cache-control", "max-age=60")]);
        let second = twice(&view, &layer, &[]).await;
        assert_eq!(second.reason(), "length");
    }
}

async fn streamed_body_that_differs_from_content_length_is_not_stored(site: Site) {
    for text in ["abc", "abcdef"] {
        let view = View::new(move |_, _| {
            let mut response = page(&[("content-length", "5")], "");
            *response.body_mut() = frames(vec![data(text)]);
            response
        });
        let cached = view.cached(&site.layer());
        cached.get("/").await;
        assert!(!cached.get("/").await.is_hit(), "{text}");
    }
}

async fn connection_headers_are_not_stored(site: Site) {
    let view = View::with(&[
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("link", "kept"),
    ]);
    let second = twice(&view, &site.layer(), &[]).await;
    assert!(second.is_hit());
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(second.header(name), None);
    }
    assert_eq!((second.header("link"), second.header("content-length")), (Some("kept"), Some("6")));
}

async fn head_fills_and_uses_the_page_of_get(site: Site) {
    for layer in [site.layer(), site.shared().key_prefix("shared")] {
        let view = View::with(&[("cache-control", "max-age=60")]);
        let cached = view.cached(&layer);
        for is_hit in [false, true] {
            let head = cached.ask(Method::HEAD, "/", &[]).await;
            assert_eq!((head.is_hit(), &*head.body), (is_hit, ""));
            assert_eq!(head.header("content-length"), Some("6"));
        }
        let whole = cached.get("/").await;
        assert!(whole.is_hit() && whole.body == "page 0", "{whole:?}");
    }
}

async fn head_of_a_page_that_is_not_stored_is_passed_on(site: Site) {
    for layer in [site.layer(), site.shared().key_prefix("shared")] {
        let methods = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&methods);
        let view = View::new(move |request, _| {
            seen.lock().expect("no panic").push(request.method().clone());
            page(&[("cache-control", "private")], "yours")
        });
        let cached = view.cached(&layer);
        for _ in 0..3 {
            cached.ask(Method::HEAD, "/", &[]).await;
        }
        // Two responses in a row show that the page cannot be stored.
        let expected = [Method::GET, Method::GET, Method::HEAD];
        assert_eq!(*methods.lock().expect("no panic"), expected);
    }
}

async fn partial_responses_are_not_stored(site: Site) {
    for layer in [site.layer(), site.shared()] {
        for status in [206, 304, 101] {
            let view = View::new(move |_, _| {
                let mut response = page(&[("cache-control", "max-age=60")], "");
                *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
                response
            });
            assert!(!twice(&view, &layer, &[]).await.is_hit(), "{status}");
        }
    }
    let view = View::with(&[("content-range", "bytes 0-1/9")]);
    assert_eq!(twice(&view, &site.layer(), &[]).await.reason(), "partial");
}

async fn content_range_of_a_200_is_ignored_only_if_enabled(site: Site) {
    let headers = &[("cache-control", "max-age=60"), ("content-range", "bytes 0-5/6")];
    for (layer, policy) in [(site.layer(), Policy::site()), (site.shared(), Policy::shared())] {
        let layer = layer.policy(policy.ignore_content_range());
        assert!(twice(&View::with(headers), &layer, &[]).await.is_hit());
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
        for status in [206, 404, 416] {
            let view = View::new(move |_, _| {
                let mut response = page(headers, "page 0");
                *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
                response
            });
            assert!(!twice(&view, &layer, &[]).await.is_hit(), "{status}");
        }
    }
}

async fn condition_of_a_client_does_not_store_a_304(site: Site) {
    let view = View::new(|request, _| {
        let mut response = page(&[("etag", "\"v1\"")], "whole");
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    let cached = view.cached(&site.layer());
    let client = cached.get_with("/", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((client.status, &*client.body), (StatusCode::NOT_MODIFIED, ""));
    let other = cached.get("/").await;
    assert!(other.is_hit() && other.body == "whole", "{other:?}");
    let client = cached.get_with("/", &[("if-none-match", "W/\"v1\"")]).await;
    assert!(
        client.status == StatusCode::NOT_MODIFIED && client.header("etag") == Some("\"v1\""),
        "{client:?}"
    );
    assert_eq!(view.calls(), 1);
}

async fn concurrent_requests_produce_the_page_once(site: Site) {
    let (view, gate) = View::gated(|_, calls| page(&[], &format!("page {calls}")));
    let cached = view.cached(&site.layer());
    let visits: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let cached = cached.clone();
                async move { cached.get("/").await }
            })
        })
        .collect();
    while view.calls() == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(20);
    for context in visits {
        assert_eq!(context.await.expect("task panicked").body, "page 0");
    }
    assert_eq!(view.calls(), 1);
}

async fn private_response_is_not_shared_with_waiters(site: Site) {
    let (view, gate) =
        View::gated(|_, calls| page(&[("cache-control", "private")], &format!("yours {calls}")));
    let cached = view.cached(&site.layer());
    let visits: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let cached = cached.clone();
                async move { cached.get("/").await.body }
            })
        })
        .collect();
    while view.calls() == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(8);
    let mut bodies = Vec::new();
    for context in visits {
        bodies.push(context.await.expect("task panicked"));
    }
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 8, "each request has its own response: {bodies:?}");
}

async fn waiters_get_their_own_variant(site: Site) {
    let (view, gate) = View::gated(|request, _| {
        page(&[("vary", "X-A")], request.headers()["x-a"].to_str().expect("ASCII"))
    });
    let cached = view.cached(&site.layer());
    let visits: Vec<_> = ["one", "two", "three", "one"]
        .map(|value| {
            (
                value,
                tokio::spawn({
                    let cached = cached.clone();
                    async move { cached.get_with("/", &[("x-a", value)]).await.body }
                }),
            )
        })
        .into();
    while view.calls() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(9);
    for (value, context) in visits {
        assert_eq!(context.await.expect("task panicked"), value);
    }
}

async fn body_over_the_limit_passes_through(site: Site) {
    for streamed in [false, true] {
        let view = View::new(move |_, _| {
            let mut response = page(&[], "0123456789");
            if streamed {
                *response.body_mut() = frames(vec![data("01234"), data("56789")]);
            }
            response
        });
        let policy = Policy::site().max_body(9).streaming(true);
        let second = twice(&view, &site.layer().policy(policy), &[]).await;
        assert_eq!(
            (second.status, &*second.body, second.reason()),
            (StatusCode::OK, "0123456789", "too-large")
        );
    }
}

async fn body_of_unknown_length_is_stored_only_if_enabled(site: Site) {
    let view = View::new(|_, _| Response::new(frames(vec![data("a"), data("b")])));
    let second = twice(&view, &site.layer(), &[]).await;
    assert_eq!((second.reason(), &*second.body), ("streaming", "ab"));
    let second = twice(&view, &site.layer().policy(Policy::site().streaming(true)), &[]).await;
    assert!(second.is_hit() && second.body == "ab", "{second:?}");
}

async fn event_stream_is_not_stored(site: Site) {
    let view =
        View::with(&[("content-type", "Text/Event-Stream"), ("cache-control", "max-age=60")]);
    assert_eq!(twice(&view, &site.shared(), &[]).await.reason(), "streaming");
}

async fn failed_body_is_not_stored_and_fails_for_the_client(site: Site) {
    let view = View::new(|_, _| Response::new(frames(vec![data("half"), Err("broken")])));
    let cached = view.cached(&site.layer().policy(Policy::site().streaming(true)));
    for _ in 0..2 {
        let got = cached.get("/").await;
        assert!(got.failed && got.body == "half" && !got.is_hit(), "{got:?}");
    }
}

async fn age_counts_from_the_head_of_a_slow_response(site: Site) {
    let time = site.time.clone();
    let view = View::new(move |_, calls| {
        let late = Late { seconds: if calls == 0 { 50 } else { 70 }, time: time.clone(), polls: 0 };
        let mut response = Response::new(Body::new(StreamBody::new(late)));
        response.headers_mut().insert("cache-control", "max-age=60".parse().expect("valid value"));
        response
    });
    let cached = view.cached(&site.shared());
    cached.get("/").await;
    assert_eq!(cached.get("/").await.header("age"), Some("50"));
    site.advance(10);
    assert!(!cached.get("/").await.is_hit());
    assert!(!cached.get("/").await.is_hit(), "the second response was stale when its body ended");
}

async fn body_with_trailers_is_not_stored(site: Site) {
    let view = View::new(|_, _| {
        Response::new(frames(vec![data("a"), Ok(Frame::trailers(HeaderMap::new()))]))
    });
    let second = twice(&view, &site.layer().policy(Policy::site().streaming(true)), &[]).await;
    assert_eq!(second.reason(), "trailers");
}

async fn coding_is_served_only_to_clients_that_accept_it(site: Site) {
    let view = View::new(|request, _| match request.headers().get("accept-encoding") {
        Some(line) if line.to_str().is_ok_and(|line| line.contains("gzip")) => {
            page(&[("content-encoding", "gzip")], "zip")
        }
        _ => page(&[], "plain"),
    });
    let cached = view.cached(&site.layer());
    cached.get_with("/", &[("accept-encoding", "gzip, br")]).await;
    assert!(cached.get_with("/", &[("accept-encoding", "br , GZIP;q=0.5")]).await.is_hit());
    assert_eq!(cached.get("/").await.body, "plain");
    assert_eq!(cached.get_with("/", &[("accept-encoding", "br, gzip")]).await.body, "zip");
}

async fn unknown_coding_is_served_only_to_the_same_accept_encoding(site: Site) {
    for layer in [site.layer(), site.shared()] {
        let view = View::new(|request, calls| {
            let accepted = request.headers().get("accept-encoding");
            let coding = match accepted.and_then(|line| line.to_str().ok()) {
                Some(line) if line.contains("compress") => "compress",
                _ => "gzip",
            };
            let headers = [("cache-control", "max-age=60"), ("content-encoding", coding)];
            page(&headers, &format!("{coding} {calls}"))
        });
        let cached = view.cached(&layer);
        let get = async |line| cached.get_with("/", &[("accept-encoding", line)]).await;
        assert_eq!(get("gzip, compress").await.body, "compress 0");
        assert_eq!(get("gzip, compress").await.body, "compress 0");
        assert_eq!(get("gzip").await.body, "gzip 1");
        assert_eq!(get("gzip, compress;q=0.1").await.body, "compress 2");
        assert_eq!(get("gzip").await.body, "gzip 1");
        layer.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    }
}

async fn headers_of_outer_layers_are_not_stored(site: Site) {
    let view = View::with(&[("x-inside", "frozen")]);
    let numbered = std::sync::atomic::AtomicUsize::new(0);
    let outside = cache_http::ChangeHeadersLayer::new(move |headers| {
        let number = numbered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        headers.insert("x-request-id", number.into());
    });
    let service = outside.layer(site.layer().layer(view.service()));
    for number in ["0", "1"] {
        let got = Got::of(
            service.clone().oneshot(request(Method::GET, "/", &[])).await.expect("infallible"),
        )
        .await;
        assert_eq!(
            (got.header("x-request-id"), got.header("x-inside")),
            (Some(number), Some("frozen"))
        );
    }
    assert_eq!(view.calls(), 1);
}

async fn errors_are_stored_only_if_enabled(site: Site) {
    for (status, stored) in [(404, false), (410, true), (500, false), (503, false), (302, false)] {
        let view = View::new(move |_, _| {
            let mut response = page(&[], "");
            *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
            response
        });
        let asked_for = [StatusCode::GONE, StatusCode::INTERNAL_SERVER_ERROR];
        let layer =
            site.layer().policy(Policy::site().statuses(asked_for)).key_prefix(&status.to_string());
        assert_eq!(twice(&view, &layer, &[]).await.is_hit(), stored, "{status}");
    }
}

async fn slow_clock_does_not_make_the_age_negative(site: Site) {
    site.time.advance(Duration::from_millis(900));
    let view = View::with(&[]);
    view.cached(&site.layer()).get("/").await;
    let behind = view.cached(&site.layer().clock(ManualClock::new().clock())).get("/").await;
    assert!(behind.is_hit() && behind.header("age") == Some("0"), "{behind:?}");
}

async fn page_is_stale_after_the_clock_is_set_back(site: Site) {
    site.advance(3600);
    let view = View::new(|request, calls| {
        let directives = "max-age=60, stale-while-revalidate=60, stale-if-error=60";
        let headers = [("cache-control", directives), ("etag", "\"v\"")];
        let mut response = page(&headers, &format!("page {calls}"));
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    for (layer, body) in [(site.layer(), "page 1"), (site.shared().key_prefix("s"), "page 2")] {
        view.cached(&layer).get("/").await;
        let set_back = layer.clock(ManualClock::new().clock());
        let got = view.cached(&set_back).get("/").await;
        assert!(!got.is_hit() && got.body == body, "{got:?}");
        assert!(matches!(got.header("age"), None | Some("0")), "{got:?}");
        assert!(view.cached(&set_back).get("/").await.is_hit());
    }
}

async fn query_is_compared_as_written(site: Site) {
    let view = View::with(&[]).cached(&site.layer());
    for query in ["/?a=1&b=2", "/?b=2&a=1", "/?a=1&b=2&utm_source=x", "/?"] {
        assert!(!view.get(query).await.is_hit(), "{query}");
    }
    assert!(view.get("/?a=1&b=2").await.is_hit());
}

async fn clients_cannot_purge_pages(site: Site) {
    let view = View::with(&[]).cached(&site.layer());
    view.get("/").await;
    for method in ["PURGE", "BAN", "DELETE", "POST"] {
        view.ask(Method::from_bytes(method.as_bytes()).expect("valid method"), "/", &[]).await;
    }
    let hostile = [
        ("cache-control", "no-cache, no-store, max-age=0"),
        ("pragma", "no-cache"),
        ("x-invalidate-cache", "1"),
    ];
    assert!(view.get_with("/", &hostile).await.is_hit());
}

async fn expired_response_is_not_stored(site: Site) {
    for layer in [site.layer(), site.shared()] {
        for expires in ["Thu, 01 Jan 1970 00:00:00 GMT", "0", "nonsense"] {
            let view = View::new(move |_, _| page(&[("expires", expires)], ""));
            assert_eq!(twice(&view, &layer, &[]).await.reason(), "expired", "{expires}");
        }
    }
}

async fn invalid_lifetime_counts_as_expired(site: Site) {
    for layer in [site.layer(), site.shared()] {
        for value in ["max-age='60'", "max-age=-1", "max-age"] {
            let view = View::new(move |_, _| page(&[("cache-control", value)], ""));
            let second = twice(&view, &layer, &[]).await;
            assert_eq!((second.status, second.reason()), (StatusCode::OK, "expired"), "{value}");
        }
    }
}

async fn hit_does_not_call_the_inner_service(site: Site) {
    let view = View::with(&[]);
    for _ in 0..3 {
        view.cached(&site.layer()).get("/").await;
    }
    assert_eq!(view.calls(), 1);
}

// CVE-2026-6907, CVE-2026-48587.
async fn vary_star_in_any_spacing_is_not_stored(site: Site) {
    for vary in ["*", " * ", "Accept,\t* ", "*, Accept"] {
        for layer in [site.layer(), site.shared()] {
            let view =
                View::new(move |_, _| page(&[("vary", vary), ("cache-control", "max-age=60")], ""));
            assert_eq!(twice(&view, &layer, &[]).await.reason(), "vary", "{vary:?}");
        }
    }
}

async fn padded_vary_is_obeyed(site: Site) {
    let view = View::with(&[("vary", " X-A\t,, ")]).cached(&site.layer());
    view.get_with("/", &[("x-a", "1")]).await;
    assert!(!view.get_with("/", &[("x-a", "2")]).await.is_hit());
}

// CVE-2026-8404.
async fn directives_are_obeyed_in_any_case_and_spacing(site: Site) {
    let directives = [
        ("PRIVATE", "private"),
        ("max-age=60 ,No-Store", "no-store"),
        ("No-Cache=\"x\"", "no-cache"),
        ("private;max-age=9", "private"),
    ];
    for (value, reason) in directives {
        for layer in [site.layer(), site.shared()] {
            let view = View::new(move |_, _| page(&[("cache-control", value)], ""));
            assert_eq!(twice(&view, &layer, &[]).await.reason(), reason, "{value}");
        }
    }
}

async fn per_view_lifetime_takes_precedence_over_the_site(site: Site) {
    let view = View::with(&[]);
    let inner = cache_page(&site.cache, Duration::from_secs(10))
        .clock(site.time.clock())
        .browser_ttl(BrowserTtl::SameAsCache)
        .key_prefix("view");
    let service = site.layer().layer(tower::util::MapResponse::new(
        inner.layer(view.service()),
        |response: Response<_>| response.map(Body::new),
    ));
    let get = async || {
        Got::of(service.clone().oneshot(request(Method::GET, "/", &[])).await.expect("infallible"))
            .await
    };
    get().await;
    assert!(get().await.header("cache-control").is_some_and(|value| value.contains("max-age=10")));
    assert_eq!(view.calls(), 1);
    site.advance(11);
    get().await;
    assert_eq!(view.calls(), 2, "the site has not stored the page");
    inner.purge_handle().purge_all(Purge::Hard).await.expect("store works");
    get().await;
    assert_eq!(view.calls(), 3, "the site has not stored the page");
}

/// A body whose second chunk arrives after this many seconds.
struct Late {
    seconds: u64,
    time: ManualClock,
    polls: usize,
}

impl futures_core::Stream for Late {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.polls += 1;
        match self.polls {
            1 | 3 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"some"))))),
            2 => {
                self.time.advance(Duration::from_secs(self.seconds));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }
}

#[test]
fn local_hit_is_ready_at_the_first_poll_and_shares_the_body() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let site = Site::in_memory();
    let view = View::with(&[]).cached(&site.layer());
    runtime.block_on(view.get("/"));
    let bodies: Vec<*const u8> = (0..2)
        .map(|_| {
            let mut service = view.0.clone();
            let call =
                tower::Service::<Request<Body>>::call(&mut service, request(Method::GET, "/", &[]));
            let Poll::Ready(Ok(response)) =
                std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop()))
            else {
                panic!("not ready")
            };
            let body = runtime
                .block_on(http_body_util::BodyExt::collect(response.into_body()))
                .expect("body");
            body.to_bytes().as_ptr()
        })
        .collect();
    assert_eq!(bodies[0], bodies[1]);
}

on_each_store! {
    response_with_set_cookie_is_not_stored,
    stripped_cookie_is_sent_only_to_its_client,
    stored_cookie_is_sent_to_every_client_only_if_enabled,
    response_to_an_authorized_request_is_not_shared,
    authorized_response_is_stored_only_if_its_directives_allow_it,
    response_to_a_request_with_a_session_is_not_shared,
    request_with_a_session_cookie_bypasses_the_cache,
    request_with_ten_trackers_is_a_hit,
    request_with_an_unknown_cookie_bypasses_the_cache,
    explicitly_shared_page_is_stored_and_served_despite_unknown_cookies,
    handler_never_sees_an_ignored_cookie,
    site_stores_a_page_for_each_value_of_the_named_cookies,
    adjacent_vary_values_are_not_confused,
    absent_header_differs_from_empty_header,
    variants_are_stored_side_by_side,
    uri_that_has_varied_continues_to_vary,
    page_that_varies_on_cookies_requires_equal_cookies,
    unlisted_cookies_create_no_variants,
    forwarded_headers_do_not_poison_pages,
    request_with_an_override_header_bypasses_the_cache,
    connection_that_names_an_end_to_end_header_bypasses_the_cache,
    underscore_in_a_header_name_bypasses_the_cache,
    hosts_have_separate_pages_and_others_bypass_the_cache,
    get_with_a_body_bypasses_the_cache,
    private_page_with_a_static_extension_is_not_stored,
    path_is_not_normalized,
    body_that_differs_from_content_length_is_not_stored,
    streamed_body_that_differs_from_content_length_is_not_stored,
    connection_headers_are_not_stored,
    head_fills_and_uses_the_page_of_get,
    head_of_a_page_that_is_not_stored_is_passed_on,
    partial_responses_are_not_stored,
    content_range_of_a_200_is_ignored_only_if_enabled,
    condition_of_a_client_does_not_store_a_304,
    concurrent_requests_produce_the_page_once,
    private_response_is_not_shared_with_waiters,
    waiters_get_their_own_variant,
    body_over_the_limit_passes_through,
    body_of_unknown_length_is_stored_only_if_enabled,
    event_stream_is_not_stored,
    failed_body_is_not_stored_and_fails_for_the_client,
    age_counts_from_the_head_of_a_slow_response,
    body_with_trailers_is_not_stored,
    coding_is_served_only_to_clients_that_accept_it,
    unknown_coding_is_served_only_to_the_same_accept_encoding,
    headers_of_outer_layers_are_not_stored,
    errors_are_stored_only_if_enabled,
    slow_clock_does_not_make_the_age_negative,
    query_is_compared_as_written,
    clients_cannot_purge_pages,
    expired_response_is_not_stored,
    invalid_lifetime_counts_as_expired,
    hit_does_not_call_the_inner_service,
    vary_star_in_any_spacing_is_not_stored,
    padded_vary_is_obeyed,
    directives_are_obeyed_in_any_case_and_spacing,
    per_view_lifetime_takes_precedence_over_the_site,
}

/// Stores whose pages age by the system clock, which can be set back.
mod shared_stores {
    use super::*;

    on_each_store!(files on_files: page_is_stale_after_the_clock_is_set_back,);
    on_each_store!(sqlite on_sqlite: page_is_stale_after_the_clock_is_set_back,);
    on_each_store!(memcached on_memcached: page_is_stale_after_the_clock_is_set_back,);
    on_each_store!(redis on_redis: page_is_stale_after_the_clock_is_set_back,);
}
