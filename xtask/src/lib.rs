//! What the commands of `cargo xtask` share with tests: servers to talk to, and a proxy that fails on the way.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its user by printing"
)]
#![allow(
    clippy::missing_errors_doc,
    reason = "every error is a sentence for the user: see Outcome"
)]

pub mod proxy;
pub mod servers;
pub mod shell;
