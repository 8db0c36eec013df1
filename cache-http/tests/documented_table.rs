//! The tables of what is cached by default, in the documentation of the crate and in the README.
//!
//! Each row is a text and a test case. The documentation of the crate has exactly these rows, and
//! the README has some of them.

mod common;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use cache_http::HttpCacheLayer;
use common::{Cached, Site, View, request};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;

/// What becomes of a response in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    NotStored,
    /// Stored and served for this number of seconds.
    Stored(u64),
    /// Stored and validated with the origin for each request.
    Validated,
}
use Fate::{NotStored, Stored, Validated};

impl Fate {
    fn text(self) -> String {
        match self {
            NotStored => "not stored".to_owned(),
            Stored(seconds) => format!("{seconds} s"),
            Validated => "validated each time".to_owned(),
        }
    }
}

type Headers = &'static [(&'static str, &'static str)];

/// The kind of request: its text, method and headers.
type Kind = (&'static str, Method, Headers);

const GET: Kind = ("`GET`", Method::GET, &[]);
const TRACKED: Kind = ("`GET` with the cookie `_ga`", Method::GET, &[("cookie", "_ga=1")]);
const THEME: Kind = ("`GET` with the cookie `theme`", Method::GET, &[("cookie", "theme=dark")]);
const SESSION: Kind =
    ("`GET` with the cookie `sessionid`", Method::GET, &[("cookie", "sessionid=1")]);
const AUTHORIZED: Kind =
    ("`GET` with `Authorization`", Method::GET, &[("authorization", "Bearer x")]);
const NO_CACHE: Kind =
    ("`GET` with `Cache-Control: no-cache`", Method::GET, &[("cache-control", "no-cache")]);
const NO_STORE: Kind =
    ("`GET` with `Cache-Control: no-store`", Method::GET, &[("cache-control", "no-store")]);
const CONDITIONAL: Kind =
    ("`GET` with `If-None-Match`", Method::GET, &[("if-none-match", "\"other\"")]);
const RANGE: Kind = ("`GET` with `Range`", Method::GET, &[("range", "bytes=0-1")]);
const OVERRIDE: Kind =
    ("`GET` with `X-HTTP-Method-Override`", Method::GET, &[("x-http-method-override", "DELETE")]);
const HEAD: Kind = ("`HEAD`", Method::HEAD, &[]);
const POST: Kind = ("`POST`", Method::POST, &[]);

/// What the inner service returns: its text, status, headers and body.
type Content = (&'static str, u16, Headers, Text);

#[derive(Clone, Copy)]
enum Text {
    Short,
    OfUnknownLength,
    Of3MiB,
}
use Text::{Of3MiB, OfUnknownLength, Short};

const MAX_AGE: (&str, &str) = ("cache-control", "max-age=60");

/// The first table: a request, its response, and what a site and a shared cache do with it.
const RESPONSES: &[(Kind, Content, Fate, Fate)] = &[
    (GET, ("200", 200, &[], Short), Stored(600), NotStored),
    (
        GET,
        (
            "200, `Last-Modified` an hour ago",
            200,
            &[("last-modified", "Wed, 31 Dec 2025 23:00:00 GMT")],
            Short,
        ),
        Stored(600),
        Stored(360),
    ),
    (GET, ("200, `max-age=60`", 200, &[MAX_AGE], Short), Stored(60), Stored(60)),
    (
        GET,
        (
            "200, `s-maxage=30, max-age=60`",
            200,
            &[("cache-control", "s-maxage=30, max-age=60")],
            Short,
        ),
        Stored(30),
        Stored(30),
    ),
    (
        GET,
        ("200, `Expires` in a minute", 200, &[("expires", "Thu, 01 Jan 2026 00:01:00 GMT")], Short),
        Stored(60),
        Stored(60),
    ),
    (
        GET,
        ("200, `max-age=0`", 200, &[("cache-control", "max-age=0")], Short),
        NotStored,
        NotStored,
    ),
    (
        GET,
        (
            "200, `max-age=0`, `ETag`",
            200,
            &[("cache-control", "max-age=0"), ("etag", "\"v1\"")],
            Short,
        ),
        NotStored,
        Validated,
    ),
    (
        GET,
        ("200, `private`", 200, &[("cache-control", "private, max-age=60")], Short),
        NotStored,
        NotStored,
    ),
    (
        GET,
        ("200, `no-store`", 200, &[("cache-control", "no-store, max-age=60")], Short),
        NotStored,
        NotStored,
    ),
    (
        GET,
        ("200, `Set-Cookie`", 200, &[MAX_AGE, ("set-cookie", "a=1")], Short),
        NotStored,
        NotStored,
    ),
    (GET, ("200, `Vary: *`", 200, &[MAX_AGE, ("vary", "*")], Short), NotStored, NotStored),
    (
        GET,
        ("200, `max-age=60`, body of unknown length", 200, &[MAX_AGE], OfUnknownLength),
        NotStored,
        Stored(60),
    ),
    (GET, ("200, `max-age=60`, body over 2 MiB", 200, &[MAX_AGE], Of3MiB), NotStored, NotStored),
    (GET, ("206, `max-age=60`", 206, &[MAX_AGE], Short), NotStored, NotStored),
    (GET, ("301, `max-age=60`", 301, &[MAX_AGE], Short), NotStored, Stored(60)),
    (GET, ("404", 404, &[], Short), NotStored, NotStored),
    (GET, ("404, `max-age=60`", 404, &[MAX_AGE], Short), NotStored, Stored(60)),
    (GET, ("500", 500, &[], Short), NotStored, NotStored),
    (TRACKED, ("200, `max-age=60`", 200, &[MAX_AGE], Short), Stored(60), Stored(60)),
    (THEME, ("200, `max-age=60`", 200, &[MAX_AGE], Short), NotStored, Stored(60)),
    (
        THEME,
        ("200, `public, max-age=60`", 200, &[("cache-control", "public, max-age=60")], Short),
        Stored(60),
        Stored(60),
    ),
    (SESSION, ("200, `max-age=60`", 200, &[MAX_AGE], Short), NotStored, NotStored),
    (
        SESSION,
        ("200, `public, max-age=60`", 200, &[("cache-control", "public, max-age=60")], Short),
        Stored(60),
        NotStored,
    ),
    (
        AUTHORIZED,
        ("200, `public, max-age=60`", 200, &[("cache-control", "public, max-age=60")], Short),
        NotStored,
        NotStored,
    ),
    (NO_STORE, ("200, `max-age=60`", 200, &[MAX_AGE], Short), Stored(60), NotStored),
    (CONDITIONAL, ("200, `max-age=60`", 200, &[MAX_AGE], Short), Stored(60), Stored(60)),
    (RANGE, ("200, `max-age=60`", 200, &[MAX_AGE], Short), NotStored, Stored(60)),
    (HEAD, ("200, `max-age=60`", 200, &[MAX_AGE], Short), Stored(60), Stored(60)),
    (POST, ("200, `max-age=60`", 200, &[MAX_AGE], Short), NotStored, NotStored),
];

/// The second table: a request, and whether it is served a stored page with `max-age=60` and one
/// with `public, max-age=60`, each from the cache of a site and from a shared cache.
const REQUESTS: &[(Kind, [bool; 2], [bool; 2])] = &[
    (GET, [true, true], [true, true]),
    (TRACKED, [true, true], [true, true]),
    (THEME, [false, true], [true, true]),
    (SESSION, [false, false], [true, false]),
    (AUTHORIZED, [false, false], [false, false]),
    (NO_CACHE, [true, true], [true, true]),
    (NO_STORE, [true, true], [true, true]),
    (CONDITIONAL, [true, true], [true, true]),
    (RANGE, [false, true], [false, true]),
    (OVERRIDE, [false, false], [false, false]),
    (HEAD, [true, true], [true, true]),
    (POST, [false, false], [false, false]),
];

/// A body of unknown length.
struct Unsized(Option<Bytes>);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

fn response(&(_, status, headers, text): &Content) -> Response<Body> {
    let body = match text {
        Short => Body::from("page"),
        OfUnknownLength => Body::new(Unsized(Some(Bytes::from_static(b"page")))),
        Of3MiB => Body::from("x".repeat(3 << 20)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("valid value"));
    }
    response
}

/// A view with this content, which confirms its entity tag.
fn view(content: &'static Content) -> View {
    let confirms = |request: &Request<Body>| {
        let tag = content.2.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| *tag);
        tag.is_some_and(|tag| {
            request.headers().get("if-none-match").is_some_and(|sent| sent == tag)
        })
    };
    View::new(move |request, _| {
        let mut response = response(content);
        if confirms(&request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        response
    })
}

/// Sends the request, and finds out what later visitors without any special header get.
async fn fate(site: &Site, layer: &HttpCacheLayer, kind: &Kind, content: &'static Content) -> Fate {
    let cached = view(content).cached(layer);
    cached.ask(kind.1.clone(), "/", kind.2).await;
    let next = cached.get("/").await;
    if !next.is_hit() {
        let validated = next.status == StatusCode::OK
            && next.header("cache-status").is_some_and(|status| status.contains("fwd-status=304"));
        return if validated { Validated } else { NotStored };
    }
    let mut seconds = 0;
    while cached.get("/").await.is_hit() && seconds < 1000 {
        site.advance(1);
        seconds += 1;
    }
    Stored(seconds)
}

fn presets(site: &Site, case: &str) -> [HttpCacheLayer; 2] {
    [
        site.layer().key_prefix(&format!("{case} site")),
        site.shared().key_prefix(&format!("{case} shared")),
    ]
}

#[tokio::test]
async fn responses_are_stored_as_documented() {
    for (kind, content, in_site, in_shared) in RESPONSES {
        let text = format!("{} → {}", kind.0, content.0);
        for (preset, expected) in [in_site, in_shared].into_iter().enumerate() {
            // Some responses contain a date, so each case begins at the same time.
            let site = Site::in_memory();
            let layer = &presets(&site, "")[preset];
            assert_eq!(fate(&site, layer, kind, content).await, *expected, "{layer:?}: {text}");
        }
    }
}

static PLAIN: Content = ("", 200, &[MAX_AGE], Short);
static PUBLIC: Content = ("", 200, &[("cache-control", "public, max-age=60")], Short);

async fn requests_are_served_from_the_store_as_documented(site: Site) {
    let is_served = async |cached: &Cached, kind: &Kind| {
        cached.get("/").await;
        let got = cached.send(request(kind.1.clone(), "/", kind.2)).await;
        got.is_hit()
    };
    for (case, (kind, plain, public)) in REQUESTS.iter().enumerate() {
        for (content, expected) in [(&PLAIN, plain), (&PUBLIC, public)] {
            let case = format!("{case} {}", content.2[0].1.len());
            for (layer, expected) in presets(&site, &case).iter().zip(expected) {
                let cached = view(content).cached(layer);
                let text = format!("{} of {:?} in {layer:?}", kind.0, content.2);
                assert_eq!(is_served(&cached, kind).await, *expected, "{text}");
            }
        }
    }
}

on_each_store! {
    requests_are_served_from_the_store_as_documented,
}

fn rows() -> Vec<String> {
    let yes = |served: bool| if served { "yes" } else { "no" };
    let responses = RESPONSES.iter().map(|(kind, content, site, shared)| {
        format!("| {} | {} | {} | {} |", kind.0, content.0, site.text(), shared.text())
    });
    let requests = REQUESTS.iter().map(|(kind, plain, public)| {
        let cells = [plain[0], public[0], plain[1], public[1]].map(yes);
        format!("| {} | {} |", kind.0, cells.join(" | "))
    });
    responses.chain(requests).collect()
}

/// The rows of the tables between two lines of a text, without the heads.
fn documented(text: &str, start: &str, end: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let section = lines.skip_while(|line| *line != start).skip(1).take_while(|line| *line != end);
    section.filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

#[test]
fn documentation_of_the_crate_has_exactly_these_rows() {
    let text = include_str!("../src/lib.rs");
    let found = documented(text, "# What is cached by default", "# Privacy");
    let expected = rows();
    assert_eq!(found, expected, "expected:\n//! {}\n", expected.join("\n//! "));
}

#[test]
fn rows_of_the_readme_are_among_these() {
    let text = include_str!("../../README.md");
    let (found, rows) = (documented(text, "## Cache pages", "## Operate it"), rows());
    assert!(found.len() >= 6, "{found:?}");
    for row in found {
        assert!(rows.contains(&row), "{row}");
    }
}
