//! Finds the programs of servers, and installs missing packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::folder;
use crate::shell::{self, Outcome};

/// Finds a program in these folders or on the PATH.
pub(super) fn find(name: &str, folders: &[&Path]) -> Outcome<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(|folder| folder.to_path_buf()).chain(env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file()).ok_or_else(|| {
        format!("`{name}` is not installed: `cargo xtask test` installs what tests need")
    })
}

/// Finds a program in `/usr/sbin`, `/usr/bin` or on the PATH.
pub(super) fn find_installed(name: &str) -> Outcome<PathBuf> {
    find(name, &["/usr/sbin", "/usr/bin"].map(Path::new))
}

/// Installs `package` if `program` was not found.
pub(super) fn ensure(program: &Outcome<PathBuf>, package: &str) -> Outcome {
    if program.is_ok() {
        return Ok(());
    }
    if !folder::is_root() {
        return Err(format!("{package} is not installed: run `sudo apt-get install {package}`"));
    }
    println!("{package} is missing: installing it");
    shell::run(Command::new("apt-get").arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends", package];
    shell::run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install))
}
