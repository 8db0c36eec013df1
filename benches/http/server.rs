//! Servers in separate processes, so that their CPU time does not include the load's.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, stdin},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{ServiceExt, extract::Request};
use tokio::{net::TcpListener, runtime::Builder};
use xtask::servers::Nginx;

use crate::sites::{self, Site};

/// The option that makes this program a server.
pub(crate) const SERVE: &str = "--serve-site";

/// A server with one thread that runs until this value is dropped.
pub(crate) enum Server {
    /// This program, as a server.
    Site {
        process: Child,
        port: u16,
    },
    Nginx(Nginx),
}

impl Server {
    pub(crate) fn of_site(name: &str) -> Self {
        let program = env::current_exe().expect("the path of this program");
        // It exits when its input is closed.
        let mut command = Command::new(program);
        command.args([SERVE, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("a port");
        Self::Site { process, port: line.trim().parse().expect("a port") }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Site { port, .. } => *port,
            Self::Nginx(nginx) => nginx.port(),
        }
    }

    /// The CPU time of its thread so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let pid = match self {
            Self::Site { process, .. } => process.id(),
            Self::Nginx(nginx) => nginx.pid(),
        };
        let times = fs::read_to_string(format!("/proc/{pid}/schedstat"))
            .expect("Linux with scheduler statistics");
        let nanos = times.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("nanoseconds"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Site { process, .. } = self {
            process.kill().and_then(|()| process.wait()).expect("it runs");
        }
    }
}

/// Runs as a server.
#[expect(clippy::print_stdout, reason = "the parent process reads the port")]
pub(crate) fn serve(name: &str) {
    std::thread::spawn(|| {
        let _ = stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = Builder::new_current_thread().enable_all().build().expect("it starts");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("{}", listener.local_addr().expect("it listens").port());
        match sites::site(name) {
            Site::Router(site) => axum::serve(listener, site).await,
            Site::Cached(site) => {
                axum::serve(listener, ServiceExt::<Request>::into_make_service(site)).await
            }
        }
        .expect("it serves");
    });
}
