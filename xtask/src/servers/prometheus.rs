//! Prometheus, which scrapes a program under test.

use std::{path::Path, process::Command};

use super::{Daemon, folder::Folder, install};
use crate::shell::{self, Outcome};

/// A Prometheus that runs until this value is dropped.
#[derive(Debug)]
pub struct Prometheus(Daemon);

impl Prometheus {
    /// Starts a Prometheus that scrapes `http://127.0.0.1:PORT/metrics` each second. Installs it if
    /// it is missing.
    pub fn start(target: u16) -> Outcome<Self> {
        ensure_installed()?;
        let daemon = Daemon::start(Folder::new("prometheus", None)?, |folder, port| {
            let settings = folder.write("prometheus.yml", &settings(target))?;
            let mut command = folder.command(&install::find_installed("prometheus")?);
            command.arg(format!("--config.file={}", settings.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            Ok(command)
        })?;
        Ok(Self(daemon))
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// Checks a file of alert rules with `promtool` and returns its report.
    pub fn check_rules(file: &Path) -> Outcome<String> {
        ensure_installed()?;
        let program = install::find_installed("promtool")?;
        shell::output(Command::new(program).args(["check", "rules"]).arg(file))
    }
}

fn ensure_installed() -> Outcome {
    install::ensure(&install::find_installed("prometheus"), "prometheus")
}

fn settings(target: u16) -> String {
    format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n  \
         - job_name: site\n    \
         static_configs: [ {{ targets: [ '127.0.0.1:{target}' ] }} ]\n"
    )
}
