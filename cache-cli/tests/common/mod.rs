//! Runs the command on a configuration of the test's own.
#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const CACHETTE: &str = env!("CARGO_BIN_EXE_cachette");

/// A folder with a `caches.toml`, where commands are run.
pub(crate) struct Caches(TempDir);

impl Caches {
    pub(crate) fn new(toml: &str) -> Self {
        let caches = Self(TempDir::new().expect("there is room"));
        caches.configure(toml);
        caches
    }

    pub(crate) fn configure(&self, toml: &str) {
        fs::write(self.path("caches.toml"), toml).expect("there is room");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs it on the configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, b"")
    }

    /// The same, with this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(CACHETTE);
        command.args(["--config", &self.path("caches.toml")]).args(arguments);
        run(command, input)
    }

    /// Runs it without the configuration's file, and with these variables alone.
    pub(crate) fn run_in(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(CACHETTE);
        command.args(arguments).envs(variables.iter().copied());
        run(command, b"")
    }

    pub(crate) fn shell(&self, script: &str) -> Said {
        let mut command = self.command("bash");
        command.args(["-c", script]).env("CACHETTE", CACHETTE);
        run(command, b"")
    }

    /// What a terminal shows of it, when this is typed there.
    pub(crate) fn on_a_terminal(&self, arguments: &str, typed: &str) -> String {
        let mut command = self.command("script");
        let line = format!("'{CACHETTE}' --config '{}' {arguments}", self.path("caches.toml"));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
        let said = run(command, typed.as_bytes());
        String::from_utf8_lossy(&said.out).into_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}

/// Standard input is written by a thread of its own, lest both sides wait for each other.
fn run(mut command: Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the command ends")
    });
    Said::new(&output)
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    code: Option<i32>,
}

impl Said {
    fn new(output: &Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { out: output.stdout.clone(), err, code: output.status.code() }
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.out).expect("it is text")
    }

    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", String::from_utf8_lossy(&self.out), self.err);
        self
    }

    pub(crate) fn done(self) -> Self {
        self.exits_with(0)
    }

    /// A miss says nothing.
    pub(crate) fn misses(self) {
        let said = self.exits_with(1);
        assert!(said.out.is_empty() && said.err.is_empty(), "{said:?}");
    }

    pub(crate) fn says(self, text: &str) {
        assert_eq!(self.done().text(), text);
    }

    /// An error says what is wrong, and nothing else.
    pub(crate) fn fails(self) -> String {
        let said = self.exits_with(2);
        assert!(said.out.is_empty(), "{said:?}");
        said.err
    }

    /// Whatever the exit code, one document.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_ne!(self.code, Some(2), "{}", self.err);
        serde_json::from_slice(&self.out).expect("one document of JSON")
    }
}
