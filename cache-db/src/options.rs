//! The OPTIONS of the store.

use std::{fmt, time::Duration};

use cache_core::{Result, config};
use serde::Deserialize;

/// The OPTIONS of a cache in a database.
///
/// In a configuration, times are seconds and may have fractions.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use cache_db::DbOptions;
///
/// let options = DbOptions::new("sqlite:cache.db")
///     .max_entries(100_000)
///     .statement_timeout(Duration::from_millis(500));
/// ```
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DbOptions {
    /// The URL of the database: `sqlite:cache.db`, relative to the directory of the configuration
    /// file, `sqlite:///var/cache.db` or `sqlite::memory:`;
    /// `postgres://user:password@host/database`; `mysql://user:password@host/database`. The text
    /// after `sqlite:` is a literal path without escapes. An IPv6 address is in brackets, and a
    /// link-local one has its zone: `[fe80::1%eth0]`.
    pub url: String,
    /// The URL of a replica to read from. By default, reads go to `url` as well. A `get` from a
    /// replica that lags behind can miss a value that was just set.
    pub read_url: Option<String>,
    /// Instead of `url`: the name of a database of the configuration, or of a pool passed to
    /// [`DbBackend::database`](crate::DbBackend::database). If neither `database` nor `url` is set,
    /// the database named `default` is used, provided it exists.
    pub database: Option<String>,
    /// Instead of `read_url`: the name of the database to read from.
    pub read_database: Option<String>,
    /// The maximum number of rows, at least 1, within the tolerance stated in the
    /// [crate documentation](crate). Defaults to 300, as in Django.
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: u64,
    /// The fraction of `max_entries` that a cull removes in addition to the surplus:
    /// `1 / cull_frequency`. Defaults to 3, as in Django; 0 clears the table.
    pub cull_frequency: u64,
    /// The maximum number of connections. At least 1. Defaults to 10. SQLite: of connections that
    /// read; one more writes.
    #[serde(deserialize_with = "config::at_least_one")]
    pub pool_size: u32,
    /// The maximum time that a call waits for a connection, whether it is a new one or one from the
    /// pool. Defaults to 1 second.
    #[serde(deserialize_with = "config::seconds")]
    pub connect_timeout: Duration,
    /// The maximum time that a call waits for the result once it has a connection. Defaults to 2
    /// seconds.
    #[serde(deserialize_with = "config::seconds")]
    pub statement_timeout: Duration,
    /// SQLite: how long a statement waits for another process that is writing, before it is
    /// retried. Defaults to 1 second.
    #[serde(deserialize_with = "config::seconds")]
    pub busy_timeout: Duration,
    /// SQLite: runs every call on a blocking thread, never on the caller's. For slow disks: a read
    /// that waits for the disk would otherwise block the tasks on the caller's thread. A call then
    /// takes about 50 µs more. Defaults to `false`.
    pub blocking_threads: bool,
    /// PostgreSQL: creates the table as UNLOGGED. Writes take about a third of the time, and a
    /// crash of the server empties the table. This has no effect on an existing table.
    pub unlogged: bool,
    /// PostgreSQL: keeps no prepared statements and uses explicit transactions, as pgbouncer's
    /// transaction mode requires. Each call then takes three round trips instead of one. Without
    /// this option, calls through such a pgbouncer fail with an error that names it.
    pub pgbouncer: bool,
    /// Creates the table if a call finds it missing. A table in `sqlite::memory:` is always
    /// created.
    pub create_table: bool,
}

impl DbOptions {
    /// Creates the default options for the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self::default().url(url)
    }

    /// Sets [`url`](Self#structfield.url).
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// Sets [`read_url`](Self#structfield.read_url).
    #[must_use]
    pub fn read_url(mut self, read_url: impl Into<String>) -> Self {
        self.read_url = Some(read_url.into());
        self
    }

    /// Sets [`database`](Self#structfield.database).
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Sets [`read_database`](Self#structfield.read_database).
    #[must_use]
    pub fn read_database(mut self, read_database: impl Into<String>) -> Self {
        self.read_database = Some(read_database.into());
        self
    }

    /// Sets [`max_entries`](Self#structfield.max_entries).
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// Sets [`cull_frequency`](Self#structfield.cull_frequency).
    #[must_use]
    pub fn cull_frequency(mut self, cull_frequency: u64) -> Self {
        self.cull_frequency = cull_frequency;
        self
    }

    /// Sets [`pool_size`](Self#structfield.pool_size).
    #[must_use]
    pub fn pool_size(mut self, pool_size: u32) -> Self {
        self.pool_size = pool_size;
        self
    }

    /// Sets [`connect_timeout`](Self#structfield.connect_timeout).
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Sets [`statement_timeout`](Self#structfield.statement_timeout).
    #[must_use]
    pub fn statement_timeout(mut self, statement_timeout: Duration) -> Self {
        self.statement_timeout = statement_timeout;
        self
    }

    /// Sets [`busy_timeout`](Self#structfield.busy_timeout).
    #[must_use]
    pub fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }

    /// Sets [`blocking_threads`](Self#structfield.blocking_threads).
    #[must_use]
    pub fn blocking_threads(mut self, blocking_threads: bool) -> Self {
        self.blocking_threads = blocking_threads;
        self
    }

    /// Sets [`unlogged`](Self#structfield.unlogged).
    #[must_use]
    pub fn unlogged(mut self, unlogged: bool) -> Self {
        self.unlogged = unlogged;
        self
    }

    /// Sets [`pgbouncer`](Self#structfield.pgbouncer).
    #[must_use]
    pub fn pgbouncer(mut self, pgbouncer: bool) -> Self {
        self.pgbouncer = pgbouncer;
        self
    }

    /// Sets [`create_table`](Self#structfield.create_table).
    #[must_use]
    pub fn create_table(mut self, create_table: bool) -> Self {
        self.create_table = create_table;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let at_least_one =
            [("max_entries", self.max_entries), ("pool_size", u64::from(self.pool_size))];
        for (name, number) in at_least_one {
            if number == 0 {
                return Err(config::invalid_setting(
                    &option(name),
                    "0",
                    "an integer of at least 1",
                ));
            }
        }
        // PostgreSQL counts milliseconds, and 0 is no limit there.
        for (name, time, min) in [
            ("connect_timeout", self.connect_timeout, Duration::from_millis(1)),
            ("statement_timeout", self.statement_timeout, Duration::from_millis(1)),
            ("busy_timeout", self.busy_timeout, Duration::ZERO),
        ] {
            config::check_time(&option(name), time, min)?;
        }
        Ok(())
    }
}

