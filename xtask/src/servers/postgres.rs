//! PostgreSQL.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::folder::Folder;
use crate::shell::{self, Outcome};

/// Debian keeps the programs of each version in a folder of their own: the newest.
const HOME: &str = "/usr/lib/postgresql";

pub(super) fn program(name: &str) -> Outcome<PathBuf> {
    let versions = fs::read_dir(HOME).into_iter().flatten().flatten();
    let newest =
        versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok()).max();
    let at_home =
        newest.map(|version| Path::new(HOME).join(version.to_string()).join("bin").join(name));
    super::mariadb::first_that_exists(at_home.into_iter().collect(), name)
}

/// Makes an empty database. Durability is given up, as the data is gone after the tests; not by a flag, so that who measures it
/// can switch it on.
pub(super) fn prepare(folder: &Folder) -> Outcome {
    let mut command = folder.command(&program("initdb")?);
    command.args([
        "--username=postgres",
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C",
        "--pgdata",
    ]);
    shell::output(command.arg(folder.data()))?;
    let file = folder.data().join("postgresql.conf");
    let opened = File::options().append(true).open(&file);
    opened
        .and_then(|mut file| writeln!(file, "fsync = off"))
        .map_err(|why| format!("{}: cannot be written: {why}", file.display()))
}

pub(super) fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&program("postgres")?);
    command.args([
        "-h",
        "127.0.0.1",
        "-N",
        "400",
        "-c",
        "shared_buffers=64MB",
        "-p",
        &port.to_string(),
    ]);
    command.arg("-k").arg(folder.path()).arg("-D").arg(folder.data());
    command.args(arguments);
    Ok(command)
}

pub(super) fn answers(_: &Folder, port: u16) -> bool {
    let Ok(asker) = program("pg_isready") else { return false };
    shell::output(Command::new(asker).args(["-h", "127.0.0.1", "-p", &port.to_string()])).is_ok()
}
