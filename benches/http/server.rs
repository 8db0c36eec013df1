//! Servers in processes of their own, whose CPU time is told apart from the load's.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, stdin},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{net::TcpListener, runtime::Builder};
use xtask::servers::Nginx;

use crate::sites;

/// The argument that has this program be a server.
pub(crate) const SERVE: &str = "--serve-site";

/// A server of one thread that runs until this value is dropped.
pub(crate) enum Server {
    /// This program once more.
    Site {
        process: Child,
        port: u16,
    },
    Nginx(Nginx),
}

impl Server {
    pub(crate) fn of_site(name: &str) -> Self {
        let program = env::current_exe().expect("this program has a file");
        // It ends when nobody holds the other end of its input any more.
        let mut command = Command::new(program);
        command.args([SERVE, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it tells its port");
        Self::Site { process, port: line.trim().parse().expect("it tells its port") }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Site { port, .. } => *port,
            Self::Nginx(nginx) => nginx.port(),
        }
    }

    /// The CPU time that its one thread took so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let pid = match self {
            Self::Site { process, .. } => process.id(),
            Self::Nginx(nginx) => nginx.pid(),
        };
        let times = fs::read_to_string(format!("/proc/{pid}/schedstat"))
            .expect("it runs, on a Linux that counts");
        let nanos = times.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("the first number is nanoseconds"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Site { process, .. } = self {
            process.kill().and_then(|()| process.wait()).expect("it runs");
        }
    }
}

/// What the process does that was started as a server.
#[expect(clippy::print_stdout, reason = "who started it waits for its port")]
pub(crate) fn serve(name: &str) {
    std::thread::spawn(|| {
        let _ = stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = Builder::new_current_thread().enable_all().build().expect("it starts");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a port");
        println!("{}", listener.local_addr().expect("it listens").port());
        axum::serve(listener, sites::site(name)).await.expect("it serves");
    });
}
