//! CACHES as Django projects have them, dumped as JSON.
#![cfg(all(
    feature = "filebased",
    feature = "db-sqlite",
    feature = "db-postgres",
    feature = "memcached",
    feature = "redis"
))]

mod warnings;

use cachette::{Caches, ErrorKind, Timeout};
use serde_json::{Value as Json, json};
use warnings::Warnings;

async fn load(caches: &Json) -> cachette::Result<Caches> {
    Caches::from_json(&caches.to_string()).await
}

/// Asserts that a configuration loads, with these stores by alias and this many warnings.
async fn assert_loads(caches: Json, stores: &[(&str, &str)], logged: usize) -> Caches {
    let warnings = Warnings::collect();
    let opened = load(&caches).await.unwrap_or_else(|error| panic!("{error}: {caches:#}"));
    let found: Vec<(&str, &str)> =
        opened.iter().map(|cache| (cache.alias(), cache.store().name())).collect();
    assert_eq!(found, stores, "{caches:#}");
    let lines = warnings.take();
    assert_eq!(lines.len(), logged, "{lines:#?} for {caches:#}");
    opened
}

/// Asserts that the store of `default` shows each of `facts` in its options.
fn assert_options(caches: &Caches, facts: &[&str]) {
    let store = format!("{:?}", caches["default"].store());
    for fact in facts {
        assert!(store.contains(fact), "{fact:?} is not in {store}");
    }
}

async fn error(backend: &str, settings: Json) -> String {
    let mut cache = settings;
    cache["BACKEND"] = backend.into();
    let error = load(&json!({"default": cache})).await.expect_err("an invalid configuration");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

const LOCMEM: &str = "django.core.cache.backends.locmem.LocMemCache";
const MEMCACHED: &str = "django.core.cache.backends.memcached.MemcachedCache";
const DJANGO_REDIS: &str = "django_redis.cache.RedisCache";
const REDIS_CACHE: &str = "redis_cache.RedisCache";

#[tokio::test]
async fn memory_with_and_without_location() {
    let caches = json!({
        "default": {"BACKEND": LOCMEM},
        "feed": {"BACKEND": LOCMEM, "LOCATION": "feed", "TIMEOUT": 86_400},
        "thumbnails": {
            "BACKEND": LOCMEM, "LOCATION": "", "OPTIONS": {"MAX_ENTRIES": 5000}, "TIMEOUT": null,
        },
    });
    let stores = [("default", "locmem"), ("feed", "locmem"), ("thumbnails", "locmem")];
    let caches = assert_loads(caches, &stores, 0).await;
    assert_options(&caches, &["max_entries: 5000"]);
    assert_eq!(caches["thumbnails"].default_timeout(), Timeout::Never);
}

#[tokio::test]
async fn redis_in_production_and_memory_with_leftover_options_in_development() {
    let caches = json!({
        "default": {
            "BACKEND": LOCMEM, "LOCATION": "unique-snowflake", "OPTIONS": {"CLIENT_CLASS": null},
        },
        "off": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    });
    assert_loads(caches, &[("default", "locmem"), ("off", "dummy")], 0).await;
}

#[tokio::test]
async fn files_with_a_limit() {
    let caches = json!({"default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": "/var/tmp/django_cache",
        "TIMEOUT": 60,
        "OPTIONS": {"MAX_ENTRIES": 200},
    }});
    let caches = assert_loads(caches, &[("default", "filebased")], 0).await;
    assert_options(&caches, &["max_entries: 200"]);
}

#[tokio::test]
async fn table_in_the_default_database() {
    let caches = json!({
        "DATABASES": {"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "shop",
            "PASSWORD": "secret", "HOST": "localhost", "PORT": "5432", "CONN_MAX_AGE": 600,
        }},
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": "django_cache_table",
                "TIMEOUT": 3600,
                "OPTIONS": {"MAX_ENTRIES": 5000, "CULL_FREQUENCY": 3},
            },
            "login": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": "account_cache",
            },
        },
    });
    assert_loads(caches, &[("default", "db"), ("login", "db")], 0).await;
}

