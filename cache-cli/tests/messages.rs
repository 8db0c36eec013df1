//! Tests of the messages for mistakes.

mod common;

use common::Project;
use serde_json::Value as Json;

const FILES: &str = "default = 'filebased://files'";

#[test]
fn misspelt_name_is_reported_with_the_most_similar_one() {
    for (toml, name) in [
        ("default = 'locmem://?max_entrys=3'", "max_entries"),
        ("[default]\nBACKEND = 'locmem'\nTIMOUT = 3", "TIMEOUT"),
        ("[default]\nBACKEND = 'locmem'\nOPTIONS = { max_entrys = 3 }", "max_entries"),
        ("default = 'locmem://?key_prefx=a'", "key_prefix"),
        ("default = 'memcache://127.0.0.1:1'", "memcached"),
        ("default = 'locmem://?key_function=hased'", "hashed"),
        ("default = 'locmem://?codec=mesagepack'", "msgpack"),
    ] {
        let error = Project::new(toml).run(&["get", "k"]).fails();
        assert!(error.contains(&format!("did you mean {name:?}?")), "{toml}: {error}");
    }
    let error = Project::new(FILES).run(&["get", "k", "--cache", "defualt"]).fails();
    assert!(error.contains("did you mean \"default\"?"), "{error}");
}

#[test]
fn unknown_alias_is_reported_with_the_caches_that_have_mistakes() {
    let project = Project::new("default = 'filebased://files'\n[pages]\nBACKEND = 'radis'");
    let error = project.run(&["get", "k", "--cache", "nope"]).fails();
    assert!(error.contains("configured caches: \"default\""), "{error}");
    assert!(error.contains("the configuration of others has mistakes: \"pages\""), "{error}");
}

#[test]
fn empty_name_of_what_is_purged_is_rejected() {
    let project = Project::new(FILES);
    // As of a variable of a shell that is not set.
    for option in ["--tag", "--uri", "--prefix"] {
        let error = project.run(&["purge", option, ""]).fails();
        assert!(error.contains(&format!("a value is required for '{option}")), "{error}");
    }
}

#[test]
fn limit_of_keys_is_reported_with_its_range() {
    let project = Project::new(FILES);
    for limit in ["-1", "all", "99999999999999999999"] {
        let error = project.run(&["keys", "--limit", limit]).fails();
        assert!(error.contains("expected a number of keys, or 0 for all of them"), "{error}");
    }
}

#[test]
fn port_above_65535_is_reported_with_the_range() {
    for url in [
        "redis://127.0.0.1:99999",
        "memcached://127.0.0.1:99999",
        "db://t?url=postgres://ada:hunter2@127.0.0.1:99999/shop",
        "db://t?url=mysql://ada:hunter2@127.0.0.1:99999/shop",
    ] {
        let error = Project::new(&format!("default = '{url}'")).run(&["get", "k"]).fails();
        assert!(error.contains("a port from 1 to 65535, found "), "{url}: {error}");
        assert!(error.contains("99999") && !error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn url_of_a_database_is_reported_with_the_url_of_a_cache_in_it() {
    let project = Project::new(FILES);
    for url in [
        "postgres://ada@host/shop",
        "mysql://ada@host/shop",
        "sqlite:///srv/cache.db",
        "sqlite:a.db",
    ] {
        let error = project.run_in(&["get", "k"], &[("CACHE_URL", url)]).fails();
        let scheme = &url[..=url.find(':').expect("a scheme")];
        let expected = format!("db://cache_table?url={scheme}");
        assert!(error.contains("CACHE_URL: ") && error.contains(&expected), "{error}");
    }
}

#[test]
fn empty_config_variable_counts_as_not_set() {
    let project = Project::new(FILES);
    let url = format!("filebased://{}", project.path("elsewhere"));
    let variables = [("CACHETTE_CONFIG", ""), ("CACHE_URL", &*url)];
    project.run_in(&["set", "k", "1"], &variables).succeeds();
    // Unlike an empty option, which may be an unset variable in a script.
    let error = project.run_in(&["--config", "", "get", "k"], &variables).fails();
    assert!(error.contains("--config"), "{error}");
}

#[test]
fn json_output_has_errors_and_notes_as_documents() {
    let document = |text: &str| -> Json { serde_json::from_str(text).expect(text) };
    let project = Project::new("default = 'redis://127.0.0.1:1'\nmem = 'locmem://'");
    let error = document(&project.run(&["--output", "json", "get", "k"]).fails());
    assert!(error["error"].as_str().is_some_and(|text| text.contains("127.0.0.1:1")), "{error}");
    assert!(error["help"].as_str().is_some_and(|text| text.contains("start")), "{error}");
    assert!(error["causes"].is_array(), "{error}");
    for arguments in [&["--output=json", "gett", "k"][..], &["gett", "k", "--output", "json"]] {
        let error = document(&project.run(arguments).fails());
        assert!(error["error"].as_str().is_some_and(|text| text.contains("gett")), "{error}");
    }
    let missed = project.run(&["--output", "json", "--cache", "mem", "get", "k"]).exits_with(1);
    assert!(document(&missed.stderr)["note"].is_string(), "{}", missed.stderr);
}

#[test]
fn timeout_may_have_units() {
    let project = Project::new(FILES);
    project.run(&["set", "k", "1", "--timeout", "5m"]).succeeds();
    let ttl = project.run(&["ttl", "k"]).succeeds();
    let seconds: f64 = ttl.text().trim().parse().expect("seconds");
    assert!((200.0..=300.0).contains(&seconds), "{seconds}");
    let error = project.run(&["set", "k", "1", "--timeout", "soon"]).fails();
    assert!(error.contains("5m") && error.contains("never"), "{error}");
}
