//! A cache in each store that processes share, for commands that look inside.

use std::{env, sync::LazyLock};

use cachette::{CacheHandle, Caches, Timeout};
use xtask::servers::{Kind, RedisCluster, RedisSentinels, Server, outlive};

use super::Project;

/// A store with room for many entries, and what its entries lie on.
pub(crate) struct Store {
    pub(crate) name: &'static str,
    backend: &'static str,
    location: String,
    options: String,
    /// The names of the parts of a place.
    pub(crate) place: &'static [&'static str],
}

/// The URLs and addresses of servers that all tests of a file share.
struct Locations {
    redis: String,
    cluster: String,
    sentinels: String,
    memcached: String,
}

static LOCATIONS: LazyLock<Locations> = LazyLock::new(|| {
    let start = || {
        let redis = Server::start(Kind::Redis)?;
        let (cluster, sentinels) = (RedisCluster::start(2, false)?, RedisSentinels::start()?);
        let memcached = [Server::start(Kind::Memcached)?, Server::start(Kind::Memcached)?];
        Ok((redis, cluster, sentinels, memcached))
    };
    outlive(start, |(redis, cluster, sentinels, memcached)| Locations {
        redis: redis.url(),
        cluster: cluster.servers[0].url(),
        sentinels: sentinels.sentinels.iter().map(Server::url).collect::<Vec<_>>().join(","),
        memcached: memcached
            .each_ref()
            .map(|server| format!("127.0.0.1:{}", server.port()))
            .join(","),
    })
});

/// Returns every kind of store. `about` names the entries of a test in stores that tests share.
pub(crate) fn all(about: &str) -> Vec<Store> {
    let patient = "socket_timeout = 20, socket_connect_timeout = 20";
    let server = |kind: &str, variable: &str| {
        let url = env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
        });
        let table = format!("{about} {kind} {}", std::process::id());
        let options = format!(
            "url = '{url}', create_table = true, max_entries = 100000, connect_timeout = 20, \
             statement_timeout = 20"
        );
        (table, options)
    };
    let (postgres, postgres_options) = server("postgres", "CACHETTE_POSTGRES_URL");
    let (mysql, mysql_options) = server("mysql", "CACHETTE_MYSQL_URL");
    let store = |name, backend, location: &str, options: &str, place| Store {
        name,
        backend,
        location: location.into(),
        options: options.into(),
        place,
    };
    let locations = &*LOCATIONS;
    vec![
        store("files", "filebased", "files", "max_entries = 100000", &["file"]),
        store(
            "sqlite",
            "db",
            "cache",
            "url = 'sqlite:cache.db', create_table = true, max_entries = 100000",
            &["table", "database"],
        ),
        store("postgres", "db", &postgres, &postgres_options, &["table", "database"]),
        store("mysql", "db", &mysql, &mysql_options, &["table", "database"]),
        store("redis", "redis", &locations.redis, patient, &["server", "database"]),
        store(
            "cluster",
            "redis",
            &locations.cluster,
            &format!("cluster = true, {patient}"),
            &["server", "slot"],
        ),
        store(
            "sentinels",
            "redis",
            &locations.sentinels,
            &format!("sentinel = '{}', {patient}", RedisSentinels::NAME),
            &["server", "database"],
        ),
        store(
            "memcached",
            "memcached",
            &locations.memcached,
            "timeout = 20, connect_timeout = 20",
            &["server"],
        ),
    ]
}

impl Store {
    /// A configuration whose alias `default` has this KEY_PREFIX and VERSION 3.
    pub(crate) fn toml(&self, key_prefix: &str) -> String {
        self.toml_as("default", key_prefix)
    }

    /// A part of a configuration, with an alias that has this KEY_PREFIX and VERSION 3.
    pub(crate) fn toml_as(&self, alias: &str, key_prefix: &str) -> String {
        let Self { backend, location, options, .. } = self;
        format!(
            "[{alias}]\nbackend = '{backend}'\nlocation = '{location}'\n\
             key_prefix = '{key_prefix}'\nversion = 3\noptions = {{ {options} }}\n"
        )
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.backend, "redis" | "memcached")
    }
}

/// Opens the default cache of a project, as a service does.
pub(crate) async fn open(project: &Project) -> CacheHandle {
    open_alias(project, "default").await
}

pub(crate) async fn open_alias(project: &Project, alias: &str) -> CacheHandle {
    let builder = Caches::builder().file(project.path("caches.toml")).without_default();
    let caches = builder.build().await;
    caches.and_then(|caches| caches.get(alias)).expect("valid configuration")
}

/// Stores an entry under each of these keys.
pub(crate) async fn fill(cache: &CacheHandle, keys: &[String]) {
    for keys in keys.chunks(500) {
        let entries = keys.iter().map(|key| (key, "value"));
        let rejected = cache.set_many(entries, Timeout::Never).await.expect("store the entries");
        assert!(rejected.is_empty(), "{rejected:?}");
    }
}
