//! The command of cachette, for those who operate caches.
//!
//! `cachette --config caches.toml check` tells whether all is well; `cachette help` tells the rest.

mod args;
mod commands;
mod failure;
mod ours;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use failure::Failure;

/// What a command came to, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A hit, or done.
    Done,
    /// There was no such entry, or of `check`: something is wrong.
    Miss,
    /// Some of it failed, as was told.
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
            terminal::tell_failure(&failure);
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(format!("no thread for the work can be had: {error}")))?;
    runtime.block_on(commands::run(cli))
}