#[tokio::test]
async fn former_memcached_client() {
    let caches = json!({
        "default": {"BACKEND": MEMCACHED, "LOCATION": "127.0.0.1:11211"},
        "sessions": {"BACKEND": MEMCACHED, "LOCATION": "127.0.0.1:11211", "TIMEOUT": 3600},
        "fallback": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": "/tmp/shop.cache",
        },
        "socket": {
            "BACKEND": MEMCACHED, "LOCATION": "unix:/tmp/memcached.sock", "KEY_PREFIX": "shop.cache",
        },
    });
    let stores = [
        ("default", "memcached"),
        ("fallback", "filebased"),
        ("sessions", "memcached"),
        ("socket", "memcached"),
    ];
    assert_loads(caches, &stores, 0).await;
}

#[tokio::test]
async fn options_of_the_former_memcached_client() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": MEMCACHED,
        "LOCATION": ["10.0.0.1:11211", "10.0.0.2:11211"],
        "OPTIONS": {"server_max_value_length": 2_097_152, "socket_timeout": 2, "dead_retry": 20},
    }});
    let caches = assert_loads(caches, &[("default", "memcached")], 1).await;
    assert_options(&caches, &["10.0.0.2:11211"]);
}

#[tokio::test]
async fn pylibmc_with_behaviors_and_a_socket() {
    xtask::run_alone!();
    let caches = json!({
        "default": {
            "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache",
            "LOCATION": "10.0.0.1:11211,10.0.0.2:11211",
            "TIMEOUT": null,
            "OPTIONS": {
                "binary": true, "username": "shop", "password": "secret",
                "behaviors": {"no_block": true, "tcp_nodelay": true, "ketama": true},
            },
        },
        "socket": {
            "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache",
            "LOCATION": "/var/run/memcached/memcached.sock",
        },
        "package": {
            "BACKEND": "django_pylibmc.memcached.PyLibMCCache",
            "LOCATION": "localhost:11211",
            "OPTIONS": {"tcp_nodelay": true, "ketama": true},
        },
    });
    let stores = [("default", "memcached"), ("package", "memcached"), ("socket", "memcached")];
    assert_loads(caches, &stores, 2).await;
}

#[tokio::test]
async fn pymemcache_with_a_pool() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": ["127.0.0.1:11211"],
        "OPTIONS": {"no_delay": true, "ignore_exc": true, "max_pool_size": 4, "use_pooling": true},
    }});
    assert_loads(caches, &[("default", "memcached")], 1).await;
}

#[tokio::test]
async fn redis_class_of_django() {
    xtask::run_alone!();
    let caches = json!({
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://username:password@127.0.0.1:6379",
        },
        "replicas": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": ["redis://127.0.0.1:6379", "redis://127.0.0.1:6378"],
            "OPTIONS": {
                "db": "10", "parser_class": "redis.connection.PythonParser",
                "pool_class": "redis.BlockingConnectionPool", "ssl_cert_reqs": null,
            },
        },
    });
    assert_loads(caches, &[("default", "redis"), ("replicas", "redis")], 1).await;
}

#[tokio::test]
async fn django_redis_with_a_client_class_only() {
    for location in ["redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379", "redis://redis"] {
        let caches = json!({"default": {
            "BACKEND": DJANGO_REDIS, "LOCATION": location,
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
        }});
        assert_loads(caches, &[("default", "redis")], 0).await;
    }
}

#[tokio::test]
async fn django_redis_without_options_or_without_location() {
    xtask::run_alone!();
    let caches = json!({
        "default": {"BACKEND": DJANGO_REDIS, "LOCATION": "redis://redis:6379/1", "TIMEOUT": 1800},
        "bare": {
            "BACKEND": DJANGO_REDIS,
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient", "MAX_ENTRIES": 1000},
        },
    });
    let caches = assert_loads(caches, &[("bare", "redis"), ("default", "redis")], 1).await;
    let bare = format!("{:?}", caches["bare"].store());
    assert!(bare.contains("localhost:6379"), "{bare}");
}

