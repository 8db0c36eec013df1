//! Servers for tests. Each is private: it has a temporary folder and a free port of its own, and
//! ends with the thread that started it.

mod chromium;
mod folder;
mod http_suite;
mod install;
mod mariadb;
mod memcached;
mod nginx;
mod pgbouncer;
mod postgres;
mod process;
mod prometheus;
mod redis;
mod valgrind;

use std::{
    env,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::Signal;

pub use self::{
    chromium::ChromeDriver,
    http_suite::HttpSuite,
    nginx::Nginx,
    pgbouncer::PgBouncer,
    prometheus::Prometheus,
    redis::{RedisCluster, RedisSentinels},
    valgrind::traced,
};
use self::{
    folder::Folder,
    process::{Port, Process},
};
use crate::shell::{self, Outcome};

/// The environment variable with the URL of a PostgreSQL server for tests.
pub const POSTGRES_URL: &str = "CACHETTE_POSTGRES_URL";
/// The environment variable with the URL of a MySQL or MariaDB server for tests.
pub const MYSQL_URL: &str = "CACHETTE_MYSQL_URL";
/// The environment variable with the URL of a pgbouncer in transaction mode for tests.
pub const PGBOUNCER_URL: &str = "CACHETTE_PGBOUNCER_URL";

/// How long a server may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Installs those of these servers that are missing.
pub fn install(kinds: &[Kind]) -> Outcome {
    kinds.iter().map(|kind| kind.spec()).try_for_each(Spec::install)
}

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB, which also stands for MySQL.
    Mariadb,
    /// memcached.
    Memcached,
    /// Redis.
    Redis,
}

impl Kind {
    fn spec(self) -> &'static Spec {
        match self {
            Self::Postgres => &postgres::SPEC,
            Self::Mariadb => &mariadb::SPEC,
            Self::Memcached => &memcached::SPEC,
            Self::Redis => &redis::SPEC,
        }
    }
}

/// What differs between servers.
struct Spec {
    name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// The account that the server uses if root starts it. Servers without one may run as root.
    user: Option<&'static str>,
    program: fn() -> Outcome<PathBuf>,
    version_flag: &'static str,
    url: fn(port: u16) -> String,
    /// Creates what is in the folder before the first start.
    prepare: fn(&Folder) -> Outcome,
    /// The command that starts the server on this port with further arguments.
    command: fn(&Folder, u16, &[String]) -> Outcome<Command>,
    is_ready: fn(&Folder, u16) -> bool,
}

impl Spec {
    fn install(&self) -> Outcome {
        install::ensure(&(self.program)(), self.package)
    }

    fn version(&self) -> Outcome<String> {
        let program = (self.program)()?;
        let text = shell::output(Command::new(&program).arg(self.version_flag))?;
        let version = version_number(&text)
            .ok_or_else(|| format!("{}: no version in {text:?}", program.display()))?;
        Ok(format!("{} {version}", self.name))
    }
}

/// Finds the first number with a point in the output of a program.
fn version_number(text: &str) -> Option<&str> {
    let pieces = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    pieces.map(|piece| piece.trim_matches('.')).find(|piece| piece.contains('.'))
}

/// A running program with a port and a folder of its own.
#[derive(Debug)]
struct Daemon {
    // Dropped in this order: the process ends before its folder is removed.
    process: Process,
    port: Port,
    folder: Folder,
}

impl Daemon {
    /// Starts `command` on a free port, and waits until the port accepts connections.
    fn start(
        folder: Folder,
        command: impl FnOnce(&Folder, u16) -> Outcome<Command>,
    ) -> Outcome<Self> {
        let port = Port::free()?;
        let number = port.number();
        let process =
            Process::start(&mut command(&folder, number)?, &folder.log(), || accepts(number))?;
        Ok(Self { process, port, folder })
    }
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A server that runs until this value is dropped. Tests can kill and freeze it meanwhile.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    kind: Kind,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a new, empty server.
    pub fn start(kind: Kind) -> Outcome<Self> {
        Self::start_with(kind, &[])
    }

    /// Like [`start`](Self::start), with additional arguments, which a restart uses again.
    pub fn start_with(kind: Kind, arguments: &[&str]) -> Outcome<Self> {
        Self::start_in(kind, |_| arguments.iter().copied().map(Into::into).collect())
    }

