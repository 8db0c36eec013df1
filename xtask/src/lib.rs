//! Shared by `cargo xtask` and by tests: servers for tests, and a proxy that injects faults.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands report on the terminal")]
#![allow(clippy::missing_errors_doc, reason = "every error is a message for the user: see Outcome")]

pub mod proxy;
pub mod servers;
pub mod shell;
