//! The BACKEND `filebased`.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{self, Path, PathBuf},
    sync::Arc,
};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, StoreConfig},
};
use parking_lot::Mutex;

use crate::{FileBasedCache, FileBasedOptions};

/// Makes the stores of a configuration: one for each folder, shared by all aliases that name it.
#[derive(Debug, Default)]
pub struct FileBasedBackend {
    stores: Mutex<HashMap<PathBuf, Arc<FileBasedCache>>>,
}

#[async_trait]
impl Backend for FileBasedBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        let options: FileBasedOptions = config.options()?;
        let folder = folder(config)?;
        match self.stores.lock().entry(folder) {
            Entry::Vacant(place) => {
                let store = FileBasedCache::with_clock(place.key(), options, config.clock.clone())?;
                Ok(place.insert(Arc::new(store)).clone())
            }
            Entry::Occupied(place) if place.get().options() == options => Ok(place.get().clone()),
            Entry::Occupied(place) => Err(config::mistake(
                "OPTIONS",
                &format!("{options:?}"),
                &format!(
                    "{:?} as of another cache with the LOCATION {}, or a LOCATION of its own",
                    place.get().options(),
                    place.key().display()
                ),
            )),
        }
    }
}

/// LOCATION as an absolute path. A relative one starts where its configuration lies, else where the process was started.
fn folder(config: &StoreConfig) -> Result<PathBuf> {
    let Some(location) = config.one_location()? else {
        return Err(config::mistake("LOCATION", "none", "a folder"));
    };
    let location = Path::new(location);
    let absolute = match &config.folder {
        Some(start) => path::absolute(start.join(location)),
        None => path::absolute(location),
    };
    let absolute = absolute.map_err(|_| config::mistake("LOCATION", "what is no path", "a folder"))?;
    if absolute.exists() && !absolute.is_dir() {
        return Err(config::mistake("LOCATION", &format!("{:?}, which is no folder", absolute.display()), "a folder"));
    }
    if location.is_relative() {
        tracing::warn!(
            cache = config.alias,
            location = %location.display(),
            "the LOCATION of a cache is relative: here it is {}",
            absolute.display()
        );
    }
    Ok(absolute)
}
