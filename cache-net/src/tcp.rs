//! TCP connections.

use std::{io, time::Duration};

use tokio::net::TcpStream;

/// Connects to a server, with Nagle's algorithm disabled. The name is resolved on every call.
///
/// With `keepalive`, the kernel probes the connection once it has been idle for that long.
///
/// # Errors
///
/// Returns the error of the operating system if the name cannot be resolved, the connection is
/// refused, or a socket option cannot be set.
pub async fn connect_tcp(
    host: &str,
    port: u16,
    keepalive: Option<Duration>,
) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if let Some(idle) = keepalive {
        let keepalive = socket2::TcpKeepalive::new().with_time(idle);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    }
    Ok(stream)
}

/// Returns the reason why there is no connection, in the words that all stores use.
#[must_use]
pub fn cannot_connect(error: &io::Error) -> String {
    format!("cannot connect: {error}")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn address_with_a_zone_is_resolved() {
        let listener = TcpListener::bind("[::1]:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        // The number of the loopback interface. Its name is valid for link-local addresses only.
        connect_tcp("::1%1", port, None).await.expect("connected");
    }

    #[tokio::test]
    async fn socket_options_are_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        for keepalive in [None, Some(Duration::from_secs(30))] {
            let stream = connect_tcp("127.0.0.1", port, keepalive).await.expect("connected");
            assert!(stream.nodelay().expect("an option"));
            let socket = socket2::SockRef::from(&stream);
            assert_eq!(socket.keepalive().expect("an option"), keepalive.is_some());
        }
    }
}
