//! Connecting to a server: transport, authentication, and a handshake that identifies memcached.

use std::{error, fmt, io, time::Duration};

use bytes::BytesMut;
use cache_net::{Tls, cannot_connect, connect_tcp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{address::Address, stream::Stream, tls};

/// Connects to one server.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: Option<Tls>,
}

/// User name and password for ASCII authentication. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The reason why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectError {
    pub(crate) reason: String,
    /// Whether a later attempt may succeed without a change of the configuration or the server.
    pub(crate) temporary: bool,
}

impl ConnectError {
    pub(crate) fn temporary(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), temporary: true }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), temporary: false }
    }

    pub(crate) fn timed_out(timeout: Duration) -> Self {
        Self::temporary(format!("no connection within {timeout:?}"))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::temporary(cannot_connect(&error))
    }
}

/// A new connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    /// The size in bytes of the largest item that the server stores, if it reports one.
    pub(crate) max_item_size: Option<usize>,
}

impl Connector {
    /// Connects and completes the handshake. The host name is resolved on every call.
    pub(crate) async fn connect(&self) -> Result<Connected, ConnectError> {
        let mut lines = Lines { stream: self.open().await?, received: BytesMut::new() };
        let handshake = format!("{}mn\r\nstats settings\r\n", self.authentication());
        lines.stream.write_all(handshake.as_bytes()).await?;
        if self.credentials.is_some() {
            lines.expect("STORED", "the server rejected the username or the password").await?;
        }
        let otherwise =
            "the server is not memcached 1.6 or later, or it requires a username and a password";
        lines.expect("MN", otherwise).await?;
        let max_item_size = lines.max_item_size().await?;
        if !lines.received.is_empty() {
            let extra = lines.received.len();
            return Err(ConnectError::temporary(format!(
                "the server sent {extra} unexpected bytes after the handshake"
            )));
        }
        Ok(Connected { stream: lines.stream, max_item_size })
    }

    /// Sends a line on a new connection and reads the reply, up to the first line that is the last
    /// according to `is_last`.
    pub(crate) async fn exchange(
        &self,
        line: &str,
        is_last: fn(&str) -> bool,
    ) -> Result<Vec<String>, ConnectError> {
        let mut lines = self.lines().await?;
        lines.write(&format!("{line}\r\n")).await?;
        lines.read_until(is_last).await
    }

    /// Opens a new connection that is read line by line.
    pub(crate) async fn lines(&self) -> Result<Lines, ConnectError> {
        Ok(Lines { stream: self.connect().await?.stream, received: BytesMut::new() })
    }

    async fn open(&self) -> Result<Stream, ConnectError> {
        match &self.address {
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Address::Tcp { host, port } => {
                let stream = connect_tcp(host, *port, None).await?;
                let Some(tls) = &self.tls else { return Ok(Stream::Tcp(stream)) };
                let encrypted = tls.connect(host, stream).await.map_err(|error| ConnectError {
                    reason: format!("TLS handshake failed: {error}"),
                    temporary: error.kind() != io::ErrorKind::InvalidInput,
                })?;
                Ok(Stream::Unix(tls::relay(encrypted)?))
            }
        }
    }

    /// The command that authenticates: a `set` of any key whose value is the user name and the
    /// password.
    fn authentication(&self) -> String {
        let Some(Credentials { username, password }) = &self.credentials else {
            return String::new();
        };
        let len = username.len() + 1 + password.len();
        format!("set auth 0 0 {len}\r\n{username} {password}\r\n")
    }
}

/// A connection that is read line by line.
pub(crate) struct Lines {
    stream: Stream,
    received: BytesMut,
}

impl Lines {
    pub(crate) async fn write(&mut self, text: &str) -> Result<(), ConnectError> {
        Ok(self.stream.write_all(text.as_bytes()).await?)
    }

    pub(crate) async fn read(&mut self) -> Result<String, ConnectError> {
        const MAX_LEN: usize = 64 << 10;
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received.split_to(end + 1);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.received.len() > MAX_LEN {
                return Err(ConnectError::temporary("the server sent a line that is too long"));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(ConnectError::temporary("the server closed the connection"));
            }
        }
    }

    async fn read_until(&mut self, is_last: fn(&str) -> bool) -> Result<Vec<String>, ConnectError> {
        let mut lines = Vec::new();
        loop {
            let line = self.read().await?;
            let last = is_last(&line);
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
    }

    async fn expect(&mut self, expected: &str, otherwise: &str) -> Result<(), ConnectError> {
        let line = self.read().await?;
        if line == expected {
            return Ok(());
        }
        let found: String = line.chars().take(100).collect();
        Err(ConnectError::permanent(format!("{otherwise} (reply {found:?})")))
    }

    /// Reads the reply to `stats settings`. A proxy may not know that command and reply with an
    /// error; the result is then `None`.
    async fn max_item_size(&mut self) -> Result<Option<usize>, ConnectError> {
        let lines = self.read_until(ends_stats).await?;
        Ok(lines.iter().find_map(|line| line.strip_prefix("STAT item_size_max ")?.parse().ok()))
    }
}

/// Returns whether the line is the last of a reply to `stats`.
pub(crate) fn ends_stats(line: &str) -> bool {
    line == "END" || is_error(line)
}

pub(crate) fn is_error(line: &str) -> bool {
    line.starts_with("ERROR")
        || line.starts_with("CLIENT_ERROR")
        || line.starts_with("SERVER_ERROR")
}
