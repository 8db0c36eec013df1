//! Chromium, controlled through chromedriver.

use super::{Daemon, folder::Folder, install};
use crate::shell::Outcome;

/// A chromedriver that runs, with its browsers, until this value is dropped.
#[derive(Debug)]
pub struct ChromeDriver(Daemon);

impl ChromeDriver {
    /// Installs Chromium and its driver if they are missing.
    pub fn install() -> Outcome {
        // GitHub's runners have Chrome, which works as well.
        let browser = install::find_installed("chromium")
            .or_else(|_| install::find_installed("google-chrome"));
        install::ensure(&browser, "chromium")?;
        install::ensure(&install::find_installed("chromedriver"), "chromium-driver")
    }

    /// Starts a driver, without a browser.
    pub fn start() -> Outcome<Self> {
        let folder = Folder::new("chromedriver", None)?;
        let daemon = Daemon::start(folder, |folder, port| {
            let mut command = folder.command(&install::find_installed("chromedriver")?);
            command.arg(format!("--port={port}")).env("HOME", folder.path());
            Ok(command)
        })?;
        Ok(Self(daemon))
    }

    /// Returns the port on 127.0.0.1 for [WebDriver](https://www.w3.org/TR/webdriver2/) commands.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// Returns the arguments for a browser: headless, and without background requests. The profile
    /// is in the driver's folder.
    #[must_use]
    pub fn arguments() -> &'static [&'static str] {
        &[
            "--headless",
            // Chromium's sandbox does not work as root, and the tests open only their own pages.
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
