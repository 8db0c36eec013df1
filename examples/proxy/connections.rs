//! Connections to the origin.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, Uri};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::Instant;
use tower_service::Service;

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of connections that are kept without a request.
const MAX_IDLE: usize = 64;
/// The maximum number of headers of a response. The default of hyper is 100.
const MAX_HEADERS: usize = 1_000;

/// Connections to the origin, each of which is used by one request at a time.
///
/// A connection is reused only after the head of its last response is known to allow that. The pool
/// of `hyper_util`'s client cannot guarantee it: it takes back the connection of a response without
/// a body before the client returns the response.
#[derive(Clone)]
pub(crate) struct Connections {
    connector: HttpConnector,
    origin: Uri,
    idle: Arc<Mutex<Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<Incoming>,
    since: Instant,
}

impl Connections {
    pub(crate) fn to(origin: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self { connector, origin, idle: Arc::default() }
    }

    /// Sends a request, on an idle connection if there is one.
    pub(crate) async fn send(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
        let method = request.method().clone();
        loop {
            let idle = self.take_idle();
            let is_reused = idle.is_some();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    if may_be_reused(&method, response.status()) {
                        self.put_back(sender);
                    }
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // The origin has closed the connection while it was idle.
                    Some(unsent) if is_reused => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, Box<dyn Error + Send + Sync>> {
        let stream = self.connector.clone().call(self.origin.clone()).await?;
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .handshake(stream)
            .await?;
        // Its errors are those of the request and of the response body.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Incoming>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT && idle.sender.is_ready());
        idle.pop().map(|idle| idle.sender)
    }

    /// Keeps the connection once the body of its response has been read.
    fn put_back(&self, mut sender: SendRequest<Incoming>) {
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < MAX_IDLE {
                    idle.push(Idle { sender, since: Instant::now() });
                }
            }
        });
    }
}

/// Whether a connection can be used again after this response.
///
/// A response to `HEAD` and one with status 204 or 304 has no body, whatever its headers say
/// (RFC 9112, section 6.3). If a broken origin sends one nevertheless, it would be read as the
/// response to the next request, possibly of another client.
fn may_be_reused(method: &Method, status: StatusCode) -> bool {
    let is_without_body = method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !is_without_body && status != StatusCode::SWITCHING_PROTOCOLS
}
