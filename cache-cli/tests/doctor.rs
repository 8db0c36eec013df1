//! Tests of `cachette doctor`, on servers that have the fault.

mod common;

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use cachette::{Caches, ManualClock, Severity, Timeout};
use common::{Finished, Project};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, raw_sql};
use xtask::servers::{Kind, MYSQL_URL, POSTGRES_URL, Server};

/// Timeouts of the stores that do not expire on a busy machine.
const PATIENT_REDIS: &str = "socket_timeout=20&socket_connect_timeout=20";
const PATIENT_MEMCACHED: &str = "request_timeout=20&connect_timeout=20";
const PATIENT_DB: &str = "connect_timeout=20&statement_timeout=20";

fn start(kind: Kind, arguments: &[&str]) -> Server {
    Server::start_with(kind, arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn redis(arguments: &[&str]) -> (Server, Project) {
    let server = start(Kind::Redis, arguments);
    let project = Project::new(&format!("default = '{}?{PATIENT_REDIS}'", server.url()));
    (server, project)
}

fn memcached(arguments: &[&str]) -> (Server, Project) {
    let server = start(Kind::Memcached, arguments);
    let project = Project::new(&format!("default = '{}?{PATIENT_MEMCACHED}'", server.url()));
    (server, project)
}

/// Opens connections that the server counts: the kernel accepts one before the server knows of it,
/// so each has had a response.
fn clients<const COUNT: usize>(server: &Server, request: &str) -> [TcpStream; COUNT] {
    [(); COUNT].map(|()| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
        stream.write_all(request.as_bytes()).expect("the server reads");
        stream.read_exact(&mut [0]).expect("the server responds");
        stream
    })
}

/// What depends on the machine of the tests and its load.
const OF_THE_MACHINE: [&str; 3] = ["disk", "files", "round-trip"];

/// The findings that need action, as severities and codes, in their order. Asserts that each has a
/// remedy, and that the exit code is that of the worst.
#[track_caller]
fn diagnose(project: &Project) -> Vec<(String, String)> {
    let finished = project.run(&["--output", "json", "doctor"]);
    let mut found = findings(&finished);
    let has = |severity: &str| found.iter().any(|(other, _)| other == severity);
    let code = if has("error") { 2 } else { i32::from(has("warning")) };
    finished.exits_with(code);
    found.retain(|(severity, code)| severity != "info" && !OF_THE_MACHINE.contains(&&**code));
    found
}

fn nothing() -> Vec<(String, String)> {
    Vec::new()
}

#[track_caller]
fn findings(finished: &Finished) -> Vec<(String, String)> {
    let reports: Json = serde_json::from_slice(&finished.stdout).expect("stdout is JSON");
    let reports = reports.as_array().expect("a list of reports");
    let findings = reports.iter().flat_map(|report| report["findings"].as_array().expect("a list"));
    let text = |value: &Json| value.as_str().expect("text").to_owned();
    findings
        .map(|finding| {
            let (severity, code) = (text(&finding["severity"]), text(&finding["code"]));
            let needs_remedy = severity != "info" && !["config", "verb"].contains(&&*code);
            assert!(!needs_remedy || finding["remedy"].is_string(), "{finding}");
            assert!(finding["message"].is_string(), "{finding}");
            (severity, code)
        })
        .collect()
}

fn warning(code: &str) -> Vec<(String, String)> {
    vec![("warning".into(), code.into())]
}

fn error(code: &str) -> Vec<(String, String)> {
    vec![("error".into(), code.into())]
}

#[test]
fn healthy_stores_have_no_findings_that_need_action() {
    let (_redis, project) = redis(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    assert_eq!(diagnose(&project), nothing());
    let (_memcached, project) = memcached(&[]);
    assert_eq!(diagnose(&project), nothing());
    assert_eq!(diagnose(&Project::new("default = 'locmem://'\noff = 'dummy://'")), nothing());
    let project = Project::new("default = 'db://t?url=sqlite:cache.db&create_table=true'");
    assert_eq!(diagnose(&project), nothing());
}

#[test]
fn report_lists_findings_with_remedies_and_the_round_trip() {
    let (_server, project) = redis(&[]);
    let finished = project.run(&["doctor"]).exits_with(1);
    let text = finished.text();
    for fact in [
        "default (redis)\n",
        "warning",
        "help: set maxmemory",
        "[round-trip]",
        "0 errors, 1 warning",
    ] {
        assert!(text.contains(fact), "{fact:?} is missing in {text}");
    }
}

#[test]
fn doctor_deletes_its_own_entries() {
    let (_server, project) = redis(&[]);
    project.run(&["doctor"]).exits_with(1);
    assert_eq!(project.run(&["--output", "json", "stats"]).json()[0]["entries"], 0);
}

#[test]
fn redis_without_a_memory_limit_is_a_warning() {
    let (_server, project) = redis(&["--maxmemory", "0"]);
    assert_eq!(diagnose(&project), warning("no-memory-limit"));
}

#[test]
fn redis_with_a_limit_that_does_not_evict_is_a_warning() {
    let (_server, project) = redis(&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]);
    assert_eq!(diagnose(&project), warning("no-eviction"));
}

#[test]
fn redis_that_is_full_and_does_not_evict_is_an_error() {
    let (_server, project) = redis(&["--maxmemory", "1kb", "--maxmemory-policy", "noeviction"]);
    assert_eq!(diagnose(&project), [error("no-eviction"), error("verb")].concat());
}

#[test]
fn redis_that_is_almost_out_of_clients_is_a_warning() {
    let (server, project) = redis(&["--maxclients", "10", "--maxmemory", "100mb"]);
    let clients = clients::<8>(&server, "PING\r\n");
    let found = diagnose(&project);
    assert!(found.contains(&warning("clients")[0]), "{found:?}");
    drop(clients);
}

#[test]
fn redis_user_without_info_is_not_examined() {
    let rules = ["--user", "shop", "on", ">password", "~*", "&*", "+@all", "-info", "-time"];
    let server = start(Kind::Redis, &rules);
    let url = server.url().replace("redis://", "redis://shop:password@");
    let project = Project::new(&format!("default = '{url}?{PATIENT_REDIS}'"));
    assert_eq!(diagnose(&project), nothing());
    let found = findings(&project.run(&["--output", "json", "doctor"]));
    assert!(found.contains(&("info".into(), "not-examined".into())), "{found:?}");
}

#[test]
fn unreachable_server_is_one_error() {
    for url in
        ["redis://127.0.0.1:1", "memcached://127.0.0.1:1", "db://t?url=mysql://127.0.0.1:1/s"]
    {
        assert_eq!(diagnose(&Project::new(&format!("default = '{url}'"))), error("unreachable"));
    }
}

#[test]
fn one_unreachable_memcached_server_of_two_is_an_error() {
    let server = start(Kind::Memcached, &[]);
    let project =
        Project::new(&format!("default = '{},127.0.0.1:1?{PATIENT_MEMCACHED}'", server.url()));
    assert_eq!(diagnose(&project), error("unreachable"));
    let finished = project.run(&["doctor"]).exits_with(2);
    assert!(finished.text().contains("127.0.0.1:1: "), "{}", finished.text());
}

#[test]
fn memcached_that_does_not_evict_is_a_warning() {
    let (_server, project) = memcached(&["-M"]);
    assert_eq!(diagnose(&project), warning("no-eviction"));
}

#[test]
fn memcached_that_evicts_unread_items_is_a_warning() {
    let (_server, project) = memcached(&["-m", "8"]);
    let entries: Json =
        (0..300).map(|number| (number.to_string(), json!("v".repeat(100_000)))).collect();
    project.run_with(&["set-many", "-"], entries.to_string().as_bytes()).succeeds();
    assert_eq!(diagnose(&project), warning("evictions"));
}

#[test]
fn memcached_that_is_almost_out_of_connections_is_a_warning() {
    let (server, project) = memcached(&["-c", "100"]);
    let clients = clients::<72>(&server, "mn\r\n");
    assert_eq!(diagnose(&project), warning("connections"));
    drop(clients);
}

/// A project with a table of its own in the database at this URL.
fn database(url: &str, about: &str, options: &str) -> (Project, String) {
    let table = format!("doctor_{about}_{}", std::process::id());
    let project =
        Project::new(&format!("default = 'db://{table}?url={url}&{PATIENT_DB}{options}'"));
    (project, table)
}

fn server_url(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
    })
}

