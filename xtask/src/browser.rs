//! Tests of the example site in a real browser.

use xtask::servers::ChromeDriver;

use crate::shell::{self, Outcome, cargo};

/// Runs the tests in `tests/browser`, with `args` passed to cargo test.
pub(crate) fn run(args: &[String]) -> Outcome {
    ChromeDriver::install()?;
    // Built first: a test that starts the site does not wait for a build.
    shell::run(&mut cargo(["build", "--example", "site"]))?;
    shell::run(cargo(["test", "--test", "browser"]).args(args))
}
