//! The command-line arguments.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use cachette::{Timeout, Version};
use clap::{
    ArgAction, ArgGroup, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    ValueEnum,
    builder::{NonEmptyStringValueParser, UnknownArgumentValueParser},
    error::ErrorKind,
};
use clap_complete::{ArgValueCandidates, Shell};

use crate::completions::aliases;

/// Inspects and manages the caches of a configuration.
///
/// Exit codes: 0 for success or a hit, 1 for a miss or a problem that `check` found, 2 for an
/// error. `doctor` exits with 1 for warnings and with 2 for errors that it found, and `bench` with
/// 130 if it is interrupted.
#[derive(Debug, Parser)]
#[command(name = "cachette", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file, .toml or .json [default: the environment variables CACHE_URL and
    /// CACHE_URL_<ALIAS>]
    #[arg(long, short, value_name = "FILE", env = CONFIG_VARIABLE, global = true)]
    pub(crate) config: Option<PathBuf>,

    /// The alias of the cache [default: `default`; all caches for `check`, `doctor`, `stats`,
    /// `watch` and `purge-expired`]
    #[arg(long, value_name = "ALIAS", global = true, add = ArgValueCandidates::new(aliases))]
    pub(crate) cache: Option<String>,

    /// Use this VERSION instead of the configured one
    #[arg(long, value_name = "VERSION", value_parser = version, global = true)]
    pub(crate) key_version: Option<Version>,

    /// The output format
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) output: Output,

    /// Print the warnings of the stores to standard error, as `check` and `doctor` always do
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The variable that names the configuration file. If it is empty, it counts as not set.
pub(crate) const CONFIG_VARIABLE: &str = "CACHETTE_CONFIG";

impl Cli {
    /// Parses the arguments of the process.
    pub(crate) fn from_process() -> Result<Self, clap::Error> {
        Self::from_arguments(env::args_os())
    }

    /// The alias that the arguments name.
    pub(crate) fn alias(&self) -> Option<&str> {
        match &self.command {
            Command::Bench(Bench { alias: Some(alias), .. }) => Some(alias),
            _ => self.cache.as_deref(),
        }
    }

    fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        if env::var_os(CONFIG_VARIABLE).is_some_and(|file| file.is_empty()) {
            command = command.mut_arg("config", |config| config.env(None));
        }
        let cli = Self::from_arg_matches(&command.try_get_matches_from_mut(arguments)?)?;
        // `conflicts_with` does not see a global option that comes before the command.
        if matches!(cli.command, Command::Bench(Bench { alias: Some(_), .. }))
            && cli.cache.is_some()
        {
            let message = "the argument '[ALIAS]' cannot be used with '--cache <ALIAS>'";
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

/// Returns whether arguments that may be invalid ask for `--output json`.
pub(crate) fn ask_for_json(arguments: impl IntoIterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.into_iter().collect();
    arguments.contains(&"--output=json".to_owned())
        || arguments.windows(2).any(|pair| pair == ["--output", "json"])
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Readable text
    #[default]
    Text,
    /// One JSON document, for scripts; `keys` and `watch` print one on each line. Errors and notes
    /// are JSON documents on standard error
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the tables of the database caches
    #[command(visible_alias = "create-cache-table")]
    Createcachetable(Createcachetable),
    /// Check the configuration and the connection to every cache
    ///
    /// Calls every verb on keys of its own in each cache, and deletes them; for files, it writes,
    /// counts and removes an entry in a directory of its own. Prints how to solve each problem.
    Check {
        #[arg(long, hide = true, action = ArgAction::SetTrue, value_parser = suggest_doctor())]
        deep: Option<String>,
    },
    /// Examine the configuration, the caches and their servers, and print what to do
    ///
    /// Reports every mistake in the configuration. Calls every verb of each cache on keys of its
    /// own, which it deletes, and measures a round trip. Reports memory limits and eviction of
    /// servers, the definition of tables, free disk space, permissions, clocks that differ and
    /// certificates that expire.
    ///
    /// Exit codes: 0 if nothing should be changed, 1 for warnings, 2 for errors.
    Doctor,
    /// Print a value as JSON
    Get {
        key: String,
        /// Print the bytes or the text of the value without quotes
        #[arg(long)]
        raw: bool,
    },
    /// Store a value
    Set(NewEntry),
    /// Store a value if the key is absent
    Add(NewEntry),
    /// Update the timeout of an entry
    Touch {
        key: String,
        #[command(flatten)]
        timeout: TimeoutArg,
    },
    /// Delete entries
    #[command(visible_alias = "del")]
    Delete {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Exit with 0 if the key exists, with 1 if it does not
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
    /// Print the seconds until an entry expires, or `never`
    Ttl { key: String },
    /// Print several values as a JSON object
    GetMany {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Store several values from a JSON object
    SetMany {
        /// The object, `{"key": value, …}`, or - to read it from standard input
        entries: String,
        #[command(flatten)]
        timeout: TimeoutArg,
    },
    /// List the keys of a cache
    ///
    /// Lists the keys of the cache's KEY_PREFIX and VERSION, in no particular order, as other
    /// commands take them. The listing is no snapshot: keys that are stored or removed meanwhile
    /// may be missing, and a key may be listed twice. Characters that would control a terminal are
    /// escaped; `--output json` prints a JSON document for each key. Exits with 1 if there are no
    /// keys.
    Keys(Keys),
    /// Print an entry with its place, format, size, times, tags, lease and value
    ///
    /// Also prints entries that are stale or cannot be decoded, which are misses for `get`. If the
    /// key is absent, says so and exits with 1.
    Inspect(Inspect),
    /// Delete all entries of the cache's store
    ///
    /// Deletes the entries of every prefix and version in the store. In Redis, and in any store
    /// with CLEAR = "generation", deletes only the entries with the cache's prefix.
    Clear {
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
    /// Print the number and size of the entries
    Stats,
    /// Show the statistics of all caches, again and again
    ///
    /// The table is drawn in place on a terminal. Rates are those since the last look. Servers
    /// count the lookups of all their clients. A store whose statistics take long is looked at less
    /// often, so that it is busy for a tenth of the time at most. Ctrl-C ends the command.
    Watch(Watch),
    /// Measure how long a get and a set take from this machine
    ///
    /// Sets and gets keys of its own, one call after the other, and deletes them, also after
    /// Ctrl-C. Writes to the store at full speed: on a production server, choose a short time.
    Bench(Bench),
    /// Purge pages and tagged values that services have cached in the cache's store
    ///
    /// Reaches the pages of all services that share the store, and that use the same KEY_PREFIX and
    /// VERSION. A tag reaches the pages and values of every VERSION. A store in memory belongs to
    /// one process: its pages can be purged only there. Succeeds also if no page matches.
    Purge(Purge),
    /// Delete expired entries that still take up space
    PurgeExpired,
    /// Print a completion script for a shell
    ///
    /// The script completes commands, options and the aliases of the configuration. Load it when
    /// the shell starts, as with `source <(cachette completions bash)` in ~/.bashrc.
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct Createcachetable {
    /// The tables to create [default: all configured tables]
    pub(crate) tables: Vec<String>,
    /// Create tables only in this database
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Print the SQL and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
#[command(group(
    ArgGroup::new("pages").args(["uris", "tags", "prefixes", "all"]).required(true).multiple(true)
))]
pub(crate) struct Purge {
    /// Purge the pages of a URI or of a path. Write its query as the layer's `ignore_query` and
    /// similar settings leave it
    #[arg(long = "uri", value_name = "URI", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) uris: Vec<String>,
    /// Purge the pages and values with a tag
    #[arg(long = "tag", value_name = "TAG", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) tags: Vec<String>,
    /// Purge the pages below a path, if their layer has `purge_prefixes`
    #[arg(long = "prefix", value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) prefixes: Vec<String>,
    /// Purge every page
    #[arg(long)]
    pub(crate) all: bool,
    /// Make them stale instead of removing them
    #[arg(long)]
    pub(crate) soft: bool,
    /// The `key_prefix` of the layer that caches the pages
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) key_prefix: String,
    /// A host of the layer that caches the pages, for a --uri that is only a path. Necessary if the
    /// layer's `hosts` lists every host by name
    #[arg(long = "host", value_name = "HOST", requires = "uris")]
    pub(crate) hosts: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// List only keys that begin with this text
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// The maximum number of keys, or 0 for all of them
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = limit,
        allow_negative_numbers = true
    )]
    pub(crate) limit: u64,
    /// List only entries that have expired and still take up space
    #[arg(long)]
    pub(crate) expired: bool,
    /// List all keys of the store, with prefix and version: those of other caches, expired ones,
    /// and cachette's own records, such as locks
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    pub(crate) key: String,
    /// Print the whole value
    #[arg(long)]
    pub(crate) full: bool,
    /// Take the key as the store has it, with prefix and version, as `keys --all` prints it
    #[arg(long)]
    pub(crate) composed: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// The seconds between two looks
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
    /// End after this many looks
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// The alias of the cache [default: that of --cache]
    #[arg(value_name = "ALIAS", conflicts_with = "cache", add = ArgValueCandidates::new(aliases))]
    pub(crate) alias: Option<String>,
    /// How long to measure, up to an hour
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = bench_duration)]
    pub(crate) duration: Duration,
    /// The size of the values in bytes, up to 64 MiB
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = size)]
    pub(crate) size: usize,
}

