//! Shared by `cargo xtask` and by tests: servers for tests, a proxy that injects faults, a runtime
//! that stalls, and tests in processes of their own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands report on the terminal")]
#![allow(clippy::missing_errors_doc, reason = "every error is a message for the user: see Outcome")]

mod alone;
pub mod proxy;
pub mod servers;
pub mod shell;
mod stalled;

#[doc(hidden)]
pub use self::alone::__is_alone;
pub use self::stalled::Stalled;
