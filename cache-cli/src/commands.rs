//! Runs the commands.

mod bench;
mod check;
mod doctor;
mod entries;
mod inspect;
mod keys;
mod many;
mod pages;
mod tables;
mod upkeep;
mod volatile;
mod watch;

use std::{
    io::{self, Read as _},
    process,
    time::SystemTime,
};

use cachette::CacheHandle;
use serde_json::Value as Json;

use crate::{
    Failure, Outcome, Result,
    args::{Cli, Command, Output},
    completions,
    selection::Selection,
    terminal,
};

pub(crate) async fn run(cli: &Cli) -> Result<Outcome> {
    if let Command::Completions { shell } = &cli.command {
        terminal::print_raw(&completions::script(*shell)?)?;
        return Ok(Outcome::Done);
    }
    let selection = Selection::open(cli).await?;
    let caches = selection.caches().clone();
    let outcome = run_on(selection, cli).await;
    // Waits for cleanup that a store has begun. The process ends anyway if a store fails to close.
    let _ = caches.close_all().await;
    outcome
}

async fn run_on(selection: Selection, cli: &Cli) -> Result<Outcome> {
    let printer = Printer { output: cli.output };
    match &cli.command {
        Command::Createcachetable(args) => tables::create(selection, args, printer).await,
        Command::Check { .. } => check::run(selection, printer).await,
        Command::Doctor => doctor::run(selection, printer).await,
        Command::Stats => upkeep::stats(selection, printer).await,
        Command::Watch(args) => watch::run(selection, args, printer).await,
        Command::PurgeExpired => upkeep::purge_expired(selection, printer).await,
        Command::Completions { .. } => unreachable!("completions need no caches"),
        command => {
            let cache = selection.into_cache()?;
            let outcome = run_on_cache(&cache, command, printer).await?;
            volatile::warn(&cache);
            Ok(outcome)
        }
    }
}

async fn run_on_cache(cache: &CacheHandle, command: &Command, printer: Printer) -> Result<Outcome> {
    match command {
        Command::Get { key, raw: false } => entries::get(cache, key, printer).await,
        Command::Get { key, raw: true } => entries::get_raw(cache, key, printer).await,
        Command::Set(entry) => entries::set(cache, entry, printer).await,
        Command::Add(entry) => entries::add(cache, entry, printer).await,
        Command::Touch { key, timeout } => {
            entries::touch(cache, key, (*timeout).into(), printer).await
        }
        Command::Has { key } => entries::has(cache, key, printer).await,
        Command::Incr { key, delta } => {
            entries::sum(cache, key, cache.incr(key, *delta).await, printer)
        }
        Command::Decr { key, delta } => {
            entries::sum(cache, key, cache.decr(key, *delta).await, printer)
        }
        Command::Ttl { key } => entries::ttl(cache, key, printer).await,
        Command::Delete { keys } => many::delete(cache, keys, printer).await,
        Command::GetMany { keys } => many::get(cache, keys, printer).await,
        Command::SetMany { entries, timeout } => {
            many::set(cache, entries, (*timeout).into(), printer).await
        }
        Command::Keys(args) => keys::list(cache, args, printer).await,
        Command::Inspect(args) => inspect::inspect(cache, args, printer).await,
        Command::Bench(args) => bench::run(cache, args, printer).await,
        Command::Purge(args) => pages::purge(cache, args, printer).await,
        Command::Clear { yes } => upkeep::clear(cache, *yes, printer).await,
        Command::Createcachetable(_)
        | Command::Check { .. }
        | Command::Doctor
        | Command::Stats
        | Command::Watch(_)
        | Command::PurgeExpired
        | Command::Completions { .. } => unreachable!("not a command on one cache"),
    }
}

/// Prints results in the format that `--output` selects.
#[derive(Clone, Copy)]
struct Printer {
    output: Output,
}

impl Printer {
    fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// Prints `text` or `json`. Prints nothing if `text` is selected and empty.
    fn print(self, text: impl AsRef<str>, json: &Json) -> Result<()> {
        match self.output {
            Output::Json => terminal::print_json(json),
            Output::Text if text.as_ref().is_empty() => Ok(()),
            Output::Text => terminal::print(text),
        }
    }
}

/// Returns names of entries that no other process uses, for a command that removes them again.
fn own_keys<N: std::fmt::Display, const COUNT: usize>(
    command: &str,
    names: [N; COUNT],
) -> [String; COUNT] {
    let (process, now) = (process::id(), SystemTime::UNIX_EPOCH.elapsed());
    let now = now.map_or(0, |now| now.as_nanos());
    names.map(|name| format!("cachette-{command}-{process}-{now}-{name}"))
}

/// Names the absent keys on a terminal, where a miss would otherwise print nothing.
fn note_misses<'a>(cache: &CacheHandle, keys: impl IntoIterator<Item = &'a str>) {
    let keys: Vec<String> = keys.into_iter().map(|key| format!("{key:?}")).collect();
    if !keys.is_empty() {
        let text = format!("not in cache {:?}: {}", cache.alias(), keys.join(", "));
        terminal::print_note_on_terminal(&text);
    }
}

/// The argument, or standard input if the argument is `-`.
fn input(argument: &str) -> Result<Vec<u8>> {
    if argument != "-" {
        return Ok(argument.into());
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new("cannot read standard input").with_cause(&error))?;
    Ok(bytes)
}

/// Parses the argument, or standard input, as JSON.
fn value(argument: &str) -> Result<Json> {
    let bytes = input(argument)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let failure = Failure::new(format!("the value is not JSON: {error}"));
        let text = Json::from(String::from_utf8_lossy(&bytes).trim_end()).to_string();
        if text.len() > 60 {
            return failure.with_help("put a string into double quotes, or store bytes with --raw");
        }
        let text = shell_quoted(&text);
        failure.with_help(format!("write a string as {text}, or store bytes with --raw"))
    })
}

/// Quotes text for a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
