//! The BACKEND `db`.

mod places;

use std::{collections::BTreeMap, fmt, sync::Arc};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, SharedStores, StoreConfig},
};

use self::places::{Place, Places};
use crate::{Database, DbCache, DbOptions, Router, router::Fixed};

/// Makes the stores of a configuration. Aliases that name the same table of the same database share a store, and with it
/// its connections.
///
/// A pool that the application has anyway, and a router of its own, are handed over here; the configuration then names
/// them in its OPTIONS, or leaves it to the router:
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use cache_db::DbBackend;
///
/// let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").expect("it is a URL");
/// let backend = DbBackend::default().database("shop", pool); // options = { database = "shop" }
/// # }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
#[derive(Debug, Default)]
pub struct DbBackend {
    stores: SharedStores<Key, DbOptions, DbCache>,
    given: BTreeMap<String, Given>,
    router: Option<Arc<dyn Router>>,
}

/// A table, and the databases it is in.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    table: String,
    places: Places,
}

/// Makes a [`Database`] of a pool, for each store a new one.
struct Given(Box<dyn Fn() -> Database + Send + Sync>);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

#[async_trait]
impl Backend for DbBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(self.open_store(config)?)
    }
}

impl DbBackend {
    /// Hands over a pool of sqlx's, to be used as it is by all caches that name it.
    #[must_use]
    pub fn database(
        mut self,
        name: &str,
        pool: impl Into<Database> + Clone + Send + Sync + 'static,
    ) -> Self {
        let make = move || pool.clone().into();
        self.given.insert(name.into(), Given(Box::new(make)));
        self
    }

    /// Has a router choose among all databases of the configuration and all that were handed over. The options that name
    /// databases are mistakes then.
    #[must_use]
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Some(Arc::new(router));
        self
    }

    /// The store that this configuration means, as the type it is.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](cache_core::ErrorKind) where the configuration can't be meant.
    pub fn open_store(&self, config: &StoreConfig) -> Result<Arc<DbCache>> {
        let options: DbOptions = config.options()?;
        let Some(table) = config.one_location()?.filter(|table| !table.is_empty()) else {
            return Err(config::invalid_setting("LOCATION", "none", "the name of a table"));
        };
        let names = |name: &str| self.given.contains_key(name);
        let places = match &self.router {
            Some(_) => Places::all(config, &options, self.given.keys())?,
            None => Places::of(config, &options, names)?,
        };
        let key = Key { table: table.into(), places: places.clone() };
        self.stores
            .get_or_create(key, options, |options| self.make(table, &places, options, config))
    }

    fn make(
        &self,
        table: &str,
        places: &Places,
        options: &DbOptions,
        config: &StoreConfig,
    ) -> Result<DbCache> {
        let database = |(name, place): &(String, Place)| {
            let database = match (place, self.given.get(name)) {
                (Place::Url { option, url, folder }, _) => {
                    Database::of(option, url, options, folder.as_deref())?
                }
                (Place::Given, Some(given)) => given.0(),
                (Place::Given, None) => unreachable!("a place is given where its name is"),
            };
            Ok((name.clone(), database))
        };
        let databases = places.databases.iter().map(database).collect::<Result<Vec<_>>>()?;
        let router = self.router.clone().unwrap_or_else(|| {
            let Places { read, write, .. } = places.clone();
            Arc::new(Fixed { read, write })
        });
        let remedy = command(config, table);
        DbCache::assemble(table, databases, router, options.clone(), config.clock.clone(), remedy)
    }
}

/// What makes the table, as it is typed.
fn command(config: &StoreConfig, table: &str) -> String {
    let file =
        config.file.as_ref().map(|file| format!(" --config {}", word(&file.display().to_string())));
    format!("cachette{} createcachetable {}", file.unwrap_or_default(), word(table))
}

/// A word for a shell.
fn word(text: &str) -> String {
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
    fn the_command_that_makes_a_table_can_be_pasted() {
        let mut config = StoreConfig::new("default", serde_json::Map::new());
        assert_eq!(command(&config, "pages"), "cachette createcachetable pages");
        config.file = Some("/etc/my shop/caches.toml".into());
        let expected =
            r"cachette --config '/etc/my shop/caches.toml' createcachetable 'it'\''s mine'";
        assert_eq!(command(&config, "it's mine"), expected);
    }
}
