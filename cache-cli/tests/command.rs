//! Tests of the command line.

mod common;

use common::Project;
use serde_json::json;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn get_prints_a_hit_as_json_and_exits_1_on_a_miss() {
    let project = Project::new(FILES);
    project.run(&["get", "k"]).misses();
    project.run(&["set", "k", r#"{"a": [1, 2.5, null, "ä"]}"#]).succeeds();
    project.run(&["get", "k"]).prints("{\"a\":[1,2.5,null,\"ä\"]}\n");
}

#[test]
fn value_that_is_not_json_is_an_error_with_a_quoted_suggestion() {
    let project = Project::new(FILES);
    let error = project.run(&["set", "k", "hello"]).fails();
    assert!(error.contains("JSON") && error.contains(r#"'"hello"'"#), "{error}");
    let error = project.run(&["set", "k", "it's"]).fails();
    assert!(error.contains(r#"'"it'\''s"'"#), "{error}");
    project.run(&["get", "k"]).misses();
}

#[test]
fn raw_bytes_round_trip() {
    let project = Project::new(FILES);
    let bytes = b"\x00\xff\r\n not JSON";
    project.run_with(&["set", "--raw", "k", "-"], bytes).succeeds();
    assert_eq!(project.run(&["get", "--raw", "k"]).succeeds().stdout, bytes);
    project.run(&["set", "k", "{}"]).succeeds();
    let error = project.run(&["get", "--raw", "k"]).fails();
    assert!(error.contains("--raw"), "{error}");
}

#[test]
fn get_raw_prints_text_without_quotes() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "\"two words\""]).succeeds();
    project.run(&["get", "--raw", "k"]).prints("two words");
}

#[test]
fn dash_reads_the_value_from_standard_input() {
    let project = Project::new(FILES);
    project.run_with(&["set", "k", "-"], b" [1,\n 2]\n").succeeds();
    project.run(&["get", "k"]).prints("[1,2]\n");
}

#[test]
fn add_keeps_an_existing_entry() {
    let project = Project::new(FILES);
    project.run(&["add", "k", "1"]).succeeds();
    project.run(&["add", "k", "2"]).misses();
    project.run(&["get", "k"]).prints("1\n");
}

#[test]
fn has_and_delete_exit_1_if_the_key_is_absent() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "1"]).succeeds();
    project.run(&["has", "k"]).succeeds();
    project.run(&["delete", "k"]).succeeds();
    project.run(&["delete", "k"]).misses();
    project.run(&["has", "k"]).misses();
}

#[test]
fn delete_of_several_keys_prints_a_count() {
    let project = Project::new(FILES);
    project.run(&["set-many", r#"{"a": 1, "b": 2}"#]).succeeds();
    project.run(&["delete", "a", "b", "c"]).prints("deleted 2 of 3\n");
    project.run(&["delete", "a", "b"]).exits_with(1);
}

#[test]
fn timeout_option_takes_seconds_or_never() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "1", "--timeout", "never"]).succeeds();
    project.run(&["ttl", "k"]).prints("never\n");
    project.run(&["touch", "k", "--timeout", "90.5"]).succeeds();
    let left: f64 = project.run(&["ttl", "k"]).succeeds().text().trim().parse().expect("a number");
    assert!((60.0..=90.5).contains(&left), "{left}");
    project.run(&["touch", "k", "-t", "0"]).succeeds();
    project.run(&["ttl", "k"]).misses();
    project.run(&["touch", "k"]).misses();
    let error = project.run(&["set", "k", "1", "-t", "soon"]).fails();
    assert!(error.contains("--timeout") && error.contains("`never`"), "{error}");
    let error = project.run(&["set", "k", "1", "-t", "-5"]).fails();
    assert!(error.contains("--timeout") && error.contains("`never`"), "{error}");
}

#[test]
fn incr_and_decr_change_an_integer() {
    let project = Project::new(FILES);
    project.run(&["incr", "n"]).misses();
    project.run(&["set", "n", "-5"]).succeeds();
    project.run(&["incr", "n"]).prints("-4\n");
    project.run(&["incr", "n", "-3"]).prints("-7\n");
    project.run(&["decr", "n", "10"]).prints("-17\n");
    project.run(&["set", "n", "\"text\""]).succeeds();
    let error = project.run(&["incr", "n"]).fails();
    assert!(error.contains("integer") && error.contains("cachette set"), "{error}");
}

