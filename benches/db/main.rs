//! The store in a database against bare drivers and Python's caches. The `README.md` of this crate says how to read it.
#![allow(clippy::print_stderr, reason = "a benchmark says what is wrong")]

mod arena;
mod bare_sqlx;
mod candidate;
mod job;
mod limit;
mod sql;

use std::{env, path::Path, process::ExitCode};

use cachette_benches::{Figure, Peers, Report};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use crate::{arena::Arena, job::Job};

const OURS: &str = "cache-db";
const SQLX: &str = "bare sqlx";
const SQLX_NO_PING: &str = "bare sqlx without a ping";
const SQLX_ONE: &str = "one connection of sqlx";
const RUSQLITE: &str = "rusqlite";
const TOKIO_POSTGRES: &str = "tokio-postgres";
const DJANGO: &str = "Django";
const DISKCACHE: &str = "diskcache";

const FEW: u64 = 1000;

/// What every contest here works with.
struct Bench {
    rounds: usize,
    /// Each pass does one part of so many of a job's operations.
    parts: usize,
    runtime: Runtime,
    peers: Option<Peers>,
}

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            report.publish();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report, String> {
    let asked = |flag: &str| env::args().any(|argument| argument == flag);
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut report = Report::default();
    let peers = Peers::if_asked(tmp, &mut report);
    let (rounds, parts, many) = if asked("--quick") { (5, 8, 20_000) } else { (7, 1, 1_000_000) };
    let bench = Bench { rounds, parts, runtime: Runtime::new().expect("it starts"), peers };
    let all = !["sqlite", "postgres", "mariadb"].into_iter().any(asked);
    if all || asked("sqlite") {
        sqlite(&bench, tmp, many, &mut report)?;
    }
    if all || asked("postgres") {
        postgres(&bench, many, &mut report)?;
    }
    if all || asked("mariadb") {
        mariadb(&bench, &mut report)?;
    }
    Ok(report)
}

fn sqlite(bench: &Bench, tmp: &Path, many: u64, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir_in(tmp).expect("there is room");
    let (few, many) =
        (Arena::sqlite(bench, folder.path(), FEW)?, Arena::sqlite(bench, folder.path(), many)?);
    few.contests(report);
    many.contests(report);
    many.growth(&few, report);
    draw_growth(&[&few, &many], report);
    report.measured_with(format!("SQLite {}", rusqlite::version()));
    Ok(())
}

/// What a set takes as rows grow.
fn draw_growth(arenas: &[&Arena<'_>], report: &mut Report) {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let places: Vec<_> =
        arenas.iter().map(|arena| (arena.rows as f64, arena.name(Job::Set.name()))).collect();
    let title = format!("A set of a new key as rows grow, {}", arenas[0].database);
    let figure = Figure::lines(title, "rows", "microseconds an operation").log_x().log_y();
    report.draw_over(figure, &places, |nanoseconds| nanoseconds / 1e3);
    arenas
        .iter()
        .flat_map(|arena| &arena.versions)
        .for_each(|version| report.measured_with(version));
}

fn postgres(bench: &Bench, many: u64, report: &mut Report) -> Result<(), String> {
    let server = Server::start(Kind::Postgres)?;
    let (few, many) =
        (Arena::postgres(bench, &server, FEW)?, Arena::postgres(bench, &server, many)?);
    few.contests(report);
    many.contests(report);
    many.growth(&few, report);
    draw_growth(&[&few, &many], report);
    report.measured_with(server.version()?);
    few.unlogged(report);
    Ok(())
}

fn mariadb(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let server = Server::start(Kind::Mariadb)?;
    report.measured_with(server.version()?);
    Arena::mariadb(bench, &server, FEW)?.contests(report);
    Ok(())
}
