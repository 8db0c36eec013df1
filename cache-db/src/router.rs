//! Routing of calls to several databases.

use std::fmt;

/// Chooses among the databases of a store, by name. Modelled on Django's
/// [database routers](https://docs.djangoproject.com/en/5.2/topics/db/multi-db/).
///
/// The store calls the router for each operation, so its methods must be fast.
///
/// # Examples
///
/// ```
/// use cache_db::Router;
///
/// #[derive(Debug)]
/// struct ByTable;
///
/// impl Router for ByTable {
///     fn db_for_write(&self, table: &str) -> &str {
///         if table.starts_with("session") { "sessions" } else { "default" }
///     }
/// }
/// ```
pub trait Router: fmt::Debug + Send + Sync + 'static {
    /// Returns the database that `get`, `get_many`, `contains` and `ttl` read from. Defaults to the
    /// one that is written to.
    fn db_for_read(&self, table: &str) -> &str {
        self.db_for_write(table)
    }

    /// Returns the database for all other operations.
    fn db_for_write(&self, table: &str) -> &str;

    /// Returns whether [`create_table`](crate::DbCache::create_table) may change this database.
    /// Defaults to `true` only for the one that is written to, because a replica gets its tables
    /// from there.
    fn allow_migrate(&self, database: &str, table: &str) -> bool {
        database == self.db_for_write(table)
    }
}

/// Reads from `replica` and writes to `default`, like the options `read_url` and `url`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadFromReplica;

/// The name of the database of the option `url`.
pub(crate) const PRIMARY: &str = "default";
/// The name of the database of the option `read_url`.
pub(crate) const REPLICA: &str = "replica";

impl Router for ReadFromReplica {
    fn db_for_read(&self, _: &str) -> &str {
        REPLICA
    }

    fn db_for_write(&self, _: &str) -> &str {
        PRIMARY
    }
}

/// Reads from one database and writes to another or the same, as a configuration sets.
#[derive(Clone, Debug)]
pub(crate) struct FixedRouter {
    pub(crate) read: String,
    pub(crate) write: String,
}

impl Router for FixedRouter {
    fn db_for_read(&self, _: &str) -> &str {
        &self.read
    }

    fn db_for_write(&self, _: &str) -> &str {
        &self.write
    }
}