/// The setting of an option, as error messages name it.
pub(crate) fn option(name: &str) -> String {
    format!("OPTIONS.{name}")
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            read_url: None,
            database: None,
            read_database: None,
            max_entries: 300,
            cull_frequency: 3,
            pool_size: 10,
            connect_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(2),
            busy_timeout: Duration::from_secs(1),
            blocking_threads: false,
            unlogged: false,
            pgbouncer: false,
            create_table: false,
        }
    }
}

/// Redacts passwords in URLs.
impl fmt::Debug for DbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbOptions")
            .field("url", &config::redact(&self.url))
            .field("read_url", &self.read_url.as_deref().map(config::redact))
            .field("database", &self.database)
            .field("read_database", &self.read_database)
            .field("max_entries", &self.max_entries)
            .field("cull_frequency", &self.cull_frequency)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("busy_timeout", &self.busy_timeout)
            .field("blocking_threads", &self.blocking_threads)
            .field("unlogged", &self.unlogged)
            .field("pgbouncer", &self.pgbouncer)
            .field("create_table", &self.create_table)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{ErrorKind, config::StoreConfig};
    use serde_json::json;

    use super::*;

    fn parse(options: serde_json::Value) -> Result<DbOptions> {
        let serde_json::Value::Object(options) = options else { panic!("not a table") };
        let options: DbOptions = StoreConfig::new("default", options).options()?;
        options.check().map(|()| options)
    }

    #[test]
    fn times_are_seconds_with_fractions_as_numbers_or_strings() {
        let options = parse(json!({"CONNECT_TIMEOUT": 0.25, "statement_timeout": "1.5"}));
        let options = options.expect("valid options");
        assert_eq!(options.connect_timeout, Duration::from_millis(250));
        assert_eq!(options.statement_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn invalid_option_is_named_with_the_value_found() {
        for (options, setting, found) in [
            (json!({"max_entries": 0}), "OPTIONS.max_entries", "found 0"),
            (json!({"max_entries": "many"}), "OPTIONS.max_entries", "found \"many\""),
            (json!({"pool_size": 0}), "OPTIONS.pool_size", "found 0"),
            (json!({"statement_timeout": 0}), "OPTIONS.statement_timeout", "found 0"),
            (json!({"statement_timeout": 0.0005}), "OPTIONS.statement_timeout", "found 0.0005"),
            (json!({"busy_timeout": -1}), "OPTIONS.busy_timeout", "found -1"),
            (json!({"connect_timeout": 1e19}), "OPTIONS.connect_timeout", "2147483"),
            (json!({"statement_timeout": 1e19}), "OPTIONS.statement_timeout", "2147483"),
            (json!({"busy_timeout": 1e19}), "OPTIONS.busy_timeout", "2147483"),
            (json!({"tabel": 1}), "OPTIONS.tabel", ""),
        ] {
            let error = parse(options).expect_err(setting);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            let message = error.to_string();
            assert!(message.contains(setting) && message.contains(found), "{message}");
        }
    }

    #[test]
    fn time_that_no_clock_can_count_is_rejected_when_it_is_set_in_code() {
        for options in [
            DbOptions::default().connect_timeout(Duration::MAX),
            DbOptions::default().statement_timeout(Duration::MAX),
            DbOptions::default().busy_timeout(Duration::MAX),
        ] {
            assert_eq!(options.check().expect_err("too long").kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn debug_output_hides_passwords() {
        let options = DbOptions::new("postgres://ada:lovelace@host/db")
            .read_url("mysql://ada:lovelace@host/db");
        assert!(!format!("{options:?}").contains("lovelace"));
    }

    #[test]
    fn setters_set_what_the_configuration_sets() {
        let configured = parse(json!({
            "url": "sqlite:a.db", "read_url": "sqlite:b.db", "max_entries": 7, "cull_frequency": 2,
            "pool_size": 3, "connect_timeout": 1, "statement_timeout": 2, "busy_timeout": 3,
            "blocking_threads": true, "unlogged": true, "pgbouncer": true, "create_table": true,
            "database": "c", "read_database": "d",
        }));
        let options = DbOptions::new("sqlite:a.db")
            .read_url("sqlite:b.db")
            .database("c")
            .read_database("d")
            .max_entries(7)
            .cull_frequency(2)
            .pool_size(3)
            .connect_timeout(Duration::from_secs(1))
            .statement_timeout(Duration::from_secs(2))
            .busy_timeout(Duration::from_secs(3))
            .blocking_threads(true)
            .unlogged(true)
            .pgbouncer(true)
            .create_table(true);
        assert_eq!(configured.expect("valid options"), options);
    }
}
