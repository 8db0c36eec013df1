//! Tests of the Redis store, opened from a configuration.
#![cfg(all(feature = "redis", feature = "toml"))]

use std::time::{Duration, Instant};

use cachette::{Caches, ErrorKind, KeyFunction, Timeout};
use xtask::servers::{Kind, RedisSentinels, Server};

/// Timeouts that do not expire on a busy machine.
const PATIENT: &str = "socket_timeout=20&socket_connect_timeout=20";

fn server() -> Server {
    Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"))
}

async fn invalid_setting(settings: &str) -> String {
    let error = Caches::from_toml(&format!("[default]\nbackend = 'redis'\n{settings}"))
        .await
        .expect_err(settings);
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn entry_of_django_redis_works_on_a_server_and_without_it() {
    let server = server();
    let json = format!(
        r#"{{"default": {{
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "{}/1",
            "KEY_PREFIX": "shop",
            "OPTIONS": {{
                "CLIENT_CLASS": "django_redis.client.DefaultClient",
                "IGNORE_EXCEPTIONS": true,
                "CONNECTION_POOL_KWARGS": {{
                    "max_connections": 50, "socket_timeout": 20, "socket_connect_timeout": 20
                }}
            }}
        }}}}"#,
        server.url()
    );
    let caches = Caches::from_json(&json).await.expect("valid configuration");
    let cache = &caches["default"];
    cache.set("visits", &41, Timeout::Default).await.expect("store the entry");
    assert_eq!(cache.incr("visits", 1).await.expect("incr succeeds"), 42);
    let url = format!("{}/1?key_prefix=shop&{PATIENT}", server.url());
    let native = Caches::from_url(&url).await.expect("valid configuration");
    assert_eq!(native["default"].get("visits").await.expect("store responds"), Some(42));
    drop(server);
    assert_eq!(cache.get::<i64>("visits").await.expect("an outage is a miss"), None);
    assert_eq!(cache.set_many([("a", 1)], Timeout::Default).await.expect("not stored"), ["a"]);
}

#[tokio::test]
async fn sentinels_of_django_redis_lead_to_the_primary() {
    let set = RedisSentinels::start().unwrap_or_else(|error| panic!("{error}"));
    let sentinels: Vec<String> =
        set.sentinels.iter().map(|server| format!("[\"127.0.0.1\", {}]", server.port())).collect();
    let json = format!(
        r#"{{"default": {{
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://{}/0",
            "OPTIONS": {{
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SOCKET_TIMEOUT": 20,
                "SOCKET_CONNECT_TIMEOUT": 20,
                "SENTINELS": [{}]
            }}
        }}}}"#,
        RedisSentinels::NAME,
        sentinels.join(", ")
    );
    let caches = Caches::from_json(&json).await.expect("valid configuration");
    caches["default"].set("visits", &41, Timeout::Default).await.expect("store the entry");
    assert_eq!(caches["default"].incr("visits", 1).await.expect("incr succeeds"), 42);
}

#[tokio::test]
async fn django_entry_loads_unchanged() {
    let leader = server();
    let replica = leader.start_replica().expect("start a replica");
    let caches = Caches::from_json(&format!(
        r#"{{"default": {{
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": ["{}", "{}"],
            "TIMEOUT": 60,
            "KEY_PREFIX": "shop",
            "OPTIONS": {{
                "db": 10,
                "socket_timeout": 20,
                "socket_connect_timeout": 20,
                "parser_class": "redis.connection.PythonParser",
                "pool_class": "redis.BlockingConnectionPool",
                "health_check_interval": 30,
                "retry_on_timeout": true
            }}
        }}}}"#,
        leader.url(),
        replica.url()
    ))
    .await
    .expect("valid configuration");
    let cache = &caches["default"];
    cache.set("greeting", "hello", Timeout::Default).await.expect("store the entry");
    let start = Instant::now();
    while cache.get::<String>("greeting").await.expect("store responds").as_deref() != Some("hello")
    {
        assert!(start.elapsed() < Duration::from_secs(30), "the replica did not receive the entry");
    }
    cache.set("visits", &41, Timeout::Default).await.expect("store the entry");
    assert_eq!(cache.incr("visits", 1).await.expect("incr succeeds"), 42);

    let url = format!("{}/10?key_prefix=shop&{PATIENT}", leader.url());
    let same = Caches::from_url(&url).await.expect("valid configuration");
    assert_eq!(
        same["default"].get::<i64>("visits").await.expect("store responds"),
        Some(42),
        "stored in database 10"
    );
}

