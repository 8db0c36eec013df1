//! The tools that `cargo xtask ci` needs beside the Rust toolchain. Any installed version will do; a missing one is built.

use crate::shell::{self, Outcome, cargo};

/// A subcommand of cargo that is a crate of its own, `cargo-NAME`.
pub(crate) struct Tool {
    subcommand: &'static str,
    version: &'static str,
}

pub(crate) const DENY: Tool = Tool { subcommand: "deny", version: "0.20.2" };
pub(crate) const HACK: Tool = Tool { subcommand: "hack", version: "0.6.46" };

/// Installs `tool` where it is missing, and says so.
pub(crate) fn ensure(tool: &Tool) -> Outcome {
    if shell::output(&mut cargo([tool.subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    let package = format!("cargo-{}@{}", tool.subcommand, tool.version);
    println!(
        "`cargo {}` is missing: building and installing {package}, which takes minutes",
        tool.subcommand
    );
    shell::run(&mut cargo(["install", "--locked", &package]))
}
