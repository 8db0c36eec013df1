//! The BACKEND `redis`.

use std::{path::PathBuf, sync::Arc};

use cache_core::{
    Cache, Result, async_trait,
    config::{Backend, SharedStores, StoreConfig},
};

use crate::{
    RedisCache, RedisOptions,
    cache::Servers,
    keyspace::{Keyspace, Prefixes},
    location::{Location, locations},
};

/// Creates the stores of a configuration.
///
/// Aliases with the same servers and options share the connections. Each alias clears only its own
/// keys.
#[derive(Debug, Default)]
pub struct RedisBackend {
    servers: SharedStores<ServersKey, (), Servers>,
    prefixes: Prefixes,
}

/// The configuration that aliases must have in common to share connections.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ServersKey {
    locations: Vec<Location>,
    options: RedisOptions,
    folder: Option<PathBuf>,
}

#[async_trait]
impl Backend for RedisBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(self.open_store(config)?))
    }
}

impl RedisBackend {
    /// Creates the store of an alias, like [`open`](Backend::open), but returns its concrete type.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if LOCATION or OPTIONS are
    /// invalid, or if a certificate file cannot be read.
    pub fn open_store(&self, config: &StoreConfig) -> Result<RedisCache> {
        let options: RedisOptions = config.options()?;
        options.check()?;
        options.warn_without_effect(&config.alias);
        let folder = config.folder();
        // The raw URL has the scheme, which decides on TLS, and its password is still encoded.
        let locations = match &config.url {
            Some(url) => locations(&[url], folder)?,
            None => locations(&config.location, folder)?,
        };
        let db = locations[0].db.or(options.db).unwrap_or(0);
        let keyspace = Keyspace::new(
            &options.namespace,
            options.clear_database,
            config.common_key_prefix.as_deref(),
            format!("{}/{db}", locations[0].address),
            Arc::clone(&self.prefixes),
        );
        let key = ServersKey {
            locations: locations.clone(),
            options: options.clone(),
            folder: folder.map(Into::into),
        };
        let create = |&(): &()| Servers::new(&locations, options, folder);
        let servers = self.servers.get_or_create(config, key, (), create)?;
        Ok(RedisCache::with_keyspace(servers, keyspace))
    }
}
