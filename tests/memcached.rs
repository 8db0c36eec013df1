//! Tests of the memcached store, opened from a configuration.
#![cfg(feature = "memcached")]

use std::time::{Duration, Instant};

use cachette::{Caches, ErrorKind, Timeout};
use xtask::servers::{Kind, Server};

/// Timeouts that do not expire on a busy machine.
const PATIENT: &str = "request_timeout=20&connect_timeout=20";

fn server() -> Server {
    Server::start(Kind::Memcached).unwrap_or_else(|error| panic!("{error}"))
}

async fn assert_works(caches: &Caches) {
    let cache = &caches["default"];
    cache.set("greeting", "hello", Timeout::Default).await.expect("store the entry");
    assert_eq!(
        cache.get::<String>("greeting").await.expect("store responds").as_deref(),
        Some("hello")
    );
    cache.set("visits", &41, Timeout::Never).await.expect("store the entry");
    assert_eq!(cache.incr("visits", 1).await.expect("incr succeeds"), 42);
}

/// The output of `json.dumps(settings.CACHES)`.
fn django(backend: &str, location: &str, options: &str) -> String {
    format!(
        r#"{{"default": {{
            "BACKEND": "django.core.cache.backends.memcached.{backend}",
            "LOCATION": {location}, "TIMEOUT": 300, "KEY_PREFIX": "shop", "OPTIONS": {options}
        }}}}"#
    )
}

#[tokio::test]
async fn django_entry_for_pymemcache_loads_unchanged() {
    let (one, other) = (server(), server());
    let location = format!(r#"["127.0.0.1:{}", "127.0.0.1:{}"]"#, one.port(), other.port());
    let options = r#"{"no_delay": true, "ignore_exc": true, "max_pool_size": 4, "use_pooling": true,
                      "connect_timeout": 20, "timeout": 20}"#;
    let caches = Caches::from_json(&django("PyMemcacheCache", &location, options))
        .await
        .expect("valid configuration");
    assert_works(&caches).await;
    drop((one, other));
    let start = Instant::now();
    assert_eq!(
        caches["default"].get::<String>("greeting").await.expect("a miss, by ignore_exc"),
        None
    );
    assert!(start.elapsed() < Duration::from_secs(20), "no timeout was awaited");
}

#[tokio::test]
async fn django_entry_for_pylibmc_loads_unchanged() {
    let server = server();
    let location = format!(r#""127.0.0.1:{}""#, server.port());
    let options = r#"{"binary": true, "behaviors": {"ketama": true, "tcp_nodelay": true},
                      "connect_timeout": 20, "timeout": 20}"#;
    let caches = Caches::from_json(&django("PyLibMCCache", &location, options))
        .await
        .expect("valid configuration");
    assert_works(&caches).await;
    drop(server);
    let error = caches["default"].get::<String>("greeting").await.expect_err("the server is down");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn url_names_servers_or_a_socket() {
    let (one, other) = (server(), server());
    for scheme in ["memcached", "pymemcached", "pymemcache"] {
        let url = format!(
            "{scheme}://127.0.0.1:{},127.0.0.1:{}\
             ?timeout=60&key_prefix={scheme}&{PATIENT}",
            one.port(),
            other.port()
        );
        assert_works(&Caches::from_url(&url).await.expect("valid configuration")).await;
    }
    let arguments =
        |folder: &std::path::Path| vec!["-s".into(), Server::socket(folder).display().to_string()];
    let with_socket =
        Server::start_in(Kind::Memcached, arguments).unwrap_or_else(|error| panic!("{error}"));
    let url = format!("memcached://{}?{PATIENT}", Server::socket(with_socket.folder()).display());
    assert_works(&Caches::from_url(&url).await.expect("valid configuration")).await;
}

#[tokio::test]
async fn caches_open_while_the_servers_are_down() {
    Caches::from_url("memcached://127.0.0.1:1").await.expect("open without a connection");
}

#[tokio::test]
async fn aliases_with_the_same_servers_can_have_different_options() {
    let server = server();
    let url = format!("memcached://127.0.0.1:{}?{PATIENT}", server.port());
    let caches =
        Caches::builder().url("default", &url).url("other", &format!("{url}&when_dead=miss"));
    let caches = caches.build().await.expect("valid configuration");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    assert!(caches["other"].contains("k").await.expect("store responds"), "both use one server");
}

#[tokio::test]
async fn invalid_setting_is_reported_with_its_name() {
    for (location, options, facts) in [
        ("\"\"", "{}", ["LOCATION: ", "none", "host:port"]),
        ("[\"a:1\", \"b:port\"]", "{}", ["LOCATION: ", "\"b:port\"", "host:port"]),
        ("\"a:1,a:1\"", "{}", ["LOCATION: ", "a:1", "twice"]),
        ("\"a:1\"", r#"{"tiemout": 1}"#, ["OPTIONS.tiemout: ", "expected one of", "timeout"]),
        ("\"a:1\"", r#"{"timeout": "soon"}"#, ["OPTIONS.timeout: ", "\"soon\"", "number"]),
        ("\"a:1\"", r#"{"weights": [1, 2]}"#, ["OPTIONS.weights: ", "2", "1"]),
    ] {
        let error = Caches::from_json(&django("PyMemcacheCache", location, options))
            .await
            .expect_err("invalid configuration");
        assert_eq!(error.kind(), ErrorKind::Config);
        for fact in facts {
            assert!(error.to_string().contains(fact), "{fact:?} is not in {error}");
        }
    }
}

#[tokio::test]
async fn passwords_are_never_shown() {
    for url in [
        "memcached://ada:hunter2@host:1",
        "memcached://host:1?username=ada&password=hunter2&tiemout=1",
    ] {
        let error = Caches::from_url(url).await.expect_err("invalid configuration");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
