//! Runs the examples with `cargo run`.

mod site;

use std::{
    fs,
    process::{Command, Output},
};

use site::Site;

fn example(name: &str, arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--example", name, "--"])
        .args(arguments);
    cargo.output().expect("run cargo")
}

/// Standard output and standard error.
fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The output of the quickstart for one alias.
fn section<'a>(output: &'a str, alias: &str) -> &'a str {
    let title = format!("cache {alias:?}");
    let mut sections = output.split("\n\n").filter(|section| section.starts_with(&title));
    sections.next().unwrap_or_else(|| panic!("{title} is not in {output}"))
}

#[test]
fn quickstart_shows_hits_incr_versions_and_expiry_of_each_alias() {
    let output = example("quickstart", &[]);
    let (out, err) = text(&output);
    assert!(output.status.success(), "{err}");
    let default = section(&out, "default");
    for fact in [
        "(locmem)",
        "first lookup   miss",
        "second lookup  hit",
        "times faster",
        "40 + 2 = 42",
        "version 2: hit, previous version: miss",
        "at once: hit, after 0.31 s: miss",
    ] {
        assert!(default.contains(fact), "{fact:?} is not in {default}");
    }
    for alias in ["database", "files"] {
        assert!(section(&out, alias).contains("second lookup  hit"), "{out}");
    }
    assert!(section(&out, "off").contains("second lookup  miss"), "{out}");
}

/// No other file or directory has to exist. In particular, `target/` does not exist if
/// `CARGO_TARGET_DIR` is set.
#[test]
fn quickstart_configuration_needs_no_existing_directory() {
    let folder = tempfile::tempdir().expect("create a temporary directory");
    let config = folder.path().join("caches.toml");
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/caches.toml");
    fs::copy(original, &config).expect("copy the configuration");
    let output = example("quickstart", &[&config.to_string_lossy()]);
    let (out, err) = text(&output);
    assert!(output.status.success(), "{err}");
    for alias in ["database", "files"] {
        let section = section(&out, alias);
        assert!(section.contains("first lookup   miss"), "{section}");
        assert!(section.contains("second lookup  hit"), "{section}");
    }
    assert!(folder.path().join("quickstart.db").is_file());
}

#[test]
fn quickstart_takes_a_configuration_and_a_text() {
    let folder = tempfile::tempdir().expect("create a temporary directory");
    let (config, path) = (folder.path().join("mine.json"), folder.path().join("mine.txt"));
    let json = r#"{"default": {"BACKEND": "locmem", "KEY_PREFIX": "mine", "KEY_CHECK": "error"}}"#;
    fs::write(&config, json).expect("write the configuration");
    let sentences = "The first sentence is really a rather long one. \
                     The worst sentence is really a rather long one.";
    fs::write(&path, sentences).expect("write the text");
    let (config, path) = (config.to_string_lossy(), path.to_string_lossy());
    let output = example("quickstart", &[&config, &path]);
    let (out, err) = text(&output);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("2 sentences"), "{out}");
    assert!(out.contains("distance 2"), "{out}");

    let output = example("quickstart", &[&config, "missing.txt"]);
    assert!(!output.status.success());
    assert!(text(&output).1.contains("missing.txt"), "{:?}", text(&output));
}

#[test]
fn custom_backend_is_used() {
    let output = example("custom_backend", &[]);
    assert_eq!(text(&output).0, "42 visits in the map store\n");
}

#[test]
fn counting_wrapper_counts_calls() {
    let output = example("counting_wrapper", &[]);
    let (out, err) = text(&output);
    assert_eq!(out.lines().last(), Some("gets: 3, sets: 1"), "{out}{err}");
}

#[test]
fn site_renders_its_front_page_once() {
    let site = Site::start();
    let first = site.get("/");
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(
        first.cache_status().contains("site; fwd=uri-miss; fwd-status=200; stored"),
        "{}",
        first.cache_status()
    );
    let again = site.get("/");
    assert!(again.cache_status().starts_with("site; hit"), "{}", again.cache_status());
    assert_eq!(first.body, again.body);
}

#[test]
fn site_stores_no_page_of_a_signed_in_visitor() {
    let site = Site::start();
    let signed_in = site.post("/account/sign-in", &[], "name=Ada");
    assert_eq!((signed_in.status, &*signed_in.header("location")), (303, "/account"));
    let cookie = signed_in.header("set-cookie");
    let cookie = cookie.split(';').next().expect("a cookie");
    for _ in 0..2 {
        let account = site::http::send(&site.address, "GET", "/account", &[("cookie", cookie)], "");
        assert!(
            account.body.contains("Ada")
                && account.cache_status().contains("detail=session-cookie"),
            "{account:?}"
        );
        assert!(!site.get("/account").body.contains("Ada"));
    }
}

#[test]
fn site_rejects_requests_of_other_sites() {
    let site = Site::start();
    site.get("/");
    let own = format!("http://{}", site.address);
    for (header, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", &*own, 303),
        ("sec-fetch-site", "same-origin", 303),
    ] {
        let is_cached = site.get("/").cache_status().contains("hit");
        assert!(is_cached, "purged before {header}: {value}");
        assert_eq!(
            site.post("/caches/purge/site", &[(header, value)], "").status,
            status,
            "{header}: {value}"
        );
        assert_eq!(
            site.get("/").cache_status().contains("hit"),
            status == 403,
            "{header}: {value}"
        );
    }
}

#[test]
fn site_stops_on_ctrl_c() {
    let site = Site::start();
    site.get("/");
    let (status, output) = site.interrupt();
    assert!(status.success() && output == "closed\n", "{status}: {output}");
}

#[test]
fn site_reports_invalid_arguments() {
    let site = Site::start();
    for (arguments, fact) in [
        (&["--listen", &*site.address][..], site.address.clone()),
        (&["--listen"], "--listen needs a value".into()),
        (&["--port", "80"], "--port".into()),
        (&["a.toml", "b.toml"], "b.toml".into()),
        (
            &["--listen", "127.0.0.1:0", "--data", env!("CARGO_TARGET_TMPDIR"), "none.toml"],
            "none.toml".into(),
        ),
    ] {
        let output = site::command().args(arguments).output().expect("run cargo");
        let (_, err) = text(&output);
        assert!(!output.status.success() && err.contains(&fact), "{arguments:?}: {err}");
    }
}
