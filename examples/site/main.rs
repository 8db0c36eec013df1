//! A library's site, cached in every way there is: `cargo run --example site`. Its README tells what to try.
//!
//! The views and their queries know nothing of caches; which page is kept where, and for how long, is in `site.rs`, and which
//! store that is, in `caches.toml`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example tells where it listens by printing"
)]

mod arguments;
mod caching;
mod library;
mod requests;
mod same_site;
mod site;
mod templates;
mod timings;
mod views;
mod watch;

use std::{env, error::Error, process::ExitCode};

use arguments::Arguments;
use caching::Caching;
use library::Library;
use site::Site;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { listen, config, data } = Arguments::parse(env::args().skip(1))?;
    // First of all: a port that is taken is told before two hundred thousand rows are written.
    let listener = TcpListener::bind(&listen).await;
    let listener = listener.map_err(|error| {
        format!("{listen}: cannot be listened at: {error}; try --listen 127.0.0.1:0")
    })?;

    let library = Library::open(&data).await?;
    let caching = Caching::open(&config, &library).await?;
    let address = listener.local_addr()?;
    println!("config     {}\ndatabase   {}", config.display(), library.path().display());
    println!("listening  http://{address}/ (Ctrl-C ends it)");

    let stores = caching.caches().clone();
    let site = Site::new(library, caching, address)?;
    axum::serve(listener, site.router()).with_graceful_shutdown(interrupted()).await?;
    stores.close_all().await?;
    println!("closed");
    Ok(())
}

async fn interrupted() {
    // Where no signal can be heard, the site runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
