//! The BACKEND `db`.

use std::{path::PathBuf, sync::Arc};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, SharedStores, StoreConfig},
};

use crate::{DbCache, DbOptions};

/// Makes the stores of a configuration. Aliases that name the same table of the same database share a store, and with it
/// its connections.
#[derive(Debug, Default)]
pub struct DbBackend {
    stores: SharedStores<Place, DbOptions, DbCache>,
}

/// A table, and the database it is in.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    table: String,
    url: String,
    folder: Option<PathBuf>,
}

#[async_trait]
impl Backend for DbBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(self.open_store(config)?)
    }
}

impl DbBackend {
    /// The store that this configuration means, as the type it is: for createcachetable.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](cache_core::ErrorKind) where the configuration can't be meant.
    pub fn open_store(&self, config: &StoreConfig) -> Result<Arc<DbCache>> {
        let options: DbOptions = config.options()?;
        let Some(table) = config.one_location()?.filter(|table| !table.is_empty()) else {
            return Err(config::mistake("LOCATION", "none", "the name of a table"));
        };
        let place = Place { table: table.into(), url: options.url.clone(), folder: config.folder.clone() };
        self.stores.get_or_make(place, options, |options| {
            DbCache::open(table, options.clone(), config.folder.as_deref(), config.clock.clone())
        })
    }
}
