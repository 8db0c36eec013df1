//! Runs the command on a test's own configuration.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod stores;

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const CACHETTE: &str = env!("CARGO_BIN_EXE_cachette");

/// A temporary directory with a `caches.toml`, in which commands run.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new(toml: &str) -> Self {
        let project = Self(TempDir::new().expect("create a temporary directory"));
        project.configure(toml);
        project
    }

    pub(crate) fn configure(&self, toml: &str) {
        fs::write(self.path("caches.toml"), toml).expect("write caches.toml");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs the command with `--config caches.toml`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, b"")
    }

    /// Like [`run`](Self::run), with `input` on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = self.command(CACHETTE);
        command.args(["--config", &self.path("caches.toml")]).args(arguments);
        run(command, input)
    }

    /// Runs the command without `--config`, with only these environment variables.
    pub(crate) fn run_in(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = self.command(CACHETTE);
        command.args(arguments).envs(variables.iter().copied());
        run(command, b"")
    }

    pub(crate) fn shell(&self, script: &str) -> Finished {
        let mut command = self.command("bash");
        command.args(["-c", script]).env("CACHETTE", CACHETTE);
        run(command, b"")
    }

    /// Runs the command on a terminal, types `typed`, and returns what the terminal shows.
    pub(crate) fn on_a_terminal(&self, arguments: &str, typed: &str) -> String {
        let line = format!("'{CACHETTE}' --config '{}' {arguments}", self.path("caches.toml"));
        self.line_on_a_terminal(&line, typed)
    }

    /// Runs a shell script on a terminal, and returns what the terminal shows.
    pub(crate) fn script_on_a_terminal(&self, script: &str) -> String {
        self.line_on_a_terminal(script, "")
    }

    fn line_on_a_terminal(&self, line: &str, typed: &str) -> String {
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
        command.env("TERM", "xterm").env("CACHETTE", CACHETTE);
        let finished = run(command, typed.as_bytes());
        String::from_utf8_lossy(&finished.stdout).into_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}

/// A second thread writes standard input, so that neither side blocks on a full pipe.
fn run(mut command: Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start the command");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("wait for the command")
    });
    Finished::new(&output)
}

/// The output and exit code of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    code: Option<i32>,
}

impl Finished {
    fn new(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { stdout: output.stdout.clone(), stderr, code: output.status.code() }
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.stdout).expect("stdout is UTF-8")
    }

    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code, Some(code), "{stdout}{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    /// Asserts a miss, which prints nothing.
    #[track_caller]
    pub(crate) fn misses(self) {
        let finished = self.exits_with(1);
        assert!(finished.stdout.is_empty() && finished.stderr.is_empty(), "{finished:?}");
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) {
        assert_eq!(self.succeeds().text(), text);
    }

    /// Asserts an error, which leaves standard output empty. Returns standard error.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        let finished = self.exits_with(2);
        assert!(finished.stdout.is_empty(), "{finished:?}");
        finished.stderr
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_ne!(self.code, Some(2), "{}", self.stderr);
        serde_json::from_slice(&self.stdout).expect("stdout is one JSON document")
    }
}
