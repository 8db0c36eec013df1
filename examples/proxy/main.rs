//! A caching reverse proxy: an origin behind the layer of `cache-http`, for test suites of HTTP
//! caches.
//!
//! ```sh
//! cargo run --example proxy -- \
//!     --origin http://127.0.0.1:8000 --listen 127.0.0.1:8080 --preset shared
//! cargo test --example proxy
//! ```
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
mod server;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{env, process::ExitCode, sync::Arc};

use cachette::{
    CacheHandle, Settings,
    http::HttpCacheLayer,
    stores::{LocMemCache, LocMemOptions},
};
use http::Uri;
use tokio::net::TcpListener;

use crate::forward::Forward;

const USAGE: &str =
    "usage: proxy --origin http://HOST:PORT --listen ADDRESS:PORT --preset site|shared";

struct Options {
    origin: Uri,
    listen: String,
    cache: HttpCacheLayer,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match options(env::args().skip(1)) {
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

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut origin, mut listen, mut cache) = (None, None, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match &*name {
            "--origin" => origin = Some(parse_origin(&value)?),
            "--listen" => listen = Some(value),
            "--preset" => cache = Some(preset(&value)?),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    let missing = |name| format!("{name} is missing");
    Ok(Options {
        origin: origin.ok_or_else(|| missing("--origin"))?,
        listen: listen.ok_or_else(|| missing("--listen"))?,
        cache: cache.ok_or_else(|| missing("--preset"))?,
    })
}

fn parse_origin(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("origin {url:?}: invalid URL: {error}"))?;
    let is_bare =
        uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    if is_bare { Ok(uri) } else { Err(format!("origin {url:?}: expected http://HOST:PORT")) }
}

fn preset(name: &str) -> Result<HttpCacheLayer, String> {
    let store = LocMemCache::new(LocMemOptions::default().max_entries(10_000))
        .map_err(|error| error.to_string())?;
    let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
    let layer = match name {
        "site" => HttpCacheLayer::new(&cache),
        "shared" => HttpCacheLayer::shared(&cache),
        _ => return Err(format!("unknown preset {name:?}, expected site or shared")),
    };
    Ok(layer.cache_status("cachette"))
}
