//! The examples, run as a newcomer runs them.

use std::{
    fs,
    process::{Command, Output},
};

fn example(name: &str, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["run", "--quiet", "--example", name, "--"]).args(arguments);
    cargo.output().expect("cargo runs")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn quickstart_shows_misses_hits_counters_versions_and_expiry_of_each_alias() {
    let output = example("quickstart", &[]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    let default = out.split("\ncache ").find(|part| part.starts_with("\"default\"")).expect("the alias is shown");
    for line in [
        "a locmem store",
        "first   a miss, made in",
        "again   a hit in",
        "times faster",
        "counter 40 and 2 are 42",
        "version bumped to 2: there it is a hit, here a miss",
        "expiry  after 0.3 s: at once it is a hit, then a miss",
    ] {
        assert!(default.contains(line), "{line:?} is not in {default}");
    }
    for alias in ["database", "files"] {
        let kept = out.split("\ncache ").find(|part| part.starts_with(&format!("{alias:?}"))).expect("it is shown");
        assert!(kept.contains("again   a hit in"), "{kept}");
    }
    let off = out.split("\ncache ").find(|part| part.starts_with("\"off\"")).expect("the alias is shown");
    assert!(off.contains("again   a miss"), "{off}");
}

#[test]
fn quickstart_takes_a_configuration_and_a_text_of_one_s_own() {
    let folder = tempfile::tempdir().expect("there is room");
    let (config, text) = (folder.path().join("mine.json"), folder.path().join("mine.txt"));
    fs::write(&config, r#"{"default": {"BACKEND": "locmem", "KEY_PREFIX": "mine"}}"#).expect("there is room");
    fs::write(&text, "The first sentence is really a rather long one. The worst sentence is really a rather long one.")
        .expect("room");
    let (config, text) = (config.to_string_lossy(), text.to_string_lossy());
    let output = example("quickstart", &[&config, &text]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("2 sentences"), "{out}");
    assert!(out.contains("2 letters lie between"), "{out}");

    let output = example("quickstart", &[&config, "no such text"]);
    assert!(!output.status.success());
    assert!(said(&output).1.contains("no such text: cannot be read"), "{:?}", said(&output));
}

#[test]
fn custom_backend_counts_its_books() {
    let output = example("custom_backend", &[]);
    assert_eq!(said(&output).0, "42 books on the shelf\n");
}
