//! The BACKEND `locmem`.

use std::sync::Arc;

use cache_core::{
    Cache, Result, async_trait,
    config::{Backend, SharedStores, StoreConfig},
};

use crate::{LocMemCache, LocMemOptions};

/// Creates the stores of a configuration: one per LOCATION, shared by all aliases that name it.
#[derive(Debug, Default)]
pub struct LocMemBackend {
    stores: SharedStores<String, LocMemOptions, LocMemCache>,
}

#[async_trait]
impl Backend for LocMemBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        let location = config.one_location()?.unwrap_or_default().to_owned();
        let create =
            |options: &LocMemOptions| LocMemCache::with_clock(*options, config.clock.clone());
        Ok(self.stores.get_or_create(config, location, config.options()?, create)?)
    }
}
