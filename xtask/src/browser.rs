//! The example site in a real browser.

use xtask::servers::ChromeDriver;

use crate::shell::{self, Outcome, cargo};

/// Runs the tests of `tests/browser`, with `extra` arguments of cargo test.
pub(crate) fn run(extra: &[String]) -> Outcome {
    ChromeDriver::install()?;
    // Built here, and not within the patience of a test.
    shell::run(&mut cargo(["build", "--example", "site"]))?;
    shell::run(cargo(["test", "--test", "browser"]).args(extra))
}
