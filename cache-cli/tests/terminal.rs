//! Tests of the command on a terminal, which `script` provides.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use cachette::ManualClock;
use common::Project;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn colors_are_only_used_on_a_terminal() {
    let project = Project::new(FILES);
    let screen = project.on_a_terminal("check", "");
    assert!(screen.contains("\x1b[32mok"), "{screen:?}");
    assert!(!project.run(&["check"]).succeeds().text().contains('\x1b'));
    assert!(!project.run(&["get"]).fails().contains('\x1b'));
}

#[test]
fn clear_asks_for_confirmation_on_a_terminal() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "1"]).succeeds();
    let screen = project.on_a_terminal("clear", "n\n");
    assert!(screen.contains("every entry") && screen.contains("filebased"), "{screen:?}");
    project.run(&["get", "k"]).prints("1\n");
    project.on_a_terminal("clear", "y\n");
    project.run(&["get", "k"]).misses();
}

#[test]
fn miss_is_reported_on_a_terminal_only() {
    let project = Project::new(FILES);
    for arguments in ["get k", "has k", "ttl k", "touch k", "incr k", "delete k", "get-many k"] {
        let screen = project.on_a_terminal(arguments, "");
        assert!(screen.contains("not in cache \"default\": \"k\""), "{arguments}: {screen:?}");
    }
    project.run(&["get", "k"]).misses();
    project.run(&["set", "k", "1"]).succeeds();
    let screen = project.on_a_terminal("add k 1", "");
    assert!(screen.contains("\"k\" exists already"), "{screen:?}");
}

/// The question needs no server.
#[test]
fn clear_names_what_it_removes_from_redis() {
    let project = Project::new(
        "default = 'redis://127.0.0.1:1?key_prefix=shop'
         all = 'redis://127.0.0.1:1?clear_database=true'
         shared = 'redis://127.0.0.1:1?clear_database=true&clear=generation'",
    );
    let error = project.run(&["clear"]).fails();
    assert!(error.contains("\"default\"") && error.contains("prefix"), "{error}");
    let error = project.run(&["clear", "--cache", "all"]).fails();
    assert!(error.contains("\"all\"") && error.contains("database"), "{error}");
    let error = project.run(&["clear", "--cache", "shared"]).fails();
    assert!(error.contains("\"shared\"") && error.contains("generation"), "{error}");
}

#[test]
fn clear_without_a_terminal_needs_yes() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "1"]).succeeds();
    let error = project.run(&["clear"]).fails();
    assert!(error.contains("--yes"), "{error}");
    project.run(&["get", "k"]).prints("1\n");
    project.run(&["clear", "--yes"]).succeeds();
    project.run(&["get", "k"]).misses();
}

#[test]
fn slow_purge_shows_a_progress_bar_only_on_a_terminal() {
    let project = Project::new(
        "default = 'db://t?url=sqlite:cache.db&max_entries=1000000&create_table=true'",
    );
    fill_with_expired(&project.path("caches.toml"));
    let screen = project.on_a_terminal("purge-expired", "");
    assert!(screen.contains(" left") && screen.contains("default: removed 100000"), "{screen:?}");
    fill_with_expired(&project.path("caches.toml"));
    let finished = project.run(&["purge-expired"]).succeeds();
    assert!(finished.stderr.is_empty(), "{}", finished.stderr);
    assert_eq!(finished.text(), "default: removed 100000\n");
}

/// Stores entries by a manual clock that is set to the past, so that they have expired.
fn fill_with_expired(config: &str) {
    let long_ago = ManualClock::new();
    let entries = (0..100_000).map(|number| (number.to_string(), number));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("start a runtime");
    runtime.block_on(async {
        let caches = cachette::Caches::builder().file(config).clock(long_ago.clock());
        let caches = caches.build().await.expect("valid configuration");
        caches["default"]
            .set_many(entries, Duration::from_secs(1))
            .await
            .expect("store the entries");
        caches.close_all().await.expect("close the caches");
    });
}

#[test]
fn watch_draws_in_place_on_a_terminal() {
    let project = Project::new("default = 'filebased://files'\nother = 'locmem://'");
    let screen = project.on_a_terminal("watch --count 3 --interval 0.1", "");
    // A title, a heading and two rows, drawn over twice.
    assert_eq!(screen.matches("\r\x1b[4A").count(), 2, "{screen:?}");
    assert!(!screen.contains("\x1b[?"), "the cursor and the screen stay as they are: {screen:?}");
    let text = anstream::adapter::strip_str(&screen).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text:?}");
}

#[test]
fn interrupted_watch_leaves_the_terminal_as_it_was() {
    let project = Project::new("default = 'filebased://files'");
    let config = project.path("caches.toml");
    // On a busy machine, the command may draw nothing in the first second.
    for seconds in [1, 5, 30] {
        let screen = project.script_on_a_terminal(&format!(
            "stty -a > before; \
             timeout --foreground -s INT {seconds} \"$CACHETTE\" --config '{config}' watch; \
             stty -a > after; cmp before after && echo same"
        ));
        assert!(screen.contains("same"), "{screen:?}");
        if screen.contains("hits/s") {
            return;
        }
    }
    panic!("the command has drawn nothing");
}