#[derive(Args, Debug)]
pub(crate) struct NewEntry {
    pub(crate) key: String,
    /// The value as JSON, or - to read it from standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArg,
    /// Store the value as bytes and not as JSON
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TimeoutArg {
    /// Seconds until the entry expires, a time such as `5m` or `1h 30m`, or `never` [default: the
    /// cache's TIMEOUT]
    #[arg(
        long,
        short,
        value_name = "TIME",
        value_parser = timeout,
        allow_negative_numbers = true
    )]
    timeout: Option<Timeout>,
}

impl From<TimeoutArg> for Timeout {
    fn from(argument: TimeoutArg) -> Self {
        argument.timeout.unwrap_or_default()
    }
}

/// Parses a timeout as TIMEOUT is written in a configuration, or a [`duration`].
fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "never" {
        return Ok(Timeout::Never);
    }
    duration(text).map(Timeout::After).map_err(|expected| format!("{expected}, or `never`"))
}

/// Parses a number of seconds, or a time with units.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.or_else(|| humantime::parse_duration(text).ok()).ok_or_else(|| {
        "expected a number of seconds of at least 0, a time such as `5m` or `1h 30m`".into()
    })
}

/// Parses the time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(86_400);
    let interval = duration(text)?;
    if (SHORTEST..=LONGEST).contains(&interval) {
        Ok(interval)
    } else {
        Err("expected a time from 0.1 seconds to a day".into())
    }
}

fn bench_duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(3600);
    let duration = duration(text)?;
    if duration > MAX { Err("expected at most 1h".into()) } else { Ok(duration) }
}

fn size(text: &str) -> Result<usize, String> {
    const MAX: usize = 64 << 20;
    let size = text.parse().ok().filter(|size| *size <= MAX);
    size.ok_or_else(|| format!("expected a number of bytes from 0 to {MAX}"))
}

fn limit(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a number of keys, or 0 for all of them".into())
}

/// Rejects an argument that other commands of this kind have.
fn suggest_doctor() -> UnknownArgumentValueParser {
    UnknownArgumentValueParser::suggest("`cachette doctor` examines the caches and their servers")
}

#[expect(clippy::unnecessary_wraps, reason = "clap expects a result")]
fn version(text: &str) -> Result<Version, String> {
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bench_rejects_two_aliases() {
        for arguments in [["--cache", "a", "bench", "b"], ["bench", "b", "--cache", "a"]] {
            let arguments = ["cachette"].into_iter().chain(arguments).map(OsString::from);
            let error = Cli::from_arguments(arguments).expect_err("two aliases");
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        }
    }

    #[test]
    fn interval_is_bounded() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("1m"), Ok(Duration::from_secs(60)));
        for invalid in ["0", "0.01", "-1", "1e9", "soon", "NaN"] {
            assert!(interval(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn timeout_is_seconds_or_a_time_or_never() {
        assert_eq!(timeout("never"), Ok(Timeout::Never));
        for (text, milliseconds) in
            [("1.5", 1500), ("0", 0), ("5m", 300_000), ("1h30m", 5_400_000), ("1h 1ms", 3_600_001)]
        {
            assert_eq!(timeout(text), Ok(Duration::from_millis(milliseconds).into()), "{text}");
        }
        for invalid in ["-1", "-5m", "soon", "5 parsecs", "", "inf", "NaN"] {
            assert!(timeout(invalid).is_err(), "{invalid}");
        }
    }
}
