//! Visitors: a few connections that are kept, each of which asks for the page again when it has it all.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::sites::{HEADERS, PATH};

const CONNECTIONS: usize = 16;

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
                let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
                stream.set_nodelay(true).expect("it is a TCP socket");
                connections.push(Connection { stream, buffer: vec![0; 1 << 16] });
            }
            connections
        });
        Self { runtime, connections }
    }

    /// Asks so often, and answers the last response's head.
    pub(crate) fn ask(&mut self, count: usize) -> String {
        let share = count / self.connections.len();
        self.runtime.block_on(async {
            let visitors = self.connections.drain(..).map(|mut connection| {
                tokio::spawn(async move {
                    let mut head = String::new();
                    for _ in 0..share {
                        head = connection.ask().await?;
                    }
                    io::Result::Ok((connection, head))
                })
            });
            let visitors: Vec<_> = visitors.collect();
            let mut last = String::new();
            for visitor in visitors {
                let (connection, head) =
                    visitor.await.expect("it does not panic").expect("the server answers");
                self.connections.push(connection);
                last = head;
            }
            last
        })
    }
}

impl Connection {
    /// One request, and all of its response.
    async fn ask(&mut self) -> io::Result<String> {
        self.stream.write_all(request().as_bytes()).await?;
        let (mut there, mut head) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[there..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            there += read;
            if head.is_none() {
                head = self.buffer[..there].windows(4).position(|end| end == b"\r\n\r\n");
            }
            let Some(end) = head else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            let length =
                header(&text, "content-length").and_then(|length| length.parse::<usize>().ok());
            let length = length.ok_or_else(|| {
                io::Error::other(format!("a response of no stated length: {text}"))
            })?;
            if there >= end + 4 + length {
                return Ok(text);
            }
        }
    }
}

fn request() -> &'static str {
    static REQUEST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let lines = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("GET {PATH} HTTP/1.1\r\n{}\r\n", lines.concat())
    });
    &REQUEST
}

/// A header of a head, in lower case.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(other, _)| *other == name).map(|(_, value)| value.trim()).next()
}
