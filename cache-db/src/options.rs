//! What can be set about the store.

use std::{fmt, time::Duration};

use cache_core::{Result, config};
use serde::Deserialize;

/// The OPTIONS of a cache in a database. Times are seconds, and may have fractions.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DbOptions {
    /// Where the database is: `sqlite:cache.db`, relative to the configuration's folder, or `sqlite:///var/cache.db`, or
    /// `sqlite::memory:`; `postgres://user:password@host/database`; `mysql://user:password@host/database`. What stands
    /// behind `sqlite:` is a path as it is, without escapes.
    pub url: String,
    /// A replica to read from; without it, `url` is read from as well. A replica may be behind: then a `get` can miss
    /// what was just set.
    pub read_url: Option<String>,
    /// In place of `url`: the name of one of the configuration's databases, or of a pool that was handed over
    /// ([`DbBackend::database`](crate::DbBackend::database)). `default`, where there is such a one and no `url` either.
    pub database: Option<String>,
    /// In place of `read_url`: the same for reading.
    pub read_database: Option<String>,
    /// How many rows there may be, within the tolerance that the [crate's page](crate) states. At least 1; Django's default
    /// is 300.
    #[serde(deserialize_with = "config::at_least_one")]
    pub max_entries: u64,
    /// What part of the rows goes when there are too many: `1 / cull_frequency`. 3 as in Django; 0 empties the table.
    pub cull_frequency: u64,
    /// How many connections there may be at most. At least 1; 10 by default.
    #[serde(deserialize_with = "config::at_least_one")]
    pub pool_size: u32,
    /// How long a call waits for a connection, be it a new one or one that is in use. 1 by default.
    #[serde(deserialize_with = "config::seconds")]
    pub connect_timeout: Duration,
    /// How long a call waits for its answer once it is connected. 2 by default.
    #[serde(deserialize_with = "config::seconds")]
    pub statement_timeout: Duration,
    /// SQLite: how long a statement waits for another process that is writing, before it is tried again. 1 by default.
    #[serde(deserialize_with = "config::seconds")]
    pub busy_timeout: Duration,
    /// PostgreSQL: make the table UNLOGGED. Writes take about a third of the time, and a crash of the server empties the
    /// table. It says how the table is made, so it changes nothing about one that exists.
    pub unlogged: bool,
    /// PostgreSQL: keep no prepared statements and work in explicit transactions, as pgbouncer's transaction mode needs.
    /// Three round trips a call instead of one. Without it, a call through such a pgbouncer is an error that names this option.
    pub pgbouncer: bool,
    /// Make the table when it is found missing. `sqlite::memory:` always does.
    pub create_table: bool,
}

impl DbOptions {
    /// The defaults, for the database at this URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let at_least_one =
            [("max_entries", self.max_entries), ("pool_size", u64::from(self.pool_size))];
        for (name, number) in at_least_one {
            if number == 0 {
                return Err(config::invalid_setting(
                    &option(name),
                    "0",
                    "a whole number of at least 1",
                ));
            }
        }
        let positive = [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
        ];
        for (name, time) in positive {
            if time.is_zero() {
                return Err(config::invalid_setting(
                    &option(name),
                    "0",
                    "a number of seconds above 0",
                ));
            }
        }
        Ok(())
    }
}

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
            unlogged: false,
            pgbouncer: false,
            create_table: false,
        }
    }
}

/// Shows no password.
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
            .field("unlogged", &self.unlogged)
            .field("pgbouncer", &self.pgbouncer)
            .field("create_table", &self.create_table)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::config::StoreConfig;
    use serde_json::json;

    use super::*;

    fn read(options: serde_json::Value) -> Result<DbOptions> {
        let serde_json::Value::Object(options) = options else { panic!("a table") };
        let options: DbOptions = StoreConfig::new("default", options).options()?;
        options.check().map(|()| options)
    }

    #[test]
    fn times_are_seconds_with_fractions_and_may_come_as_text() {
        let options =
            read(json!({"CONNECT_TIMEOUT": 0.25, "statement_timeout": "1.5"})).expect("it is fine");
        assert_eq!(options.connect_timeout, Duration::from_millis(250));
        assert_eq!(options.statement_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn what_cannot_be_meant_is_a_mistake_that_is_named() {
        for (options, told) in [
            (
                json!({"max_entries": 0}),
                "OPTIONS.max_entries: found 0, expected a whole number of at least 1",
            ),
            (
                json!({"max_entries": "many"}),
                "OPTIONS.max_entries: found \"many\", expected a whole number of at least 1",
            ),
            (
                json!({"pool_size": 0}),
                "OPTIONS.pool_size: found 0, expected a whole number of at least 1",
            ),
            (
                json!({"statement_timeout": 0}),
                "OPTIONS.statement_timeout: found 0, expected a number of seconds above 0",
            ),
        ] {
            assert_eq!(read(options).expect_err("a mistake").to_string(), told);
        }
        assert!(read(json!({"busy_timeout": -1})).is_err());
        assert!(read(json!({"tabel": 1})).is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut options = DbOptions::new("postgres://ada:lovelace@host/db");
        options.read_url = Some("mysql://ada:lovelace@host/db".into());
        assert!(!format!("{options:?}").contains("lovelace"));
    }
}
