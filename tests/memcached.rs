//! The memcached store as a configuration makes it.
#![cfg(feature = "memcached")]

use std::time::{Duration, Instant};

use cachette::{Caches, ErrorKind, Timeout};
use xtask::servers::{Kind, Server};

fn server() -> Server {
    Server::start(Kind::Memcached).unwrap_or_else(|why| panic!("{why}"))
}

async fn works(caches: &Caches) {
    let cache = &caches["default"];
    cache.set("greeting", "hello", Timeout::Default).await.expect("it is stored");
    assert_eq!(
        cache.get::<String>("greeting").await.expect("it answers").as_deref(),
        Some("hello")
    );
    cache.set("visits", &41, Timeout::Never).await.expect("it is stored");
    assert_eq!(cache.incr("visits", 1).await.expect("it counts"), 42);
}

/// As `json.dumps(settings.CACHES)` writes it.
fn django(backend: &str, location: &str, options: &str) -> String {
    format!(
        r#"{{"default": {{
            "BACKEND": "django.core.cache.backends.memcached.{backend}",
            "LOCATION": {location}, "TIMEOUT": 300, "KEY_PREFIX": "shop", "OPTIONS": {options}
        }}}}"#
    )
}

#[tokio::test]
async fn a_django_entry_for_pymemcache_loads_unchanged_and_works() {
    let (one, other) = (server(), server());
    let location = format!(r#"["127.0.0.1:{}", "127.0.0.1:{}"]"#, one.port(), other.port());
    let options = r#"{"no_delay": true, "ignore_exc": true, "max_pool_size": 4, "use_pooling": true,
                      "connect_timeout": 1, "timeout": 1}"#;
    let caches = Caches::from_json(&django("PyMemcacheCache", &location, options))
        .await
        .expect("it is fine");
    works(&caches).await;
    drop((one, other));
    let start = Instant::now();
    assert_eq!(
        caches["default"].get::<String>("greeting").await.expect("a miss, by ignore_exc"),
        None
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_django_entry_for_pylibmc_loads_unchanged_and_works() {
    let server = server();
    let location = format!(r#""127.0.0.1:{}""#, server.port());
    let options = r#"{"binary": true, "behaviors": {"ketama": true, "tcp_nodelay": true}}"#;
    let caches =
        Caches::from_json(&django("PyLibMCCache", &location, options)).await.expect("it is fine");
    works(&caches).await;
    drop(server);
    let error = caches["default"].get::<String>("greeting").await.expect_err("it is away");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("cache \"default\" (memcached): 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_url_names_servers_or_a_socket() {
    let (one, other) = (server(), server());
    for scheme in ["memcached", "pymemcached", "pymemcache"] {
        let url = format!(
            "{scheme}://127.0.0.1:{},127.0.0.1:{}?timeout=60&key_prefix={scheme}&request_timeout=5&connect_timeout=5",
            one.port(),
            other.port()
        );
        works(&Caches::from_url(&url).await.expect("it is fine")).await;
    }
    let arguments =
        |folder: &std::path::Path| vec!["-s".into(), Server::socket(folder).display().to_string()];
    let behind_a_socket =
        Server::start_in(Kind::Memcached, arguments).unwrap_or_else(|why| panic!("{why}"));
    let url = format!(
        "memcached://{}?connect_timeout=5",
        Server::socket(behind_a_socket.folder()).display()
    );
    works(&Caches::from_url(&url).await.expect("it is fine")).await;
}

#[tokio::test]
async fn a_service_starts_while_its_servers_are_away() {
    Caches::from_url("memcached://127.0.0.1:1").await.expect("nothing is asked yet");
}

#[tokio::test]
async fn aliases_of_the_same_servers_may_differ_in_options() {
    let server = server();
    let url = format!("memcached://127.0.0.1:{}?connect_timeout=5", server.port());
    let caches =
        Caches::builder().url("default", &url).url("other", &format!("{url}&when_dead=miss"));
    let caches = caches.build().await.expect("it is fine");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    assert!(caches["other"].contains("k").await.expect("it answers"), "both are on one server");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_would_be_right() {
    for (location, options, told) in [
        ("\"\"", "{}", "LOCATION: found none, expected servers as \"host:port\""),
        (
            "[\"a:1\", \"b:port\"]",
            "{}",
            "LOCATION: found \"b:port\", expected servers as \"host:port\"",
        ),
        ("\"a:1,a:1\"", "{}", "LOCATION: found a:1 twice, expected each server once"),
        ("\"a:1\"", r#"{"tiemout": 1}"#, "OPTIONS.tiemout: unknown, expected one of "),
        ("\"a:1\"", r#"{"timeout": "soon"}"#, "OPTIONS.timeout: found \"soon\", expected a number"),
        (
            "\"a:1\"",
            r#"{"weights": [1, 2]}"#,
            "OPTIONS.weights: found 2 of them, expected one for each of 1 servers",
        ),
    ] {
        let error = Caches::from_json(&django("PyMemcacheCache", location, options))
            .await
            .expect_err("a mistake");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_password_is_never_shown() {
    for url in [
        "memcached://ada:hunter2@host:1",
        "memcached://host:1?username=ada&password=hunter2&tiemout=1",
    ] {
        let error = Caches::from_url(url).await.expect_err("a mistake");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