#[tokio::test]
async fn django_redis_with_password_timeouts_and_ignored_exceptions() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": DJANGO_REDIS,
        "LOCATION": "redis://127.0.0.1:1/0",
        "TIMEOUT": 900,
        "KEY_PREFIX": "curewell",
        "VERSION": 1,
        "REVERSE_KEY_FUNCTION": "django_redis.util.default_reverse_key",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "PASSWORD": "secret",
            "SOCKET_CONNECT_TIMEOUT": 5,
            "SOCKET_TIMEOUT": 3,
            "IGNORE_EXCEPTIONS": true,
            "LOG_IGNORED_EXCEPTIONS": true,
            "PICKLE_VERSION": -1,
            "MAX_CONNECTIONS": 1000,
        },
    }});
    let caches = assert_loads(caches, &[("default", "redis")], 2).await;
    assert_options(&caches, &["socket_timeout: 3s", "socket_connect_timeout: 5s"]);
    let cache = &caches["default"];
    assert_eq!(cache.composed_key("k"), "curewell:1:k");
    assert_eq!(cache.get::<String>("k").await.expect("an outage is a miss"), None);
}

#[tokio::test]
async fn django_redis_with_compressor_and_serializer() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": DJANGO_REDIS,
        "LOCATION": "redis://127.0.0.1:6379/1",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "PARSER_CLASS": "redis.connection.HiredisParser",
            "CONNECTION_POOL_KWARGS": {"max_connections": 100, "retry_on_timeout": true},
        },
    }});
    assert_loads(caches, &[("default", "redis")], 2).await;
}

#[tokio::test]
async fn django_redis_with_tls_on_a_platform() {
    xtask::run_alone!();
    for reqs in [json!(null), json!(false), json!("none"), json!("CERT_NONE")] {
        let caches = json!({"default": {
            "BACKEND": DJANGO_REDIS,
            "LOCATION": "rediss://:secret@ec2-1-2-3-4.example.org:26309",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.DefaultClient",
                "CONNECTION_POOL_KWARGS": {
                    "ssl_cert_reqs": reqs, "ssl_check_hostname": false, "ssl_keyfile": null,
                    "socket_timeout": 30, "max_connections": 50,
                },
            },
        }});
        let caches = assert_loads(caches, &[("default", "redis")], 1).await;
        assert_options(&caches, &["ssl_cert_reqs: None", "socket_timeout: 30s"]);
    }
}

#[tokio::test]
async fn django_redis_with_sentinels() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": DJANGO_REDIS,
        "LOCATION": "redis://mymaster/5",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [["sentinel-1", 26379], ["sentinel-2", 26380]],
            "SENTINEL_KWARGS": {"password": "secret"},
            "PASSWORD": "secret",
        },
    }});
    let caches = assert_loads(caches, &[("default", "redis")], 1).await;
    assert_options(&caches, &["sentinel-2", "sentinel: Some(\"mymaster\")", "db: Some(5)"]);
}

#[tokio::test]
async fn django_redis_with_replicas_and_a_pool_for_each_alias() {
    xtask::run_alone!();
    let pool = |max: u32| {
        json!({
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
            "CONNECTION_POOL_CLASS_KWARGS": {"max_connections": max, "timeout": 20},
        })
    };
    let servers = ["redis://127.0.0.1:6379/1", "redis://127.0.0.1:6378/1"];
    let caches = json!({
        "default": {"BACKEND": DJANGO_REDIS, "LOCATION": servers, "OPTIONS": pool(50)},
        "renditions": {"BACKEND": DJANGO_REDIS, "LOCATION": servers.join(","), "OPTIONS": pool(9)},
    });
    assert_loads(caches, &[("default", "redis"), ("renditions", "redis")], 2).await;
}

#[tokio::test]
async fn django_redis_at_a_socket_and_in_the_former_format() {
    for location in
        ["unix:///run/redis.sock?db=1", "unix:/run/redis.sock:1", "127.0.0.1:6379:1", "redis:6379"]
    {
        let caches = json!({"default": {"BACKEND": DJANGO_REDIS, "LOCATION": location}});
        assert_loads(caches, &[("default", "redis")], 0).await;
    }
}

