//! Tests of `cachette watch`.

mod common;

use std::time::{Duration, Instant};

use cachette::Timeout;
use common::{Project, stores};
use serde_json::{Value as Json, json};
use xtask::servers::{Kind, Server};

fn documents(text: &str) -> Vec<Json> {
    let parse = |line| serde_json::from_str(line).expect("a document on each line");
    text.lines().map(parse).collect()
}

fn watch(project: &Project, arguments: &[&str]) -> Vec<Json> {
    let all = [&["--output", "json", "watch"], arguments].concat();
    documents(project.run(&all).succeeds().text())
}

#[tokio::test]
async fn rows_have_entries_bytes_and_what_servers_count() {
    let stores = stores::all("watch");
    let toml: String = stores.iter().map(|store| store.toml_as(store.name, "watch")).collect();
    let project = Project::new(&toml);
    for store in &stores {
        let cache = stores::open_alias(&project, store.name).await;
        cache.set("k", "value", Timeout::Never).await.expect(store.name);
        for key in ["k", "k", "absent"] {
            let found: Option<String> = cache.get(key).await.expect(store.name);
            assert_eq!(found.is_some(), key == "k", "{}", store.name);
        }
    }
    // On a busy machine, the first looks may end late.
    let last = loop {
        let looks = watch(&project, &["--count", "3", "--interval", "1"]);
        let last = looks[2]["caches"].as_array().expect("a list").clone();
        let is_known = |row: &Json| {
            row["ok"] == true && (row["hits"].is_null() || row["hits_per_second"].is_number())
        };
        if last.iter().all(is_known) {
            break last;
        }
    };
    for store in &stores {
        let row = last.iter().find(|row| row["cache"] == store.name).expect("a row");
        assert!(row["entries"].as_u64() >= Some(1), "{row}");
        assert!(row["bytes"].as_u64() >= Some(5), "{row}");
        let counts = ["hits", "misses", "hits_per_second", "misses_per_second"];
        assert!(counts.iter().all(|name| row[name].is_number() == store.is_server()), "{row}");
        if store.is_server() {
            assert!(row["hits"].as_u64() >= Some(2) && row["misses"].as_u64() >= Some(1), "{row}");
        }
    }
}

#[test]
fn server_that_does_not_reply_delays_no_other() {
    let server = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let project = Project::new(&format!(
        "default = 'filebased://files'\n\
         dead = 'redis://127.0.0.1:1?key_prefix=a'\n\
         frozen = '{}?key_prefix=a&socket_timeout=600&socket_connect_timeout=600'\n\
         wrong = 'locmem://?max_entries=many'",
        server.url()
    ));
    server.freeze().unwrap_or_else(|error| panic!("{error}"));
    let began = Instant::now();
    let looks = watch(&project, &["--count", "3", "--interval", "2"]);
    assert!(began.elapsed() < Duration::from_secs(300), "it waited for the frozen server");
    assert_eq!(looks.len(), 3);
    let last = &looks[2]["caches"];
    let oks: Vec<_> = last.as_array().expect("a list").iter().map(|cache| &cache["ok"]).collect();
    assert_eq!(oks, [&json!(false), &json!(true), &json!(null), &json!(false)], "{last}");
    assert!(last[0]["problem"].as_str().is_some_and(|it| it.contains("127.0.0.1:1")), "{last}");
    assert!(last[3]["problem"].as_str().is_some_and(|it| it.contains("max_entries")), "{last}");
}

#[test]
fn dead_server_of_several_is_named_in_the_row() {
    let server = Server::start(Kind::Memcached).unwrap_or_else(|error| panic!("{error}"));
    let servers = format!("127.0.0.1:{},127.0.0.1:1", server.port());
    let project = Project::new(&format!("default = 'memcached://{servers}?timeout=20'"));
    let looks = watch(&project, &["--count", "1", "--interval", "20"]);
    let cache = &looks[0]["caches"][0];
    assert_eq!((&cache["ok"], &cache["unreachable"]), (&json!(false), &json!(["127.0.0.1:1"])));
    assert!(cache["entries"].is_u64(), "{cache}");
    let finished = project.run(&["watch", "--count", "1", "--interval", "20"]).succeeds();
    assert!(finished.text().contains("down: 127.0.0.1:1"), "{finished:?}");
}

#[test]
fn table_without_a_terminal_has_no_control_characters() {
    let project = Project::new(
        "default = 'filebased://files'\n\
         a_cache_with_a_long_name = 'redis://127.0.0.1:1?key_prefix=a'",
    );
    project.run(&["set", "k", "1"]).succeeds();
    let finished = project.run(&["watch", "-n", "2", "-i", "0.2"]).succeeds();
    let text = finished.text();
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(text.matches("hits/s").count(), 2, "{text}");
    assert!(text.contains("a_cache_with_…"), "{text}");
    assert!(text.contains(" redis      127.0.0.1:1: "), "without the names: {text}");
    assert!(text.contains("refused"), "the problem is not cut: {text}");
}

#[test]
fn interval_and_count_are_checked() {
    let project = Project::new("default = 'filebased://files'");
    for arguments in [["--interval", "0"], ["--interval", "soon"], ["--count", "0"]] {
        let error = project.run(&[&["watch"][..], &arguments].concat()).fails();
        assert!(error.contains(arguments[0]), "{error}");
    }
}
