//! Completion of arguments by the shell.
//!
//! The shell asks `cachette` itself, because the aliases are those of a configuration. Of
//! `clap_complete`, only the feature `unstable-dynamic` does that: what is stable writes scripts
//! with fixed words.

use std::{
    env,
    ffi::{OsStr, OsString},
    iter,
    path::PathBuf,
};

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, CompletionCandidate, Shell, env::Shells};

use crate::{
    Failure, Result,
    args::{CONFIG_VARIABLE, Cli},
    runtime, selection,
};

/// The variable by which the script of a shell asks for completions.
const VARIABLE: &str = "CACHETTE_COMPLETE";

/// Prints completions and exits, if the script of a shell has called.
pub(crate) fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Returns the completion script for a shell, which calls `cachette`.
pub(crate) fn script(shell: Shell) -> Result<Vec<u8>> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = match shells.completer(&shell.to_string()) {
        Some(shell) => {
            shell.write_registration(VARIABLE, "cachette", "cachette", "cachette", &mut script)
        }
        None => return Err(Failure::new(format!("no completions for {shell}"))),
    };
    written.map_err(|error| Failure::new("cannot write the script").with_cause(&error))?;
    Ok(script)
}

/// The aliases of the configuration that the arguments name. Empty if it cannot be read.
pub(crate) fn aliases() -> Vec<CompletionCandidate> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let variable = env::var_os(CONFIG_VARIABLE).filter(|file| !file.is_empty());
    let file = config_option(&arguments).map(OsStr::to_owned).or(variable).map(PathBuf::from);
    let Ok(runtime) = runtime() else { return Vec::new() };
    let opened = runtime.block_on(selection::builder(file.as_deref()).build_partial());
    let Ok((caches, errors)) = opened else { return Vec::new() };
    let names = caches.aliases().chain(errors.keys().map(String::as_str));
    names.map(CompletionCandidate::new).collect()
}

/// The value of `--config` on an incomplete command line.
fn config_option(arguments: &[OsString]) -> Option<&OsStr> {
    let after = arguments.iter().skip(1).map(Some).chain(iter::once(None));
    arguments.iter().zip(after).find_map(|(argument, next)| match argument.to_str()? {
        "--config" | "-c" => next.map(OsString::as_os_str),
        text => text.strip_prefix("--config=").map(OsStr::new),
    })
}
