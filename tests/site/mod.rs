//! Starts the example `site` on a free port and with a temporary directory.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod http;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use self::http::Response;

/// A running site. Dropping it stops the site.
pub(crate) struct Site {
    process: Child,
    output: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    _folder: TempDir,
}

impl Site {
    /// Starts the site with the example's configuration, but with all files in a temporary
    /// directory.
    pub(crate) fn start() -> Self {
        Self::start_with(&Self::config())
    }

    pub(crate) fn start_with(config: &str) -> Self {
        Self::start_with_arguments(config, &[])
    }

    /// Starts the site with a panel on each page.
    pub(crate) fn start_debug() -> Self {
        Self::start_with_arguments(&Self::config(), &["--debug"])
    }

    fn config() -> String {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site/caches.toml");
        let config = fs::read_to_string(config).expect("read the configuration");
        config.replace("../../target/site/", "")
    }

    fn start_with_arguments(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("create a temporary directory");
        let file = folder.path().join("caches.toml");
        fs::write(&file, config).expect("write the configuration");
        let mut cargo = command();
        cargo
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .args(arguments)
            .arg(file);
        let mut process = cargo.stdout(Stdio::piped()).spawn().expect("run cargo");
        let mut output = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut output_text = String::new();
        let address = loop {
            let start = output_text.len();
            let length = output.read_line(&mut output_text).expect("read the output");
            assert!(length > 0, "exited with {:?}: {output_text}", process.wait());
            let url = output_text[start..]
                .split_whitespace()
                .find_map(|word| word.strip_prefix("http://"));
            if let Some(address) = url {
                break address.trim_end_matches('/').to_owned();
            }
        };
        Self { process, output, address, _folder: folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        http::send(&self.address, "GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Response {
        let form_headers = [("content-type", "application/x-www-form-urlencoded")];
        http::send(&self.address, "POST", path, &[&form_headers, headers].concat(), form)
    }

    /// Sends SIGINT, as Ctrl-C does. Returns the exit status and the remaining output.
    pub(crate) fn interrupt(mut self) -> (ExitStatus, String) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status().expect("run kill");
        assert!(sent.success());
        let mut output = String::new();
        while self.output.read_line(&mut output).expect("read the output") > 0 {}
        (self.process.wait().expect("wait for the site"), output)
    }
}

/// The command that runs the site. On Unix, cargo replaces itself with the site, so the
/// process is the site's.
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
        // The site may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
