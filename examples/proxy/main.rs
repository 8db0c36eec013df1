//! A caching reverse proxy: an origin behind the layer of `cache-http`, for test suites of HTTP
//! caches.
//!
//! ```sh
//! cargo run --example proxy -- \
//!     --origin http://127.0.0.1:8000 --listen 127.0.0.1:8080 --preset shared
//! cargo test --example proxy
//! ```
//!
//! Further options change the policy of the preset, and are named after the methods of
//! [`Policy`](cachette::http::Policy): see [`USAGE`]. `cargo xtask http-suite` starts the proxy
//! with all that a public test suite for caches expects, and shows the results in `docs/http`.
//!
//! It forwards every method except `CONNECT`, and every status, header and body unchanged. Bodies
//! are streamed, with trailers. It removes hop-by-hop headers, as RFC 9110, section 7.6.1,
//! requires, and adds `Cache-Status`. It adds no `Via`, because it stands for the layer in an
//! application. Clients can use HTTP/1.1, or HTTP/2 with prior knowledge; the origin gets HTTP/1.1.
//! WebSocket connections are passed through. A request without a valid host is rejected with a 400.
//! If the origin is unreachable, the response is a 502 within 3 seconds; if it does not respond, a
//! 504 after 20. The reason is printed, and the client does not learn it. A connection to the
//! origin is not reused after a response that must not have a body.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program prints its usage")]

mod connections;
mod forward;
mod host;
mod options;
mod server;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{env, process::ExitCode};

use tokio::net::TcpListener;

use crate::{
    forward::Forward,
    options::{Options, USAGE},
};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match options::parse(env::args().skip(1)) {
        Ok(options) => run(options).await,
        Err(error) => Err(format!("{error}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { origin, listen, cache }: Options) -> Result<(), String> {
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("cannot get the address of {listen}: {error}"))?;
    println!("forwarding http://{address} to {origin}");
    server::serve(listener, Forward::to(origin), &cache).await;
    Ok(())
}
