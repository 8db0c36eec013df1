//! Tests of `cachette keys`.

mod common;

use std::time::Duration;

use cachette::{Ask, Bytes, Timeout, Value};
use common::{Project, stores};
use serde_json::{Value as Json, json};
use xtask::servers::{Kind, Server};

const FILES: &str = "default = 'filebased://files'";

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}

#[tokio::test]
async fn keys_of_every_store_are_listed_in_pages() {
    for store in stores::all("pages") {
        let project = Project::new(&store.toml("pages"));
        let cache = stores::open(&project).await;
        let mut keys: Vec<String> = (0..2500).map(|number| format!("user:{number}")).collect();
        keys.push("other".into());
        keys.sort();
        stores::fill(&cache, &keys).await;
        // Of another version, and of another prefix that begins with this one.
        cache.version(4).set("newer", &1, Timeout::Never).await.expect(store.name);
        let other = Project::new(&store.toml("pages2"));
        stores::open(&other).await.set("elsewhere", &1, Timeout::Never).await.expect(store.name);

        let listed = project.run(&["keys", "--limit", "0"]).succeeds();
        assert_eq!(lines(listed.text()), keys, "{}", store.name);
        assert_eq!(listed.stderr, "", "{}", store.name);
        let listed = project.run(&["keys", "--prefix", "user:12"]).succeeds();
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with("user:12")).collect();
        assert_eq!(lines(listed.text()).iter().collect::<Vec<_>>(), expected, "{}", store.name);
        project.run(&["keys", "--prefix", "none"]).misses();

        let first = project.run(&["keys"]).succeeds();
        assert_eq!(first.text().lines().count(), 1000, "{}", store.name);
        assert!(first.stderr.contains("1000") && first.stderr.contains("--limit"), "{first:?}");
        let version = project.run(&["keys", "--key-version", "4"]).succeeds();
        assert_eq!(version.text(), "newer\n", "{}", store.name);
    }
}

#[tokio::test]
async fn records_of_cachette_are_listed_only_with_all() {
    const HOLD: Duration = Duration::from_secs(60);
    for store in stores::all("records") {
        let project = Project::new(&store.toml("records"));
        let cache = stores::open(&project).await;
        cache.set("entry", &1, Timeout::Never).await.expect(store.name);
        let lock = cache.lock("report").hold(HOLD).await.expect(store.name);
        let leases = cache.store().leases().expect("a store with leases");
        let leased = cache.composed_key("leased");
        let lease = leases.acquire(&leased, Ask::Missing, HOLD).await.expect(store.name);
        assert!(lock.is_some() && lease.lease.is_some(), "{}", store.name);

        project.run(&["keys"]).prints("entry\n");
        let all = project.run(&["keys", "--all", "--prefix", "records:"]).succeeds();
        let all = lines(all.text());
        assert!(all.contains(&"records:3:entry".into()), "{}: {all:?}", store.name);
        // Files keep leases beside the entries.
        let is_listed = all.contains(&"records:3:leased".into());
        assert_eq!(is_listed, store.name != "files", "{}: {all:?}", store.name);
        let json = ["--output", "json", "keys", "--all", "--prefix", "records:3:leased"];
        let states = project.run(&json);
        let expected = json!({"key": "records:3:leased", "state": "lease"});
        let expected = if is_listed { format!("{expected}\n") } else { String::new() };
        assert_eq!(states.text(), expected, "{}", store.name);
    }
}

#[tokio::test]
async fn expired_entries_are_listed_on_request() {
    for store in stores::all("expired") {
        let project = Project::new(&store.toml("expired"));
        let cache = stores::open(&project).await;
        cache.set("here", &1, Timeout::Never).await.expect(store.name);
        // Waits for the sweep that the first entry has started, which would remove the next one.
        cache.close().await.expect(store.name);
        cache.set("gone", &1, Duration::from_millis(1)).await.expect(store.name);
        // memcached counts whole seconds.
        let second = Duration::from_secs(1);
        while cache.contains("gone").await.expect(store.name) {
            tokio::time::sleep(second / 100).await;
        }
        project.run(&["keys"]).prints("here\n");
        let expired = project.run(&["keys", "--expired"]);
        if store.is_server() {
            let expired = expired.exits_with(1);
            assert!(expired.stderr.contains("removes expired entries itself"), "{expired:?}");
        } else {
            expired.prints("gone\n");
        }
    }
}

