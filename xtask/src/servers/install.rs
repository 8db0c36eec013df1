//! Getting the servers where they are missing.

use std::process::Command;

use super::{Kind, chromium, folder, mariadb, memcached, nginx, pgbouncer, postgres, redis};
use crate::shell::{self, Outcome};

/// Installs what is missing of this server, and says so.
pub(super) fn ensure(kind: Kind) -> Outcome {
    let (found, package) = match kind {
        Kind::Postgres => (postgres::program("postgres").is_ok(), "postgresql"),
        Kind::Mariadb => (mariadb::program("mariadbd").is_ok(), "mariadb-server"),
        Kind::Memcached => (memcached::program().is_ok(), "memcached"),
        Kind::Redis => (redis::program().is_ok(), "redis-server"),
    };
    ensure_package(found, package)
}

/// The same for pgbouncer, which wants the server behind it as well.
pub(super) fn ensure_pgbouncer() -> Outcome {
    ensure(Kind::Postgres)?;
    ensure_package(pgbouncer::program().is_ok(), "pgbouncer")
}

/// The same for nginx.
pub(super) fn ensure_nginx() -> Outcome {
    ensure_package(nginx::program().is_ok(), "nginx-light")
}

/// The same for Chromium and what drives it.
pub(super) fn ensure_chromium() -> Outcome {
    ensure_package(chromium::browser().is_ok(), "chromium")?;
    ensure_package(chromium::driver().is_ok(), "chromium-driver")
}

fn ensure_package(found: bool, package: &str) -> Outcome {
    if found {
        return Ok(());
    }
    if !folder::is_root()? {
        return Err(format!(
            "{package} is needed, which is not installed: `sudo apt-get install {package}`"
        ));
    }
    println!("{package} is missing: installing it");
    shell::run(Command::new("apt-get").arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends", package];
    shell::run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install))
}