#[tokio::test]
async fn url_is_split_before_its_password_is_decoded() {
    let server = Server::start_with(Kind::Redis, &["--requirepass", "p@ss:w/rd,1"])
        .expect("start the server");
    for (scheme, db) in [("redis", 3), ("valkey", 3), ("REDIS", 4)] {
        let url = format!(
            "{scheme}://:p%40ss%3Aw%2Frd%2C1@127.0.0.1:{}/{db}?timeout=60&{PATIENT}",
            server.port()
        );
        let caches = Caches::from_url(&url).await.expect("valid configuration");
        let stored = caches["default"]
            .add("k", &db, Timeout::Default)
            .await
            .expect("the password is accepted");
        assert_eq!(stored, scheme != "valkey", "redis and valkey URLs name the same database");
    }
}

#[tokio::test]
async fn url_with_several_servers_is_one_cache() {
    let leader = server();
    let replica = leader.start_replica().expect("start a replica");
    let url = format!("{},127.0.0.1:{}?{PATIENT}", leader.url(), replica.port());
    let caches = Caches::from_url(&url).await.expect("valid configuration");
    let stats = caches["default"].store().stats().await.expect("servers respond");
    assert_eq!(stats.details.iter().filter(|(name, _)| name.ends_with(" role")).count(), 2);
}

#[tokio::test]
async fn clear_keeps_entries_of_other_aliases_on_the_server() {
    let server = server();
    let url = format!("{}?{PATIENT}", server.url());
    let builder = Caches::builder()
        .url("default", &url)
        .url("shop", &format!("{url}&key_prefix=shop"))
        .url("europe", &format!("{url}&key_prefix=shop:eu"))
        .url("hashed", &format!("{url}&key_prefix=h&key_function=hashed"))
        .url("own", &format!("{url}&key_function=own&namespace=own|"))
        .url("unknown", &format!("{url}&key_function=own"))
        .key_function("own", KeyFunction::custom(|key, _, _| key.to_owned()));
    let caches = builder.build().await.expect("valid configuration");
    let clearable = ["default", "shop", "europe", "hashed", "own"];
    for cleared in clearable {
        for alias in clearable {
            caches[alias].set("k", alias, Timeout::Default).await.expect("store the entry");
        }
        caches[cleared].clear().await.expect("clear the store");
        for alias in clearable {
            let found: Option<String> = caches[alias].get("k").await.expect("store responds");
            assert_eq!(found.is_none(), alias == cleared, "{alias} when {cleared} is cleared");
        }
    }
    let error = caches["unknown"].clear().await.expect_err("unknown prefix");
    assert!(error.to_string().contains("KEY_FUNCTION"), "{error}");
}

#[tokio::test]
async fn invalid_setting_is_reported_with_its_name() {
    let located =
        |options: &str| format!("location = 'redis://localhost'\n[default.options]\n{options}");
    for (settings, facts) in [
        (String::new(), ["LOCATION: ", "none"]),
        ("location = 'http://localhost'".into(), ["LOCATION: ", "\"http://localhost\""]),
        ("location = 'redis://localhost/x'".into(), ["LOCATION: ", "\"redis://localhost/x\""]),
        (located("db = -1"), ["OPTIONS.db: ", "-1"]),
        (located("socket_timeout = 0"), ["OPTIONS.socket_timeout: ", "0"]),
        (located("sockettimeout = 1"), ["OPTIONS.sockettimeout: ", "db, username, password"]),
        (located("cluster = true\ndb = 1"), ["OPTIONS.db: ", "found 1"]),
    ] {
        let error = invalid_setting(&settings).await;
        assert!(facts.iter().all(|fact| error.contains(fact)), "{facts:?} in {error}");
    }
}

#[tokio::test]
async fn tls_connection_needs_its_feature() {
    let caches = Caches::from_url("rediss://localhost").await;
    if cfg!(feature = "redis-tls") {
        caches.expect("valid configuration");
    } else {
        let error = caches.expect_err("TLS is not enabled");
        assert!(error.to_string().contains("\"redis-tls\""), "{error}");
    }
}

#[tokio::test]
async fn passwords_are_never_shown() {
    for url in [
        "redis://ada:hunter2@h:port",
        "redis://ada:hunter2@h/x",
        "redis://ada:hunter2@h,ftp://ada:hunter2@h",
    ] {
        let error = invalid_setting(&format!("location = '{url}'")).await;
        assert!(!error.contains("hunter2"), "{error}");
    }
    let url =
        "redis://ada:hunter2@127.0.0.1:1/0?socket_connect_timeout=0.2&sentinel_password=hunter2";
    let caches = Caches::from_url(url).await.expect("valid configuration");
    let error = caches["default"].get::<String>("k").await.expect_err("no server");
    assert!(
        !format!("{error} {error:?} {caches:?} {:?}", caches["default"].store())
            .contains("hunter2"),
        "{caches:?}"
    );
}
