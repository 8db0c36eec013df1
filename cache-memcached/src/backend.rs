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

/// Creates the stores of a configuration.
///
/// Aliases with the same servers and the same OPTIONS share a store and its connections.
#[derive(Debug, Default)]
pub struct MemcachedBackend {
    opened: Mutex<Vec<Opened>>,
}

#[derive(Debug)]
struct Opened {
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
        let addresses = address::parse_all(&config.location)?;
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only the path of the TLS file depends on the folder")
        )]
        let mut options = MemcachedOptions::from_config(config)?;
        #[cfg(feature = "tls")]
        if let (Some(file), Some(folder)) = (&options.tls_ca, config.folder()) {
            options.tls_ca = Some(folder.join(file));
        }
        let mut opened = self.opened.lock();
        if let Some(same) =
            opened.iter().find(|other| other.addresses == addresses && other.options == options)
        {
            return Ok(Arc::clone(&same.store));
        }
        let store = Arc::new(MemcachedCache::with_addresses(addresses.clone(), &options)?);
        opened.push(Opened { addresses, options, store: Arc::clone(&store) });
        Ok(store)
    }
}
