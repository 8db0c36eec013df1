//! Tests of `cachette bench`.

mod common;

use common::Project;
use serde_json::Value as Json;
use xtask::servers::{Kind, Server};

fn entries(project: &Project, alias: &str) -> Json {
    project.run(&["--output", "json", "stats", "--cache", alias]).json()[0]["entries"].clone()
}

#[test]
fn percentiles_are_measured_and_nothing_is_left() {
    let servers = [Kind::Redis, Kind::Memcached]
        .map(|kind| Server::start(kind).unwrap_or_else(|error| panic!("{error}")));
    let [redis, memcached] = servers.each_ref().map(Server::url);
    let project = Project::new(&format!(
        "default = 'locmem://'
         files = 'filebased://files'
         sqlite = 'db://t?url=sqlite:cache.db&create_table=true'
         redis = '{redis}?socket_timeout=20&socket_connect_timeout=20'
         memcached = '{memcached}?request_timeout=20&connect_timeout=20'"
    ));
    for alias in ["default", "files", "sqlite", "redis", "memcached"] {
        let arguments = ["--output", "json", "bench", alias, "--duration", "200ms"];
        let result = project.run(&arguments).succeeds().json();
        assert_eq!(result["cache"], alias, "{result}");
        assert_eq!(result["misses"], 0, "{result}");
        for verb in ["get", "set"] {
            let number = |field: &str| result[verb][field].as_f64().expect("a number");
            assert!(number("calls") >= 1.0, "{result}");
            let times = ["p50_us", "p90_us", "p99_us", "max_us"].map(number);
            assert!(times.is_sorted() && times[0] > 0.0, "{result}");
        }
        assert_eq!(entries(&project, alias), 0, "{alias}");
    }
}

#[test]
fn result_is_a_table() {
    let project = Project::new("default = 'locmem://'");
    let finished = project.run(&["bench", "--duration", "0.05", "--size", "1000"]).succeeds();
    let lines: Vec<&str> = finished.text().lines().collect();
    assert!(lines[0].contains("default") && lines[0].contains("1000 bytes"), "{lines:?}");
    let heading: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(heading, ["calls", "p50", "p90", "p99", "max"]);
    assert!(lines[2].starts_with("get") && lines[3].starts_with("set"), "{lines:?}");
}

#[test]
fn store_that_keeps_nothing_is_noted() {
    let project = Project::new("default = 'dummy://'");
    let finished = project.run(&["bench", "--duration", "0.05"]).succeeds();
    assert!(finished.stderr.contains("misses"), "{}", finished.stderr);
}

#[test]
fn unknown_alias_and_unreachable_server_are_errors() {
    let project = Project::new("default = 'redis://127.0.0.1:1'");
    let error = project.run(&["bench", "defualt"]).fails();
    assert!(error.contains("did you mean \"default\"?"), "{error}");
    assert!(project.run(&["bench"]).fails().contains("127.0.0.1:1"));
}

#[cfg(unix)]
#[test]
fn interrupted_benchmark_removes_its_entries_and_reports() {
    let project = Project::new("default = 'filebased://files'");
    for signal in ["INT", "TERM"] {
        let script = format!(
            "\"$CACHETTE\" --config caches.toml --output json bench --duration 1h & bench=$!
             until ls files/*/*.entry >/dev/null 2>&1; do
                 sleep 0.01; kill -0 $bench || exit
             done
             kill -{signal} $bench; wait $bench"
        );
        let result = project.shell(&script).exits_with(130).json();
        assert_eq!(result["interrupted"], true, "{signal}: {result}");
        assert_eq!(entries(&project, "default"), 0, "{signal}");
    }
}
