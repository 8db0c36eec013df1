//! The service inside the cache layer, which forwards requests to the origin.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout of the response head.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The body of the origin, or an error message of the proxy.
pub(crate) type ForwardedBody = Either<Incoming, Full<Bytes>>;

#[derive(Clone)]
pub(crate) struct Forward {
    client: Client<HttpConnector, Incoming>,
    origin: Uri,
    timeout: Duration,
}

impl Forward {
    pub(crate) fn to(origin: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).http1_preserve_header_case(true);
        Self { client: client.build(connector), origin, timeout: RESPONSE_TIMEOUT }
    }

    /// Sets the timeout of the response head.
    #[cfg(test)]
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn forward(self, request: Request<Incoming>) -> Response<ForwardedBody> {
        let mut request = match self.prepare(request) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        let is_head = request.method() == Method::HEAD;
        let connection = capture_connection(&mut request);
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(mut response)) => {
                if is_head || has_no_body(response.status()) {
                    do_not_reuse(&connection);
                }
                remove_hop_by_hop(response.headers_mut());
                response.map(Either::Left)
            }
            Ok(Err(error)) => {
                let text = format!("cannot reach the origin {}: {}", self.origin, chain(&error));
                text_response(StatusCode::BAD_GATEWAY, text)
            }
            Err(_elapsed) => {
                let text =
                    format!("no response from the origin {} in {:?}", self.origin, self.timeout);
                text_response(StatusCode::GATEWAY_TIMEOUT, text)
            }
        }
    }

    /// Addresses the request to the origin, or returns an error response.
    fn prepare(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Request<Incoming>, Box<Response<ForwardedBody>>> {
        if request.method() == Method::CONNECT {
            let text = "CONNECT is not supported by a reverse proxy".to_owned();
            return Err(Box::new(text_response(StatusCode::NOT_IMPLEMENTED, text)));
        }
        // In HTTP/2, the URI contains the host.
        let host = request
            .uri()
            .authority()
            .map(Authority::as_str)
            .and_then(|host| HeaderValue::from_str(host).ok());
        if let Some(host) = host {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        let mut uri = self.origin.clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.path_and_query =
            request.uri().path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => {
                let text = format!("cannot forward this URI: {error}");
                return Err(Box::new(text_response(StatusCode::BAD_REQUEST, text)));
            }
        }
        join_cookies(request.headers_mut());
        let trailers = accepts_trailers(request.headers());
        remove_hop_by_hop(request.headers_mut());
        if trailers {
            request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
        }
        *request.version_mut() = http::Version::HTTP_11;
        Ok(request)
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

/// Returns `true` if a response with this status has no body, whatever its headers say (RFC 9112,
/// section 6.3).
fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Closes the connection after this response.
///
/// A broken origin may send a body where there must be none. It would be read as the response to
/// the next request, possibly of another client.
fn do_not_reuse(connection: &CaptureConnection) {
    if let Some(connection) = &*connection.connection_metadata() {
        connection.poison();
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

fn text_response(status: StatusCode, text: String) -> Response<ForwardedBody> {
    let mut response = Response::new(Either::Right(Full::from(text + "\n")));
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