#[test]
fn set_many_and_get_many_use_json_objects() {
    let project = Project::new(FILES);
    project.run_with(&["set-many", "-", "-t", "60"], br#"{"b": "two", "a": 1}"#).succeeds();
    project.run(&["get-many", "a", "b"]).prints("{\"a\":1,\"b\":\"two\"}\n");
    let partial = project.run(&["get-many", "a", "c"]).exits_with(1);
    assert_eq!(partial.text(), "{\"a\":1}\n");
    let error = project.run(&["set-many", "[1]"]).fails();
    assert!(error.contains("object"), "{error}");
    let error = project.run(&["set-many", "{a: 1}"]).fails();
    assert!(error.contains("JSON") && error.contains(r#"{"key": value"#), "{error}");
}

#[test]
fn cache_and_key_version_options_select_the_entry() {
    let project =
        Project::new("default = 'filebased://files'\nother = 'filebased://other?version=7'");
    project.run(&["--cache", "other", "set", "k", "1"]).succeeds();
    project.run(&["get", "k"]).misses();
    project.run(&["get", "k", "--cache", "other"]).prints("1\n");
    project.run(&["get", "k", "--cache", "other", "--key-version", "8"]).misses();
    let error = project.run(&["get", "k", "--cache", "otter"]).fails();
    assert!(
        ["\"otter\"", "\"default\"", "\"other\""].iter().all(|alias| error.contains(alias)),
        "{error}"
    );
}

#[test]
fn environment_configures_caches_without_a_file() {
    let project = Project::new(FILES);
    let url = format!("filebased://{}", project.path("elsewhere"));
    project.run_in(&["set", "k", "1"], &[("CACHE_URL", &url)]).succeeds();
    project.run_in(&["get", "k"], &[("CACHE_URL", &url)]).prints("1\n");
    project.run_in(&["get", "k"], &[("CACHETTE_CONFIG", &project.path("caches.toml"))]).misses();
    let error = project.run_in(&["get", "k"], &[]).fails();
    assert!(error.contains("no caches") && error.contains("--config FILE"), "{error}");
}

#[test]
fn json_output_is_one_document() {
    let project = Project::new(FILES);
    let output =
        |arguments: &[&str]| project.run(&[&["--output", "json"], arguments].concat()).json();
    assert_eq!(output(&["get", "k"]), json!({"key": "k", "hit": false}));
    assert_eq!(output(&["set", "k", "[1]", "-t", "never"]), json!({"key": "k", "stored": true}));
    assert_eq!(output(&["add", "k", "2"]), json!({"key": "k", "stored": false}));
    assert_eq!(output(&["get", "k"]), json!({"key": "k", "hit": true, "value": [1]}));
    assert_eq!(output(&["ttl", "k"]), json!({"key": "k", "hit": true, "ttl": null}));
    assert_eq!(output(&["touch", "k", "-t", "never"]), json!({"key": "k", "touched": true}));
    assert_eq!(output(&["has", "k"]), json!({"key": "k", "hit": true}));
    assert_eq!(output(&["incr", "n"]), json!({"hit": false}));
    assert_eq!(output(&["set-many", r#"{"n": 1}"#]), json!({"stored": 1, "rejected": []}));
    assert_eq!(output(&["incr", "n"]), json!({"hit": true, "value": 2}));
    assert_eq!(output(&["get-many", "n", "x"]), json!({"values": {"n": 2}, "missing": ["x"]}));
    assert_eq!(output(&["delete", "n", "x"]), json!({"deleted": 1}));
    assert_eq!(output(&["purge-expired"]), json!([{"cache": "default", "removed": 0}]));
    let stats = output(&["stats"]);
    assert_eq!((&stats[0]["entries"], &stats[0]["expired"]), (&json!(1), &json!(0)));
    assert_eq!(output(&["check"])[0]["ok"], json!(true));
    assert_eq!(output(&["createcachetable"]), json!([]));
    assert_eq!(output(&["clear", "--yes"]), json!({"cleared": true}));
}

#[test]
fn stats_lists_entries_of_each_cache() {
    let project = Project::new("default = 'filebased://files'\nmem = 'locmem://'");
    project.run(&["set", "k", "1"]).succeeds();
    let stats = project.run(&["stats"]).succeeds();
    let rows: Vec<Vec<&str>> =
        stats.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["cache", "store", "entries", "expired", "bytes"]);
    assert_eq!(rows[1][..4], ["default", "filebased", "1", "0"]);
    assert_eq!(rows[2], ["mem", "locmem", "0", "0", "0"]);
}

#[test]
fn purge_expired_removes_expired_entries() {
    let project = Project::new(FILES);
    project.run(&["set-many", r#"{"a": 1, "b": 2}"#, "-t", "0.001"]).succeeds();
    project.run(&["set", "c", "3"]).succeeds();
    // A write may already have removed some of the expired entries.
    let purged = project.run(&["purge-expired"]).succeeds();
    assert!(
        ["0", "1", "2"]
            .map(|number| format!("default: removed {number}\n"))
            .contains(&purged.text().into())
    );
    let stats = &project.run(&["--output", "json", "stats"]).json()[0];
    assert_eq!((&stats["entries"], &stats["expired"]), (&json!(1), &json!(0)));
    project.run(&["get", "c"]).prints("3\n");
}

#[test]
fn volatile_store_prints_a_note() {
    let project = Project::new("default = 'locmem://'\noff = 'dummy://'\nfiles = 'filebased://f'");
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
            let run = project.run(&[&["--cache", alias], arguments].concat()).exits_with(code);
            let note = run.stderr.lines().next().unwrap_or_default();
            assert!(note.starts_with("note: ") && note.contains(fact), "{arguments:?}: {note}");
            assert!(note.contains(&format!("{alias:?}")), "{arguments:?}: {note}");
        }
        let run = project.run(&[&["--cache", "files"], arguments].concat());
        assert!(run.stderr.is_empty(), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn completions_need_no_configuration() {
    let project = Project::new(FILES);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run_in(&["completions", shell], &[]).succeeds();
        assert!(script.text().contains("CACHETTE_COMPLETE"), "{shell}");
    }
    assert_eq!(completed_by_bash(&project, "createc"), ["createcachetable"]);
}

#[test]
fn completions_know_the_aliases_of_the_configuration() {
    let project = Project::new("default = 'locmem://'\npages = 'mongodb://'");
    let words = format!("--config {} get --cache ", project.path("caches.toml"));
    assert_eq!(completed_by_bash(&project, &format!("{words}pa")), ["pages"]);
    assert_eq!(completed_by_bash(&project, &format!("{words}''")), ["default", "pages"]);
    assert!(completed_by_bash(&project, "get --cache ''").is_empty());
}

/// What bash offers for the last of these words.
fn completed_by_bash(project: &Project, words: &str) -> Vec<String> {
    let script = format!(
        "mkdir -p bin; ln -sf \"$CACHETTE\" bin/cachette; PATH=$PWD/bin:$PATH
         source <(cachette completions bash)
         COMP_WORDS=(cachette {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9
         _clap_complete_cachette cachette \"${{COMP_WORDS[COMP_CWORD]}}\" cachette
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let offered = project.shell(&script).succeeds();
    offered.text().lines().map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect()
}

#[test]
fn closed_stdout_is_not_an_error() {
    let project = Project::new(FILES);
    let piped = project.shell("\"$CACHETTE\" completions bash | true; exit ${PIPESTATUS[0]}");
    piped.succeeds();
}

#[test]
fn passwords_are_never_printed() {
    let project = Project::new(
        "default = 'db://t?url=postgres://ada:hunter2@127.0.0.1:1/shop&connect_timeout=0.5'",
    );
    for command in [&["check"][..], &["get", "k"], &["stats"], &["createcachetable"]] {
        let finished = project.run(command);
        let output = [&*finished.stdout, finished.stderr.as_bytes()].concat();
        assert!(!String::from_utf8_lossy(&output).contains("hunter2"), "{command:?}");
        assert!(String::from_utf8_lossy(&output).contains("127.0.0.1:1"), "{command:?}");
    }
}