#[test]
fn missing_table_is_an_error_until_it_is_created() {
    for url in ["sqlite:cache.db".into(), server_url(POSTGRES_URL), server_url(MYSQL_URL)] {
        let (project, _) = database(&url, "missing", "");
        assert_eq!(diagnose(&project), error("table"), "{url}");
        project.run(&["createcachetable"]).succeeds();
        assert_eq!(diagnose(&project), nothing(), "{url}");
    }
}

async fn execute<D: sqlx::Database>(pool: &sqlx::Pool<D>, sql: String)
where
    for<'pool> &'pool sqlx::Pool<D>: sqlx::Executor<'pool, Database = D>,
{
    pool.execute(raw_sql(AssertSqlSafe(sql.clone()))).await.expect(&sql);
}

#[tokio::test]
async fn faults_of_a_table_in_postgres_are_found() {
    let url = server_url(POSTGRES_URL);
    let pool = sqlx::PgPool::connect(&url).await.expect("the server of the tests");
    let (project, table) = database(&url, "postgres", "&unlogged=true");
    project.run(&["createcachetable"]).succeeds();
    assert_eq!(diagnose(&project), nothing());
    execute(&pool, format!("ALTER TABLE {table} SET LOGGED")).await;
    assert_eq!(diagnose(&project), warning("logged"));
    execute(&pool, format!("ALTER TABLE {table} SET UNLOGGED")).await;
    execute(&pool, format!("DROP INDEX {table}_expires")).await;
    assert_eq!(diagnose(&project), warning("table"));
    project.run(&["createcachetable"]).succeeds();
    execute(&pool, format!("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")).await;
    let found = diagnose(&project);
    assert!(found.contains(&error("index")[0]), "{found:?}");
}

