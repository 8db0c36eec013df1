//! A hit of cache-http against the same page from a handler, from nginx and from other layers. See
//! this crate's `README.md`.

mod in_process;
mod load;
mod server;
mod sites;

use std::{cell::RefCell, time::Duration};

use cachette_benches::{Comparison, Report, cpu_time, flag, option};
use in_process::Warm;
use load::Load;
use server::Server;
use tokio::runtime::Runtime;
use xtask::servers::Nginx;

const NGINX: &str = "nginx";

const OVER_TCP: &str = "a hit over TCP, CPU time of the server";

/// The highest allowed ratio of a hit to the same page from a handler.
const TARGET: f64 = 1.15;

/// The highest allowed ratio of a hit before the router to a handler behind it, in process.
const TARGET_BEFORE_ROUTER: f64 = 1.25;

/// Why a hit over TCP misses its target against a handler.
const HANDLER: &str = "\
a hit reads each header of its request, hashes the parts of the page's key with a key of this \
process, and copies the headers of the page; the handler does none of this.";

/// Why axum-response-cache is faster over TCP.
const URI_ONLY: &str = "\
it reads only the method and the URI: not `Vary`, cookies, `Authorization` or ages.";

fn main() {
    if let Some(name) = option(server::SERVE) {
        return server::serve(&name);
    }
    let (rounds, hits) = if flag("--quick") { (5, 16_000) } else { (15, 48_000) };
    let mut report = Report::default();
    over_tcp(rounds, hits, &mut report);
    in_process(rounds, hits, &mut report);
    report.publish();
}

/// Compares the CPU time of servers with one thread each.
fn over_tcp(rounds: usize, hits: usize, report: &mut Report) {
    let origin = Server::of_site(sites::STATIC);
    let nginx = Nginx::start(origin.port()).unwrap_or_else(|error| panic!("{error}"));
    let mut comparison = Comparison::new(OVER_TCP);
    for name in sites::ALL {
        // Each pass has a new process, because the layout of its memory makes a difference.
        comparison =
            comparison.candidate(name, move || hits_over_tcp(name, &Server::of_site(name), hits));
    }
    let nginx = Server::Nginx(nginx);
    let comparison = comparison
        .candidate(NGINX, || hits_over_tcp(NGINX, &nginx, hits))
        .at_most(TARGET, sites::STATIC)
        .because(HANDLER)
        .at_most(1.0, NGINX)
        .at_most(1.0, sites::TOWER_HTTP_CACHE)
        .at_most(1.0, sites::AXUM_RESPONSE_CACHE)
        .because(URI_ONLY);
    report.add(comparison.run(rounds));
    report.draw_bars("What a hit of a page costs", OVER_TCP);
}

fn hits_over_tcp(name: &str, server: &Server, hits: usize) -> f64 {
    let mut load = Load::on(server.port());
    load.request(hits / 10);
    let before = server.cpu_time();
    let head = load.request(hits);
    assert!(is_hit(&head), "{name} did not serve the page from its cache: {head}");
    per_hit(server.cpu_time() - before, hits)
}

fn is_hit(head: &str) -> bool {
    load::header(head, "etag") == Some(sites::FIRST_TAG)
        && load::header(head, "x-cache").is_none_or(|cache| cache == "hit")
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_hit(time: Duration, hits: usize) -> f64 {
    time.as_secs_f64() * 1e9 / hits as f64
}

/// Compares the services alone: the router with a handler or a layer.
fn in_process(rounds: usize, hits: usize, report: &mut Report) {
    let runtime = Runtime::new().expect("it starts");
    let _context = runtime.enter();
    let compare = |title, names: &[&'static str]| {
        names.iter().fold(Comparison::new(title), |comparison, name| {
            let warm = RefCell::new(runtime.block_on(Warm::new(name)));
            comparison.candidate(name, move || cpu_time(hits, |_| warm.borrow_mut().hit()))
        })
    };
    let comparison = compare("a hit in process", &sites::ALL)
        .at_most(1.0, sites::TOWER_HTTP_CACHE)
        .at_most(1.0, sites::AXUM_RESPONSE_CACHE)
        .because(URI_ONLY);
    report.add(comparison.run(rounds));
    let names = [sites::OURS_AROUND, sites::STATIC];
    let comparison = compare("a hit in process, before the router", &names)
        .at_most(TARGET_BEFORE_ROUTER, sites::STATIC);
    report.add(comparison.run(rounds));
}
