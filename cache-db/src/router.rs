//! Which database is read from, written to, and given tables, where there are several.

use std::fmt;

/// Chooses among the databases of a store, by the names they were given. Asked for each call, so it may be as quick as
/// it is simple. Django's [database routers](https://docs.djangoproject.com/en/5.2/topics/db/multi-db/) are the model.
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
    /// The database that `get`, `get_many`, `contains` and `ttl` ask. The one that is written to, unless said otherwise.
    fn db_for_read(&self, table: &str) -> &str {
        self.db_for_write(table)
    }

    /// The database that everything else happens in.
    fn db_for_write(&self, table: &str) -> &str;

    /// Whether [`create_table`](crate::DbCache::create_table) may work on this database. Only on the one that is written
    /// to, unless said otherwise: a replica gets its tables from there.
    fn allow_migrate(&self, database: &str, table: &str) -> bool {
        database == self.db_for_write(table)
    }
}

/// Reads from `replica` and writes to `default`: what the options `read_url` and `url` mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadFromReplica;

pub(crate) const PRIMARY: &str = "default";
pub(crate) const REPLICA: &str = "replica";

impl Router for ReadFromReplica {
    fn db_for_read(&self, _: &str) -> &str {
        REPLICA
    }

    fn db_for_write(&self, _: &str) -> &str {
        PRIMARY
    }
}

/// Reads from the one and writes to the other, which may be the same: what a configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    pub(crate) read: String,
    pub(crate) write: String,
}

impl Router for Fixed {
    fn db_for_read(&self, _: &str) -> &str {
        &self.read
    }

    fn db_for_write(&self, _: &str) -> &str {
        &self.write
    }
}
