//! cache-db against bare drivers and Python's caches. See this crate's `README.md`.

mod clients;
mod fixture;
mod limit;
mod sql;
mod tasks;

use std::path::Path;

use cachette_benches::{Figure, Job, Peers, Report, flag};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use crate::fixture::{Fixture, job_name};

const HANDLE: &str = "CacheHandle";
const STORE: &str = "cache-db";
const SQLX: &str = "bare sqlx";
const SQLX_NO_PING: &str = "bare sqlx without a ping";
const SQLX_ONE: &str = "one connection of sqlx";
const RUSQLITE: &str = "rusqlite";
const TOKIO_POSTGRES: &str = "tokio-postgres";
const DJANGO: &str = "Django";
const DISKCACHE: &str = "diskcache";

const FEW: u64 = 1000;

/// What every comparison needs.
struct Bench {
    rounds: usize,
    /// A pass has the usual number of operations divided by this.
    divisor: usize,
    runtime: Runtime,
    peers: Option<Peers>,
}

fn main() {
    run().unwrap_or_else(|error| panic!("{error}")).publish();
}

fn run() -> Result<Report, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut report = Report::default();
    let peers = Peers::if_requested(folder, &mut report);
    let (rounds, divisor, many) = if flag("--quick") { (5, 8, 20_000) } else { (7, 1, 1_000_000) };
    let bench = Bench { rounds, divisor, runtime: Runtime::new().expect("it starts"), peers };
    let all = !["sqlite", "postgres", "mariadb"].into_iter().any(flag);
    if all || flag("sqlite") {
        let folder = tempfile::tempdir_in(folder).expect("it can be created");
        let few = Fixture::sqlite(&bench, folder.path(), FEW)?;
        compare(&few, &Fixture::sqlite(&bench, folder.path(), many)?, &mut report);
        tasks::throughput(&few, &mut report);
        tasks::timer(&few, folder.path(), &mut report);
        report.measured_with(format!("SQLite {}", rusqlite::version()));
    }
    if all || flag("postgres") {
        let server = Server::start(Kind::Postgres)?;
        let few = Fixture::postgres(&bench, &server, FEW)?;
        compare(&few, &Fixture::postgres(&bench, &server, many)?, &mut report);
        report.measured_with(server.version()?);
        few.unlogged(&mut report);
    }
    if all || flag("mariadb") {
        let server = Server::start(Kind::Mariadb)?;
        report.measured_with(server.version()?);
        Fixture::mariadb(&bench, &server, FEW)?.jobs(&mut report);
    }
    Ok(report)
}

fn compare(few: &Fixture<'_>, many: &Fixture<'_>, report: &mut Report) {
    few.jobs(report);
    many.jobs(report);
    if few.database == "SQLite" {
        many.growth(few, Job::Get, report);
    }
    many.growth(few, Job::Set, report);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let points = [few, many].map(|fixture| (fixture.rows as f64, fixture.name(job_name(Job::Set))));
    let title = format!("A set of a new key as rows grow, {}", few.database);
    let figure = Figure::lines(title, "rows", "microseconds per operation").log_y();
    report.draw_over(figure, &points, |nanoseconds| nanoseconds / 1e3);
    for version in [few, many].into_iter().flat_map(|fixture| &fixture.versions) {
        report.measured_with(version);
    }
}
