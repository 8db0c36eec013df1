//! The BACKEND `filebased`.

use std::{
    path::{self, Path, PathBuf},
    sync::Arc,
};

use cache_core::{
    Cache, Result, async_trait,
    config::{self, Backend, SharedStores, StoreConfig},
};

use crate::{FileBasedCache, FileBasedOptions};

/// Makes the stores of a configuration: one for each folder, shared by all aliases that name it.
#[derive(Debug, Default)]
pub struct FileBasedBackend {
    stores: SharedStores<PathBuf, FileBasedOptions, FileBasedCache>,
}

#[async_trait]
impl Backend for FileBasedBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        let (options, folder) = (config.options()?, folder(config)?);
        let make =
            |options: &_| FileBasedCache::with_clock(&folder, *options, config.clock.clone());
        Ok(self.stores.get_or_create(folder.clone(), options, make)?)
    }
}

/// LOCATION as an absolute path. A relative one starts where its configuration lies, else where the process was started.
fn folder(config: &StoreConfig) -> Result<PathBuf> {
    let Some(location) = config.one_location()? else {
        return Err(config::invalid_setting("LOCATION", "none", "a folder"));
    };
    let location = Path::new(location);
    let absolute = match config.folder() {
        Some(start) => path::absolute(start.join(location)),
        None => path::absolute(location),
    };
    let absolute =
        absolute.map_err(|_| config::invalid_setting("LOCATION", "what is no path", "a folder"))?;
    if absolute.exists() && !absolute.is_dir() {
        return Err(config::invalid_setting(
            "LOCATION",
            &format!("{:?}, which is no folder", absolute.display()),
            "a folder",
        ));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::{Event, Level, Metadata, Subscriber, span};

    use super::*;

    /// Counts warnings.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl Subscriber for Warnings {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0.fetch_add(
                usize::from(*event.metadata().level() == Level::WARN),
                Ordering::Relaxed,
            );
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn resolve(location: &str, start: Option<&str>) -> (PathBuf, usize) {
        let mut config = StoreConfig::new("default", serde_json::Map::new());
        config.location = vec![location.into()];
        config.file = start.map(|folder| Path::new(folder).join("caches.toml"));
        let warnings = Warnings::default();
        let folder = tracing::subscriber::with_default(warnings.clone(), || folder(&config));
        (folder.expect("it is fine"), warnings.0.load(Ordering::Relaxed))
    }

    #[cfg(unix)]
    #[test]
    fn a_relative_location_is_taken_from_the_configuration_s_folder_with_a_warning() {
        assert_eq!(resolve("cache", Some("/etc/shop")), (PathBuf::from("/etc/shop/cache"), 1));
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(resolve("cache", None), (here.join("cache"), 1));
        assert_eq!(resolve("cache", Some("conf")), (here.join("conf/cache"), 1));
    }

    #[cfg(unix)]
    #[test]
    fn an_absolute_location_stays_what_it_is_without_a_warning() {
        assert_eq!(
            resolve("/var/cache/shop", Some("/etc/shop")),
            (PathBuf::from("/var/cache/shop"), 0)
        );
    }
}
