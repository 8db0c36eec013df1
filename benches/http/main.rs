//! A hit of cache-http against the same page from a handler, from nginx and from other layers. The `README.md` of this crate
//! says how to read it.
mod in_process;
mod load;
mod server;
mod sites;

use std::{cell::RefCell, env, time::Duration};

use cachette_benches::{Contest, Report, cpu_time};
use in_process::Warm;
use load::Load;
use server::Server;
use tokio::runtime::Runtime;
use xtask::servers::Nginx;

const NGINX: &str = "nginx";

/// The most that a hit may cost, as a ratio to the same page from a handler.
const TARGET: f64 = 1.15;

const OVER_TCP: &str = "a hit over TCP, the server's CPU time";

/// Why axum-response-cache is quicker over TCP, where it is.
const WITHIN_ROUNDS: &str = "counted in instructions, a hit is 22.01 thousand to its 21.96, which is 0.3 % more: rounds differ by more \
     than that. It looks at the method and the URI alone: neither at `Vary`, cookies and `Authorization` nor at ages.";

/// Why it is in the process, where it is.
const URI_ALONE: &str = "counted in instructions, a hit is 11.1 thousand to its 10.8, with the router and the making of the request in both. \
     It looks at the method and the URI alone: neither at `Vary`, cookies and `Authorization` nor at ages.";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == server::SERVE) {
        return server::serve(&arguments[place + 1]);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, hits) = if quick { (5, 16_000) } else { (15, 48_000) };
    let mut report = Report::default();
    over_tcp(rounds, hits, &mut report);
    in_process(rounds, hits, &mut report);
    report.publish();
}

/// The CPU time of the server, each with one thread.
fn over_tcp(rounds: usize, hits: usize, report: &mut Report) {
    let origin = Server::of_site(sites::STATIC);
    let nginx = Nginx::start(origin.port()).unwrap_or_else(|why| panic!("{why}"));
    let mut contest = Contest::new(OVER_TCP);
    for name in sites::ALL {
        // A new process each time: where its memory happens to lie makes a difference.
        contest =
            contest.candidate(name, move || hits_over_tcp(name, &Server::of_site(name), hits));
    }
    let nginx = Server::Nginx(nginx);
    let contest = contest.candidate(NGINX, || hits_over_tcp(NGINX, &nginx, hits));
    let contest = contest.at_most(TARGET, sites::STATIC).because(
        "a hit looks at each header of its request, hashes what the page's key is made of under a key of this process, and \
         copies the page's headers; the handler does none of it.",
    );
    let contest = contest.at_most(1.0, NGINX).at_most(1.0, sites::TOWER_HTTP_CACHE);
    report.add(contest.at_most(1.0, sites::AXUM_RESPONSE_CACHE).because(WITHIN_ROUNDS).run(rounds));
    report.draw_bars("What a hit of a page costs", OVER_TCP);
}

fn hits_over_tcp(name: &str, server: &Server, hits: usize) -> f64 {
    let mut load = Load::on(server.port());
    load.ask(hits / 10);
    let before = server.cpu_time();
    let head = load.ask(hits);
    assert!(is_hit(&head), "{name} did not answer from its cache: {head}");
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

/// The service alone: what the router, the handler or the layer do.
fn in_process(rounds: usize, hits: usize, report: &mut Report) {
    let runtime = Runtime::new().expect("it starts");
    let _within = runtime.enter();
    let mut contest = Contest::new("a hit in the process");
    for name in sites::ALL {
        let warm = RefCell::new(runtime.block_on(Warm::new(name)));
        contest = contest.candidate(name, move || cpu_time(hits, |_| warm.borrow_mut().hit()));
    }
    let contest = contest.at_most(1.0, sites::TOWER_HTTP_CACHE);
    report.add(contest.at_most(1.0, sites::AXUM_RESPONSE_CACHE).because(URI_ALONE).run(rounds));
}