#[tokio::test]
async fn clock_that_differs_from_that_of_a_database_is_a_warning() {
    for url in [server_url(POSTGRES_URL), server_url(MYSQL_URL)] {
        let table = format!("doctor_clock_{}", std::process::id());
        let url = format!("db://{table}?url={url}&create_table=true&{PATIENT_DB}");
        let long_ago = ManualClock::new();
        let caches = Caches::builder().url("default", &url).clock(long_ago.clock());
        let caches = caches.build().await.expect("valid configuration");
        caches["default"].set("k", &1, Timeout::Never).await.expect("creates the table");
        let findings = caches["default"].diagnose().await.expect("examined");
        let clock = findings.iter().find(|finding| finding.code == "clock");
        let clock = clock.unwrap_or_else(|| panic!("{url}: {findings:?}"));
        assert_eq!(clock.severity, Severity::Warning);
        assert!(clock.message.contains("ahead of"), "{clock:?}");
    }
}

#[test]
fn unlogged_table_with_a_replica_is_an_error() {
    let url = server_url(POSTGRES_URL);
    let (project, _) = database(&url, "replica", &format!("&unlogged=true&read_url={url}"));
    project.run(&["createcachetable"]).succeeds();
    let found = diagnose(&project);
    assert!(found.contains(&error("unlogged")[0]), "{found:?}");
}

#[tokio::test]
async fn faults_of_a_table_in_mysql_are_found() {
    let url = server_url(MYSQL_URL);
    let pool = sqlx::MySqlPool::connect(&url).await.expect("the server of the tests");
    let (project, table) = database(&url, "mysql", "");
    project.run(&["createcachetable"]).succeeds();
    assert_eq!(diagnose(&project), nothing());
    execute(&pool, format!("ALTER TABLE {table} ENGINE = Aria")).await;
    assert_eq!(diagnose(&project), error("engine"));
    execute(&pool, format!("ALTER TABLE {table} ENGINE = InnoDB, DROP PRIMARY KEY")).await;
    let found = diagnose(&project);
    assert!(found.contains(&error("index")[0]), "{found:?}");
}

#[tokio::test]
async fn dead_rows_in_postgres_are_a_warning() {
    let url = server_url(POSTGRES_URL);
    let (project, table) = database(&url, "dead", "");
    project.run(&["createcachetable"]).succeeds();
    let mut connection = sqlx::PgConnection::connect(&url).await.expect("the server of the tests");
    for sql in [
        format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"),
        format!(
            "INSERT INTO {table} SELECT number::text::bytea, NULL, 1, 4000000000000000 \
             FROM generate_series(1, 10001) AS number"
        ),
        format!("UPDATE {table} SET number = 2"),
        format!("UPDATE {table} SET number = 3"),
    ] {
        connection.execute(raw_sql(AssertSqlSafe(sql.clone()))).await.expect(&sql);
    }
    // The server counts them when the connection ends.
    connection.close().await.expect("it is open");
    let is_found = || diagnose(&project).contains(&warning("dead-rows")[0]);
    let start = std::time::Instant::now();
    while !is_found() {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", diagnose(&project));
    }
    let mut connection = sqlx::PgConnection::connect(&url).await.expect("the server of the tests");
    connection.execute(raw_sql(AssertSqlSafe(format!("DROP TABLE {table}")))).await.expect("drops");
}

