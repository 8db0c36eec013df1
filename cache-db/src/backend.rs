//! The BACKEND `db`.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, StoreConfig},
};
use parking_lot::Mutex;

use crate::{DbCache, DbOptions};

/// Makes the stores of a configuration. Aliases that name the same table of the same database share a store, and with it
/// its connections.
#[derive(Debug, Default)]
pub struct DbBackend {
    stores: Mutex<HashMap<Place, Arc<DbCache>>>,
}

type Place = (String, String, Option<PathBuf>);

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
        let place = (table.to_owned(), options.url.clone(), config.folder.clone());
        match self.stores.lock().entry(place) {
            Entry::Vacant(free) => {
                let store = DbCache::open(table, options, config.folder.as_deref(), config.clock.clone())?;
                Ok(free.insert(Arc::new(store)).clone())
            }
            Entry::Occupied(taken) if *taken.get().options() == options => Ok(taken.get().clone()),
            Entry::Occupied(taken) => Err(config::mistake(
                "OPTIONS",
                &format!("{options:?}"),
                &format!(
                    "{:?} as of another cache with the LOCATION {table:?}, or another LOCATION",
                    taken.get().options()
                ),
            )),
        }
    }
}
