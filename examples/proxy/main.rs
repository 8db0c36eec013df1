//! A reverse proxy with the layer of `cache-http` in it, at which any test suite for HTTP caches can be pointed.
//!
//! ```sh
//! cargo run --example proxy -- --origin http://127.0.0.1:8000 --listen 127.0.0.1:8080 --preset shared
//! cargo test --example proxy
//! ```
//!
//! It forwards every method, status, header and body as it is, streaming, with trailers; but for `CONNECT`, and for the fields of
//! one connection, which RFC 9110, section 7.6.1, has a proxy take out. It adds no `Via`, as what it stands for is the layer
//! inside an application, and only `Cache-Status` of its own. It speaks HTTP/1.1 and, to who begins with it, HTTP/2, and HTTP/1.1
//! to the origin. An origin that is away is a 502 within seconds, one that is silent a 504.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program tells how it is used")]

mod forward;
mod server;
#[cfg(test)]
mod tests;

use std::{env, process::ExitCode, sync::Arc};

use cachette::{CacheHandle, Settings, http::HttpCacheLayer, stores::LocMemCache};
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
        Err(mistake) => Err(format!("{mistake}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { origin, listen, cache }: Options) -> Result<(), String> {
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|why| format!("cannot listen at {listen}: {why}"))?;
    let address = listener.local_addr().map_err(|why| format!("{listen} has no address: {why}"))?;
    println!("http://{address} stands before {origin}");
    server::serve(listener, Forward::to(origin), &cache).await;
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut origin, mut listen, mut cache) = (None, None, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match &*name {
            "--origin" => origin = Some(origin_of(&value)?),
            "--listen" => listen = Some(value),
            "--preset" => cache = Some(preset(&value)?),
            _ => return Err(format!("there is no {name}")),
        }
    }
    let missing = |name| format!("{name} is missing");
    Ok(Options {
        origin: origin.ok_or_else(|| missing("--origin"))?,
        listen: listen.ok_or_else(|| missing("--listen"))?,
        cache: cache.ok_or_else(|| missing("--preset"))?,
    })
}

fn origin_of(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|why| format!("the origin {url:?} is no URL: {why}"))?;
    let bare =
        uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    if bare {
        Ok(uri)
    } else {
        Err(format!("the origin {url:?} is not http://HOST:PORT and nothing more"))
    }
}

fn preset(name: &str) -> Result<HttpCacheLayer, String> {
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    let layer = match name {
        "site" => HttpCacheLayer::new(&cache),
        "shared" => HttpCacheLayer::shared(&cache),
        _ => return Err(format!("there is no preset {name:?}, but site and shared")),
    };
    Ok(layer.cache_status("cachette"))
}
