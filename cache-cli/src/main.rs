//! The command `cachette`: inspects and manages the caches of a configuration.
//!
//! `cachette --config caches.toml check` checks every cache. `cachette help` lists all commands.

mod args;
mod commands;
mod completions;
mod failure;
mod remedy;
mod selection;
mod terminal;

use std::process::ExitCode;

use args::{Cli, Command, Output};
use failure::Failure;

/// The result of a command that ran. The exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A hit, or a completed command.
    Done,
    /// A miss, a problem that `check` found, or a warning of `doctor`.
    Miss,
    /// A part of the command failed and was reported, or `doctor` found an error.
    Failed,
    /// A signal has ended the command, which has cleaned up.
    Interrupted,
}

impl Outcome {
    fn done_if(done: bool) -> Self {
        if done { Self::Done } else { Self::Miss }
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

fn main() -> ExitCode {
    completions::complete();
    let cli = match Cli::from_process() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    if cli.output == Output::Json {
        terminal::use_json();
    }
    if cli.verbose || matches!(cli.command, Command::Check { .. } | Command::Doctor) {
        terminal::show_warnings();
    }
    match run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Miss) => ExitCode::from(1),
        Ok(Outcome::Failed) => ExitCode::from(2),
        // As shells report a command that Ctrl-C has ended.
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::print_failure(&failure);
            ExitCode::from(2)
        }
    }
}

/// Prints the help or the version, or reports invalid arguments.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && args::ask_for_json(std::env::args()) {
        terminal::use_json();
        terminal::print_failure(&Failure::from_arguments(error));
    } else {
        // Errors are ignored: there is no other place to report them.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(cli: &Cli) -> Result<Outcome> {
    runtime()?.block_on(commands::run(cli))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("cannot start a runtime").with_cause(&error))
}
