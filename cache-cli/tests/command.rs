//! The command, as it is typed.

mod common;

use common::Caches;
use serde_json::json;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn a_hit_is_shown_as_json_and_a_miss_is_silent_with_exit_code_1() {
    let caches = Caches::new(FILES);
    caches.run(&["get", "k"]).misses();
    caches.run(&["set", "k", r#"{"a": [1, 2.5, null, "ä"]}"#]).done();
    caches.run(&["get", "k"]).says("{\"a\":[1,2.5,null,\"ä\"]}\n");
}

#[test]
fn a_value_that_is_no_json_is_an_error_that_says_how_a_text_is_written() {
    let caches = Caches::new(FILES);
    let error = caches.run(&["set", "k", "hello"]).fails();
    assert!(
        error.contains("the value is no JSON") && error.contains(r#"in quotes, '"hello"'"#),
        "{error}"
    );
    let error = caches.run(&["set", "k", "it's"]).fails();
    assert!(error.contains(r#"in quotes, '"it'\''s"';"#), "{error}");
    caches.run(&["get", "k"]).misses();
}

#[test]
fn bytes_go_in_and_out_as_they_are() {
    let caches = Caches::new(FILES);
    let bytes = b"\x00\xff\r\n not JSON";
    caches.run_with(&["set", "--raw", "k", "-"], bytes).done();
    assert_eq!(caches.run(&["get", "--raw", "k"]).done().out, bytes);
    caches.run(&["set", "k", "{}"]).done();
    let error = caches.run(&["get", "--raw", "k"]).fails();
    assert!(error.contains("leave out --raw"), "{error}");
}

#[test]
fn a_text_is_shown_without_quotes_where_it_is_asked_for_raw() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "\"two words\""]).done();
    caches.run(&["get", "--raw", "k"]).says("two words");
}

#[test]
fn a_value_can_come_from_standard_input() {
    let caches = Caches::new(FILES);
    caches.run_with(&["set", "k", "-"], b" [1,\n 2]\n").done();
    caches.run(&["get", "k"]).says("[1,2]\n");
}

#[test]
fn add_stores_only_where_there_is_nothing() {
    let caches = Caches::new(FILES);
    caches.run(&["add", "k", "1"]).done();
    caches.run(&["add", "k", "2"]).misses();
    caches.run(&["get", "k"]).says("1\n");
}

#[test]
fn has_and_delete_tell_by_their_exit_code_whether_there_was_an_entry() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1"]).done();
    caches.run(&["has", "k"]).done();
    caches.run(&["delete", "k"]).done();
    caches.run(&["delete", "k"]).misses();
    caches.run(&["has", "k"]).misses();
}

#[test]
fn many_keys_are_deleted_at_once_and_counted() {
    let caches = Caches::new(FILES);
    caches.run(&["set-many", r#"{"a": 1, "b": 2}"#]).done();
    caches.run(&["delete", "a", "b", "c"]).says("removed 2 of 3\n");
    caches.run(&["delete", "a", "b"]).exits_with(1);
}

#[test]
fn a_timeout_is_seconds_or_never() {
    let caches = Caches::new(FILES);
    caches.run(&["set", "k", "1", "--timeout", "never"]).done();
    caches.run(&["ttl", "k"]).says("never\n");
    caches.run(&["touch", "k", "--timeout", "90.5"]).done();
    let left: f64 = caches.run(&["ttl", "k"]).done().text().trim().parse().expect("a number");
    assert!((60.0..=90.5).contains(&left), "{left}");
    caches.run(&["touch", "k", "-t", "0"]).done();
    caches.run(&["ttl", "k"]).misses();
    caches.run(&["touch", "k"]).misses();
    let error = caches.run(&["set", "k", "1", "-t", "soon"]).fails();
    assert!(error.contains("expected a number of seconds, 0 or more, or `never`"), "{error}");
    let error = caches.run(&["set", "k", "1", "-t", "-5"]).fails();
    assert!(error.contains("expected a number of seconds, 0 or more, or `never`"), "{error}");
}

#[test]
fn integers_are_counted_up_and_down() {
    let caches = Caches::new(FILES);
    caches.run(&["incr", "n"]).misses();
    caches.run(&["set", "n", "-5"]).done();
    caches.run(&["incr", "n"]).says("-4\n");
    caches.run(&["incr", "n", "-3"]).says("-7\n");
    caches.run(&["decr", "n", "10"]).says("-17\n");
    caches.run(&["set", "n", "\"text\""]).done();
    let error = caches.run(&["incr", "n"]).fails();
    assert!(
        error.contains("does not hold an integer")
            && error.contains("store an integer there first"),
        "{error}"
    );
}

#[test]
fn many_values_are_an_object_and_a_missing_one_a_miss() {
    let caches = Caches::new(FILES);
    caches.run_with(&["set-many", "-", "-t", "60"], br#"{"b": "two", "a": 1}"#).done();
    caches.run(&["get-many", "a", "b"]).says("{\"a\":1,\"b\":\"two\"}\n");
    let partly = caches.run(&["get-many", "a", "c"]).exits_with(1);
    assert_eq!(partly.text(), "{\"a\":1}\n");
    let error = caches.run(&["set-many", "[1]"]).fails();
    assert!(error.contains("no object"), "{error}");
    let error = caches.run(&["set-many", "{a: 1}"]).fails();
    assert!(
        error.contains("no JSON") && error.contains(r#"write it as {"key": value, …}"#),
        "{error}"
    );
}

#[test]
fn an_alias_and_a_version_can_be_chosen() {
    let caches =
        Caches::new("default = 'filebased://files'\nother = 'filebased://other?version=7'");
    caches.run(&["--cache", "other", "set", "k", "1"]).done();
    caches.run(&["get", "k"]).misses();
    caches.run(&["get", "k", "--cache", "other"]).says("1\n");
    caches.run(&["get", "k", "--cache", "other", "--key-version", "8"]).misses();
    let error = caches.run(&["get", "k", "--cache", "otter"]).fails();
    assert!(
        error.contains(r#"there is no cache "otter"; there are "default" and "other""#),
        "{error}"
    );
}

#[test]
fn the_environment_configures_where_no_file_does() {
    let caches = Caches::new(FILES);
    let url = format!("filebased://{}", caches.path("elsewhere"));
    caches.run_in(&["set", "k", "1"], &[("CACHE_URL", &url)]).done();
    caches.run_in(&["get", "k"], &[("CACHE_URL", &url)]).says("1\n");
    caches.run_in(&["get", "k"], &[("CACHETTE_CONFIG", &caches.path("caches.toml"))]).misses();
    let error = caches.run_in(&["get", "k"], &[]).fails();
    assert!(
        error.contains("no caches are configured") && error.contains("--config FILE"),
        "{error}"
    );
}

#[test]
fn scripts_are_answered_in_one_document_of_json() {
    let caches = Caches::new(FILES);
    let answer =
        |arguments: &[&str]| caches.run(&[&["--output", "json"], arguments].concat()).json();
    assert_eq!(answer(&["get", "k"]), json!({"key": "k", "hit": false}));
    assert_eq!(answer(&["set", "k", "[1]", "-t", "never"]), json!({"key": "k", "stored": true}));
    assert_eq!(answer(&["add", "k", "2"]), json!({"key": "k", "stored": false}));
    assert_eq!(answer(&["get", "k"]), json!({"key": "k", "hit": true, "value": [1]}));
    assert_eq!(answer(&["ttl", "k"]), json!({"key": "k", "hit": true, "ttl": null}));
    assert_eq!(answer(&["touch", "k", "-t", "never"]), json!({"key": "k", "touched": true}));
    assert_eq!(answer(&["has", "k"]), json!({"key": "k", "hit": true}));
    assert_eq!(answer(&["incr", "n"]), json!({"hit": false}));
    assert_eq!(answer(&["set-many", r#"{"n": 1}"#]), json!({"stored": 1, "refused": []}));
    assert_eq!(answer(&["incr", "n"]), json!({"hit": true, "value": 2}));
    assert_eq!(answer(&["get-many", "n", "x"]), json!({"values": {"n": 2}, "missing": ["x"]}));
    assert_eq!(answer(&["delete", "n", "x"]), json!({"deleted": 1}));
    assert_eq!(answer(&["purge-expired"]), json!([{"cache": "default", "removed": 0}]));
    let stats = answer(&["stats"]);
    assert_eq!((&stats[0]["entries"], &stats[0]["expired"]), (&json!(1), &json!(0)));
    assert_eq!(answer(&["check"])[0]["ok"], json!(true));
    assert_eq!(answer(&["createcachetable"]), json!([]));
    assert_eq!(answer(&["clear", "--yes"]), json!({"cleared": true}));
}

#[test]
fn stats_tell_how_full_each_cache_is() {
    let caches = Caches::new("default = 'filebased://files'\nmem = 'locmem://'");
    caches.run(&["set", "k", "1"]).done();
    let stats = caches.run(&["stats"]).done();
    let rows: Vec<Vec<&str>> =
        stats.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["cache", "store", "entries", "expired", "bytes"]);
    assert_eq!(rows[1][..4], ["default", "filebased", "1", "0"]);
    assert_eq!(rows[2], ["mem", "locmem", "0", "0", "0"]);
}

#[test]
fn what_has_expired_is_purged() {
    let caches = Caches::new(FILES);
    caches.run(&["set-many", r#"{"a": 1, "b": 2}"#, "-t", "0.001"]).done();
    caches.run(&["set", "c", "3"]).done();
    // Those who wrote may have removed one or the other already.
    let purged = caches.run(&["purge-expired"]).done();
    assert!(
        ["0", "1", "2"]
            .map(|number| format!("default: removed {number}\n"))
            .contains(&purged.text().into())
    );
    let stats = &caches.run(&["--output", "json", "stats"]).json()[0];
    assert_eq!((&stats["entries"], &stats["expired"]), (&json!(1), &json!(0)));
    caches.run(&["get", "c"]).says("3\n");
}

#[test]
fn a_store_that_keeps_nothing_for_the_next_command_is_noted() {
    let caches = Caches::new("default = 'locmem://'\noff = 'dummy://'\nfiles = 'filebased://f'");
    let runs: [(&[&str], i32); 8] = [
        (&["set", "k", "1"], 0),
        (&["add", "k", "1"], 0),
        (&["set-many", r#"{"k": 1}"#], 0),
        (&["get", "k"], 1),
        (&["get-many", "k"], 1),
        (&["has", "k"], 1),
        (&["incr", "k"], 1),
        (&["ttl", "k"], 1),
    ];
    for (arguments, code) in runs {
        for (alias, fact) in [("default", "one process"), ("off", "stores nothing")] {
            let run = caches.run(&[&["--cache", alias], arguments].concat()).exits_with(code);
            let note = run.err.lines().next().unwrap_or_default();
            assert!(note.starts_with("note: ") && note.contains(fact), "{arguments:?}: {note}");
            assert!(note.contains(&format!("{alias:?}")), "{arguments:?}: {note}");
        }
        let run = caches.run(&[&["--cache", "files"], arguments].concat());
        assert!(run.err.is_empty(), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn completions_are_made_for_each_shell_without_a_configuration() {
    let caches = Caches::new(FILES);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = caches.run_in(&["completions", shell], &[]).done();
        assert!(script.text().contains("createcachetable"), "{shell}");
    }
}

#[test]
fn a_reader_who_has_had_enough_is_no_error() {
    let caches = Caches::new(FILES);
    let piped = caches.shell("\"$CACHETTE\" completions bash | true; exit ${PIPESTATUS[0]}");
    piped.done();
}

#[test]
fn a_password_is_never_shown() {
    let caches = Caches::new(
        "default = 'db://t?url=postgres://ada:hunter2@127.0.0.1:1/shop&connect_timeout=0.5'",
    );
    for command in [&["check"][..], &["get", "k"], &["stats"], &["createcachetable"]] {
        let said = caches.run(command);
        let told = [&*said.out, said.err.as_bytes()].concat();
        assert!(!String::from_utf8_lossy(&told).contains("hunter2"), "{command:?}");
        assert!(String::from_utf8_lossy(&told).contains("127.0.0.1:1"), "{command:?}");
    }
}
