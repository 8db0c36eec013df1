//! The command `cachette`: inspects and manages the caches of a configuration.
//!
//! `cachette --config caches.toml check` checks every cache. `cachette help` lists all commands.

mod args;
mod commands;
mod failure;
mod remedy;
mod selection;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use failure::Failure;

/// The result of a command that ran. The exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A hit, or a completed command.
    Done,
    /// A miss, or a problem that `check` found.
    Miss,
    /// A part of the command failed and was reported.
    Failed,
}

impl Outcome {
    fn done_if(done: bool) -> Self {
        if done { Self::Done } else { Self::Miss }
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.verbose || matches!(cli.command, args::Command::Check) {
        terminal::show_warnings();
    }
    match run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Miss) => ExitCode::from(1),
        Ok(Outcome::Failed) => ExitCode::from(2),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::print_failure(&failure);
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new("cannot start a runtime").with_cause(&error))?;
    runtime.block_on(commands::run(cli))
}
