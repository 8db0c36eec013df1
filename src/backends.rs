//! From a BACKEND's name to what makes its stores.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cache_core::{
    Cache, Error, Result, async_trait,
    config::{self, Backend, NestedStore, OpenNested, StoreConfig},
};

use crate::{caches::listed, config::NestedConfig};

/// What makes stores, by name.
#[derive(Clone)]
pub(crate) struct Backends(BTreeMap<String, Arc<dyn Backend>>);

/// A store of Django's, and the feature of this crate that has its counterpart.
struct Known {
    name: &'static str,
    /// What it is called in URLs besides.
    aliases: &'static [&'static str],
    django: &'static [&'static str],
    feature: &'static str,
}

const KNOWN: &[Known] = &[
    Known { name: "locmem", aliases: &[], django: &["locmem.LocMemCache"], feature: "locmem" },
    Known { name: "dummy", aliases: &[], django: &["dummy.DummyCache"], feature: "dummy" },
    Known {
        name: "filebased",
        aliases: &["file"],
        django: &["filebased.FileBasedCache"],
        feature: "filebased",
    },
    Known { name: "db", aliases: &[], django: &["db.DatabaseCache"], feature: "db-sqlite" },
    Known {
        name: "memcached",
        aliases: &["pymemcached", "pymemcache"],
        django: &["memcached.PyMemcacheCache", "memcached.PyLibMCCache"],
        feature: "memcached",
    },
    Known {
        name: "redis",
        aliases: &["rediss", "unix", "valkey", "valkeys"],
        django: &["redis.RedisCache"],
        feature: "redis",
    },
];

impl Known {
    fn by_name(name: &str) -> Option<&'static Self> {
        let class = name.strip_prefix("django.core.cache.backends.");
        let is_it = |known: &&Self| {
            known.name.eq_ignore_ascii_case(name)
                || known.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
                || class.is_some_and(|class| known.django.contains(&class))
        };
        KNOWN.iter().find(is_it)
    }
}

impl Backends {
    /// Those of the features that are enabled.
    pub(crate) fn built_in() -> Self {
        #[allow(unused_mut, reason = "without any store there is nothing to insert")]
        let mut backends = BTreeMap::<String, Arc<dyn Backend>>::new();
        #[cfg(feature = "locmem")]
        backends.insert("locmem".into(), Arc::new(cache_locmem::LocMemBackend::default()));
        #[cfg(feature = "filebased")]
        backends.insert("filebased".into(), Arc::new(cache_filebased::FileBasedBackend::default()));
        #[cfg(any(feature = "db-sqlite", feature = "db-postgres", feature = "db-mysql"))]
        backends.insert("db".into(), Arc::new(cache_db::DbBackend::default()));
        #[cfg(feature = "memcached")]
        backends.insert("memcached".into(), Arc::new(cache_memcached::MemcachedBackend::default()));
        #[cfg(feature = "redis")]
        backends.insert("redis".into(), Arc::new(cache_redis::RedisBackend::default()));
        #[cfg(feature = "dummy")]
        backends.insert("dummy".into(), Arc::new(|_| async { Ok(cache_dummy::DummyCache) }));
        Self(backends)
    }

    pub(crate) fn insert(&mut self, name: &str, backend: Arc<dyn Backend>) {
        self.0.insert(name.into(), backend);
    }

    /// Names of one's own come first, so that a store of one's own may stand in for one of Django's.
    pub(crate) fn find(&self, name: &str) -> Result<&Arc<dyn Backend>> {
        let known = Known::by_name(name);
        let found = self.0.get(name).or_else(|| self.0.get(known?.name));
        found.ok_or_else(|| self.not_found(name, known))
    }

    /// The error for an alias that names no store.
    pub(crate) fn missing(&self) -> Error {
        config::invalid_setting("BACKEND", "none", &self.expected())
    }

    fn not_found(&self, name: &str, known: Option<&Known>) -> Error {
        let expected = match known {
            Some(Known { feature, .. }) => {
                format!("a store of this build; enable the feature {feature:?} of cachette for it")
            }
            None => self.expected(),
        };
        config::invalid_setting(
            "BACKEND",
            &format!("{:?}", config::redact_setting(name)),
            &expected,
        )
    }

    fn expected(&self) -> String {
        format!("one that there is: there {}", listed(self.0.keys().map(String::as_str)))
    }
}

#[async_trait]
impl OpenNested for Backends {
    async fn open_nested(
        &self,
        parent: &StoreConfig,
        nested: &NestedStore,
    ) -> Result<Arc<dyn Cache>> {
        let nested = NestedConfig::read(nested.as_json())?;
        let Some(name) = &nested.backend else { return Err(self.missing()) };
        let backend = self.find(name)?;
        backend.open(&nested.within(parent)).await
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_this_build_lacks_is_told_with_its_feature() {
        let none = Backends(BTreeMap::new());
        for known in KNOWN {
            let names =
                known.django.iter().map(|class| format!("django.core.cache.backends.{class}"));
            for name in names.chain([known.name.to_owned()]) {
                let Err(error) = none.find(&name) else { panic!("there is no {name}") };
                let expected = format!(
                    "BACKEND: found {name:?}, expected a store of this build; enable the feature"
                );
                assert!(error.to_string().starts_with(&expected), "{error}");
                assert!(error.to_string().contains(&format!("{:?}", known.feature)), "{error}");
            }
        }
    }
}
