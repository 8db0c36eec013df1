//! The BACKEND `db`.

mod selection;

use std::{collections::BTreeMap, fmt, sync::Arc};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, SharedStores, StoreConfig},
};

use self::selection::{Selection, Source};
use crate::{
    cache::DbCache,
    database::Database,
    options::DbOptions,
    router::{FixedRouter, Router},
};

/// Creates stores from a configuration. Aliases that name the same table of the same database share
/// a store and its connections.
///
/// An application can pass in its own pools, which the OPTIONS then name, and a router that chooses
/// among all databases.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cache_db::DbBackend;
///
/// let pool = sqlx::PgPool::connect_lazy("postgres://ada@localhost/shop").expect("valid URL");
/// let backend = DbBackend::default().database("shop", pool); // options = { database = "shop" }
/// # }
/// # #[cfg(not(feature = "postgres"))] fn main() {}
/// ```
#[derive(Debug, Default)]
pub struct DbBackend {
    stores: SharedStores<Key, DbOptions, DbCache>,
    pools: BTreeMap<String, CreateDatabase>,
    router: Option<Arc<dyn Router>>,
}

/// A table and its databases.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    table: String,
    selection: Selection,
}

/// Creates a [`Database`] from a pool, one for each store.
struct CreateDatabase(Box<dyn Fn() -> Database + Send + Sync>);

impl fmt::Debug for CreateDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CreateDatabase")
    }
}

#[async_trait]
impl Backend for DbBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(self.open_store(config)?)
    }
}

impl DbBackend {
    /// Registers an sqlx pool of PostgreSQL or MySQL under a name. Caches that name it use it
    /// unchanged.
    ///
    /// A pool of SQLite makes [`open_store`](Self::open_store) return an error that names the
    /// option `url` to set instead, see [`Database`].
    #[must_use]
    pub fn database(
        mut self,
        name: &str,
        pool: impl Into<Database> + Clone + Send + Sync + 'static,
    ) -> Self {
        let create = move || pool.clone().into();
        self.pools.insert(name.into(), CreateDatabase(Box::new(create)));
        self
    }

    /// Sets the router that chooses among the databases of the configuration and the pools that
    /// were passed in. Options that name a database are then errors.
    #[must_use]
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Some(Arc::new(router));
        self
    }

    /// Returns the store for this configuration. Creates it unless another alias has already done
    /// so.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if the configuration is
    /// invalid.
    pub fn open_store(&self, config: &StoreConfig) -> Result<Arc<DbCache>> {
        let options: DbOptions = config.options()?;
        let Some(table) = config.one_location()?.filter(|table| !table.is_empty()) else {
            return Err(config::invalid_setting("LOCATION", "none", "the name of a table"));
        };
        let selection = match &self.router {
            Some(_) => Selection::all(config, &options, self.pools.keys())?,
            None => {
                Selection::from_options(config, &options, |name| self.pools.contains_key(name))?
            }
        };
        let key = Key { table: table.into(), selection: selection.clone() };
        self.stores.get_or_create(config, key, options, |options| {
            self.create(table, &selection, options, config)
        })
    }

    fn create(
        &self,
        table: &str,
        selection: &Selection,
        options: &DbOptions,
        config: &StoreConfig,
    ) -> Result<DbCache> {
        let database = |(name, source): &(String, Source)| {
            let database = match (source, self.pools.get(name)) {
                (Source::Url { setting, url, folder }, _) => {
                    Database::from_setting(setting, url, options, folder.as_deref())?
                }
                (Source::Pool, Some(create)) => create.0(),
                (Source::Pool, None) => unreachable!("selected pools exist"),
            };
            Ok((name.clone(), database))
        };
        let databases = selection.databases.iter().map(database).collect::<Result<Vec<_>>>()?;
        let router = self.router.clone().unwrap_or_else(|| {
            let Selection { read, write, .. } = selection.clone();
            Arc::new(FixedRouter { read, write })
        });
        let command = create_command(config, table);
        DbCache::assemble(table, databases, router, options.clone(), config.clock.clone(), command)
    }
}

/// The shell command that creates the table.
fn create_command(config: &StoreConfig, table: &str) -> String {
    let file = config.file.as_ref().map(|file| shell_word(&file.display().to_string()));
    let config = file.map(|file| format!(" --config {file}")).unwrap_or_default();
    format!("cachette{config} createcachetable {}", shell_word(table))
}

/// Quotes text as one shell word, if necessary.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    if text.chars().all(is_plain) && !text.starts_with('-') {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_command_is_quoted_for_a_shell() {
        let mut config = StoreConfig::new("default", serde_json::Map::new());
        assert_eq!(create_command(&config, "pages"), "cachette createcachetable pages");
        config.file = Some("/etc/my shop/caches.toml".into());
        let expected =
            r"cachette --config '/etc/my shop/caches.toml' createcachetable 'it'\''s mine'";
        assert_eq!(create_command(&config, "it's mine"), expected);
    }
}