#[tokio::test]
async fn keys_are_safe_for_a_terminal() {
    let project = Project::new(FILES);
    let cache = stores::open(&project).await;
    let keys = ["red\x1b[31m", "two\nlines", "\u{202E}txt.exe", "žluť \"quoted\""];
    stores::fill(&cache, &keys.map(str::to_owned)).await;
    let expected = ["\\u{202e}txt.exe", "red\\u{1b}[31m", "two\\nlines", "žluť \"quoted\""];
    assert_eq!(lines(project.run(&["keys"]).succeeds().text()), expected);
    let json = project.run(&["--output", "json", "keys"]).succeeds();
    let parse = |line: &str| serde_json::from_str::<Json>(line).expect("a document on each line");
    let mut exact: Vec<_> = json
        .text()
        .lines()
        .map(|line| parse(line)["key"].as_str().expect("a string").to_owned())
        .collect();
    exact.sort();
    let mut keys = keys.map(str::to_owned);
    keys.sort();
    assert_eq!(exact, keys);
}

#[test]
fn store_without_entries_for_other_processes_is_an_error() {
    let project = Project::new("default = 'locmem://'\noff = 'dummy://'");
    let error = project.run(&["keys"]).fails();
    assert!(error.contains("\"default\"") && error.contains("memory"), "{error}");
    let error = project.run(&["keys", "--cache", "off"]).fails();
    assert!(error.contains("\"off\"") && error.contains("stores nothing"), "{error}");
}

#[test]
fn memcached_that_does_not_list_its_keys_is_an_error_with_its_reply() {
    let server = Server::start_with(Kind::Memcached, &["-o", "no_lru_crawler"]);
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let project = Project::new(&format!("default = 'memcached://127.0.0.1:{}'", server.port()));
    let error = project.run(&["keys"]).fails();
    assert!(error.contains("lru crawler disabled"), "{error}");
    assert!(error.contains("help: ") && error.contains("no_lru_crawler"), "{error}");
    assert!(error.contains(&server.port().to_string()), "{error}");
}

#[test]
fn server_that_is_down_is_an_error() {
    for url in ["redis://127.0.0.1:1?key_prefix=a", "memcached://127.0.0.1:1"] {
        let project = Project::new(&format!("default = '{url}'"));
        let error = project.run(&["keys"]).fails();
        assert!(error.contains("127.0.0.1:1"), "{error}");
    }
}

#[tokio::test]
async fn foreign_keys_of_redis_are_listed_with_all() {
    let server = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let project = Project::new(&format!("default = '{}?key_prefix=shop'", server.url()));
    let cache = stores::open(&project).await;
    cache.set("k", &1, Timeout::Never).await.expect("the server runs");
    let value = Value::Bytes(Bytes::from_static(b"theirs"));
    cache.store().set("celery:queue", value, None).await.expect("the server runs");
    project.run(&["keys"]).prints("k\n");
    let all = project.run(&["keys", "--all"]).succeeds();
    assert_eq!(lines(all.text()), ["celery:queue", "shop:1:k"]);
}

#[test]
fn reader_may_close_the_pipe() {
    let project = Project::new(FILES);
    project.run(&["set-many", r#"{"a": 1, "b": 2}"#]).succeeds();
    let config = project.path("caches.toml");
    let piped = project
        .shell(&format!("\"$CACHETTE\" --config '{config}' keys | true; exit ${{PIPESTATUS[0]}}"));
    piped.succeeds();
}
