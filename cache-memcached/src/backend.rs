//! The BACKEND `memcached`.

use std::sync::Arc;

use cache_core::{
    Cache, Result, async_trait,
    config::{Backend, StoreConfig},
};
use parking_lot::Mutex;

use crate::{
    MemcachedCache, MemcachedOptions,
    address::{self, Address},
};

/// Makes the stores of a configuration. Aliases with the same servers and the same OPTIONS share a store, and with it its
/// connections.
#[derive(Debug, Default)]
pub struct MemcachedBackend {
    made: Mutex<Vec<Made>>,
}

#[derive(Debug)]
struct Made {
    addresses: Vec<Address>,
    options: MemcachedOptions,
    store: Arc<MemcachedCache>,
}

#[async_trait]
impl Backend for MemcachedBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(self.open_store(config)?)
    }
}

impl MemcachedBackend {
    fn open_store(&self, config: &StoreConfig) -> Result<Arc<MemcachedCache>> {
        let addresses = address::read_all(&config.location)?;
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only the file of TLS depends on the folder")
        )]
        let mut options = MemcachedOptions::from_config(config)?;
        #[cfg(feature = "tls")]
        if let (Some(file), Some(folder)) = (&options.tls_ca, config.folder()) {
            options.tls_ca = Some(folder.join(file));
        }
        let mut all = self.made.lock();
        if let Some(made) =
            all.iter().find(|made| made.addresses == addresses && made.options == options)
        {
            return Ok(Arc::clone(&made.store));
        }
        let store = Arc::new(MemcachedCache::at(addresses.clone(), &options)?);
        all.push(Made { addresses, options, store: Arc::clone(&store) });
        Ok(store)
    }
}
