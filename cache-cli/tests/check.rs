//! Tests of `cachette check`.

mod common;

use common::Project;
use xtask::servers::{Kind, Server};

/// Timeouts of the Redis store that do not expire on a busy machine.
const PATIENT: &str = "socket_timeout=20&socket_connect_timeout=20";

#[test]
fn valid_configuration_passes() {
    let project =
        Project::new("default = 'filebased://files'\nmem = 'locmem://'\noff = 'dummy://'");
    let finished = project.run(&["check"]).succeeds();
    assert_eq!(
        finished.text(),
        "ok      default (filebased)\nok      mem (locmem)\nok      off (dummy)\n"
    );
    let stats = project.run(&["--output", "json", "--cache", "default", "stats"]).json();
    assert_eq!(stats[0]["entries"], 0, "the check deletes its own entry");
}

#[test]
fn each_problem_is_reported_with_its_setting() {
    let project = Project::new(
        "default = 'locmem://'
         away = 'db://t?url=postgres://ada@127.0.0.1:1/shop'
         bare = 'db://my%20pages?url=sqlite:bare.db'
         wrong = 'locmem://?max_entries=many'
         late = 'locmem://?timeout=soon'
         bare_word = 'locmem'
         unknown = 'mongodb://host'",
    );
    let finished = project.run(&["check"]).exits_with(1);
    let report = finished.text();
    let command = format!("--config {} createcachetable 'my pages'", project.path("caches.toml"));
    for (status, alias, facts) in [
        ("ok", "default (locmem)", &[][..]),
        ("problem", "away (db)", &["127.0.0.1:1", "start the server"]),
        ("problem", "bare (db)", &[&command]),
        ("problem", "wrong", &["OPTIONS.max_entries", "\"many\""]),
        ("problem", "late", &["timeout", "\"soon\""]),
        ("problem", "bare_word", &["URL", "\"locmem\""]),
        ("problem", "unknown", &["BACKEND", "\"mongodb\""]),
    ] {
        let start = report.find(&format!("{status:7} {alias}\n"));
        let rest = &report[start.unwrap_or_else(|| panic!("no {status} {alias} in {report}"))..];
        let section = rest.split("\nproblem ").next().unwrap_or_default();
        for fact in facts {
            assert!(section.contains(fact), "{fact:?} is missing in {section}");
        }
    }
}

#[test]
fn cache_option_checks_one_cache() {
    let project = Project::new("default = 'locmem://'\nwrong = 'locmem://?max_entries=many'");
    project.run(&["check", "--cache", "default"]).succeeds();
    project.run(&["check", "--cache", "wrong"]).exits_with(1);
    project.run(&["check", "--cache", "none"]).fails();
}

#[test]
fn empty_configuration_is_an_error() {
    let project = Project::new("");
    let error = project.run(&["check"]).fails();
    assert!(error.contains("caches.toml") && error.contains("no caches"), "{error}");
    let error = project.run_in(&["check"], &[("CACHE_URLS", "locmem://")]).fails();
    assert!(error.contains("no caches") && error.contains("CACHE_URL"), "{error}");
}

#[test]
fn unreadable_configuration_is_an_error() {
    let project = Project::new("default = ");
    let error = project.run(&["check"]).fails();
    assert!(error.contains("caches.toml") && error.contains("line 1"), "{error}");
    let error = project.run_in(&["--config", "nowhere.toml", "check"], &[]).fails();
    assert!(error.contains("nowhere.toml"), "{error}");
}

#[test]
fn check_of_files_leaves_nothing_behind() {
    let project = Project::new("default = 'filebased://files'");
    project.run(&["check"]).succeeds();
    assert!(!std::path::Path::new(&project.path("files")).exists());
}

#[test]
fn unwritable_directory_is_reported_with_its_path() {
    let project = Project::new("default = 'filebased:///proc/cachette'");
    let finished = project.run(&["check"]).exits_with(1);
    assert!(finished.text().contains("/proc/cachette"), "{}", finished.text());
}

#[test]
fn warnings_are_shown_by_check_and_with_verbose() {
    let project = Project::new("default = 'filebased://files'");
    let warning = "LOCATION";
    assert!(project.run(&["check"]).stderr.contains(warning));
    assert!(!project.run(&["get", "k"]).stderr.contains(warning));
    assert!(project.run(&["get", "k", "--verbose"]).stderr.contains(warning));
}

