//! Shared by `cargo xtask` and by tests: servers for tests, a proxy that injects faults, and a
//! runtime that stalls.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands report on the terminal")]
#![allow(clippy::missing_errors_doc, reason = "every error is a message for the user: see Outcome")]

pub mod proxy;
pub mod servers;
pub mod shell;
mod stalled;

pub use self::stalled::Stalled;
