//! What can be typed.

use std::path::PathBuf;

use cachette::{Timeout, Version};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Looks after the caches of a configuration.
///
/// Exits with 0 for a hit or when all is done, 1 for a miss (of `check`: where anything is wrong), 2 for an error.
#[derive(Debug, Parser)]
#[command(name = "cachette", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The file that configures the caches, .toml or .json; without it, the environment does: CACHE_URL and CACHE_URL_<ALIAS>
    #[arg(long, short, value_name = "FILE", env = "CACHETTE_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// The cache by its alias: `default`, or for `check`, `stats` and `purge-expired`, all of them
    #[arg(long, value_name = "ALIAS", global = true)]
    pub(crate) cache: Option<String>,

    /// Another VERSION than the one that is configured
    #[arg(long, value_name = "VERSION", value_parser = version, global = true)]
    pub(crate) key_version: Option<Version>,

    /// How answers are written
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) output: Output,

    /// Show on standard error what the stores warn of, as `check` does
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// One document of JSON, for scripts
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the tables of the caches that are kept in a database
    #[command(visible_alias = "create-cache-table")]
    Createcachetable(Createcachetable),
    /// Read the configuration, reach every cache, and say what is wrong and how to mend it
    ///
    /// Stores an entry in each cache, reads it and deletes it.
    Check,
    /// Show a value, as JSON
    Get {
        key: String,
        /// Write the bytes, or the text, of the value as they are
        #[arg(long)]
        raw: bool,
    },
    /// Store a value
    Set(Store),
    /// Store a value if there is none under the key
    Add(Store),
    /// Give an entry a new timeout
    Touch {
        key: String,
        #[command(flatten)]
        timeout: Expiry,
    },
    /// Remove entries
    #[command(visible_alias = "del")]
    Delete {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Tell whether there is an entry
    Has { key: String },
    /// Add to an integer
    Incr {
        key: String,
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        delta: i64,
    },
    /// Subtract from an integer
    Decr {
        key: String,
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        delta: i64,
    },
    /// Tell how many seconds an entry has left, or `never`
    Ttl { key: String },
    /// Show many values, as an object of JSON
    GetMany {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Store many values: an object of JSON
    SetMany {
        /// The object, `{"key": value, …}`, or - to read it from standard input
        entries: String,
        #[command(flatten)]
        timeout: Expiry,
    },
    /// Remove every entry of the cache's store, whatever its prefix and version; in Redis, those of the cache's prefix
    Clear {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Tell how full the caches are
    Stats,
    /// Remove what has expired and still takes up room
    PurgeExpired,
    /// Print a script that completes this command in a shell
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct Createcachetable {
    /// The tables to make; all that are configured where there are none
    pub(crate) tables: Vec<String>,
    /// Only in the database of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Print the SQL and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Store {
    pub(crate) key: String,
    /// The value as JSON, or - to read it from standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) timeout: Expiry,
    /// Store the value as bytes, as they are
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Expiry {
    /// Seconds until the entry expires, or `never`; without it, the cache's TIMEOUT
    #[arg(long, short, value_name = "SECONDS", value_parser = timeout, allow_negative_numbers = true)]
    timeout: Option<Timeout>,
}

impl From<Expiry> for Timeout {
    fn from(expiry: Expiry) -> Self {
        expiry.timeout.unwrap_or_default()
    }
}

/// As TIMEOUT in a configuration, but that a negative number is no timeout.
fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "never" {
        return Ok(Timeout::Never);
    }
    let seconds =
        text.parse().ok().and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    seconds
        .map(Timeout::After)
        .ok_or_else(|| "expected a number of seconds, 0 or more, or `never`".into())
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn version(text: &str) -> Result<Version, String> {
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_arguments_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_timeout_is_seconds_or_never() {
        assert_eq!(timeout("never"), Ok(Timeout::Never));
        assert_eq!(timeout("1.5"), Ok(std::time::Duration::from_millis(1500).into()));
        for wrong in ["-1", "soon", "", "inf", "NaN"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }
}