    /// Like [`start_with`](Self::start_with), for arguments that name files in the server's folder.
    pub fn start_in(kind: Kind, arguments: impl FnOnce(&Path) -> Vec<String>) -> Outcome<Self> {
        let spec = kind.spec();
        let folder = Folder::new(&spec.name.to_lowercase(), spec.user)?;
        let arguments = arguments(folder.path());
        (spec.prepare)(&folder)?;
        let port = Port::free()?;
        let process = launch(spec, &folder, port.number(), &arguments)?;
        Ok(Self { daemon: Daemon { process, port, folder }, kind, arguments })
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        (self.kind.spec().url)(self.port())
    }

    /// Returns its name and version: `memcached 1.6.18`.
    pub fn version(&self) -> Outcome<String> {
        self.kind.spec().version()
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.daemon.port.number()
    }

    /// Returns the path of a Unix socket in the server's folder, for memcached's argument `-s`.
    #[must_use]
    pub fn socket(folder: &Path) -> PathBuf {
        folder.join("socket")
    }

    /// Returns the folder that belongs to the server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.daemon.folder.path()
    }

    /// Kills it, like a crash.
    pub fn kill(&mut self) -> Outcome {
        self.daemon.process.kill()
    }

    /// Starts it again after [`kill`](Self::kill), with its data, and waits until it is ready.
    pub fn restart(&mut self) -> Outcome {
        let Daemon { port, folder, .. } = &self.daemon;
        self.daemon.process = launch(self.kind.spec(), folder, port.number(), &self.arguments)?;
        Ok(())
    }

    /// Stops all its processes: it keeps its connections and replies to nothing.
    pub fn freeze(&self) -> Outcome {
        self.daemon.process.stop()
    }

    /// Continues after [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Outcome {
        self.daemon.process.signal_all(Signal::CONT)
    }
}

/// Starts the server in its folder, and waits until it is ready.
fn launch(spec: &Spec, folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Process> {
    let mut command = (spec.command)(folder, port, arguments)?;
    Process::start(&mut command, &folder.log(), || (spec.is_ready)(folder, port))
}

/// Starts what all tests of a process share, on a thread that never ends, and returns what
/// `describe` returns. A server ends with the thread that starts it: a test's own thread ends with
/// the test.
///
/// # Panics
///
/// If it does not start.
pub fn outlive<S, T: Send + 'static>(
    start: impl FnOnce() -> Outcome<S> + Send + 'static,
    describe: impl FnOnce(&S) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let started = start().unwrap_or_else(|error| panic!("{error}"));
        sender.send(describe(&started)).expect("the receiver waits");
        loop {
            thread::park();
        }
    });
    receiver.recv().expect("it starts")
}

/// The servers of a test run.
#[derive(Debug)]
pub struct Servers {
    running: Vec<(&'static str, Server)>,
    pgbouncer: Option<PgBouncer>,
    /// For temporary files, including those of servers that are killed with their test process and
    /// do not remove them.
    scratch: Folder,
}

impl Servers {
    /// Installs missing servers, and starts those that the environment does not name.
    pub fn start() -> Outcome<Self> {
        // Tests start memcached and Redis themselves: both start fast.
        install(&[Kind::Memcached, Kind::Redis])?;
        let mut running = Vec::new();
        for (variable, kind) in [(POSTGRES_URL, Kind::Postgres), (MYSQL_URL, Kind::Mariadb)] {
            if env::var_os(variable).is_some() {
                println!("{variable} is set: {} is not started", kind.spec().name);
                continue;
            }
            install(&[kind])?;
            let server = Server::start(kind)?;
            println!("{variable}={}", server.url());
            running.push((variable, server));
        }
        let pgbouncer = if env::var_os(PGBOUNCER_URL).is_some() {
            println!("{PGBOUNCER_URL} is set: pgbouncer is not started");
            None
        } else {
            let pgbouncer = PgBouncer::start()?;
            println!("{PGBOUNCER_URL}={}", pgbouncer.url());
            Some(pgbouncer)
        };
        Ok(Self { running, pgbouncer, scratch: Folder::traversable("tests")? })
    }

    /// Returns the environment variables for the tests.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let running = self.running.iter().map(|(variable, server)| (*variable, server.url()));
        let pgbouncer = self.pgbouncer.iter().map(|pgbouncer| (PGBOUNCER_URL, pgbouncer.url()));
        let scratch = ("TMPDIR", self.scratch.path().display().to_string());
        running.chain(pgbouncer).chain([scratch])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_the_output_of_each_server() {
        let output = [
            "memcached 1.6.18",
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
            "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu",
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
        ];
        let expected = ["1.6.18", "7.0.15", "10.11.14", "15.18"].map(Some);
        assert_eq!(output.map(version_number), expected);
        assert_eq!(version_number("no version."), None);
    }
}
