//! A few persistent connections, each of which requests the page again and again.

use std::{io, sync::LazyLock};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::sites::{HEADERS, PATH};

const CONNECTIONS: usize = 16;

static REQUEST: LazyLock<String> = LazyLock::new(|| {
    let lines = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("GET {PATH} HTTP/1.1\r\n{}\r\n", lines.concat())
});

/// Connections to one server.
pub(crate) struct Load {
    runtime: Runtime,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Load {
    pub(crate) fn on(port: u16) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("it starts");
        let connections = runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it connects");
                stream.set_nodelay(true).expect("no error");
                connections.push(Connection { stream, buffer: vec![0; 1 << 16] });
            }
            connections
        });
        Self { runtime, connections }
    }

    /// Sends `count` requests. Returns the head of the last response.
    pub(crate) fn request(&mut self, count: usize) -> String {
        let share = count / self.connections.len();
        self.runtime.block_on(async {
            let tasks = self.connections.drain(..).map(|mut connection| {
                tokio::spawn(async move {
                    let mut head = String::new();
                    for _ in 0..share {
                        head = connection.request().await?;
                    }
                    io::Result::Ok((connection, head))
                })
            });
            let tasks: Vec<_> = tasks.collect();
            let mut last = String::new();
            for task in tasks {
                let (connection, head) = task.await.expect("no panic").expect("a response");
                self.connections.push(connection);
                last = head;
            }
            last
        })
    }
}

impl Connection {
    /// Sends a request and reads the whole response.
    async fn request(&mut self) -> io::Result<String> {
        self.stream.write_all(REQUEST.as_bytes()).await?;
        let (mut length, mut head) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[length..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
            if head.is_none() {
                head = self.buffer[..length].windows(4).position(|end| end == b"\r\n\r\n");
            }
            let Some(end) = head else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            let body = header(&text, "content-length").and_then(|body| body.parse::<usize>().ok());
            let body =
                body.ok_or_else(|| io::Error::other(format!("no content-length: {text}")))?;
            if length >= end + 4 + body {
                return Ok(text);
            }
        }
    }
}

/// Returns a header of a head in lower case.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(other, _)| *other == name).map(|(_, value)| value.trim())
}