#[tokio::test]
async fn django_redis_cache_with_a_pool() {
    xtask::run_alone!();
    let caches = json!({"default": {
        "BACKEND": REDIS_CACHE,
        "LOCATION": ["localhost:6379"],
        "OPTIONS": {
            "DB": 3,
            "PASSWORD": "secret",
            "PARSER_CLASS": "redis.connection.HiredisParser",
            "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
            "CONNECTION_POOL_CLASS_KWARGS": {"max_connections": 50, "timeout": 20},
            "MAX_CONNECTIONS": 1000,
            "PICKLE_VERSION": -1,
        },
    }});
    let caches = assert_loads(caches, &[("default", "redis")], 1).await;
    assert_options(&caches, &["db: Some(3)", "localhost:6379"]);
}

#[tokio::test]
async fn django_redis_cache_at_an_address_a_socket_and_a_url() {
    for location in ["127.0.0.1:6379", "/var/run/redis/redis.sock", "redis://:secret@redis:6379/0"]
    {
        let caches = json!({"default": {"BACKEND": REDIS_CACHE, "LOCATION": location}});
        let caches = assert_loads(caches, &[("default", "redis")], 0).await;
        assert_options(&caches, &["db: Some(1)"]);
    }
    let primary = json!({"default": {
        "BACKEND": "redis_cache.cache.RedisCache",
        "LOCATION": ["127.0.0.1:6378", "127.0.0.1:6379"],
        "OPTIONS": {"MASTER_CACHE": "127.0.0.1:6379"},
    }});
    assert_loads(primary, &[("default", "redis")], 0).await;
}

#[tokio::test]
async fn classes_with_metrics_and_for_valkey() {
    let caches = json!({
        "default": {
            "BACKEND": "django_prometheus.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:6379/1",
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
        },
        "files": {
            "BACKEND": "django_prometheus.cache.backends.filebased.FileBasedCache",
            "LOCATION": "/var/tmp/django_cache",
        },
        "native": {
            "BACKEND": "django_prometheus.cache.backends.redis.NativeRedisCache",
            "LOCATION": "redis://127.0.0.1:6379/1",
        },
        "valkey": {
            "BACKEND": "django_valkey.cache.ValkeyCache",
            "LOCATION": "valkey://127.0.0.1:6379",
            "OPTIONS": {"CLIENT_CLASS": "django_valkey.client.DefaultClient"},
        },
    });
    let stores =
        [("default", "redis"), ("files", "filebased"), ("native", "redis"), ("valkey", "redis")];
    assert_loads(caches, &stores, 0).await;
}

#[tokio::test]
async fn semicolon_instead_of_a_colon_is_an_error_that_suggests_the_colon() {
    for (backend, location, suggestion) in [
        (MEMCACHED, "127.0.0.1;11211", "\"127.0.0.1:11211\""),
        (REDIS_CACHE, "localhost;6379", "\"localhost:6379\""),
    ] {
        let error = error(backend, json!({"LOCATION": location})).await;
        assert!(error.contains("LOCATION: ") && error.contains(suggestion), "{error}");
    }
}

#[tokio::test]
async fn unsupported_client_and_misspelt_option_are_errors_that_name_the_option() {
    for (options, facts) in [
        (json!({"CLIENT_CLASS": "django_redis.client.ShardClient"}), ["CLIENT_CLASS", "cluster"]),
        (json!({"CLIENT_CLASS": "django_redis.client.HerdClient"}), ["CLIENT_CLASS", "Herd"]),
        (json!({"SOCKET_TIMEOUTT": 5}), ["SOCKET_TIMEOUTT", "socket_timeout"]),
        (json!({"CONNECTION_POOL_KWARGS": {"max_connection": 5}}), ["max_connection", "unknown"]),
    ] {
        let error = error(DJANGO_REDIS, json!({"LOCATION": "redis://h", "OPTIONS": options})).await;
        assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
    }
}

#[tokio::test]
async fn setting_of_the_alias_takes_precedence_over_ignored_exceptions() {
    let caches = json!({"default": {
        "BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1:1", "ON_OUTAGE": "error",
        "OPTIONS": {"IGNORE_EXCEPTIONS": true},
    }});
    let caches = assert_loads(caches, &[("default", "redis")], 0).await;
    let error = caches["default"].get::<u8>("k").await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
