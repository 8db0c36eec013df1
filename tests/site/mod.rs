//! The example `site`, started as a newcomer starts it, on a port and in a folder of its own.
#![allow(dead_code, reason = "each test that starts it uses a part of it")]

pub(crate) mod http;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use self::http::Answer;

/// It runs until this is dropped.
pub(crate) struct Site {
    process: Child,
    output: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    _folder: TempDir,
}

impl Site {
    /// With the example's own configuration, save that all files are in a temporary folder.
    pub(crate) fn start() -> Self {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site/caches.toml");
        let config = fs::read_to_string(config).expect("the example has a configuration");
        Self::start_with(&config.replace("../../target/site/", ""))
    }

    pub(crate) fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("caches.toml");
        fs::write(&file, config).expect("there is room");
        let mut cargo = command();
        cargo.args(["--listen", "127.0.0.1:0", "--data"]).arg(folder.path()).arg(file);
        let mut process = cargo.stdout(Stdio::piped()).spawn().expect("cargo runs");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            let more = output.read_line(&mut said).expect("it writes text");
            assert!(more > 0, "the site ended with {:?}, and said:\n{said}", process.wait());
            let url =
                said[start..].split_whitespace().find_map(|word| word.strip_prefix("http://"));
            if let Some(address) = url {
                break address.trim_end_matches('/').to_owned();
            }
        };
        Self { process, output, address, _folder: folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::ask(&self.address, "GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let form_headers = [("content-type", "application/x-www-form-urlencoded")];
        http::ask(&self.address, "POST", path, &[&form_headers, headers].concat(), form)
    }

    /// Ends it as Ctrl-C does, and answers how it ended and what it said of that.
    pub(crate) fn interrupt(mut self) -> (ExitStatus, String) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", "INT", &pid])
            .status()
            .expect("there is a command kill");
        assert!(sent.success());
        let mut said = String::new();
        while self.output.read_line(&mut said).expect("it writes text") > 0 {}
        (self.process.wait().expect("it is a child"), said)
    }
}

/// On Unix, cargo becomes what it runs: its process is the site's.
pub(crate) fn command() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "run",
        "--quiet",
        "--example",
        "site",
        "--",
    ]);
    cargo
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