#[test]
fn warning_about_a_long_key_truncates_the_key() {
    let project = Project::new("default = 'filebased://files'");
    let finished = project.run(&["get", &"k".repeat(100_000), "--verbose"]);
    assert!(finished.stderr.contains("250"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("kk\"… of 100003 bytes") && finished.stderr.len() < 1000,
        "{}",
        finished.stderr.len()
    );
}

#[test]
fn every_memcached_server_is_checked() {
    let mut servers =
        [(); 3].map(|()| Server::start(Kind::Memcached).unwrap_or_else(|error| panic!("{error}")));
    let redis = Server::start(Kind::Redis).unwrap_or_else(|error| panic!("{error}"));
    let addresses = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port()));
    let project = Project::new(&format!(
        "default = 'memcached://{}?request_timeout=20&connect_timeout=20'\n\
         other = '{}?{PATIENT}'",
        addresses.join(","),
        redis.url()
    ));
    assert_eq!(
        project.run(&["check"]).succeeds().text(),
        "ok      default (memcached)\nok      other (redis)\n"
    );
    for (server, address) in servers.iter_mut().zip(&addresses) {
        server.kill().expect("kill the server");
        let finished = project.run(&["check", "--cache", "default"]).exits_with(1);
        assert!(finished.text().contains(address), "{}", finished.text());
        server.restart().expect("restart the server");
    }
}

#[test]
fn error_of_an_unreachable_server_names_the_alias() {
    let project = Project::new(
        "table = 'db://t?url=postgres://ada@127.0.0.1:1/shop'\n\
         server = 'memcached://127.0.0.1:1'\n",
    );
    let output = project.run(&["check"]).exits_with(1);
    for place in ["cache \"table\" (db): ", "cache \"server\" (memcached): "] {
        assert!(output.text().contains(place), "{}", output.text());
    }
}

/// The rules of a Redis user with the commands that the documentation lists for a KEY_PREFIX.
fn documented_rules() -> Vec<&'static str> {
    const DOCUMENTATION: &str = include_str!("../../docs/production/redis.md");
    let line = DOCUMENTATION.lines().find(|line| line.starts_with("ACL SETUSER shop "));
    line.expect("an example").split_whitespace().skip(2).collect()
}

/// Starts a Redis server with a user of these rules, and configures a cache for this user.
fn redis_with_user(rules: &[&str]) -> (Server, Project) {
    let arguments = [&["--user"], rules].concat();
    let server = Server::start_with(Kind::Redis, &arguments);
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace("redis://", "redis://shop:password@");
    let project = Project::new(&format!("default = '{url}?key_prefix=shop&{PATIENT}'"));
    (server, project)
}

#[test]
fn redis_user_with_the_documented_commands_passes() {
    let (_server, project) = redis_with_user(&documented_rules());
    project.run(&["check"]).succeeds();
}

#[test]
fn verb_that_a_redis_user_may_not_call_is_reported_with_a_remedy() {
    for (command, verb) in [
        ("+get", "get: "),
        ("+evalsha", "incr: "),
        ("+incrby", "incr: "),
        ("+pexpire", "touch: "),
        ("+pttl", "ttl: "),
        ("+mget", "get_many: "),
        ("+unlink", "delete: "),
    ] {
        let rules: Vec<&str> =
            documented_rules().into_iter().filter(|rule| *rule != command).collect();
        let (_server, project) = redis_with_user(&rules);
        let finished = project.run(&["check"]).exits_with(1);
        for fact in [verb, "docs/production/redis.md"] {
            assert!(finished.text().contains(fact), "{command}: {}", finished.text());
        }
    }
}

#[test]
fn sqlite_file_that_cannot_be_opened_has_its_own_remedy() {
    let project = Project::new("default = 'db://t?url=sqlite:.'");
    let finished = project.run(&["check"]).exits_with(1);
    assert!(finished.text().contains("create the directory of the SQLite file"), "{finished:?}");
}

#[test]
fn command_reports_an_outage_that_the_service_treats_as_misses() {
    let project = Project::new("default = 'redis://127.0.0.1:1?on_outage=miss'");
    project.run(&["check"]).exits_with(1);
    for command in [&["get", "k"][..], &["set", "k", "1"], &["delete", "k"], &["get-many", "k"]] {
        assert!(project.run(command).fails().contains("start the server"), "{command:?}");
    }
}
