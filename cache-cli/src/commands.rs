//! From a command to what it does.

mod check;
mod entries;
mod many;
mod tables;
mod upkeep;
mod volatile;

use std::io::{self, Read as _};

use cachette::CacheHandle;
use clap::CommandFactory as _;
use serde_json::Value as Json;

use crate::{
    Failure, Outcome, Result,
    args::{Cli, Command, Output},
    ours::Ours,
    terminal,
};

pub(crate) async fn run(cli: &Cli) -> Result<Outcome> {
    if let Command::Completions { shell } = &cli.command {
        return completions(*shell);
    }
    let ours = Ours::open(cli).await?;
    let caches = ours.caches().clone();
    let outcome = on(ours, cli).await;
    // A store may have begun to clean up. What can't be closed goes with the process.
    let _ = caches.close_all().await;
    outcome
}

async fn on(ours: Ours, cli: &Cli) -> Result<Outcome> {
    let say = Say { output: cli.output };
    match &cli.command {
        Command::Createcachetable(wanted) => tables::create(ours, wanted, say).await,
        Command::Check => check::run(ours, say).await,
        Command::Stats => upkeep::stats(ours, say).await,
        Command::PurgeExpired => upkeep::purge_expired(ours, say).await,
        Command::Completions { .. } => unreachable!("they need no caches"),
        command => {
            let cache = ours.one()?;
            let outcome = on_one(&cache, command, say).await?;
            volatile::warn(&cache);
            Ok(outcome)
        }
    }
}

async fn on_one(cache: &CacheHandle, command: &Command, say: Say) -> Result<Outcome> {
    match command {
        Command::Get { key, raw: false } => entries::get(cache, key, say).await,
        Command::Get { key, raw: true } => entries::get_raw(cache, key, say).await,
        Command::Set(store) => entries::set(cache, store, say).await,
        Command::Add(store) => entries::add(cache, store, say).await,
        Command::Touch { key, timeout } => entries::touch(cache, key, (*timeout).into(), say).await,
        Command::Has { key } => entries::has(cache, key, say).await,
        Command::Incr { key, delta } => entries::count(cache.incr(key, *delta).await, say),
        Command::Decr { key, delta } => entries::count(cache.decr(key, *delta).await, say),
        Command::Ttl { key } => entries::ttl(cache, key, say).await,
        Command::Delete { keys } => many::delete(cache, keys, say).await,
        Command::GetMany { keys } => many::get(cache, keys, say).await,
        Command::SetMany { entries, timeout } => {
            many::set(cache, entries, (*timeout).into(), say).await
        }
        Command::Clear { yes } => upkeep::clear(cache, *yes, say).await,
        Command::Createcachetable(_)
        | Command::Check
        | Command::Stats
        | Command::PurgeExpired
        | Command::Completions { .. } => unreachable!("these do not take one cache"),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cachette", &mut script);
    terminal::say_raw(&script)?;
    Ok(Outcome::Done)
}

/// Says an answer as it was asked for.
#[derive(Clone, Copy)]
struct Say {
    output: Output,
}

impl Say {
    fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// One of the two. An empty text is not said.
    fn answer(self, text: impl AsRef<str>, json: &Json) -> Result<()> {
        match self.output {
            Output::Json => terminal::say_json(json),
            Output::Text if text.as_ref().is_empty() => Ok(()),
            Output::Text => terminal::say(text),
        }
    }
}

/// What was given in place, or on standard input.
fn input(argument: &str) -> Result<Vec<u8>> {
    if argument != "-" {
        return Ok(argument.into());
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(format!("standard input: {error}")))?;
    Ok(bytes)
}

/// A value of JSON.
fn value(argument: &str) -> Result<Json> {
    let bytes = input(argument)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let failure = Failure::new(format!("the value is no JSON: {error}"));
        let text = Json::from(String::from_utf8_lossy(&bytes).trim_end()).to_string();
        if text.len() > 60 {
            return failure.with_remedy("put a text into quotes, or use --raw for bytes");
        }
        let text = in_shell(&text);
        failure.with_remedy(format!(
            "a text is written in quotes, {text}; bytes are stored as they are by --raw"
        ))
    })
}

/// As a shell takes it, whatever is in it.
fn in_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