#[tokio::test]
async fn postgres_that_is_almost_out_of_connections_is_a_warning() {
    let server = start(Kind::Postgres, &["-N", "30"]);
    let (project, _) = database(&server.url(), "connections", "");
    project.run(&["createcachetable"]).succeeds();
    assert_eq!(diagnose(&project), nothing());
    let mut open = Vec::new();
    // The processes of the server are not connections.
    for _ in 0..22 {
        open.push(sqlx::PgConnection::connect(&server.url()).await.expect("below the limit"));
    }
    assert_eq!(diagnose(&project), nothing());
    for _ in 0..4 {
        open.push(sqlx::PgConnection::connect(&server.url()).await.expect("below the limit"));
    }
    assert_eq!(diagnose(&project), warning("connections"));
}

#[tokio::test]
async fn mysql_that_is_almost_out_of_connections_is_a_warning() {
    let server = start(Kind::Mariadb, &["--max-connections=30"]);
    let (project, _) = database(&server.url(), "connections", "");
    project.run(&["createcachetable"]).succeeds();
    assert_eq!(diagnose(&project), nothing());
    let mut open = Vec::new();
    for _ in 0..26 {
        open.push(sqlx::MySqlConnection::connect(&server.url()).await.expect("below the limit"));
    }
    assert_eq!(diagnose(&project), warning("connections"));
}

#[cfg(unix)]
#[test]
fn rights_of_a_directory_are_examined() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = Project::new("default = 'filebased://files'");
    project.run(&["set", "k", "1"]).succeeds();
    assert_eq!(diagnose(&project), nothing());
    for mode in [0o750, 0o777] {
        let rights = fs::Permissions::from_mode(mode);
        fs::set_permissions(project.path("files"), rights).expect("the own directory");
        assert_eq!(diagnose(&project), warning("permissions"), "{mode:o}");
    }
    let project = Project::new("default = 'filebased:///proc/cachette'");
    let found = diagnose(&project);
    assert!(found.contains(&error("directory")[0]), "{found:?}");
}

#[cfg(unix)]
#[test]
fn sqlite_file_that_everybody_can_change_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = Project::new("default = 'db://t?url=sqlite:cache.db&create_table=true'");
    project.run(&["set", "k", "1"]).succeeds();
    let rights = fs::Permissions::from_mode(0o666);
    fs::set_permissions(project.path("cache.db"), rights).expect("the own file");
    let found = diagnose(&project);
    assert!(found.contains(&warning("permissions")[0]), "{found:?}");
}

#[test]
fn every_mistake_of_a_configuration_is_reported() {
    let project = Project::new(
        "[default]
         BACKEND = 'redis'
         LOCATION = '127.0.0.1:99999'
         TIMOUT = 3
         VERSION = [1]
         KEY_FUNCTION = 'hased'
         OPTIONS = { socket_timeot = 1, db = 'many' }
         [pages]
         BACKEND = 'mongodb'",
    );
    let finished = project.run(&["doctor"]).exits_with(2);
    let text = finished.text();
    for setting in [
        "LOCATION: ",
        "TIMOUT: ",
        "VERSION: ",
        "KEY_FUNCTION: ",
        "OPTIONS.socket_timeot: ",
        "OPTIONS.db: ",
        "BACKEND: ",
        "7 errors, 0 warnings",
    ] {
        assert_eq!(text.matches(setting).count(), 1, "{setting:?} in {text}");
    }
    // Elsewhere, the first one is the error.
    project.run(&["get", "k"]).fails();
}

#[test]
fn configuration_without_default_is_a_warning() {
    let project = Project::new("pages = 'locmem://'");
    assert_eq!(diagnose(&project), warning("no-default"));
    project.run(&["doctor", "--cache", "pages"]).succeeds();
}

#[test]
fn deep_check_suggests_the_doctor() {
    let error = Project::new("default = 'locmem://'").run(&["check", "--deep"]).fails();
    assert!(error.contains("cachette doctor"), "{error}");
}
