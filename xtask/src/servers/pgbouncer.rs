//! pgbouncer in its transaction mode, in front of a PostgreSQL of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Kind, PATIENCE, Server, folder::Folder, mariadb::first_that_exists, postgres, process,
    process::Process,
};
use crate::shell::Outcome;

/// A pgbouncer, and the server behind it, that run until this value is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    // The process goes first, then what it needs.
    _process: Process,
    port: u16,
    _folder: Folder,
    _server: Server,
}

impl PgBouncer {
    /// A new one in front of a new server.
    pub fn start() -> Outcome<Self> {
        let server = Server::start(Kind::Postgres)?;
        // It runs as the same user, so it gets the same kind of folder.
        let folder = Folder::new(Kind::Postgres)?;
        let port = process::free_port()?;
        let settings = folder.path().join("pgbouncer.ini");
        fs::write(&settings, ini(port, server.port()))
            .map_err(|why| format!("{}: cannot be written: {why}", settings.display()))?;
        let mut process = Process::start(&mut command(&folder, &settings)?, &folder.log())?;
        process.wait_until(PATIENCE, || postgres::answers(&folder, port))?;
        Ok(Self { _process: process, port, _folder: folder, _server: server })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

pub(super) fn program() -> Outcome<PathBuf> {
    first_that_exists(vec!["/usr/sbin/pgbouncer".into()], "pgbouncer")
}

fn command(folder: &Folder, settings: &Path) -> Outcome<Command> {
    let mut command = folder.command(&program()?);
    command.arg(settings);
    Ok(command)
}

/// Few connections to the server for many clients, so that who expects to meet the same one again is disappointed.
fn ini(port: u16, server: u16) -> String {
    format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server} user=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = 4\n\
         max_client_conn = 1000\n"
    )
}
