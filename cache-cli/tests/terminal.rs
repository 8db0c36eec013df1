//! The command on a terminal: `script` gives it one.
#![cfg(target_os = "linux")]

mod common;

use common::Caches;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn colours_are_for_terminals_alone() {
    let caches = Caches::new(FILES);
    let shown = caches.on_a_terminal("check", "");
    assert!(shown.contains("\x1b[32mok"), "{shown:?}");
    assert!(!caches.run(&["check"]).is_done().text().contains('\x1b'));
    assert!(!caches.run(&["get"]).fails().contains('\x1b'));
}

#[test]
fn clear_asks_on_a_terminal() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1"]).is_done();
    let shown = caches.on_a_terminal("clear", "n\n");
    assert!(shown.contains("removes every entry of the filebased store"), "{shown:?}");
    caches.run(&["get", "k"]).says("1\n");
    caches.on_a_terminal("clear", "y\n");
    caches.run(&["get", "k"]).is_a_miss();
}

#[test]
fn clear_wants_a_yes_where_there_is_no_terminal() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1"]).is_done();
    let error = caches.run(&["clear"]).fails();
    assert!(error.contains("say --yes"), "{error}");
    caches.run(&["get", "k"]).says("1\n");
    caches.run(&["clear", "--yes"]).is_done();
    caches.run(&["get", "k"]).is_a_miss();
}

#[test]
fn a_purge_that_takes_long_shows_a_bar_on_a_terminal_alone() {
    let caches = Caches::new("default = 'db://t?url=sqlite:cache.db&max_entries=1000000'");
    caches.run(&["createcachetable"]).is_done();
    let fill = |caches: &Caches| {
        let entries: Vec<String> = (0..100_000).map(|number| format!("\"{number}\":0")).collect();
        let entries = format!("{{{}}}", entries.join(","));
        caches.run_with(&["set-many", "-", "-t", "0.001"], entries.as_bytes()).is_done();
    };
    fill(&caches);
    let shown = caches.on_a_terminal("purge-expired", "");
    assert!(shown.contains(" to go") && shown.contains("default: removed "), "{shown:?}");
    fill(&caches);
    let said = caches.run(&["purge-expired"]).is_done();
    assert!(said.err.is_empty() && said.text().starts_with("default: removed "), "{}", said.err);
}
