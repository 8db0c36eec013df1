//! Django's createcachetable.

use cache_core::{Error, ErrorKind, Result};
use cache_db::{DbCache, TableCreation};

use crate::{Caches, caches::listed};

/// Which tables [`Caches::create_tables`] makes, and where. By default: all, in every database where they are allowed.
#[derive(Clone, Debug, Default)]
pub struct CreateTables {
    /// The names of the tables; all where there are none.
    pub tables: Vec<String>,
    /// The one database, by its name.
    pub database: Option<String>,
    /// Only find out what is to be done.
    pub dry_run: bool,
}

impl Caches {
    /// Makes the tables of all caches that are kept in a database, or those that are asked for, as
    /// [Django's createcachetable](https://docs.djangoproject.com/en/5.2/ref/django-admin/#createcachetable) does: the
    /// table and its index, where they are absent or older. Answers what was found and done for each, or what went wrong
    /// there: a database that is away does not keep the others from their tables. It may be run by many at once.
    ///
    /// ```
    /// # #[cfg(feature = "db-sqlite")]
    /// # async fn run() -> cachette::Result<()> {
    /// use cachette::{Caches, stores::CreateTables};
    ///
    /// let caches = Caches::from_url("db://pages?url=sqlite::memory:").await?;
    /// for made in caches.create_tables(&CreateTables::default()).await? {
    ///     assert_eq!(made?.to_string(), "created table \"pages\" in sqlite::memory:");
    /// }
    /// # Ok(()) }
    /// # #[cfg(feature = "db-sqlite")]
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where no cache has a table or a database of a name that was asked for; of a table, as
    /// [`DbCache::create_table`].
    pub async fn create_tables(&self, wanted: &CreateTables) -> Result<Vec<Result<TableCreation>>> {
        let stores: Vec<&DbCache> =
            self.stores().filter_map(|cache| cache.store().downcast_ref()).collect();
        check("table", &wanted.tables, || stores.iter().map(|store| store.table()))?;
        check("database", wanted.database.as_slice(), || {
            stores.iter().flat_map(|store| store.databases())
        })?;
        let mut done = Vec::new();
        for store in stores {
            if !wanted.tables.is_empty() && wanted.tables.iter().all(|table| table != store.table())
            {
                continue;
            }
            let is_wanted =
                |name: &&str| wanted.database.as_deref().is_none_or(|database| database == *name);
            for database in store.databases().filter(is_wanted) {
                done.extend(store.create_table_in(database, wanted.dry_run).await.transpose());
            }
        }
        Ok(done)
    }
}

/// That there is what was asked for.
fn check<'a, N: Iterator<Item = &'a str>>(
    what: &str,
    wanted: &[String],
    there: impl Fn() -> N,
) -> Result<()> {
    let Some(missing) = wanted.iter().find(|name| there().all(|other| other != *name)) else {
        return Ok(());
    };
    let mut there: Vec<&str> = there().collect();
    there.sort_unstable();
    there.dedup();
    let message =
        format!("no cache is kept in a {what} {missing:?}; there {}", listed(there.into_iter()));
    Err(Error::new(ErrorKind::Config, message))
}
