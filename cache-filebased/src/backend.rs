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

/// Creates the stores of a configuration: one per directory, shared by all aliases that name it.
#[derive(Debug, Default)]
pub struct FileBasedBackend {
    stores: SharedStores<PathBuf, FileBasedOptions, FileBasedCache>,
}

#[async_trait]
impl Backend for FileBasedBackend {
    async fn open(&self, config: &StoreConfig) -> Result<Arc<dyn Cache>> {
        let (options, directory) = (config.options()?, directory(config)?);
        let create =
            |options: &_| FileBasedCache::with_clock(&directory, *options, config.clock.clone());
        Ok(self.stores.get_or_create(config, directory.clone(), options, create)?)
    }
}

/// Resolves LOCATION to an absolute path. A relative path is resolved against the directory of the
/// configuration file, or the current directory if there is none.
fn directory(config: &StoreConfig) -> Result<PathBuf> {
    let Some(location) = config.one_location()? else {
        return Err(config::invalid_setting("LOCATION", "none", "a directory"));
    };
    let location = Path::new(location);
    let absolute = match config.folder() {
        Some(base) => path::absolute(base.join(location)),
        None => path::absolute(location),
    };
    let absolute = absolute
        .map_err(|_| config::invalid_setting("LOCATION", "an empty path", "a directory"))?;
    if absolute.exists() && !absolute.is_dir() {
        let found = format!("{:?}, which is not a directory", absolute.display());
        return Err(config::invalid_setting("LOCATION", &found, "a directory"));
    }
    if location.is_relative() {
        tracing::warn!(
            cache = config.alias,
            location = %location.display(),
            resolved = %absolute.display(),
            "the LOCATION of a file-based cache is a relative path"
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

    /// Resolves a LOCATION and counts the warnings.
    fn resolve(location: &str, base: Option<&str>) -> (PathBuf, usize) {
        let mut config = StoreConfig::new("default", serde_json::Map::new());
        config.location = vec![location.into()];
        config.file = base.map(|base| Path::new(base).join("caches.toml"));
        let warnings = Warnings::default();
        let path = tracing::subscriber::with_default(warnings.clone(), || directory(&config));
        (path.expect("a valid LOCATION"), warnings.0.load(Ordering::Relaxed))
    }

    #[cfg(unix)]
    #[test]
    fn relative_location_is_resolved_against_the_configuration_with_a_warning() {
        xtask::run_alone!();
        assert_eq!(resolve("cache", Some("/etc/shop")), (PathBuf::from("/etc/shop/cache"), 1));
        let current = std::env::current_dir().expect("a current directory");
        assert_eq!(resolve("cache", None), (current.join("cache"), 1));
        assert_eq!(resolve("cache", Some("conf")), (current.join("conf/cache"), 1));
    }

    #[cfg(unix)]
    #[test]
    fn absolute_location_is_unchanged_without_a_warning() {
        xtask::run_alone!();
        assert_eq!(
            resolve("/var/cache/shop", Some("/etc/shop")),
            (PathBuf::from("/var/cache/shop"), 0)
        );
    }
}
