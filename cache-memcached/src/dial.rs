//! Making a connection: the transport, the password, and a greeting that only memcached answers.

use std::{error, fmt, io, time::Duration};

use bytes::BytesMut;
use cache_net::{Tls, connect_tcp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{address::Address, stream::Stream, tls};

/// What it takes to connect to a server.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) address: Address,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: Option<Tls>,
}

/// For ASCII authentication. Shows no password.
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

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// Whether it may be otherwise soon without anybody's doing.
    pub(crate) temporary: bool,
}

impl Refusal {
    fn temporary(why: impl Into<String>) -> Self {
        Self { why: why.into(), temporary: true }
    }

    fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), temporary: false }
    }

    pub(crate) fn too_late(limit: Duration) -> Self {
        Self::temporary(format!("no connection within {limit:?}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl error::Error for Refusal {}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::temporary(format!("cannot be reached: {error}"))
    }
}

/// A connection that is ready, and the largest item that the server keeps, where it tells.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) largest: Option<usize>,
}

impl Dialer {
    /// Connects; the name is resolved each time.
    pub(crate) async fn dial(&self) -> Result<Dialled, Refusal> {
        let mut talk = Talk { stream: self.connect().await?, heard: BytesMut::new() };
        let greeting = format!("{}mn\r\nstats settings\r\n", self.authentication()?);
        talk.stream.write_all(greeting.as_bytes()).await?;
        if self.credentials.is_some() {
            talk.expect("STORED", "it refuses the username or the password").await?;
        }
        talk.expect(
            "MN",
            "it is not memcached 1.6 or later, or it asks for a username and a password",
        )
        .await?;
        let largest = talk.largest_item().await?;
        if talk.heard.is_empty() {
            Ok(Dialled { stream: talk.stream, largest })
        } else {
            Err(talk.surprise("more"))
        }
    }

    /// Sends one line on a connection of its own, and answers all lines up to one that is the last.
    pub(crate) async fn converse(
        &self,
        line: &str,
        is_last: fn(&str) -> bool,
    ) -> Result<Vec<String>, Refusal> {
        let mut talk = Talk { stream: self.dial().await?.stream, heard: BytesMut::new() };
        talk.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        talk.lines(is_last).await
    }

    async fn connect(&self) -> Result<Stream, Refusal> {
        match &self.address {
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Address::Tcp { host, port } => {
                let stream = connect_tcp(host, *port, None).await?;
                let Some(tls) = &self.tls else { return Ok(Stream::Tcp(stream)) };
                let encrypted = tls.connect(host, stream).await.map_err(|error| Refusal {
                    why: format!("no TLS with it: {error}"),
                    temporary: error.kind() != io::ErrorKind::InvalidInput,
                })?;
                Ok(Stream::Unix(tls::relay(encrypted)?))
            }
        }
    }

    /// memcached takes a username and a password as the value of a `set`, whatever its key.
    fn authentication(&self) -> Result<String, Refusal> {
        let Some(Credentials { username, password }) = &self.credentials else {
            return Ok(String::new());
        };
        Ok(format!(
            "set auth 0 0 {}\r\n{username} {password}\r\n",
            username.len() + 1 + password.len()
        ))
    }
}

/// Lines, one after the other.
struct Talk {
    stream: Stream,
    heard: BytesMut,
}

impl Talk {
    async fn line(&mut self) -> Result<String, Refusal> {
        const LONGEST: usize = 64 << 10;
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line = self.heard.split_to(end + 1);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.heard.len() > LONGEST {
                return Err(Refusal::temporary("it answers with something that is no line"));
            }
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(Refusal::temporary("it closed the connection"));
            }
        }
    }

    async fn lines(&mut self, is_last: fn(&str) -> bool) -> Result<Vec<String>, Refusal> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let last = is_last(&line);
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
    }

    async fn expect(&mut self, expected: &str, otherwise: &str) -> Result<(), Refusal> {
        let line = self.line().await?;
        if line == expected {
            return Ok(());
        }
        let shown: String = line.chars().take(100).collect();
        Err(Refusal::lasting(format!("{otherwise}: it answers {shown:?}")))
    }

    /// Of the answer to `stats settings`. What stands between us and the server may not know that command.
    async fn largest_item(&mut self) -> Result<Option<usize>, Refusal> {
        let lines = self.lines(ends_stats).await?;
        Ok(lines.iter().find_map(|line| line.strip_prefix("STAT item_size_max ")?.parse().ok()))
    }

    fn surprise(&self, what: &str) -> Refusal {
        Refusal::temporary(format!(
            "it answers {what} than it was asked for, {} bytes",
            self.heard.len()
        ))
    }
}

pub(crate) fn ends_stats(line: &str) -> bool {
    line == "END" || is_error(line)
}

pub(crate) fn is_error(line: &str) -> bool {
    line.starts_with("ERROR")
        || line.starts_with("CLIENT_ERROR")
        || line.starts_with("SERVER_ERROR")
}
