//! The BACKEND `redis`.

use std::{path::PathBuf, sync::Arc};

use cache_core::{
    Cache, Result, async_trait,
    config::{Backend, SharedStores, StoreConfig},
};

use crate::{
    RedisCache, RedisOptions,
    cache::Servers,
    location::{Location, locations},
    room::{Room, Rooms},
};

/// Makes the stores of a configuration. Aliases with the same servers and options share the connections; each clears what
/// is its own.
#[derive(Debug, Default)]
pub struct RedisBackend {
    servers: SharedStores<Place, (), Servers>,
    rooms: Rooms,
}

/// Servers, and how to talk to them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
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
    /// The store that this configuration means, as the type it is.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](cache_core::ErrorKind) where the configuration can't be meant.
    pub fn open_store(&self, config: &StoreConfig) -> Result<RedisCache> {
        let options: RedisOptions = config.options()?;
        options.check()?;
        options.warn_without_effect(&config.alias);
        let folder = config.folder();
        // A password is to be taken apart before it is decoded, and the scheme says whether to encrypt.
        let locations = match &config.url {
            Some(url) => locations(&[url], folder)?,
            None => locations(&config.location, folder)?,
        };
        let db = locations[0].db.or(options.db).unwrap_or(0);
        let database = format!("{}/{db}", locations[0].address);
        let head = config.common_key_prefix.as_deref();
        let room = Room::new(
            &options.namespace,
            options.clear_database,
            head,
            database,
            Arc::clone(&self.rooms),
        );
        let place = Place {
            locations: locations.clone(),
            options: options.clone(),
            folder: folder.map(Into::into),
        };
        let servers = self
            .servers
            .get_or_create(place, (), |()| Servers::new(&locations, options, folder))?;
        Ok(RedisCache::in_room(servers, room))
    }
}
