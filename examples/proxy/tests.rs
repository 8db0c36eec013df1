//! Tests of the proxy and its layer, between a real client and a real origin.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{forward::Forward, options::preset, server::serve};

type Body = BoxBody<Bytes, hyper::Error>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body of these frames, without a known length.
fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    let mut frames = frames.into_iter();
    let next = move || frames.next().map(Ok);
    StreamBody::new(futures_util::stream::iter(std::iter::from_fn(next))).boxed()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a port");
    let address = listener.local_addr().expect("a local address");
    (listener, address)
}

async fn proxy(name: &'static str, origin: SocketAddr) -> SocketAddr {
    proxy_to(name, to(origin)).await
}

async fn proxy_to(name: &'static str, origin: Forward) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move { serve(listener, origin, &preset(name).expect("a preset")).await });
    address
}

fn to(origin: SocketAddr) -> Forward {
    Forward::to(format!("http://{origin}").parse().expect("valid URL"))
}

/// An origin that counts its requests, and a proxy in front of it.
struct Fixture {
    proxy: SocketAddr,
    calls: Arc<AtomicUsize>,
    client: Client<HttpConnector, Body>,
}

impl Fixture {
    async fn new<F>(
        preset: &'static str,
        respond: impl Fn(Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (listener, address) = listen().await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| {
                    counted.fetch_add(1, SeqCst);
                    async move { Ok::<_, hyper::Error>(respond(request).await) }
                });
                let mut server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(
                    server.auto_date_header(false).serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { proxy: proxy(preset, address).await, calls, client }
    }

    /// The same servers with an HTTP/2 client.
    fn over_http2(&self) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { proxy: self.proxy, calls: Arc::clone(&self.calls), client }
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Body,
    ) -> Received {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.proxy));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .client
            .request(request.body(body).expect("valid request"))
            .await
            .expect("a response");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a complete body");
        let trailers = body.trailers().cloned();
        Received { status: head.status, headers: head.headers, body: body.to_bytes(), trailers }
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Received {
        self.send(&Method::GET, path, headers, full("")).await
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn is_hit(&self) -> bool {
        self.header("cache-status").starts_with("cachette; hit")
    }
}

