//! valgrind, which records what a program does.

use std::{path::Path, process::Command};

use super::install;
use crate::shell::Outcome;

/// Returns a command that runs `program`, and writes its instructions and memory accesses to the
/// file `trace`. Installs valgrind if it is missing.
pub fn traced(program: &Path, trace: &Path) -> Outcome<Command> {
    install::ensure(&install::find_installed("valgrind"), "valgrind")?;
    let mut command = Command::new(install::find_installed("valgrind")?);
    command.args(["--tool=lackey", "--trace-mem=yes"]);
    command.arg(format!("--log-file={}", trace.display())).arg(program);
    Ok(command)
}
