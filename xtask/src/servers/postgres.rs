//! PostgreSQL.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Spec, folder::Folder, install};
use crate::shell::{self, Outcome};

/// Debian has a folder for the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

pub(super) const SPEC: Spec = Spec {
    name: "PostgreSQL",
    package: "postgresql",
    user: Some("postgres"),
    program: || program("postgres"),
    version_flag: "--version",
    url: |port| format!("postgres://postgres@127.0.0.1:{port}/postgres"),
    prepare,
    command,
    is_ready,
};

/// Finds a program of the newest version.
fn program(name: &str) -> Outcome<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest =
        versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok()).max();
    let folder = newest.map(|version| format!("{VERSIONS}/{version}/bin"));
    install::find(name, &folder.iter().map(Path::new).collect::<Vec<_>>())
}

/// Creates an empty database. Durability is off because the data is not needed after the tests. It
/// is off in the configuration and not by an argument, so that a benchmark can turn it on.
fn prepare(folder: &Folder) -> Outcome {
    let mut command = folder.command(&program("initdb")?);
    command.args(["--username=postgres", "--auth=trust", "--no-sync"]);
    command.args(["--encoding=UTF8", "--locale=C", "--pgdata"]).arg(folder.data());
    shell::output(&mut command)?;
    let file = folder.data().join("postgresql.conf");
    let opened = File::options().append(true).open(&file);
    opened
        .and_then(|mut file| writeln!(file, "fsync = off"))
        .map_err(|error| format!("{}: cannot be written: {error}", file.display()))
}

fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&program("postgres")?);
    command.args(["-h", "127.0.0.1", "-N", "400", "-c", "shared_buffers=64MB"]);
    command.arg("-p").arg(port.to_string());
    command.arg("-k").arg(folder.path()).arg("-D").arg(folder.data()).args(arguments);
    Ok(command)
}

fn is_ready(_: &Folder, port: u16) -> bool {
    let Ok(program) = program("pg_isready") else { return false };
    shell::output(Command::new(program).args(["-h", "127.0.0.1", "-p", &port.to_string()])).is_ok()
}
