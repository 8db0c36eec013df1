//! The proxy, and with it the layer, between a real client and a real origin.

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

use super::{forward::Forward, preset, server::serve};

type Body = BoxBody<Bytes, hyper::Error>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body of these frames, whose length nobody knows in advance.
fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    let mut frames = frames.into_iter();
    let next = move || frames.next().map(Ok);
    StreamBody::new(futures_util::stream::iter(std::iter::from_fn(next))).boxed()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it listens");
    (listener, address)
}

async fn proxy(name: &'static str, origin: SocketAddr) -> SocketAddr {
    proxy_before(name, to(origin)).await
}

async fn proxy_before(name: &'static str, origin: Forward) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move { serve(listener, origin, &preset(name).expect("it is one")).await });
    address
}

fn to(origin: SocketAddr) -> Forward {
    Forward::to(format!("http://{origin}").parse().expect("it is a URL"))
}

/// An origin that counts how often it is asked, and the proxy before it.
struct Pair {
    proxy: SocketAddr,
    calls: Arc<AtomicUsize>,
    client: Client<HttpConnector, Body>,
}

impl Pair {
    async fn new<F>(
        preset: &'static str,
        answer: impl Fn(Request<Incoming>) -> F + Copy + Send + Sync + 'static,
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
                    async move { Ok::<_, hyper::Error>(answer(request).await) }
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

    /// The same, asked by HTTP/2.
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
    ) -> Got {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.proxy));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .client
            .request(request.body(body).expect("it is a request"))
            .await
            .expect("it answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("it ends well");
        let trailers = body.trailers().cloned();
        Got { status: head.status, headers: head.headers, body: body.to_bytes(), trailers }
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Got {
        self.send(&Method::GET, path, headers, full("")).await
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is a text"))
    }

    fn is_hit(&self) -> bool {
        self.header("cache-status").starts_with("cachette; hit")
    }
}

