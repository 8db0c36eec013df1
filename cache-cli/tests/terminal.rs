//! The command on a terminal: `script` gives it one.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use cachette::ManualClock;
use common::Caches;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn colours_are_for_terminals_alone() {
    let caches = Caches::new(FILES);
    let shown = caches.on_a_terminal("check", "");
    assert!(shown.contains("\x1b[32mok"), "{shown:?}");
    assert!(!caches.run(&["check"]).done().text().contains('\x1b'));
    assert!(!caches.run(&["get"]).fails().contains('\x1b'));
}

#[test]
fn clear_asks_on_a_terminal() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1"]).done();
    let shown = caches.on_a_terminal("clear", "n\n");
    assert!(shown.contains("removes every entry of the filebased store"), "{shown:?}");
    caches.run(&["get", "k"]).says("1\n");
    caches.on_a_terminal("clear", "y\n");
    caches.run(&["get", "k"]).misses();
}

/// What it asks about, it knows without a server.
#[test]
fn clear_says_what_goes_where_that_is_not_the_whole_store() {
    let caches = Caches::new(
        "default = 'redis://127.0.0.1:1?key_prefix=shop'\nwhole = 'redis://127.0.0.1:1?clear_database=true'",
    );
    let error = caches.run(&["clear"]).fails();
    assert!(
        error.contains("every entry of the redis store that begins with the prefix of the cache"),
        "{error}"
    );
    let error = caches.run(&["clear", "--cache", "whole"]).fails();
    assert!(
        error.contains("all that is in the redis database behind the cache \"whole\""),
        "{error}"
    );
}

#[test]
fn clear_wants_a_yes_where_there_is_no_terminal() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1"]).done();
    let error = caches.run(&["clear"]).fails();
    assert!(error.contains("say --yes"), "{error}");
    caches.run(&["get", "k"]).says("1\n");
    caches.run(&["clear", "--yes"]).done();
    caches.run(&["get", "k"]).misses();
}

#[test]
fn a_purge_that_takes_long_shows_a_bar_on_a_terminal_alone() {
    let caches =
        Caches::new("default = 'db://t?url=sqlite:cache.db&max_entries=1000000&create_table=true'");
    fill_with_expired(&caches.path("caches.toml"));
    let shown = caches.on_a_terminal("purge-expired", "");
    assert!(shown.contains(" to go") && shown.contains("default: removed 100000"), "{shown:?}");
    fill_with_expired(&caches.path("caches.toml"));
    let said = caches.run(&["purge-expired"]).done();
    assert!(said.err.is_empty(), "{}", said.err);
    assert_eq!(said.text(), "default: removed 100000\n");
}

/// Writes entries as long ago as a clock that is set by hand has it: nobody has cleaned up since.
fn fill_with_expired(config: &str) {
    let long_ago = ManualClock::new();
    let entries = (0..100_000).map(|number| (number.to_string(), number));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads");
    runtime.block_on(async {
        let caches = cachette::Caches::builder().file(config).clock(long_ago.clock());
        let caches = caches.build().await.expect("it is fine");
        caches["default"].set_many(entries, Duration::from_secs(1)).await.expect("they are stored");
        caches.close_all().await.expect("it ends");
    });
}
