//! Django's `createcachetable`.

use std::ptr;

use cache_core::{Error, ErrorKind, Result};
use cache_db::{DbCache, TableCreation};

use crate::{Caches, caches::quoted};

/// Selects the tables that [`Caches::create_tables`] creates.
///
/// The default selects every table, in every database that the configuration allows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateTables {
    /// The names of the tables. If empty, all tables are selected.
    pub tables: Vec<String>,
    /// The name of the only database to create tables in. If `None`, all databases are selected.
    pub database: Option<String>,
    /// Whether to report what would be done and change nothing.
    pub dry_run: bool,
}

impl CreateTables {
    /// Adds a table to the selected ones.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.tables.push(name.into());
        self
    }

    /// Selects one database by its name.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// Sets whether to report what would be done and change nothing.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

impl Caches {
    /// Creates the tables of the database caches.
    ///
    /// Like [Django's createcachetable][django], creates a table and its index if they are missing,
    /// and updates a table with an older schema. Concurrent calls, also from other processes, are
    /// safe.
    ///
    /// Returns what was found and done for each table, or the error of that table: an unreachable
    /// database does not stop the others.
    ///
    /// [django]: https://docs.djangoproject.com/en/5.2/ref/django-admin/#createcachetable
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if no cache uses one of the selected tables or the selected
    /// database. For the errors of one table, see [`DbCache::create_table`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "db-sqlite")]
    /// # async fn run() -> cachette::Result<()> {
    /// use cachette::{Caches, stores::{CreateTables, TableState}};
    ///
    /// let caches = Caches::from_url("db://pages?url=sqlite::memory:").await?;
    /// for creation in caches.create_tables(&CreateTables::default()).await? {
    ///     let creation = creation?;
    ///     assert_eq!((&*creation.table, creation.state), ("pages", TableState::Missing));
    /// }
    /// # Ok(()) }
    /// # #[cfg(feature = "db-sqlite")]
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    /// #     .block_on(run()).unwrap();
    /// ```
    pub async fn create_tables(
        &self,
        selected: &CreateTables,
    ) -> Result<Vec<Result<TableCreation>>> {
        let stores = self.db_stores();
        check_known("table", &selected.tables, || stores.iter().map(|store| store.table()))?;
        check_known("database", selected.database.as_slice(), || {
            stores.iter().flat_map(|store| store.databases())
        })?;
        let is_selected = |store: &&DbCache| {
            let tables = &selected.tables;
            tables.is_empty() || tables.iter().any(|table| table == store.table())
        };
        let mut results = Vec::new();
        for store in stores.into_iter().filter(is_selected) {
            let databases = store.databases().filter(|name| {
                selected.database.as_deref().is_none_or(|selected| selected == *name)
            });
            for database in databases {
                let creation = store.create_table_in(database, selected.dry_run).await;
                results.extend(creation.transpose());
            }
        }
        Ok(results)
    }

    /// The stores in databases, each once, even if several aliases wrap it differently.
    fn db_stores(&self) -> Vec<&DbCache> {
        let mut stores: Vec<&DbCache> = Vec::new();
        for store in self.iter().filter_map(|cache| cache.store().downcast_ref()) {
            if !stores.iter().any(|other| ptr::eq(*other, store)) {
                stores.push(store);
            }
        }
        stores
    }
}

/// Checks that each of the `selected` names is `known`.
fn check_known<'a, N: Iterator<Item = &'a str>>(
    kind: &str,
    selected: &[String],
    known: impl Fn() -> N,
) -> Result<()> {
    let Some(unknown) = selected.iter().find(|name| known().all(|other| other != *name)) else {
        return Ok(());
    };
    let mut known: Vec<&str> = known().collect();
    known.sort_unstable();
    known.dedup();
    let message =
        format!("no cache uses the {kind} {unknown:?}; known: {}", quoted(known.into_iter()));
    Err(Error::new(ErrorKind::Config, message))
}
