//! The database store as a configuration makes it.
#![cfg(all(feature = "db-sqlite", feature = "toml"))]

use std::fs;

use cachette::{Caches, ErrorKind, Timeout};

async fn mistake(options: &str) -> String {
    let text = format!("[default]\nbackend = 'db'\nlocation = 'pages'\n[default.options]\n{options}");
    let error = Caches::from_toml(&text).await.expect_err("it is a mistake");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn a_relative_path_starts_at_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("caches.toml");
    let text = "[default]\nbackend = 'django.core.cache.backends.db.DatabaseCache'\nlocation = 'pages'\n\
                options = { url = 'sqlite:cache.db', create_table = true }";
    fs::write(&path, text).expect("there is room");
    let caches = Caches::from_file(&path).await.expect("it is fine");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    assert!(folder.path().join("cache.db").is_file());
}

#[tokio::test]
async fn a_missing_table_is_told_with_what_makes_it() {
    let folder = tempfile::tempdir().expect("there is room");
    let url = format!("db://my%20pages?url=sqlite:{}/cache.db", folder.path().display());
    let caches = Caches::from_url(&url).await.expect("it is fine");
    let error = caches["default"].get::<String>("k").await.expect_err("there is no table");
    assert!(error.to_string().ends_with("or have it made with the option create_table = true"), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn aliases_of_one_table_share_a_store_and_must_agree_on_its_options() {
    let agreeing = "db://pages?url=sqlite::memory:&key_prefix=";
    let caches = Caches::builder().url("default", &format!("{agreeing}a")).url("other", &format!("{agreeing}b"));
    let caches = caches.build().await.expect("it is fine");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    caches["other"].clear().await.expect("it is emptied");
    assert!(!caches["default"].contains("k").await.expect("it answers"), "both are in one table");

    let disagreeing =
        Caches::builder().url("default", agreeing).url("other", "db://pages?url=sqlite::memory:&max_entries=5");
    assert_eq!(disagreeing.build().await.expect_err("they differ").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_option() {
    for (options, told) in [
        ("", "OPTIONS.url: found none, expected the URL of a database"),
        ("url = 'oracle://host'", "OPTIONS.url: found \"oracle://host\", expected the URL of a database"),
        ("url = 'sqlite:'", "OPTIONS.url: found \"sqlite:\", expected the URL of a database"),
        ("url = 'sqlite:x'\nread_url = 'y'", "OPTIONS.read_url: found \"y\", expected the URL of a database"),
        ("url = 'sqlite:x'\nstatement_timeout = -1", "OPTIONS.statement_timeout: found -1"),
        ("url = 'sqlite:x'\nmax_entries = 0", "OPTIONS.max_entries: found 0, expected a whole number of at least 1"),
    ] {
        let found = mistake(options).await;
        assert!(found.contains(told), "{found}");
    }
    let error = Caches::from_url("db://?url=sqlite:x").await.expect_err("there is no table's name");
    assert!(error.to_string().contains("LOCATION: found none, expected the name of a table"), "{error}");
}

#[tokio::test]
async fn a_password_is_never_shown() {
    for url in ["postgres://ada:hunter2@[", "mysql://ada:hunter2@host:port", "oracle://ada:hunter2@host"] {
        let told = mistake(&format!("url = '{url}'")).await;
        assert!(!told.contains("hunter2"), "{told}");
    }
}
