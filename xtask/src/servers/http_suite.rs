//! The public test suite for HTTP caches, and a proxy between its client and its origin.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Daemon, folder::Folder, install};
use crate::shell::{self, Outcome};

/// The suite's origin and a proxy in front of it, which run until this value is dropped.
#[derive(Debug)]
pub struct HttpSuite {
    /// The folder with the programs of the suite.
    engine: PathBuf,
    proxy: Daemon,
    _origin: Daemon,
}

impl HttpSuite {
    /// Installs Node.js if it is missing.
    pub fn install() -> Outcome {
        install::ensure(&install::find_installed("node"), "nodejs")?;
        install::ensure(&install::find_installed("npm"), "npm")
    }

    /// Starts the origin of the suite in `suite`, and `proxy` in front of it with `switches`.
    pub fn start(suite: &Path, proxy: &Path, switches: &[&str]) -> Outcome<Self> {
        let engine = [suite.join("test-engine"), suite.to_owned()]
            .into_iter()
            .find(|engine| engine.join("cli.mjs").is_file())
            .ok_or_else(|| format!("{}: cli.mjs is missing", suite.display()))?;
        let server = engine.join("server/server.mjs");
        let origin = Daemon::start(Folder::new("suite", None)?, |folder, port| {
            let mut command = folder.command(&install::find_installed("node")?);
            command.arg(&server).env("npm_config_protocol", "http");
            command.env("npm_config_port", port.to_string());
            command.env("npm_config_pidfile", folder.path().join("pid"));
            Ok(command)
        })?;
        let url = format!("http://127.0.0.1:{}", origin.port.number());
        let proxy = Daemon::start(Folder::new("proxy", None)?, |folder, port| {
            let mut command = folder.command(proxy);
            command.args(["--origin", &url, "--listen", &format!("127.0.0.1:{port}")]);
            command.args(switches);
            Ok(command)
        })?;
        Ok(Self { engine, proxy, _origin: origin })
    }

    /// Runs the tests. Returns the results as the suite prints them, in JSON.
    pub fn run(&self) -> Outcome<String> {
        let mut client = Command::new(install::find_installed("node")?);
        client.arg("--no-warnings").arg(self.engine.join("cli.mjs"));
        client.env("npm_config_base", format!("http://127.0.0.1:{}", self.proxy.port.number()));
        // An empty id stands for all tests.
        client.env("npm_config_id", "").env("npm_package_config_id", "");
        shell::output(&mut client)
    }

    /// Returns the tests of a suite in JSON: a list of groups.
    pub fn tests(suite: &Path) -> Outcome<String> {
        const PRINT: &str = "console.log(JSON.stringify((await import(process.argv[1])).default))";
        let mut node = Command::new(install::find_installed("node")?);
        node.args(["--no-warnings", "--input-type=module", "--eval", PRINT]);
        shell::output(node.arg(suite.join("tests/index.mjs")))
    }
}
