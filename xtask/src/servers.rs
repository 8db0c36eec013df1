//! Servers for tests: private ones, in a temporary folder and on a free port, that end with whoever started
//! them.

mod chromium;
mod folder;
mod install;
mod mariadb;
mod memcached;
mod nginx;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod version;

use std::{
    env,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

pub use self::{
    chromium::ChromeDriver,
    nginx::Nginx,
    pgbouncer::PgBouncer,
    redis::{RedisCluster, RedisSentinels},
};
use self::{folder::Folder, process::Process};
use crate::shell::Outcome;

/// Where tests find the URL of a PostgreSQL server.
pub const POSTGRES_URL: &str = "CACHETTE_POSTGRES_URL";
/// Where tests find the URL of a MySQL or MariaDB server.
pub const MYSQL_URL: &str = "CACHETTE_MYSQL_URL";
/// Where tests find the URL of a pgbouncer in its transaction mode.
pub const PGBOUNCER_URL: &str = "CACHETTE_PGBOUNCER_URL";

/// How long a server may take to start, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs until this value is dropped, and can be maltreated meanwhile.
#[derive(Debug)]
pub struct Server {
    // The process goes first, then its folder.
    process: Process,
    kind: Kind,
    port: u16,
    folder: Folder,
    arguments: Vec<String>,
}

/// Installs what is missing of these servers, and says so.
pub fn install(kinds: &[Kind]) -> Outcome {
    kinds.iter().try_for_each(|kind| install::ensure(*kind))
}

/// What kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB, which stands for MySQL as well.
    Mariadb,
    /// memcached.
    Memcached,
    /// Redis.
    Redis,
}

impl Server {
    /// A new server with nothing in it.
    pub fn start(kind: Kind) -> Outcome<Self> {
        Self::start_with(kind, &[])
    }

    /// The same, with these arguments besides, which it also gets when it is started again.
    pub fn start_with(kind: Kind, arguments: &[&str]) -> Outcome<Self> {
        Self::start_in(kind, |_| arguments.iter().copied().map(Into::into).collect())
    }

    /// The same, with arguments that may name files in the server's own folder.
    pub fn start_in(kind: Kind, arguments: impl FnOnce(&Path) -> Vec<String>) -> Outcome<Self> {
        let folder = Folder::new(kind)?;
        let arguments = arguments(folder.path());
        match kind {
            Kind::Postgres => postgres::prepare(&folder)?,
            Kind::Mariadb => mariadb::prepare(&folder)?,
            Kind::Memcached | Kind::Redis => {}
        }
        let port = process::free_port()?;
        let process = launch(kind, &folder, port, &arguments)?;
        let server = Self { process, kind, port, folder, arguments };
        if kind == Kind::Mariadb {
            mariadb::make_database(&server.folder)?;
        }
        Ok(server)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Postgres => format!("postgres://postgres@127.0.0.1:{}/postgres", self.port),
            Kind::Mariadb => format!("mysql://root@127.0.0.1:{}/{}", self.port, mariadb::DATABASE),
            Kind::Memcached => format!("memcached://127.0.0.1:{}", self.port),
            Kind::Redis => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Its name and version, as `memcached 1.6.18`.
    pub fn version(&self) -> Outcome<String> {
        version::of(self.kind)
    }

    /// Where it listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The unix socket at which memcached listens instead, where its arguments are `-s` and this path in its folder.
    #[must_use]
    pub fn socket(folder: &Path) -> PathBuf {
        folder.join("socket")
    }

    /// The folder that is the server's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it, as a crash or the machine's end would.
    pub fn kill(&mut self) -> Outcome {
        self.process.kill()
    }

    /// Starts it again after it was killed, with what it had, and waits until it answers.
    pub fn restart(&mut self) -> Outcome {
        self.process = launch(self.kind, &self.folder, self.port, &self.arguments)?;
        Ok(())
    }

    /// Stops all its processes where they are: it keeps its connections and answers nothing.
    pub fn freeze(&self) -> Outcome {
        self.process.stop()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Outcome {
        self.process.signal_all("CONT")
    }
}

/// Starts what all tests of a process share, on a thread that never ends, and tells about it: what a test starts on its own
/// thread ends with that test.
///
/// # Panics
/// Where it does not start.
pub fn outlive<S, T: Send + 'static>(
    start: impl FnOnce() -> Outcome<S> + Send + 'static,
    tell: impl FnOnce(&S) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let started = start().unwrap_or_else(|why| panic!("{why}"));
        sender.send(tell(&started)).expect("it is waited for");
        loop {
            thread::park();
        }
    });
    receiver.recv().expect("it starts")
}

/// Starts the server on what is in the folder, and waits until it answers.
fn launch(kind: Kind, folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Process> {
    let (mut command, answers): (_, fn(&Folder, u16) -> bool) = match kind {
        Kind::Postgres => (postgres::command(folder, port, arguments)?, postgres::answers),
        Kind::Mariadb => (mariadb::command(folder, port, arguments)?, mariadb::answers),
        Kind::Memcached => (memcached::command(folder, port, arguments)?, memcached::answers),
        Kind::Redis => (redis::command(folder, port, arguments)?, redis::answers),
    };
    let mut process = Process::start(&mut command, &folder.log())?;
    process.wait_until(PATIENCE, || answers(folder, port))?;
    Ok(process)
}

/// The servers of a run of tests.
#[derive(Debug)]
pub struct Servers {
    running: Vec<(&'static str, Server)>,
    pgbouncer: Option<PgBouncer>,
    /// For temporary files: also of servers that end with a process of tests, whom nobody cleans up after.
    scratch: Folder,
}

impl Servers {
    /// Starts those that the environment does not name already, and installs what is missing for it.
    pub fn start() -> Outcome<Self> {
        // Tests of these start their own, as that takes but a moment.
        install::ensure(Kind::Memcached)?;
        install::ensure(Kind::Redis)?;
        let mut running = Vec::new();
        for (variable, kind) in [(POSTGRES_URL, Kind::Postgres), (MYSQL_URL, Kind::Mariadb)] {
            if env::var_os(variable).is_some() {
                println!("{variable} is set: no {kind:?} is started");
                continue;
            }
            install::ensure(kind)?;
            let server = Server::start(kind)?;
            println!("{variable}={}", server.url());
            running.push((variable, server));
        }
        let pgbouncer = if env::var_os(PGBOUNCER_URL).is_some() {
            println!("{PGBOUNCER_URL} is set: no pgbouncer is started");
            None
        } else {
            install::ensure_pgbouncer()?;
            let pgbouncer = PgBouncer::start()?;
            println!("{PGBOUNCER_URL}={}", pgbouncer.url());
            Some(pgbouncer)
        };
        Ok(Self { running, pgbouncer, scratch: Folder::of_all("tests")? })
    }

    /// The variables to be set for tests, and their values.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let running = self.running.iter().map(|(variable, server)| (*variable, server.url()));
        let pgbouncer = self.pgbouncer.iter().map(|pgbouncer| (PGBOUNCER_URL, pgbouncer.url()));
        let scratch = ("TMPDIR", self.scratch.path().display().to_string());
        running.chain(pgbouncer).chain([scratch])
    }
}
