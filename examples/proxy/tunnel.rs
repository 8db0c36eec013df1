//! WebSocket connections (RFC 6455), which become tunnels after their handshake.

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONNECTION, UPGRADE},
};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;

/// The client's side of a WebSocket connection that it has requested.
pub(crate) struct Tunnel {
    client: OnUpgrade,
}

impl Tunnel {
    /// Returns `None` if the request does not ask for a WebSocket connection.
    ///
    /// Other protocols are not passed on: in a tunnel to an origin that speaks `h2c`, a client
    /// could send requests that the proxy does not see.
    pub(crate) fn requested(request: &mut Request<Incoming>) -> Option<Self> {
        is_websocket(request.headers()).then(|| Self { client: upgrade::on(request) })
    }

    /// Connects the client to the origin, which has responded with status 101.
    pub(crate) fn open(self, response: &mut Response<Incoming>) {
        let origin = upgrade::on(response);
        tokio::spawn(async move {
            // The handshake fails if the client disconnects before it receives the response.
            if let (Ok(client), Ok(origin)) = (self.client.await, origin.await) {
                let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
                // An error means that one side disconnected.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
            }
        });
    }

    /// Adds the hop-by-hop headers of the handshake.
    pub(crate) fn add_headers(headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Whether `Upgrade` lists this protocol and no other.
fn is_websocket(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(UPGRADE).iter();
    let (first, second) = (lines.next(), lines.next());
    second.is_none() && first.is_some_and(|line| line.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
