//! Chromium, driven by programs.

use std::{net::TcpStream, path::PathBuf};

use super::{
    PATIENCE,
    folder::Folder,
    install,
    mariadb::first_that_exists,
    process::{self, Process},
};
use crate::shell::Outcome;

/// A chromedriver that runs until this value is dropped, and its browsers with it.
#[derive(Debug)]
pub struct ChromeDriver {
    // The process goes first, then its folder.
    _process: Process,
    port: u16,
    _folder: Folder,
}

impl ChromeDriver {
    /// Installs what is missing of Chromium and its driver, and says so.
    pub fn install() -> Outcome {
        install::ensure_chromium()
    }

    /// A new one, without a browser yet.
    pub fn start() -> Outcome<Self> {
        let folder = Folder::named("chromedriver", None)?;
        let port = process::free_port()?;
        let mut command = folder.command(&driver()?);
        command
            .arg(format!("--port={port}"))
            .env("TMPDIR", folder.path())
            .env("HOME", folder.path());
        let mut process = Process::start(&mut command, &folder.log())?;
        process.wait_until(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { _process: process, port, _folder: folder })
    }

    /// Where it listens, at 127.0.0.1, for what [W3C's WebDriver](https://www.w3.org/TR/webdriver2/) says.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it is to start a browser with: headless, with nothing that calls home, and with a profile of its own, which is in
    /// the folder that goes with the driver.
    #[must_use]
    pub fn arguments() -> &'static [&'static str] {
        &[
            "--headless",
            // Root may not start its sandbox, and the tests visit no stranger's pages.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
    }
}

pub(super) fn browser() -> Outcome<PathBuf> {
    // Chrome is what GitHub's machines have, and it does as well.
    first_that_exists(vec!["/usr/bin/chromium".into(), "/usr/bin/google-chrome".into()], "chromium")
}

pub(super) fn driver() -> Outcome<PathBuf> {
    first_that_exists(vec!["/usr/bin/chromedriver".into()], "chromium-driver")
}
