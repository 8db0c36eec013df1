//! `cachette check`.

mod common;

use common::Caches;
use xtask::servers::{Kind, Server};

#[test]
fn a_configuration_without_problems_is_all_right() {
    let caches = Caches::new("default = 'filebased://files'\nmem = 'locmem://'\noff = 'dummy://'");
    let said = caches.run(&["check"]).done();
    assert_eq!(
        said.text(),
        "ok      default (filebased)\nok      mem (locmem)\nok      off (dummy)\n"
    );
    let stats = caches.run(&["--output", "json", "--cache", "default", "stats"]).json();
    assert_eq!(stats[0]["entries"], 0, "its own entry is gone");
}

#[test]
fn every_problem_is_told_with_what_to_do_about_it() {
    let caches = Caches::new(
        "default = 'locmem://'
         away = 'db://t?url=postgres://ada@127.0.0.1:1/shop'
         bare = 'db://my%20pages?url=sqlite:bare.db'
         wrong = 'locmem://?max_entries=many'
         late = 'locmem://?timeout=soon'
         bare_word = 'locmem'
         unknown = 'mongodb://host'",
    );
    let said = caches.run(&["check"]).exits_with(1);
    let told = said.text();
    for expected in [
        "ok      default (locmem)\n",
        "problem away (db)\n        db: postgres://***@127.0.0.1:1/shop: ",
        "what to do: see that its server runs",
        &format!("`cachette --config {} createcachetable 'my pages'`", caches.path("caches.toml")),
        "problem wrong\n",
        "OPTIONS.max_entries: found \"many\"",
        "cache \"late\": timeout: found \"soon\"",
        "cache \"bare_word\": URL: found \"locmem\"",
        "BACKEND: found \"mongodb\"",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
}

#[test]
fn one_cache_can_be_checked_alone() {
    let caches = Caches::new("default = 'locmem://'\nwrong = 'locmem://?max_entries=many'");
    caches.run(&["check", "--cache", "default"]).done();
    caches.run(&["check", "--cache", "wrong"]).exits_with(1);
    caches.run(&["check", "--cache", "none"]).fails();
}

#[test]
fn a_configuration_of_no_caches_is_an_error_and_not_all_right() {
    let caches = Caches::new("");
    let error = caches.run(&["check"]).fails();
    assert!(error.contains("caches.toml: no caches are configured"), "{error}");
    let error = caches.run_in(&["check"], &[("CACHE_URLS", "locmem://")]).fails();
    assert!(error.contains("no caches are configured") && error.contains("CACHE_URL"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let caches = Caches::new("default = ");
    let error = caches.run(&["check"]).fails();
    assert!(error.contains("caches.toml: line 1: "), "{error}");
    let error = caches.run_in(&["--config", "nowhere.toml", "check"], &[]).fails();
    assert!(error.contains("nowhere.toml: cannot be read"), "{error}");
}

#[test]
fn a_folder_that_may_not_be_written_to_is_a_problem_with_its_path() {
    let caches = Caches::new("default = 'filebased:///proc/cachette'");
    let said = caches.run(&["check"]).exits_with(1);
    assert!(said.text().contains("/proc/cachette"), "{}", said.text());
}

#[test]
fn what_a_store_warns_of_is_shown_by_check_and_where_it_is_asked_for() {
    let caches = Caches::new("default = 'filebased://files'");
    let warning = "the LOCATION of a cache is relative";
    assert!(caches.run(&["check"]).err.contains(warning));
    assert!(!caches.run(&["get", "k"]).err.contains(warning));
    assert!(caches.run(&["get", "k", "--verbose"]).err.contains(warning));
}

#[test]
fn a_warning_about_a_key_shows_the_beginning_of_a_long_one() {
    let caches = Caches::new("default = 'filebased://files'");
    let said = caches.run(&["get", &"k".repeat(100_000), "--verbose"]);
    assert!(said.err.contains("is longer than 250 characters"), "{}", said.err);
    assert!(
        said.err.contains("kk\"… of 100003 bytes") && said.err.len() < 1000,
        "{}",
        said.err.len()
    );
}

#[test]
fn each_of_many_servers_is_asked() {
    let mut servers =
        [(); 3].map(|()| Server::start(Kind::Memcached).unwrap_or_else(|why| panic!("{why}")));
    let redis = Server::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
    let places = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port()));
    let caches = Caches::new(&format!(
        "default = 'memcached://{}'\nother = '{}'",
        places.join(","),
        redis.url()
    ));
    assert_eq!(
        caches.run(&["check"]).done().text(),
        "ok      default (memcached)\nok      other (redis)\n"
    );
    for (server, place) in servers.iter_mut().zip(&places) {
        server.kill().expect("it is killed");
        let said = caches.run(&["check", "--cache", "default"]).exits_with(1);
        assert!(said.text().contains(place), "{}", said.text());
        server.restart().expect("it starts again");
    }
}
