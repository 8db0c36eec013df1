//! A minimal HTTP client that opens a connection for each request.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// All lines of a header, joined.
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let values = lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim());
        values.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn cache_status(&self) -> String {
        self.header("cache-status")
    }
}

pub(crate) fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    try_send(address, method, path, headers, body)
        .unwrap_or_else(|error| panic!("{method} http://{address}{path}: {error}"))
}

pub(crate) fn try_send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length =
        if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         {length}{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    read(stream)
}

/// Reads until `Content-Length`, because not every server closes the connection.
fn read(stream: TcpStream) -> io::Result<Response> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut response = Response { status, head, body: String::new() };
    if response.header("transfer-encoding") == "chunked" {
        response.body = read_chunks(&mut stream)?;
        return Ok(response);
    }
    let length = response.header("content-length").parse().unwrap_or(0);
    stream.take(length).read_to_string(&mut response.body)?;
    Ok(response)
}

/// Reads a body of chunks, as Prometheus sends long ones.
fn read_chunks(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut body = String::new();
    loop {
        let mut size = String::new();
        stream.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        if size == 0 {
            return Ok(body);
        }
        stream.take(size).read_to_string(&mut body)?;
        stream.read_line(&mut String::new())?;
    }
}
