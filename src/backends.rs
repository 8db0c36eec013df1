//! The registry of BACKENDs, which open stores by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cache_core::{
    Cache, Error, Result, async_trait,
    config::{self, Backend, NestedStore, OpenNested, StoreConfig},
};

use crate::{caches::quoted, config::NestedConfig, django::Class};

/// The registered BACKENDs, by name.
#[derive(Clone)]
pub(crate) struct Backends(BTreeMap<String, Arc<dyn Backend>>);

/// A built-in store: its names, and the feature of this crate that contains it.
struct BuiltIn {
    name: &'static str,
    /// Further names, used as schemes of URLs.
    aliases: &'static [&'static str],
    /// The names of Django's classes. Those of django-prometheus have the same names.
    django: &'static [&'static str],
    /// The classes of other Django packages.
    packages: &'static [&'static str],
    feature: &'static str,
}

const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "locmem",
        aliases: &[],
        django: &["locmem.LocMemCache"],
        packages: &[],
        feature: "locmem",
    },
    BuiltIn {
        name: "dummy",
        aliases: &[],
        django: &["dummy.DummyCache"],
        packages: &[],
        feature: "dummy",
    },
    BuiltIn {
        name: "filebased",
        aliases: &["file"],
        django: &["filebased.FileBasedCache"],
        packages: &[],
        feature: "filebased",
    },
    BuiltIn {
        name: "db",
        aliases: &[],
        django: &["db.DatabaseCache"],
        packages: &[],
        feature: "db-sqlite",
    },
    BuiltIn {
        name: "memcached",
        aliases: &["pymemcached", "pymemcache"],
        // The last one is that of python-memcached, which Django had before version 4.1.
        django: &[
            "memcached.PyMemcacheCache",
            "memcached.PyLibMCCache",
            "memcached.MemcachedCache",
        ],
        packages: &["django_pylibmc.memcached.PyLibMCCache"],
        feature: "memcached",
    },
    BuiltIn {
        name: "redis",
        aliases: &["rediss", "unix", "valkey", "valkeys"],
        django: &["redis.RedisCache"],
        packages: &[
            "django_redis.cache.RedisCache",
            "django_valkey.cache.ValkeyCache",
            "redis_cache.RedisCache",
            "redis_cache.cache.RedisCache",
            "django_prometheus.cache.backends.redis.NativeRedisCache",
        ],
        feature: "redis",
    },
];

impl BuiltIn {
    fn by_name(name: &str) -> Option<&'static Self> {
        let class = ["django.core.cache.backends.", "django_prometheus.cache.backends."]
            .iter()
            .find_map(|package| name.strip_prefix(package));
        BUILT_IN.iter().find(|store| {
            store.name.eq_ignore_ascii_case(name)
                || store.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
                || class.is_some_and(|class| store.django.contains(&class))
                || store.packages.contains(&name)
        })
    }
}

impl Backends {
    /// The BACKENDs of the enabled features.
    pub(crate) fn built_in() -> Self {
        #[allow(unused_mut, reason = "nothing is inserted if no store is enabled")]
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

    /// The BACKEND with this name, and the class of Django from whose settings to translate.
    ///
    /// An exact name comes first, so that a registered BACKEND can replace one of Django's.
    pub(crate) fn find(&self, name: &str) -> Result<(&Arc<dyn Backend>, Option<Class>)> {
        if let Some(registered) = self.0.get(name) {
            return Ok((registered, None));
        }
        let built_in = BuiltIn::by_name(name);
        let found = built_in.and_then(|store| self.0.get(store.name));
        let found = found.ok_or_else(|| self.unknown(name, built_in))?;
        Ok((found, Class::of(name)))
    }

    /// The error for an alias without a BACKEND.
    pub(crate) fn missing(&self) -> Error {
        config::invalid_setting("BACKEND", "none", &self.expected())
    }

    fn unknown(&self, name: &str, built_in: Option<&BuiltIn>) -> Error {
        let found = format!("{:?}", config::redact_setting(name));
        if let Some(BuiltIn { feature, .. }) = built_in {
            let expected =
                format!("a store of this build; enable the feature {feature:?} of cachette");
            return config::invalid_setting("BACKEND", &found, &expected);
        }
        if let Some(scheme) = database_scheme(name) {
            let expected = format!(
                "\"db\", with a table as LOCATION and the URL of the database in OPTIONS, such as \
                 \"db://cache_table?url={scheme}…\""
            );
            return config::invalid_setting("BACKEND", &found, &expected);
        }
        let hint = config::did_you_mean(name, self.0.keys().map(String::as_str));
        config::invalid_setting("BACKEND", &format!("{found}{hint}"), &self.expected())
    }

    fn expected(&self) -> String {
        format!("one of {}", quoted(self.0.keys().map(String::as_str)))
    }
}

/// Returns the start of the URL of a database, if the name is that of one.
fn database_scheme(name: &str) -> Option<&'static str> {
    const SCHEMES: [(&str, &[&str]); 3] = [
        ("postgres://", &["postgres", "postgresql", "psql", "postgis"]),
        ("mysql://", &["mysql", "mariadb"]),
        ("sqlite:", &["sqlite", "sqlite3"]),
    ];
    let name = name.strip_prefix("django.db.backends.").unwrap_or(name).to_ascii_lowercase();
    SCHEMES.iter().find(|(_, names)| names.contains(&&*name)).map(|(scheme, _)| *scheme)
}

#[async_trait]
impl OpenNested for Backends {
    async fn open_nested(
        &self,
        parent: &StoreConfig,
        nested: &NestedStore,
    ) -> Result<Arc<dyn Cache>> {
        let mut nested = NestedConfig::read(nested.as_json())?;
        let Some(name) = &nested.backend else { return Err(self.missing()) };
        let (backend, class) = self.find(name)?;
        if let Some(class) = class {
            nested.translate(class, &parent.alias)?;
        }
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
    fn disabled_store_is_reported_with_its_feature() {
        let backends = Backends(BTreeMap::new());
        for store in BUILT_IN {
            let classes =
                store.django.iter().map(|class| format!("django.core.cache.backends.{class}"));
            let packages = store.packages.iter().map(ToString::to_string);
            for name in classes.chain(packages).chain([store.name.to_owned()]) {
                let Err(error) = backends.find(&name) else { panic!("found {name}") };
                let message = error.to_string();
                assert!(message.contains("BACKEND") && message.contains(&name), "{message}");
                let feature = format!("the feature {:?}", store.feature);
                assert!(message.contains(&feature), "{message}");
            }
        }
    }
}
