//! The BACKEND `locmem`.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, StoreConfig},
};
use parking_lot::Mutex;

use crate::{LocMemCache, LocMemOptions};

/// Makes the stores of a configuration: one for each LOCATION, shared by all aliases that name it.
#[derive(Debug, Default)]
pub struct LocMemBackend {
    stores: Mutex<HashMap<String, Arc<LocMemCache>>>,
}

#[async_trait]
impl Backend for LocMemBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        let options: LocMemOptions = config.options()?;
        let location = config.one_location()?.unwrap_or_default();
        match self.stores.lock().entry(location.to_owned()) {
            Entry::Vacant(place) => {
                let store = Arc::new(LocMemCache::with_clock(options, config.clock.clone())?);
                Ok(place.insert(store).clone())
            }
            Entry::Occupied(place) if place.get().options() == options => Ok(place.get().clone()),
            Entry::Occupied(place) => Err(config::mistake(
                "OPTIONS",
                &format!("{options:?}"),
                &format!(
                    "{:?} as of another cache with the LOCATION {location:?}, or a LOCATION of its own",
                    place.get().options()
                ),
            )),
        }
    }
}
