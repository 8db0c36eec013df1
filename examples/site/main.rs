//! The site of a library, with cached pages and fragments: `cargo run --example site`.
//!
//! The README suggests what to try. The views and queries do not use the page cache. `site.rs`
//! defines which layer caches which page and for how long, and `caches.toml` configures the stores.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints its address")]

mod arguments;
mod caching;
mod library;
mod metrics;
mod requests;
mod same_site;
mod site;
mod templates;
mod timings;
mod views;

use std::{env, error::Error, process::ExitCode};

use arguments::Arguments;
use library::Library;
use metrics::Metrics;
use site::Site;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { listen, config, data, debug } = Arguments::parse(env::args().skip(1))?;
    // Bind first, so that a port in use is reported before the database is filled.
    let listener = TcpListener::bind(&listen).await;
    let listener = listener
        .map_err(|error| format!("cannot listen on {listen}: {error}; try --listen 127.0.0.1:0"))?;

    let metrics = Metrics::install()?;
    let library = Library::open(&data).await?;
    let caches = caching::open(&config, &library).await?;
    let address = listener.local_addr()?;
    println!("config     {}\ndatabase   {}", config.display(), library.path().display());
    println!("listening  http://{address}/ (press Ctrl-C to stop)");

    let site = Site::new(library, caches.clone(), metrics, address)?;
    axum::serve(listener, site.router(debug)).with_graceful_shutdown(interrupted()).await?;
    caches.close_all().await?;
    println!("closed");
    Ok(())
}

/// Prints an error and its sources.
fn report(error: &dyn Error) {
    eprintln!("{error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("caused by: {error}");
        source = error.source();
    }
}

async fn interrupted() {
    // If the signal handler cannot be installed, the site runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
