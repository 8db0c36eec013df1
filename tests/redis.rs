//! The store in Redis as a configuration makes it.
#![cfg(all(feature = "redis", feature = "toml"))]

use std::time::{Duration, Instant};

use cachette::{Caches, ErrorKind, KeyFunction, Timeout};
use xtask::servers::{Kind, Server};

fn server() -> Server {
    Server::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"))
}

async fn invalid_setting(settings: &str) -> String {
    let error = Caches::from_toml(&format!("[default]\nbackend = 'redis'\n{settings}"))
        .await
        .expect_err(settings);
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn an_entry_of_django_s_loads_unchanged_and_works() {
    let leader = server();
    let replica = leader.start_replica().expect("it follows");
    let caches = Caches::from_json(&format!(
        r#"{{"default": {{
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": ["{}", "{}"],
            "TIMEOUT": 60,
            "KEY_PREFIX": "shop",
            "OPTIONS": {{
                "db": 10,
                "socket_timeout": 1,
                "socket_connect_timeout": 1,
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
    .expect("it is fine");
    let cache = &caches["default"];
    cache.set("greeting", "hello", Timeout::Default).await.expect("it is stored");
    let start = Instant::now();
    while cache.get::<String>("greeting").await.expect("it answers").as_deref() != Some("hello") {
        assert!(start.elapsed() < Duration::from_secs(30), "the replica does not follow");
    }
    cache.set("visits", &41, Timeout::Default).await.expect("it is stored");
    assert_eq!(cache.incr("visits", 1).await.expect("it counts"), 42);

    let url = format!("{}/10?key_prefix=shop", leader.url());
    let there = Caches::from_url(&url).await.expect("it is fine");
    assert_eq!(
        there["default"].get::<i64>("visits").await.expect("it answers"),
        Some(42),
        "it is in database 10"
    );
}

#[tokio::test]
async fn a_url_says_the_same_in_one_line_and_its_password_is_taken_apart_before_it_is_decoded() {
    let server =
        Server::start_with(Kind::Redis, &["--requirepass", "p@ss:w/rd,1"]).expect("it starts");
    for (scheme, db) in [("redis", 3), ("valkey", 3), ("REDIS", 4)] {
        let url = format!(
            "{scheme}://:p%40ss%3Aw%2Frd%2C1@127.0.0.1:{}/{db}?timeout=60&socket_timeout=20",
            server.port()
        );
        let caches = Caches::from_url(&url).await.expect("it is fine");
        let stored = caches["default"].add("k", &db, Timeout::Default).await.expect("it is let in");
        assert_eq!(stored, scheme != "valkey", "the same database as before");
    }
}

#[tokio::test]
async fn a_list_of_servers_in_a_url_is_one_cache() {
    let leader = server();
    let replica = leader.start_replica().expect("it follows");
    let url = format!("{},127.0.0.1:{}?socket_timeout=20", leader.url(), replica.port());
    let caches = Caches::from_url(&url).await.expect("it is fine");
    let stats = caches["default"].store().stats().await.expect("they answer");
    assert_eq!(stats.details.iter().filter(|(name, _)| name.ends_with(" role")).count(), 2);
}

#[tokio::test]
async fn clear_of_one_alias_leaves_the_others_on_the_same_server() {
    let server = server();
    let url = server.url();
    let builder = Caches::builder()
        .url("default", &url)
        .url("shop", &format!("{url}?key_prefix=shop"))
        .url("europe", &format!("{url}?key_prefix=shop:eu"))
        .url("hashed", &format!("{url}?key_prefix=h&key_function=hashed"))
        .url("own", &format!("{url}?key_function=own&namespace=own|"))
        .url("lost", &format!("{url}?key_function=own"))
        .key_function("own", KeyFunction::custom(|key, _, _| key.to_owned()));
    let caches = builder.build().await.expect("it is fine");
    let clearable = ["default", "shop", "europe", "hashed", "own"];
    for cleared in clearable {
        for alias in clearable {
            caches[alias].set("k", alias, Timeout::Default).await.expect("it is stored");
        }
        caches[cleared].clear().await.expect("it is emptied");
        for alias in clearable {
            let found: Option<String> = caches[alias].get("k").await.expect("it answers");
            assert_eq!(found.is_none(), alias == cleared, "{alias} when {cleared} is cleared");
        }
    }
    let error = caches["lost"].clear().await.expect_err("its keys may be anybody's");
    assert!(error.to_string().contains("KEY_FUNCTION is one of your own"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_setting() {
    let located =
        |options: &str| format!("location = 'redis://localhost'\n[default.options]\n{options}");
    for (settings, told) in [
        (String::new(), "LOCATION: found none, expected the URL of a server"),
        (
            "location = 'http://localhost'".into(),
            "LOCATION: found \"http://localhost\", expected the URL of a server",
        ),
        (
            "location = 'redis://localhost/x'".into(),
            "LOCATION: found \"redis://localhost/x\", expected",
        ),
        (located("db = -1"), "OPTIONS.db: found -1, expected a whole number of at least 0"),
        (
            located("socket_timeout = 0"),
            "OPTIONS.socket_timeout: found 0, expected a number of seconds above 0",
        ),
        (
            located("sockettimeout = 1"),
            "OPTIONS.sockettimeout: unknown, expected one of db, username, password",
        ),
        (located("cluster = true\ndb = 1"), "OPTIONS.db: found 1, expected 0 or none"),
    ] {
        let found = invalid_setting(&settings).await;
        assert!(found.contains(told), "{found}");
    }
}

#[tokio::test]
async fn an_encrypted_connection_needs_its_feature() {
    let caches = Caches::from_url("rediss://localhost").await;
    if cfg!(feature = "redis-tls") {
        caches.expect("it is fine");
    } else {
        let error = caches.expect_err("it can't be encrypted");
        assert!(error.to_string().contains("the feature \"redis-tls\" of cachette"), "{error}");
    }
}

#[tokio::test]
async fn a_password_is_never_shown() {
    for url in [
        "redis://ada:hunter2@h:port",
        "redis://ada:hunter2@h/x",
        "redis://ada:hunter2@h,ftp://ada:hunter2@h",
    ] {
        let told = invalid_setting(&format!("location = '{url}'")).await;
        assert!(!told.contains("hunter2"), "{told}");
    }
    let url =
        "redis://ada:hunter2@127.0.0.1:1/0?socket_connect_timeout=0.2&sentinel_password=hunter2";
    let caches = Caches::from_url(url).await.expect("it is fine");
    let error = caches["default"].get::<String>("k").await.expect_err("nobody listens");
    assert!(
        !format!("{error} {error:?} {caches:?} {:?}", caches["default"].store())
            .contains("hunter2"),
        "{caches:?}"
    );
}