fn response(lines: &[(&'static str, &'static str)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    for (name, value) in lines {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

/// The method, the path and the query of the request.
async fn request_line(request: Request<Incoming>) -> Response<Body> {
    response(&[("x-origin", "1")], full(format!("{} {}", request.method(), request.uri())))
}

/// Streams the request body back.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    Response::new(request.into_body().boxed())
}

/// A page with `max-age` and an entity tag.
async fn page(_: Request<Incoming>) -> Response<Body> {
    response(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")], full("0123456789"))
}

/// 3 MB of binary data.
fn binary() -> Bytes {
    (0..3_000_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test]
async fn every_method_is_forwarded_even_an_unknown_one() {
    for preset in ["site", "shared"] {
        let fixture = Fixture::new(preset, request_line).await;
        for method in [
            "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "BREW", "get",
            "M-SEARCH",
        ] {
            let method: Method = method.parse().expect("valid method");
            let got = fixture.send(&method, "/a/%2e/b?x=%20&y", &[], full("")).await;
            assert_eq!(got.body, format!("{method} /a/%2e/b?x=%20&y"), "{preset}");
        }
        // The body is "GET /": the cache fetches the whole page to store it.
        let head = fixture.send(&Method::HEAD, "/", &[], full("")).await;
        assert_eq!(
            (head.header("x-origin"), head.header("content-length"), head.body.len()),
            ("1", "5", 0)
        );
    }
}

#[tokio::test]
async fn every_status_is_forwarded() {
    let fixture = Fixture::new("shared", async |request: Request<Incoming>| {
        let mut response = Response::new(full(""));
        let status = request.uri().path()[1..].parse::<u16>().expect("a number");
        *response.status_mut() = StatusCode::from_u16(status).expect("valid status");
        response
    })
    .await;
    for status in 200..=599 {
        assert_eq!(fixture.get(&format!("/{status}"), &[]).await.status.as_u16(), status);
    }
    assert_eq!(fixture.calls(), 400);
}

#[tokio::test]
async fn repeated_headers_keep_their_order_in_both_directions() {
    let fixture = Fixture::new("site", async |request: Request<Incoming>| {
        let mut response =
            response(&[("set-cookie", "a=1"), ("link", "<x>"), ("set-cookie", "b=2")], full(""));
        for line in request.headers().get_all("x-many") {
            response.headers_mut().append("x-many", line.clone());
        }
        response
    })
    .await;
    let got = fixture
        .get("/", &[("x-many", "1"), ("x-other", "-"), ("x-many", "2, 3"), ("x-many", "1")])
        .await;
    let lines = |name| got.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(lines("x-many"), ["1", "2, 3", "1"]);
    assert_eq!(lines("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn hop_by_hop_headers_are_removed() {
    let fixture = Fixture::new("site", async |request: Request<Incoming>| {
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        response(
            &[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "1")],
            full(names.join(" ")),
        )
    })
    .await;
    let got = fixture
        .get("/", &[("connection", "x-mine"), ("x-mine", "1"), ("te", "gzip"), ("x-kept", "1")])
        .await;
    let arrived = String::from_utf8_lossy(&got.body).into_owned();
    assert!(arrived.contains("x-kept") && arrived.contains("host"), "{arrived}");
    assert!(
        !["x-mine", "connection", "te "].iter().any(|name| arrived.contains(name)),
        "{arrived}"
    );
    assert!(
        !got.headers.contains_key("x-hop") && !got.headers.contains_key("keep-alive"),
        "{:?}",
        got.headers
    );
}

#[tokio::test]
async fn connection_never_hides_a_header_that_the_page_depends_on() {
    const NAMES: [&str; 4] = ["host", "cookie", "accept-language", "x-forwarded-proto"];
    for preset in ["site", "shared"] {
        let fixture = Fixture::new(preset, async |request: Request<Incoming>| {
            let value = |name| match request.headers().get(name) {
                Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                None => "-".to_owned(),
            };
            let headers =
                [("cache-control", "public, max-age=60"), ("vary", "accept-language, cookie")];
            response(&headers, full(NAMES.map(value).join(" ")))
        })
        .await;
        let send = async |connection: &str, [host, cookie, language, scheme]: [&str; 4]| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\
                 Accept-Language: {language}\r\nX-Forwarded-Proto: {scheme}\r\n\
                 Connection: close{connection}\r\n\r\n"
            );
            raw(fixture.proxy, &text).await
        };
        let (attacker, victim) =
            (["evil.example", "a=1", "xx", "ftp"], ["shop.example", "a=2", "de", "https"]);
        for hidden in NAMES {
            // The attacker wants the page for the victim's values without the hidden one, and the
            // page for the own hidden value under the key of the victim.
            let mut poison = victim;
            let position = NAMES.iter().position(|name| *name == hidden).expect("in the list");
            poison[position] = attacker[position];
            for values in [poison, victim] {
                let got = send(&format!(", {hidden}"), values).await;
                assert!(got.contains("detail=connection"), "{preset} {hidden}: {got}");
            }
        }
        let mut hits = 0;
        for _ in 0..2 {
            for values in [victim, attacker] {
                let got = send("", values).await;
                assert!(got.ends_with(&format!("\r\n\r\n{}", values.join(" "))), "{got}");
                hits += usize::from(got.contains("; hit"));
            }
        }
        assert_eq!(hits, 2, "{preset}");
    }
}

#[tokio::test]
async fn large_and_empty_bodies_are_streamed_in_both_directions() {
    let fixture = Fixture::new("shared", echo).await;
    let binary = binary();
    let chunks = (0..binary.len())
        .step_by(70_000)
        .map(|start| binary.slice(start..binary.len().min(start + 70_000)));
    let chunked =
        fixture.send(&Method::POST, "/", &[], frames(chunks.map(Frame::data).collect())).await;
    assert!(chunked.body == binary, "received {} bytes", chunked.body.len());
    let whole = fixture.send(&Method::PUT, "/", &[], full(binary.clone())).await;
    assert!(whole.body == binary, "received {} bytes", whole.body.len());
    assert!(fixture.send(&Method::POST, "/", &[], full("")).await.body.is_empty());
}

#[tokio::test]
async fn trailers_are_forwarded_and_not_stored() {
    let fixture = Fixture::new("shared", async |_| {
        let trailers = [("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))]
            .into_iter()
            .collect();
        let frames =
            frames(vec![Frame::data(Bytes::from_static(b"seven")), Frame::trailers(trailers)]);
        response(&[("cache-control", "max-age=60"), ("trailer", "x-sum")], frames)
    })
    .await;
    for _ in 0..2 {
        let got = fixture.get("/", &[("te", "trailers")]).await;
        assert_eq!(got.body, "seven");
        assert_eq!(got.trailers.expect("trailers")["x-sum"], "7");
    }
    assert_eq!(fixture.calls(), 2);
}

#[tokio::test]
async fn stored_page_serves_head_range_and_conditional_requests() {
    let fixture = Fixture::new("shared", page).await;
    assert!(!fixture.get("/", &[]).await.is_hit());
    let hit = fixture.get("/", &[]).await;
    assert!(
        hit.is_hit() && hit.body == "0123456789" && hit.header("age") == "0",
        "{:?}",
        hit.headers
    );
    let head = fixture.send(&Method::HEAD, "/", &[], full("")).await;
    assert!(
        head.is_hit() && head.body.is_empty() && head.header("content-length") == "10",
        "{:?}",
        head.headers
    );
    let range = fixture.get("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((range.status.as_u16(), &*range.body), (206, &b"234"[..]));
    let known = fixture.get("/", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(fixture.calls(), 1);
    assert_eq!(fixture.send(&Method::POST, "/", &[], full("")).await.status, StatusCode::OK);
    assert!(!fixture.get("/", &[]).await.is_hit(), "an unsafe method invalidates");
}

#[tokio::test]
async fn large_page_of_unknown_length_is_stored() {
    let fixture = Fixture::new("shared", async |_| {
        let chunks = (0..30).map(|_| Frame::data(Bytes::from(vec![7; 50_000])));
        response(&[("cache-control", "max-age=60")], frames(chunks.collect()))
    })
    .await;
    for hit in [false, true] {
        let got = fixture.get("/", &[]).await;
        assert_eq!((got.body.len(), got.is_hit()), (1_500_000, hit));
    }
}

#[tokio::test]
async fn stored_page_is_shared_between_http_1_and_http_2() {
    let http1 = Fixture::new("shared", page).await;
    let http2 = http1.over_http2();
    assert!(!http2.get("/", &[]).await.is_hit());
    for client in [&http2, &http1] {
        let got = client.get("/", &[]).await;
        assert!(got.is_hit() && got.body == "0123456789", "{:?}", got.headers);
    }
    let head = http2.send(&Method::HEAD, "/", &[], full("")).await;
    assert!(
        head.is_hit() && head.body.is_empty() && head.header("content-length") == "10",
        "{:?}",
        head.headers
    );
    let range = http2.get("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((range.status.as_u16(), &*range.body), (206, &b"234"[..]));
    assert_eq!(
        http2.get("/", &[("if-none-match", "\"v1\"")]).await.status,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(http2.calls(), 1);
}

#[tokio::test]
async fn http_2_host_and_cookies_are_converted_to_http_1() {
    let fixture = Fixture::new("site", async |request: Request<Incoming>| {
        let lines = |name| request.headers().get_all(name).iter().cloned().collect::<Vec<_>>();
        let text = format!("{:?} {:?} {:?}", request.version(), lines("host"), lines("cookie"));
        response(&[], full(text))
    })
    .await;
    // HTTP/2 sends each cookie in its own header (RFC 9113, section 8.2.3).
    let got = fixture.over_http2().get("/", &[("cookie", "a=1"), ("cookie", "b=2")]).await;
    assert_eq!(got.body, format!("HTTP/1.1 [\"{}\"] [\"a=1; b=2\"]", fixture.proxy));
}

#[tokio::test]
async fn http_2_bodies_and_trailers_are_forwarded_in_both_directions() {
    let fixture = Fixture::new("shared", echo).await.over_http2();
    let binary = binary();
    let trailers =
        [("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))].into_iter().collect();
    let body = frames(vec![Frame::data(binary.clone()), Frame::trailers(trailers)]);
    let got =
        fixture.send(&Method::POST, "/", &[("te", "trailers"), ("trailer", "x-sum")], body).await;
    assert!(got.body == binary, "received {} bytes", got.body.len());
    assert!(fixture.send(&Method::PUT, "/", &[], full("")).await.body.is_empty());
}

/// Starts an origin that sends `response` on every connection and closes it. Returns its address
/// and the heads of the requests.
async fn raw_origin(response: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (listener, address) = listen().await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            recorded.lock().expect("no panic while locked").push(head);
            let _ = stream.write_all(response).await;
        }
    });
    (address, requests)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Sends `request` and returns everything the proxy sends until it closes the connection.
async fn raw(proxy: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.expect("a local address");
    stream.write_all(request.as_bytes()).await.expect("send the request");
    let mut bytes = Vec::new();
    let all = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await;
    all.expect("the proxy closes the connection").expect("a clean close");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn case_of_header_names_is_kept_in_both_directions() {
    let (origin, requests) =
        raw_origin(b"HTTP/1.1 200 OK\r\nX-SomE: 1\r\nContent-Length: 2\r\n\r\nok").await;
    let got = raw(
        proxy("site", origin).await,
        "POST / HTTP/1.1\r\nHoSt: a\r\nX-MinE: 1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.contains("X-SomE: 1") && got.ends_with("\r\n\r\nok"), "{got}");
    let head = requests.lock().expect("no panic while locked")[0].clone();
    assert!(head.contains("X-MinE: 1") && head.contains("HoSt: a"), "{head}");
}

#[tokio::test]
async fn interim_response_is_not_the_final_one() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (origin, _) = raw_origin(interim).await;
    let got = raw(
        proxy("shared", origin).await,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("\r\n\r\nok"), "{got}");
}

#[tokio::test]
async fn truncated_body_is_an_error_for_the_client_and_is_not_stored() {
    for cut in [
        &b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut"[..],
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\ncut\r\n",
    ] {
        let (origin, requests) = raw_origin(cut).await;
        let proxy = proxy("shared", origin).await;
        let client: Client<HttpConnector, Body> =
            Client::builder(TokioExecutor::new()).build_http();
        for _ in 0..2 {
            let request = Request::get(format!("http://{proxy}/"));
            let request = request.body(full("")).expect("valid request");
            // The error may come before the head of the response or after it.
            if let Ok(response) = client.request(request).await {
                assert!(response.into_body().collect().await.is_err());
            }
        }
        assert!(
            requests.lock().expect("no panic while locked").len() >= 2,
            "the origin got each request"
        );
    }
}

/// Starts an origin that keeps connections open and responds to each request with this head. Its
/// body, which looks like a response, arrives only after the next request.
async fn broken_origin(head: &'static str) -> SocketAddr {
    const BODY: &str = "HTTP/1.1 200 OK\r\nX-Origin: smuggled\r\nContent-Length: 0\r\n\r\n";
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut late = "";
                while !read_head(&mut stream).await.is_empty() {
                    let _ = stream.write_all(format!("{late}{head}\r\n\r\n").as_bytes()).await;
                    late = BODY;
                }
            });
        }
    });
    address
}

/// The method of a request, and the head of a response that must not have a body.
const WITHOUT_BODY: [(&str, &str); 3] = [
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 46"),
    ("GET", "HTTP/1.1 204 No Content"),
    ("GET", "HTTP/1.1 304 Not Modified"),
];

#[tokio::test]
async fn body_where_there_must_be_none_is_not_the_next_response() {
    for (method, head) in WITHOUT_BODY {
        let proxy = proxy("shared", broken_origin(head).await).await;
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        for _ in 0..15 {
            let got = raw(proxy, &request).await;
            assert!(got.starts_with(&head[..12]) && !got.contains("smuggled"), "{head}: {got}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_without_a_body_is_never_reused_by_concurrent_requests() {
    for (method, head) in WITHOUT_BODY {
        let proxy = proxy("shared", broken_origin(head).await).await;
        let requests = (0..8).map(|client| {
            tokio::spawn(async move {
                for number in 0..25 {
                    let request = format!(
                        "{method} /{client}/{number} HTTP/1.1\r\nHost: a\r\n\
                         Connection: close\r\n\r\n"
                    );
                    let got = raw(proxy, &request).await;
                    assert!(got.starts_with(&head[..12]), "{head}: {got}");
                }
            })
        });
        for client in requests.collect::<Vec<_>>() {
            client.await.expect("no smuggled response");
        }
    }
}

#[tokio::test]
async fn connection_to_the_origin_is_reused_after_a_body() {
    let (listener, address) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            while !read_head(&mut stream).await.is_empty() {
                let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(response).await;
            }
        }
    });
    let proxy = proxy("site", address).await;
    // A request can arrive before the connection of the last one is idle.
    while connections.load(SeqCst) < 10 {
        let before = connections.load(SeqCst);
        for _ in 0..2 {
            let got = raw(proxy, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            assert!(got.ends_with("\r\n\r\nok"), "{got}");
        }
        if connections.load(SeqCst) < before + 2 {
            return;
        }
    }
    panic!("each request had a connection of its own");
}

#[tokio::test]
async fn response_with_more_than_100_headers_is_forwarded_and_stored() {
    let fixture = Fixture::new("shared", async |_| {
        let mut response = response(&[("cache-control", "max-age=60")], full("many"));
        for number in 0..500 {
            response.headers_mut().append(
                http::HeaderName::try_from(format!("x-{number}")).expect("valid name"),
                HeaderValue::from(number),
            );
        }
        response
    })
    .await;
    // The client of the fixture accepts 100 headers only.
    for hit in [false, true] {
        let text =
            raw(fixture.proxy, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(text.contains("x-499: 499") && text.ends_with("\r\n\r\nmany"), "{text}");
        assert_eq!(text.contains("; hit"), hit, "{text}");
    }
}

#[tokio::test]
async fn request_without_a_host_is_a_400() {
    let fixture = Fixture::new("site", page).await;
    for head in ["GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\nHost: a", "GET http://a/ HTTP/1.1"]
    {
        let got = raw(fixture.proxy, &format!("{head}\r\nConnection: close\r\n\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 400 Bad Request"), "{head}: {got}");
    }
    assert_eq!(fixture.calls(), 0);
}

#[tokio::test]
async fn host_of_an_absolute_request_target_replaces_the_header() {
    let fixture = Fixture::new("shared", async |request: Request<Incoming>| {
        let host = request.headers()["host"].to_str().expect("text").to_owned();
        response(&[("cache-control", "max-age=60")], full(host))
    })
    .await;
    let absolute =
        "GET http://shop.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let got = raw(fixture.proxy, absolute).await;
    assert!(got.ends_with("\r\n\r\nshop.example"), "{got}");
    let plain = |host| format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let got = raw(fixture.proxy, &plain("shop.example")).await;
    assert!(got.contains("; hit") && got.ends_with("\r\n\r\nshop.example"), "{got}");
    let got = raw(fixture.proxy, &plain("evil.example")).await;
    assert!(!got.contains("; hit") && got.ends_with("\r\n\r\nevil.example"), "{got}");
}

/// Starts an origin that accepts each WebSocket handshake, sends `hello` with its response, and
/// then sends back whatever it receives. It responds to other requests with a page.
async fn websocket_origin() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (listener, address) = listen().await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let recorded = Arc::clone(&recorded);
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let upgrades = head.to_ascii_lowercase().contains("upgrade: websocket");
                let response = if upgrades {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\nCache-Control: max-age=60\r\n\
                        Sec-WebSocket-Accept: ok\r\n\r\nhello"
                } else {
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\
                        Content-Length: 4\r\n\r\npage"
                };
                recorded.lock().expect("no panic while locked").push(head);
                let _ = stream.write_all(response.as_bytes()).await;
                if upgrades {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn websocket_is_passed_through_and_never_stored() {
    for preset in ["site", "shared"] {
        let (origin, requests) = websocket_origin().await;
        let proxy = proxy(preset, origin).await;
        for _ in 0..2 {
            let mut stream = TcpStream::connect(proxy).await.expect("a local address");
            let handshake = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";
            stream.write_all(handshake).await.expect("send the handshake");
            let head = read_head(&mut stream).await.to_ascii_lowercase();
            assert!(
                head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"),
                "{head}"
            );
            assert!(head.contains("connection: upgrade"), "{head}");
            assert!(head.contains("sec-websocket-accept: ok"), "{head}");
            assert!(head.contains("fwd=bypass") && head.contains("detail=upgrade"), "{head}");
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.expect("bytes after the head");
            for message in [&b"one"[..], b"\r\n\r\n", &[0; 100_000]] {
                let mut echo = vec![1; message.len()];
                let (mut reader, mut writer) = stream.split();
                let (sent, received) =
                    tokio::join!(writer.write_all(message), reader.read_exact(&mut echo));
                sent.expect("a tunnel");
                received.expect("a tunnel");
                assert!(hello == *b"hello" && echo == message);
            }
            // The origin sees that the client has finished, and the client that the origin has.
            stream.shutdown().await.expect("a clean end");
            assert_eq!(stream.read(&mut hello).await.expect("a clean end"), 0);
        }
        assert_eq!(requests.lock().expect("no panic while locked").len(), 2);
        let plain = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let got = raw(proxy, plain).await;
        assert!(!got.contains("; hit") && got.ends_with("\r\n\r\npage"), "{got}");
    }
}

#[tokio::test]
async fn other_protocols_are_not_passed_through() {
    let (origin, requests) = websocket_origin().await;
    let proxy = proxy("shared", origin).await;
    for upgrade in ["h2c", "websocket, h2c"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
             HTTP2-Settings: x\r\nUpgrade: {upgrade}\r\n\r\n"
        );
        let got = raw(proxy, &request).await;
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("page"), "{got}");
    }
    let heads = requests.lock().expect("no panic while locked").join("").to_ascii_lowercase();
    assert!(!heads.contains("upgrade") && !heads.contains("http2-settings"), "{heads}");
}

#[tokio::test]
async fn upgrade_that_was_not_requested_is_a_502() {
    let (origin, _) = raw_origin(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    )
    .await;
    let plain = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let got = raw(proxy("shared", origin).await, plain).await;
    assert!(got.starts_with("HTTP/1.1 502 Bad Gateway"), "{got}");
}

#[tokio::test]
async fn unreachable_origin_is_a_502() {
    let (listener, address) = listen().await;
    drop(listener);
    let got = raw(
        proxy("shared", address).await,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 502 Bad Gateway"), "{got}");
    assert!(got.contains("cannot be reached"), "{got}");
    assert!(!got.contains("127.0.0.1") && !got.contains("refused"), "{got}");
}

#[tokio::test]
async fn silent_origin_is_a_504_that_is_not_stored() {
    let (listener, address) = listen().await;
    let origin = to(address).timeout(Duration::from_millis(50));
    let proxy = proxy_to("shared", origin).await;
    for _ in 0..2 {
        let got = raw(proxy, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 504 Gateway Timeout"), "{got}");
        assert!(got.contains("in time") && !got.contains("127.0.0.1"), "{got}");
        assert!(got.contains("fwd-status=504") && !got.contains("stored"), "{got}");
    }
    drop(listener);
}