fn answer(lines: &[(&'static str, &'static str)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    for (name, value) in lines {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

/// Tells what it was asked: the method, the path and the query.
async fn tell(request: Request<Incoming>) -> Response<Body> {
    answer(&[("x-origin", "1")], full(format!("{} {}", request.method(), request.uri())))
}

/// Sends back what it gets, in the pieces in which it gets it.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    Response::new(request.into_body().boxed())
}

/// A page with a lifetime and a tag.
async fn page(_: Request<Incoming>) -> Response<Body> {
    answer(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")], full("0123456789"))
}

/// Some megabytes of bytes of all kinds.
fn binary() -> Bytes {
    (0..3_000_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test]
async fn every_method_arrives_as_it_is_also_one_that_nobody_knows() {
    for preset in ["site", "shared"] {
        let pair = Pair::new(preset, tell).await;
        for method in [
            "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "BREW", "get",
            "M-SEARCH",
        ] {
            let method: Method = method.parse().expect("it is a token");
            let got = pair.send(&method, "/a/%2e/b?x=%20&y", &[], full("")).await;
            assert_eq!(got.body, format!("{method} /a/%2e/b?x=%20&y"), "{preset}");
        }
        let head = pair.send(&Method::HEAD, "/", &[], full("")).await;
        assert_eq!(
            (head.header("x-origin"), head.header("content-length"), head.body.len()),
            ("1", "6", 0)
        );
    }
}

#[tokio::test]
async fn every_status_arrives_as_it_is() {
    let pair = Pair::new("shared", async |request: Request<Incoming>| {
        let mut response = Response::new(full(""));
        let status = request.uri().path()[1..].parse::<u16>().expect("it is a number");
        *response.status_mut() = StatusCode::from_u16(status).expect("it is a status");
        response
    })
    .await;
    for status in 200..=599 {
        assert_eq!(pair.get(&format!("/{status}"), &[]).await.status.as_u16(), status);
    }
    assert_eq!(pair.calls(), 400);
}

#[tokio::test]
async fn repeated_headers_stay_apart_and_in_order_both_ways() {
    let pair = Pair::new("site", async |request: Request<Incoming>| {
        let mut response =
            answer(&[("set-cookie", "a=1"), ("link", "<x>"), ("set-cookie", "b=2")], full(""));
        for line in request.headers().get_all("x-many") {
            response.headers_mut().append("x-many", line.clone());
        }
        response
    })
    .await;
    let got = pair
        .get("/", &[("x-many", "1"), ("x-other", "-"), ("x-many", "2, 3"), ("x-many", "1")])
        .await;
    let lines = |name| got.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(lines("x-many"), ["1", "2, 3", "1"]);
    assert_eq!(lines("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn what_is_for_one_connection_alone_is_taken_out() {
    let pair = Pair::new("site", async |request: Request<Incoming>| {
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        answer(
            &[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "1")],
            full(names.join(" ")),
        )
    })
    .await;
    let got = pair
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
async fn large_binary_bodies_stream_both_ways_and_empty_ones_stay_empty() {
    let pair = Pair::new("shared", echo).await;
    let binary = binary();
    let chunks = (0..binary.len())
        .step_by(70_000)
        .map(|start| binary.slice(start..binary.len().min(start + 70_000)));
    let chunked =
        pair.send(&Method::POST, "/", &[], frames(chunks.map(Frame::data).collect())).await;
    assert!(chunked.body == binary, "{} bytes came back", chunked.body.len());
    let whole = pair.send(&Method::PUT, "/", &[], full(binary.clone())).await;
    assert!(whole.body == binary, "{} bytes came back", whole.body.len());
    assert!(pair.send(&Method::POST, "/", &[], full("")).await.body.is_empty());
}

#[tokio::test]
async fn trailers_arrive_and_are_not_stored() {
    let pair = Pair::new("shared", async |_| {
        let trailers = [("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))]
            .into_iter()
            .collect();
        let frames =
            frames(vec![Frame::data(Bytes::from_static(b"seven")), Frame::trailers(trailers)]);
        answer(&[("cache-control", "max-age=60"), ("trailer", "x-sum")], frames)
    })
    .await;
    for _ in 0..2 {
        let got = pair.get("/", &[("te", "trailers")]).await;
        assert_eq!(got.body, "seven");
        assert_eq!(got.trailers.expect("there are some")["x-sum"], "7");
    }
    assert_eq!(pair.calls(), 2);
}

#[tokio::test]
async fn a_page_is_stored_and_the_store_answers_head_ranges_and_conditions() {
    let pair = Pair::new("shared", page).await;
    assert!(!pair.get("/", &[]).await.is_hit());
    let hit = pair.get("/", &[]).await;
    assert!(
        hit.is_hit() && hit.body == "0123456789" && hit.header("age") == "0",
        "{:?}",
        hit.headers
    );
    let head = pair.send(&Method::HEAD, "/", &[], full("")).await;
    assert!(
        head.is_hit() && head.body.is_empty() && head.header("content-length") == "10",
        "{:?}",
        head.headers
    );
    let range = pair.get("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((range.status.as_u16(), &*range.body), (206, &b"234"[..]));
    let known = pair.get("/", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(pair.calls(), 1);
    assert_eq!(pair.send(&Method::POST, "/", &[], full("")).await.status, StatusCode::OK);
    assert!(!pair.get("/", &[]).await.is_hit(), "a change invalidates");
}

#[tokio::test]
async fn a_large_page_of_unknown_length_is_a_hit_afterwards() {
    let pair = Pair::new("shared", async |_| {
        let chunks = (0..30).map(|_| Frame::data(Bytes::from(vec![7; 50_000])));
        answer(&[("cache-control", "max-age=60")], frames(chunks.collect()))
    })
    .await;
    for hit in [false, true] {
        let got = pair.get("/", &[]).await;
        assert_eq!((got.body.len(), got.is_hit()), (1_500_000, hit));
    }
}

#[tokio::test]
async fn a_page_is_the_same_over_http_2_for_whoever_asked_first() {
    let old = Pair::new("shared", page).await;
    let new = old.over_http2();
    assert!(!new.get("/", &[]).await.is_hit());
    for client in [&new, &old] {
        let got = client.get("/", &[]).await;
        assert!(got.is_hit() && got.body == "0123456789", "{:?}", got.headers);
    }
    let head = new.send(&Method::HEAD, "/", &[], full("")).await;
    assert!(
        head.is_hit() && head.body.is_empty() && head.header("content-length") == "10",
        "{:?}",
        head.headers
    );
    let range = new.get("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((range.status.as_u16(), &*range.body), (206, &b"234"[..]));
    assert_eq!(new.get("/", &[("if-none-match", "\"v1\"")]).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(new.calls(), 1);
}

#[tokio::test]
async fn what_http_2_says_otherwise_is_said_to_the_origin_in_its_way() {
    let pair = Pair::new("site", async |request: Request<Incoming>| {
        let lines = |name| request.headers().get_all(name).iter().cloned().collect::<Vec<_>>();
        let told = format!("{:?} {:?} {:?}", request.version(), lines("host"), lines("cookie"));
        answer(&[], full(told))
    })
    .await;
    // Cookies come one by one there (RFC 9113, section 8.2.3).
    let got = pair.over_http2().get("/", &[("cookie", "a=1"), ("cookie", "b=2")]).await;
    assert_eq!(got.body, format!("HTTP/1.1 [\"{}\"] [\"a=1; b=2\"]", pair.proxy));
}

#[tokio::test]
async fn bodies_and_trailers_pass_over_http_2_both_ways() {
    let pair = Pair::new("shared", echo).await.over_http2();
    let binary = binary();
    let trailers =
        [("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))].into_iter().collect();
    let body = frames(vec![Frame::data(binary.clone()), Frame::trailers(trailers)]);
    let got =
        pair.send(&Method::POST, "/", &[("te", "trailers"), ("trailer", "x-sum")], body).await;
    assert!(got.body == binary, "{} bytes came back", got.body.len());
    assert!(pair.send(&Method::PUT, "/", &[], full("")).await.body.is_empty());
}

/// An origin that sends these bytes to whoever asks, and closes the connection; and what it was asked.
async fn raw_origin(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (listener, address) = listen().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            heard.lock().expect("nobody panics").push(head);
            let _ = stream.write_all(answer).await;
        }
    });
    (address, asked)
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
    String::from_utf8(head).expect("it is a text")
}

/// All that the proxy sends until it closes the connection.
async fn raw(proxy: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    let all = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await;
    all.expect("it closes the connection").expect("it closes it in order");
    String::from_utf8(bytes).expect("it is a text")
}

#[tokio::test]
async fn the_case_of_names_is_kept_both_ways() {
    let (origin, asked) =
        raw_origin(b"HTTP/1.1 200 OK\r\nX-SomE: 1\r\nContent-Length: 2\r\n\r\nok").await;
    let got = raw(
        proxy("site", origin).await,
        "POST / HTTP/1.1\r\nHoSt: a\r\nX-MinE: 1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.contains("X-SomE: 1") && got.ends_with("\r\n\r\nok"), "{got}");
    let asked = asked.lock().expect("nobody panics")[0].clone();
    assert!(asked.contains("X-MinE: 1") && asked.contains("HoSt: a"), "{asked}");
}

#[tokio::test]
async fn an_interim_response_does_not_stand_in_for_the_final_one() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (origin, _) = raw_origin(interim).await;
    let got = raw(
        proxy("shared", origin).await,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("\r\n\r\nok"), "{got}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_for_the_client_too_and_is_not_stored() {
    for cut in [
        &b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut"[..],
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n",
    ] {
        let (origin, asked) = raw_origin(cut).await;
        let proxy = proxy("shared", origin).await;
        let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
        for _ in 0..2 {
            let request = Request::get(format!("http://{proxy}/")).body(full("")).expect("it is a request");
            // The head may have gone by then, or not.
            if let Ok(response) = client.request(request).await {
                assert!(response.into_body().collect().await.is_err());
            }
        }
        assert!(asked.lock().expect("nobody panics").len() >= 2, "it was asked each time");
    }
}

#[tokio::test]
async fn an_origin_that_is_away_is_a_502_that_says_so() {
    let (listener, address) = listen().await;
    drop(listener);
    let got = raw(
        proxy("shared", address).await,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 502 Bad Gateway"), "{got}");
    assert!(
        got.contains(&format!("the origin http://{address}/ does not answer"))
            && got.contains("refused"),
        "{got}"
    );
}

#[tokio::test]
async fn an_origin_that_is_silent_is_a_504_that_says_so_and_is_not_stored() {
    let (listener, address) = listen().await;
    let origin = to(address).patience(Duration::from_millis(50));
    let proxy = proxy_before("shared", origin).await;
    for _ in 0..2 {
        let got = raw(proxy, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 504 Gateway Timeout"), "{got}");
        assert!(
            got.contains(&format!("the origin http://{address}/ has not answered within 50ms")),
            "{got}"
        );
        assert!(got.contains("fwd-status=504") && !got.contains("stored"), "{got}");
    }
    drop(listener);
}

#[test]
fn a_mistake_in_the_arguments_is_told() {
    let error_of =
        |line: &str| super::options(line.split(' ').map(str::to_owned)).err().unwrap_or_default();
    assert_eq!(error_of("--listen a --preset site"), "--origin is missing");
    assert!(error_of("--origin https://a").contains("http://HOST:PORT"));
    assert!(error_of("--preset best").contains("site and shared"));
    assert_eq!(error_of("--origin http://a --listen 127.0.0.1:0 --preset site"), "");
}
