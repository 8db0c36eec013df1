//! MariaDB.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Spec, folder::Folder, install::find_installed};
use crate::shell::{self, Outcome};

const DATABASE: &str = "cachette";

pub(super) const SPEC: Spec = Spec {
    name: "MariaDB",
    package: "mariadb-server",
    user: Some("mysql"),
    program: || find_installed("mariadbd"),
    version_flag: "--version",
    url: |port| format!("mysql://root@127.0.0.1:{port}/{DATABASE}"),
    prepare,
    command,
    is_ready,
};

fn prepare(folder: &Folder) -> Outcome {
    let create = format!("CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n");
    folder.write("init.sql", &create)?;
    let mut command = folder.command(&find_installed("mariadb-install-db")?);
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    shell::output(command.arg(flag("datadir", &folder.data()))).map(drop)
}

/// Durability is off: the data is not needed after the tests.
fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&(SPEC.program)()?);
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--max-connections=400"]);
    command.args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", "--skip-log-bin"]);
    command.arg(format!("--port={port}")).arg(flag("datadir", &folder.data()));
    for (name, file) in [("socket", "socket"), ("pid-file", "pid"), ("init-file", "init.sql")] {
        command.arg(flag(name, &folder.path().join(file)));
    }
    command.args(arguments);
    Ok(command)
}

fn is_ready(folder: &Folder, _: u16) -> bool {
    let ping = |admin: PathBuf| {
        let mut command = Command::new(admin);
        command.args(["--no-defaults", "--user=root"]);
        shell::output(command.arg(flag("socket", &folder.path().join("socket"))).arg("ping"))
    };
    find_installed("mariadb-admin").and_then(ping).is_ok()
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
