//! The service inside the cache layer, which forwards requests to the origin.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery},
};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower_service::Service;

use crate::{connections::Connections, tunnel::Tunnel};

/// The timeout of the response head.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The body of the origin, or an error message of the proxy.
pub(crate) type ForwardedBody = Either<Incoming, Full<Bytes>>;

#[derive(Clone)]
pub(crate) struct Forward {
    connections: Connections,
    origin: Uri,
    timeout: Duration,
}

impl Forward {
    pub(crate) fn to(origin: Uri) -> Self {
        Self { connections: Connections::to(origin.clone()), origin, timeout: RESPONSE_TIMEOUT }
    }

    /// Sets the timeout of the response head.
    #[cfg(test)]
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn forward(self, mut request: Request<Incoming>) -> Response<ForwardedBody> {
        if request.method() == Method::CONNECT {
            let text = "CONNECT is not supported by a reverse proxy";
            return text_response(StatusCode::NOT_IMPLEMENTED, text).map(Either::Right);
        }
        let tunnel = Tunnel::requested(&mut request);
        self.prepare(&mut request, tunnel.is_some());
        match self.send(request, tunnel).await {
            Ok(response) => response.map(Either::Left),
            Err(failure) => {
                // Clients must not learn the address of the origin.
                eprintln!("origin {}: {failure}", self.origin);
                failure.response().map(Either::Right)
            }
        }
    }

    async fn send(
        &self,
        request: Request<Incoming>,
        tunnel: Option<Tunnel>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = tokio::time::timeout(self.timeout, self.connections.send(request)).await;
        let mut response = response
            .map_err(|_elapsed| Failure::Silent(self.timeout))?
            .map_err(|error| Failure::Unreachable(chain(&*error)))?;
        remove_hop_by_hop(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tunnel.ok_or(Failure::NotRequested)?.open(&mut response);
            Tunnel::add_headers(response.headers_mut());
        }
        Ok(response)
    }

    /// Addresses the request to the origin.
    fn prepare(&self, request: &mut Request<Incoming>, is_tunnel: bool) {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.unwrap_or(PathAndQuery::from_static("/")).into();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        // Only a client of HTTP/1.0 or HTTP/2 may omit the host.
        if let Some(origin) = self.origin.authority().map(Authority::as_str)
            && let Ok(origin) = HeaderValue::from_str(origin)
        {
            headers.entry(HOST).or_insert(origin);
        }
        join_cookies(headers);
        let trailers = accepts_trailers(headers);
        remove_hop_by_hop(headers);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if is_tunnel {
            Tunnel::add_headers(headers);
        }
    }
}

/// Why there is no response of the origin.
enum Failure {
    /// The connection, or sending the request on it, failed with these messages.
    Unreachable(String),
    /// The head of the response did not arrive within this time.
    Silent(Duration),
    /// The origin switched to another protocol without being asked.
    NotRequested,
}

impl Failure {
    fn response(&self) -> Response<Full<Bytes>> {
        match self {
            Self::Unreachable(_) => {
                text_response(StatusCode::BAD_GATEWAY, "the origin cannot be reached")
            }
            Self::Silent(_) => {
                text_response(StatusCode::GATEWAY_TIMEOUT, "the origin did not respond in time")
            }
            Self::NotRequested => {
                text_response(StatusCode::BAD_GATEWAY, "the origin sent an invalid response")
            }
        }
    }
}

/// The text for the operator.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(messages) => f.write_str(messages),
            Self::Silent(timeout) => write!(f, "no response within {timeout:?}"),
            Self::NotRequested => f.write_str("status 101 without a request for an upgrade"),
        }
    }
}

impl Service<Request<Incoming>> for Forward {
    type Response = Response<ForwardedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let forward = self.clone();
        Box::pin(async move { Ok(forward.forward(request).await) })
    }
}

/// Returns `true` if the client accepts trailers.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    let lines =
        headers.get_all(TE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    lines.map(<[u8]>::trim_ascii).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Joins the cookies into one header. HTTP/2 allows several, HTTP/1.1 does not (RFC 9113,
/// section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(line) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, line);
    }
}

/// Removes hop-by-hop headers (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for name in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        // A client must not hide the host that the page was requested from.
        if let Ok(name) = HeaderName::from_bytes(name.trim_ascii())
            && name != HOST
        {
            headers.remove(name);
        }
    }
    NAMES.iter().for_each(|name| drop(headers.remove(name)));
    ["keep-alive", "proxy-connection"].iter().for_each(|name| drop(headers.remove(*name)));
}

/// A response of the proxy itself.
pub(crate) fn text_response(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The messages of an error and its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
