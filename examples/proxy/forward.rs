//! The service inside of the cache: it asks the origin.

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
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the head of a response may take.
const ANSWER: Duration = Duration::from_secs(20);

/// What the origin sends, or what is said in its place.
pub(crate) type ForwardedBody = Either<Incoming, Full<Bytes>>;

#[derive(Clone)]
pub(crate) struct Forward {
    client: Client<HttpConnector, Incoming>,
    origin: Uri,
    patience: Duration,
}

impl Forward {
    pub(crate) fn to(origin: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).http1_preserve_header_case(true);
        Self { client: client.build(connector), origin, patience: ANSWER }
    }

    /// Waits so long for the head of a response.
    #[cfg(test)]
    pub(crate) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    async fn forward(self, request: Request<Incoming>) -> Response<ForwardedBody> {
        let request = match self.prepared(request) {
            Ok(request) => request,
            Err(answer) => return *answer,
        };
        match tokio::time::timeout(self.patience, self.client.request(request)).await {
            Ok(Ok(mut response)) => {
                remove_hop_by_hop(response.headers_mut());
                response.map(Either::Left)
            }
            Ok(Err(error)) => {
                let text =
                    format!("the origin {} does not answer: {}", self.origin, causes(&error));
                said(StatusCode::BAD_GATEWAY, text)
            }
            Err(_elapsed) => {
                let text = format!(
                    "the origin {} has not answered within {:?}",
                    self.origin, self.patience
                );
                said(StatusCode::GATEWAY_TIMEOUT, text)
            }
        }
    }

    /// The same request, to the origin; or the answer to one that cannot be forwarded.
    fn prepared(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Request<Incoming>, Box<Response<ForwardedBody>>> {
        if request.method() == Method::CONNECT {
            let text = "CONNECT is for a forward proxy, and this is a reverse proxy".to_owned();
            return Err(Box::new(said(StatusCode::NOT_IMPLEMENTED, text)));
        }
        // HTTP/2 has the host in the URI.
        let named = request
            .uri()
            .authority()
            .map(Authority::as_str)
            .and_then(|host| HeaderValue::from_str(host).ok());
        if let Some(host) = named {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        let mut uri = self.origin.clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.path_and_query =
            request.uri().path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(why) => {
                return Err(Box::new(said(
                    StatusCode::BAD_REQUEST,
                    format!("this cannot be asked of an origin: {why}"),
                )));
            }
        }
        join_cookies(request.headers_mut());
        let trailers = takes_trailers(request.headers());
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

/// Whether the client wants trailers, which this proxy passes on.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines =
        headers.get_all(TE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    lines.map(<[u8]>::trim_ascii).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Cookies come one by one over HTTP/2, and all in a line over HTTP/1.1 (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(line) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, line);
    }
}

/// Takes out what is for one connection alone (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for name in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
            headers.remove(name);
        }
    }
    NAMES.iter().for_each(|name| drop(headers.remove(name)));
    ["keep-alive", "proxy-connection"].iter().for_each(|name| drop(headers.remove(*name)));
}

fn said(status: StatusCode, text: String) -> Response<ForwardedBody> {
    let mut response = Response::new(Either::Right(Full::from(text + "\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// An error and what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
