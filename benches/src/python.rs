//! Python's caches, which do the same jobs in turn with cachette's stores.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{Report, flag};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/peers.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");

const NEEDED: &str = "python3 with venv and pip, and the Python package index, are needed";

/// The longest time of a pass, in seconds. Some peers take a hundred times as long as others.
const PASS: f64 = 0.2;

/// An operation that takes longer, in nanoseconds, runs once, and its time stands for all rounds.
const SLOW: f64 = 1e9;

/// A virtual environment of Python with the packages in `python/requirements.txt`.
#[derive(Debug)]
pub struct Peers {
    python: PathBuf,
}

impl Peers {
    /// Prepares the environment in `folder` if the program was started with `--peers`. If that
    /// fails, the reason is printed and reported, and only the peers are left out.
    #[expect(clippy::print_stderr, reason = "the user should know at once")]
    pub fn if_requested(folder: &Path, report: &mut Report) -> Option<Self> {
        let prepared = flag("--peers").then(|| Self::prepare(folder))?;
        let prepared = prepared.inspect_err(|error| {
            eprintln!("Python's caches are left out: {error}");
            report.remark(format!("Python's caches were requested but not measured: {NEEDED}."));
        });
        prepared.ok()
    }

    /// Creates the environment in `folder` from the Python package index, or reuses that of an
    /// earlier run.
    ///
    /// # Errors
    ///
    /// Returns a message if Python 3, venv, pip or the packages are missing.
    #[expect(clippy::print_stderr, reason = "the user should know about downloads")]
    pub fn prepare(folder: &Path) -> Result<Self, String> {
        let environment = folder.join("python-peers");
        let (python, installed) =
            (environment.join("bin/python"), environment.join("requirements.txt"));
        let required =
            fs::read(REQUIREMENTS).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
        if !fs::read(&installed).is_ok_and(|installed| installed == required) {
            eprintln!("creating a virtual environment with Django and diskcache");
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
            let pip = ["-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS];
            run(Command::new(&python).args(pip))?;
            fs::write(&installed, required)
                .map_err(|error| format!("{}: {error}", installed.display()))?;
        }
        Ok(Self { python })
    }

    /// Starts a peer of this kind (see `python/peers.py`). It fills its cache at `location` with
    /// this many entries in the meantime.
    ///
    /// # Errors
    ///
    /// Returns a message if it cannot be started.
    ///
    /// # Panics
    ///
    /// Never: both pipes are requested.
    pub fn start(&self, kind: &str, location: &str, entries: u64) -> Result<Peer, String> {
        let mut command = Command::new(&self.python);
        command.args([SCRIPT, kind, location, &entries.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {kind}: {error}"))?;
        let jobs = child.stdin.take().expect("a pipe");
        let replies = BufReader::new(child.stdout.take().expect("a pipe"));
        Ok(Peer { kind: kind.into(), child, jobs: Some(jobs), replies, slow: HashMap::new() })
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}; {NEEDED}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}; {NEEDED}")) }
}

/// A cache in a process of its own, which ends when this value is dropped.
#[derive(Debug)]
pub struct Peer {
    kind: String,
    child: Child,
    jobs: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    slow: HashMap<&'static str, f64>,
}

impl Peer {
    /// Waits until its cache is filled. Returns its name and version.
    ///
    /// # Panics
    ///
    /// If it fails. It has printed the reason.
    pub fn ready(&mut self) -> String {
        self.reply()["ready"].as_str().expect("a name").to_owned()
    }

    /// Returns nanoseconds per operation, of up to `operations`.
    ///
    /// # Panics
    ///
    /// Like [`ready`](Self::ready).
    pub fn time(&mut self, job: &'static str, operations: usize) -> f64 {
        if let Some(&time) = self.slow.get(job) {
            return time;
        }
        let request = serde_json::json!({ "job": job, "seconds": PASS, "operations": operations });
        let jobs = self.jobs.as_mut().expect("it is open");
        writeln!(jobs, "{request}").unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        let time = self.reply()["nanoseconds"].as_f64().expect("a time");
        if time > SLOW {
            self.slow.insert(job, time);
        }
        time
    }

    fn reply(&mut self) -> serde_json::Value {
        let mut line = String::new();
        let read = self.replies.read_line(&mut line);
        read.unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{} replied {line:?}: {error}", self.kind))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It exits at the end of its input.
        drop(self.jobs.take());
        let _ = self.child.wait();
    }
}
