//! The examples, run as a newcomer runs them.

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
    let default = out
        .split("\ncache ")
        .find(|part| part.starts_with("\"default\""))
        .expect("the alias is shown");
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
        let kept = out
            .split("\ncache ")
            .find(|part| part.starts_with(&format!("{alias:?}")))
            .expect("it is shown");
        assert!(kept.contains("again   a hit in"), "{kept}");
    }
    let off =
        out.split("\ncache ").find(|part| part.starts_with("\"off\"")).expect("the alias is shown");
    assert!(off.contains("again   a miss"), "{off}");
}

/// Nothing beside the configuration has to exist, in particular no `target/`: `CARGO_TARGET_DIR`
/// may be set.
#[test]
fn quickstart_configuration_needs_no_existing_folder() {
    let folder = tempfile::tempdir().expect("create a temporary folder");
    let config = folder.path().join("caches.toml");
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/caches.toml");
    fs::copy(original, &config).expect("copy the configuration");
    let output = example("quickstart", &[&config.to_string_lossy()]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("cache \"database\"") && out.contains("cache \"files\""), "{out}");
    assert!(folder.path().join("quickstart.db").is_file());
}

#[test]
fn quickstart_takes_a_configuration_and_a_text_of_one_s_own() {
    let folder = tempfile::tempdir().expect("create a temporary folder");
    let (config, text) = (folder.path().join("mine.json"), folder.path().join("mine.txt"));
    fs::write(
        &config,
        r#"{"default": {"BACKEND": "locmem", "KEY_PREFIX": "mine", "KEY_CHECK": "error"}}"#,
    )
    .expect("write to disk");
    fs::write(&text, "The first sentence is really a rather long one. The worst sentence is really a rather long one.")
        .expect("write to disk");
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

#[test]
fn the_site_makes_its_front_page_once() {
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
fn the_site_keeps_nothing_of_who_is_signed_in() {
    let site = Site::start();
    let signed_in = site.post("/account/sign-in", &[], "name=Ada");
    assert_eq!((signed_in.status, &*signed_in.header("location")), (303, "/account"));
    let cookie = signed_in.header("set-cookie");
    let cookie = cookie.split(';').next().expect("a cookie is set");
    for _ in 0..2 {
        let account = site::http::ask(&site.address, "GET", "/account", &[("cookie", cookie)], "");
        assert!(
            account.body.contains("Ada")
                && account.cache_status().contains("detail=session-cookie"),
            "{account:?}"
        );
        assert!(!site.get("/account").body.contains("Ada"));
    }
}

#[test]
fn the_site_takes_no_orders_from_pages_of_other_sites() {
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
        let is_kept = site.get("/").cache_status().contains("hit");
        assert!(is_kept, "it was purged before {header}: {value}");
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
fn the_site_ends_at_ctrl_c() {
    let site = Site::start();
    site.get("/");
    let (status, said) = site.interrupt();
    assert!(status.success() && said == "closed\n", "{status}: {said}");
}

#[test]
fn the_site_tells_what_is_wrong_with_its_arguments() {
    let site = Site::start();
    for (arguments, told) in [
        (&["--listen", &*site.address][..], format!("{}: cannot be listened at", site.address)),
        (&["--listen"], "--listen wants a value".into()),
        (&["--port", "80"], "there is no option --port".into()),
        (&["a.toml", "b.toml"], "b.toml is one too many".into()),
        (
            &["--listen", "127.0.0.1:0", "--data", env!("CARGO_TARGET_TMPDIR"), "none.toml"],
            "none.toml: cannot be read".into(),
        ),
    ] {
        let output = site::command().args(arguments).output().expect("cargo runs");
        let (_, err) = said(&output);
        assert!(!output.status.success() && err.contains(&told), "{arguments:?}: {err}");
    }
}
