//! The store in a database against bare drivers and Python's caches. The `README.md` of this crate says how to read it.
#![allow(clippy::print_stderr, reason = "a benchmark says what is wrong")]

mod arena;
mod bare_sqlx;
mod candidate;
mod job;
mod limit;
mod sql;

use std::{env, path::Path, process::ExitCode};

use cachette_benches::{Peers, Report};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use crate::arena::Arena;

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
    let peers = asked("--peers").then(|| Peers::prepare(tmp)).transpose()?;
    let (rounds, parts, many) = if asked("--quick") { (5, 4, 100_000) } else { (11, 1, 1_000_000) };
    let bench = Bench { rounds, parts, runtime: Runtime::new().expect("it starts"), peers };
    let mut report = Report::default();
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
    let (few, many) = (Arena::sqlite(bench, folder.path(), FEW)?, Arena::sqlite(bench, folder.path(), many)?);
    few.contests(report);
    many.contests(report);
    many.growth(&few, report);
    Ok(())
}

fn postgres(bench: &Bench, many: u64, report: &mut Report) -> Result<(), String> {
    let server = Server::start(Kind::Postgres)?;
    let (few, many) = (Arena::postgres(bench, &server, FEW)?, Arena::postgres(bench, &server, many)?);
    few.contests(report);
    many.contests(report);
    many.growth(&few, report);
    few.unlogged(report);
    Ok(())
}

fn mariadb(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let server = Server::start(Kind::Mariadb)?;
    Arena::mariadb(bench, &server, FEW)?.contests(report);
    Ok(())
}
