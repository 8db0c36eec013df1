//! MariaDB.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::folder::Folder;
use crate::shell::{self, Outcome};

pub(super) const DATABASE: &str = "cachette";

pub(super) fn program(name: &str) -> Outcome<PathBuf> {
    let homes = ["/usr/sbin", "/usr/bin"].iter().map(|home| Path::new(home).join(name));
    first_that_exists(homes.collect(), name)
}

/// One of these, or what the PATH leads to.
pub(super) fn first_that_exists(mut candidates: Vec<PathBuf>, name: &str) -> Outcome<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    candidates.extend(env::split_paths(&path).map(|home| home.join(name)));
    let missing =
        || format!("`{name}` is not installed: `cargo xtask test` installs what the tests need");
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(missing)
}

pub(super) fn prepare(folder: &Folder) -> Outcome {
    let mut command = folder.command(&program("mariadb-install-db")?);
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    shell::output(command.arg(at("--datadir=", &folder.data()))).map(drop)
}

/// Durability is given up: the data is gone after the tests.
pub(super) fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&program("mariadbd")?);
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--max-connections=400"]);
    command.args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", "--skip-log-bin"]);
    command
        .arg(format!("--port={port}"))
        .arg(at("--datadir=", &folder.data()))
        .arg(at("--socket=", &socket(folder)));
    command.arg(at("--pid-file=", &folder.path().join("pid")));
    command.args(arguments);
    Ok(command)
}

pub(super) fn answers(folder: &Folder, _: u16) -> bool {
    client(folder, "mariadb-admin")
        .is_ok_and(|mut command| shell::output(command.arg("ping")).is_ok())
}

pub(super) fn make_database(folder: &Folder) -> Outcome {
    let make = format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4");
    shell::output(client(folder, "mariadb")?.args(["--execute", &make])).map(drop)
}

fn client(folder: &Folder, name: &str) -> Outcome<Command> {
    let mut command = Command::new(program(name)?);
    command.args(["--no-defaults", "--user=root"]).arg(at("--socket=", &socket(folder)));
    Ok(command)
}

fn socket(folder: &Folder) -> PathBuf {
    folder.path().join("socket")
}

fn at(flag: &str, path: &Path) -> String {
    format!("{flag}{}", path.display())
}
