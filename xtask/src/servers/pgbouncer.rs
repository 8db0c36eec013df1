//! pgbouncer in transaction mode, in front of a PostgreSQL of its own.

use super::{Daemon, Kind, Server, folder::Folder, install, postgres};
use crate::shell::Outcome;

/// A pgbouncer and its PostgreSQL server, which run until this value is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    daemon: Daemon,
    _server: Server,
}

impl PgBouncer {
    /// Starts a pgbouncer in front of a new server. Installs both if they are missing.
    pub fn start() -> Outcome<Self> {
        postgres::SPEC.install()?;
        install::ensure(&install::find_installed("pgbouncer"), "pgbouncer")?;
        let server = Server::start(Kind::Postgres)?;
        let folder = Folder::new("pgbouncer", postgres::SPEC.user)?;
        let daemon = Daemon::start(folder, |folder, port| {
            let settings = folder.write("pgbouncer.ini", &settings(port, server.port()))?;
            let mut command = folder.command(&install::find_installed("pgbouncer")?);
            command.arg(settings);
            Ok(command)
        })?;
        Ok(Self { daemon, _server: server })
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        (postgres::SPEC.url)(self.daemon.port.number())
    }
}

/// Few connections to the server for many clients: a client that relies on getting the same server
/// connection again fails.
fn settings(port: u16, server: u16) -> String {
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
