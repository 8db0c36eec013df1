//! Caches of Python's, real ones, that do the same jobs in turn with ours.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{Report, asked};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/peers.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");

const NEEDED: &str =
    "they need python3 with its modules venv and pip, and the Python package index";

/// How long a pass of a peer may take: some need a hundred times as long as others.
const SECONDS_A_PASS: f64 = 0.2;

/// An operation that takes longer, in nanoseconds, is done once, and its time stands for all rounds.
const SLOW: f64 = 1e9;

/// A virtual environment of Python with what `python/requirements.txt` lists.
#[derive(Debug)]
pub struct Peers {
    python: PathBuf,
}

impl Peers {
    /// The environment in `folder`, if `--peers` was asked for. Where it can't be made, the user and the report's readers are
    /// told why, and all but the peers is measured.
    #[expect(clippy::print_stderr, reason = "the user hears it at once")]
    pub fn if_asked(folder: &Path, report: &mut Report) -> Option<Self> {
        let prepared = asked("--peers").then(|| Self::prepare(folder))?;
        prepared
            .inspect_err(|why| {
                eprintln!("Python's caches are left out: {why}");
                report
                    .remark(format!("Python's caches were asked for, but not measured: {NEEDED}."));
            })
            .ok()
    }

    /// Makes the environment in `folder`, from the Python package index, or finds the one that an earlier run made there.
    ///
    /// # Errors
    /// What is missing, as a sentence for the user: Python 3 with venv and pip, or the packages.
    #[expect(clippy::print_stderr, reason = "what is downloaded is said")]
    pub fn prepare(folder: &Path) -> Result<Self, String> {
        let home = folder.join("python-peers");
        let (python, made_of) = (home.join("bin/python"), home.join("requirements.txt"));
        let wanted = fs::read(REQUIREMENTS).map_err(|why| format!("{REQUIREMENTS}: {why}"))?;
        if !fs::read(&made_of).is_ok_and(|there| there == wanted) {
            eprintln!(
                "making a virtual environment of Python, with Django and diskcache from the Python package index"
            );
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
            run(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--requirement",
                REQUIREMENTS,
            ]))?;
            fs::write(&made_of, wanted).map_err(|why| format!("{}: {why}", made_of.display()))?;
        }
        Ok(Self { python })
    }

    /// Starts a peer of this kind, as `python/peers.py` names it, which fills its cache at `place` with so many entries
    /// meanwhile.
    ///
    /// # Errors
    /// Where it can't be started.
    ///
    /// # Panics
    /// Never: its pipes are asked for.
    pub fn start(&self, kind: &str, place: &str, entries: u64) -> Result<Peer, String> {
        let mut command = Command::new(&self.python);
        command
            .args([SCRIPT, kind, place, &entries.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(|why| format!("{kind} could not be started: {why}"))?;
        let jobs = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Peer { kind: kind.into(), child, jobs: Some(jobs), answers, slow: HashMap::new() })
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|why| format!("{NEEDED}: {command:?}: {why}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{NEEDED}: {command:?} ended with {status}"))
    }
}

/// A cache in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Peer {
    kind: String,
    child: Child,
    jobs: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    slow: HashMap<&'static str, f64>,
}

impl Peer {
    /// Waits until its cache is filled, and answers its name and version.
    ///
    /// # Panics
    /// Where it fails; it has told why on the standard error.
    pub fn ready(&mut self) -> String {
        self.answer()["ready"].as_str().expect("a name").to_owned()
    }

    /// Nanoseconds an operation, of up to so many.
    ///
    /// # Panics
    /// As [`ready`](Self::ready).
    pub fn time(&mut self, job: &'static str, operations: usize) -> f64 {
        if let Some(&time) = self.slow.get(job) {
            return time;
        }
        let order =
            serde_json::json!({ "job": job, "seconds": SECONDS_A_PASS, "operations": operations });
        let jobs = self.jobs.as_mut().expect("it was not closed");
        writeln!(jobs, "{order}").unwrap_or_else(|why| panic!("{} is gone: {why}", self.kind));
        let time = self.answer()["nanoseconds"].as_f64().expect("a time");
        if time > SLOW {
            self.slow.insert(job, time);
        }
        time
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .unwrap_or_else(|why| panic!("{} is gone: {why}", self.kind));
        serde_json::from_str(&line)
            .unwrap_or_else(|why| panic!("{} answered {line:?}: {why}", self.kind))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of the jobs ends it.
        drop(self.jobs.take());
        let _ = self.child.wait();
    }
}
