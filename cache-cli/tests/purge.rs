//! Tests of `cachette purge` on pages that a layer of this process has stored.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use cachette::{
    CacheHandle, Caches, Tags, Timeout,
    http::{CacheTags, HttpCacheLayer},
};
use common::Project;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use serde_json::json;
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use xtask::servers::{Kind, Server};

/// Requests a page with the tag `book:1`. Returns whether it was in the cache.
async fn is_hit(layer: &HttpCacheLayer, uri: &str) -> bool {
    let service = layer.layer(tower::service_fn(async |_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::from("page"));
        response.extensions_mut().insert(CacheTags::new(["book:1"]));
        Ok::<_, Infallible>(response)
    }));
    let request = Request::get(uri).body(Empty::new()).expect("valid request");
    let response = service.oneshot(request).await.expect("infallible");
    let is_hit = response.headers().contains_key("age");
    response.into_body().collect().await.expect("body");
    is_hit
}

async fn open(project: &Project) -> CacheHandle {
    let caches = Caches::builder().file(project.path("caches.toml")).build().await;
    caches.and_then(|caches| caches.get("default")).expect("valid configuration")
}

/// Asserts that the command makes the page a miss. Returns what it printed to standard error.
async fn assert_purges(project: &Project, layer: &HttpCacheLayer, arguments: &[&str]) -> String {
    const PAGE: &str = "http://shop.org/books/1?full";
    is_hit(layer, PAGE).await;
    assert!(is_hit(layer, PAGE).await);
    let finished = project.run(&[&["purge"], arguments].concat()).succeeds();
    assert!(finished.stdout.is_empty(), "{finished:?}");
    assert!(!is_hit(layer, PAGE).await, "{arguments:?}");
    finished.stderr
}

async fn assert_every_kind_of_purge_works(toml: &str) {
    let project = Project::new(toml);
    let cache = open(&project).await;
    let layers = [&[][..], &[".org"], &["shop.org", "shop.com"]]
        .map(|hosts| HttpCacheLayer::new(&cache).hosts(hosts.iter().copied()).purge_prefixes());
    for layer in &layers {
        for arguments in [
            &["--uri", "http://shop.org/books/1?full"][..],
            &["--uri", "/books/1?full", "--host", "shop.com", "--host", "shop.org"],
            &["--tag", "other", "--tag", "book:1"],
            &["--prefix", "/books"],
            &["--all"],
            &["--all", "--soft"],
        ] {
            assert_eq!(assert_purges(&project, layer, arguments).await, "");
        }
    }
    for arguments in [&["purge", "--tag", "book:1"][..], &["purge", "--tag", "book:1", "--soft"]] {
        let tags = Tags::of(["author:7", "book:1"]);
        cache.set_with("book", "a value", Timeout::Default, &tags).await.expect("store works");
        let get = async || cache.get::<String>("book").await.expect("store works");
        assert!(get().await.is_some());
        project.run(arguments).succeeds();
        assert_eq!(get().await, None, "{arguments:?}");
    }
    let [layer, ..] = layers;
    // Layers that list their hosts were not reached.
    let note = assert_purges(&project, &layer, &["--uri", "/books/1?full"]).await;
    assert!(note.contains("/books/1?full") && note.contains("--host"), "{note}");
    let layer = layer.key_prefix("pages");
    let arguments = &["--tag", "book:1", "--key-prefix", "pages"];
    assert_eq!(assert_purges(&project, &layer, arguments).await, "");
}

#[tokio::test]
async fn pages_of_a_service_in_files_are_purged() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let toml = format!(
        "[default]\nbackend = 'filebased'\nlocation = '{}'\nkey_prefix = 'shop'\nversion = 3",
        folder.path().display()
    );
    assert_every_kind_of_purge_works(&toml).await;
}

#[tokio::test]
async fn pages_of_a_service_in_redis_are_purged() {
    let redis = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let timeouts = "socket_timeout=20&socket_connect_timeout=20";
    let toml = format!("default = '{}?key_prefix=shop&{timeouts}'", redis.url());
    assert_every_kind_of_purge_works(&toml).await;
}

#[test]
fn purge_prints_what_was_purged_as_json() {
    let project = Project::new("default = 'filebased://files'");
    let arguments = ["--output", "json", "purge", "--uri", "/a", "--tag", "t", "--soft"];
    assert_eq!(
        project.run(&arguments).json(),
        json!({"purged": {
            "uris": ["/a"], "tags": ["t"], "prefixes": [], "all": false, "soft": true
        }})
    );
}

#[test]
fn purge_of_pages_in_memory_is_an_error_with_a_remedy() {
    let project = Project::new("default = 'locmem://'");
    let error = project.run(&["purge", "--all"]).fails();
    assert!(error.contains("\"default\"") && error.contains("locmem"), "{error}");
    assert!(error.contains("help:") && error.contains("PurgeService"), "{error}");
}

#[test]
fn purge_needs_something_to_purge() {
    let project = Project::new("default = 'filebased://files'");
    for arguments in [&["purge"][..], &["purge", "--soft"], &["purge", "--host", "a", "--all"]] {
        let error = project.run(arguments).fails();
        assert!(error.contains("--uri"), "{error}");
    }
    let error = project.run(&["purge", "--uri", "http://a b/"]).fails();
    assert!(error.contains("http://a b/"), "{error}");
    let error = project.run(&["purge", "--prefix", "news"]).fails();
    assert!(error.contains("\"news\""), "{error}");
}
