//! Cargo subcommands that `cargo xtask ci` needs. Any installed version is used; a missing one is
//! built.

use crate::shell::{self, Outcome, cargo};

/// A subcommand of cargo in a crate of its own, `cargo-NAME`.
pub(crate) struct Tool {
    subcommand: &'static str,
    version: &'static str,
}

pub(crate) const DENY: Tool = Tool { subcommand: "deny", version: "0.20.2" };
pub(crate) const HACK: Tool = Tool { subcommand: "hack", version: "0.6.46" };

/// Installs `tool` if it is missing.
pub(crate) fn ensure(tool: &Tool) -> Outcome {
    let Tool { subcommand, version } = tool;
    if shell::output(&mut cargo([subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    let package = format!("cargo-{subcommand}@{version}");
    println!("`cargo {subcommand}` is missing: installing {package}, which takes minutes");
    // Unoptimized: these tools run for seconds, and cargo-deny asks for minutes of link-time
    // optimization.
    let mut install = cargo(["install", "--locked", "--debug", &package]);
    shell::run(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))
}
