//! Tests of `cachette createcachetable` on each database.

mod common;

use std::{env, process, thread};

use common::{Finished, Project};
use serde_json::Value as Json;

/// The URL of a database of each kind.
fn databases() -> [String; 3] {
    let server = |variable: &str| {
        env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
        })
    };
    ["sqlite:cache.db".into(), server("CACHETTE_POSTGRES_URL"), server("CACHETTE_MYSQL_URL")]
}

/// A project with a cache in each database, and the name of their tables, which no other
/// test uses.
fn project(about: &str) -> (Project, String) {
    let table = format!("{about} {}", process::id());
    let section = |(number, url): (usize, &String)| {
        format!(
            "[c{number}]\nbackend = 'db'\nlocation = \"{table}\"\noptions = {{ url = '{url}', connect_timeout = 20, statement_timeout = 20 }}\n"
        )
    };
    let text: String = databases().iter().enumerate().map(section).collect();
    (Project::new(&text), table)
}

/// Runs createcachetable with JSON output. Returns the table and what was found, for each.
#[track_caller]
fn create(project: &Project, arguments: &[&str]) -> Vec<(String, String)> {
    let output = ["--output", "json", "createcachetable"];
    tables(&project.run(&[&output, arguments].concat()).succeeds())
}

fn tables(finished: &Finished) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().expect("a string").to_owned();
    let json: Json = serde_json::from_slice(&finished.stdout).expect("stdout is JSON");
    let created = json.as_array().expect("an array");
    created.iter().map(|one| (text(&one["table"]), text(&one["state"]))).collect()
}

fn table(name: &str, found: &str) -> (String, String) {
    (name.to_owned(), found.to_owned())
}

#[test]
fn missing_tables_are_created_and_existing_tables_kept() {
    let (project, name) = project("created");
    project.run(&["check"]).exits_with(1);
    let created = project.run(&["createcachetable"]).succeeds();
    assert_eq!(created.text().matches(&format!("{name:?}")).count(), 3, "{}", created.text());
    project.run(&["check"]).succeeds();
    for alias in ["c0", "c1", "c2"] {
        project.run(&["--cache", alias, "set", "k", "1"]).succeeds();
    }
    assert_eq!(create(&project, &[&name]), [(); 3].map(|()| table(&name, "current")));
    for alias in ["c0", "c1", "c2"] {
        project.run(&["--cache", alias, "get", "k"]).prints("1\n");
    }
}

#[test]
fn invalid_cache_is_reported_and_not_ignored() {
    let project = Project::new("default = 'db://?url=sqlite:cache.db'");
    let error = project.run(&["createcachetable"]).fails();
    assert!(error.contains("LOCATION"), "{error}");
}

#[test]
fn cache_option_is_rejected() {
    let project =
        Project::new("a = 'db://a?url=sqlite:cache.db'\nb = 'db://b?url=sqlite:cache.db'");
    let error = project.run(&["createcachetable", "--cache", "a"]).fails();
    assert!(error.contains("--cache") && error.contains("createcachetable TABLE"), "{error}");
    assert_eq!(create(&project, &["a"]), [table("a", "missing")]);
}

#[test]
fn dry_run_prints_the_sql_of_each_database_and_changes_nothing() {
    let (project, table) = project("dry");
    let finished = project.run(&["createcachetable", "--dry-run"]).succeeds();
    for sql in [
        format!("CREATE TABLE IF NOT EXISTS \"{table}\" (cache_key BLOB"),
        format!("CREATE TABLE IF NOT EXISTS \"{table}\" (cache_key bytea"),
        format!("CREATE TABLE IF NOT EXISTS `{table}` (cache_key VARBINARY"),
    ] {
        assert!(finished.text().contains(&sql), "{sql:?} in {}", finished.text());
    }
    assert!(
        finished.text().lines().all(|line| line.starts_with("-- ") || line.ends_with(';')),
        "{}",
        finished.text()
    );
    project.run(&["check"]).exits_with(1);
}

#[test]
fn concurrent_creations_all_succeed() {
    let (project, _) = project("at once");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| project.run(&["createcachetable"]).succeeds());
        }
    });
    project.run(&["check"]).succeeds();
}

#[test]
fn table_names_are_quoted() {
    for table in [r#"x"; DROP TABLE y; --"#, "it's `mine`", "Žluťoučký kůň"] {
        let project = Project::new("");
        let section = |(number, url): (usize, &String)| {
            format!(
                "[c{number}]\nbackend = 'db'\nlocation = '''{table}'''\n\
                 options = {{ url = '{url}', connect_timeout = 20, statement_timeout = 20 }}\n"
            )
        };
        project.configure(&databases().iter().enumerate().map(section).collect::<String>());
        project.run(&["createcachetable", table]).succeeds();
        project.run(&["check"]).succeeds();
    }
}

#[test]
fn foreign_table_is_rejected_and_kept() {
    let (project, table) = project("foreign");
    let postgres = &databases()[1];
    let foreign = format!("CREATE TABLE \"{table}\" (id int)");
    let created =
        process::Command::new("psql").args([postgres, "-c", &foreign]).output().expect("run psql");
    assert!(created.status.success(), "{created:?}");
    let finished = project.run(&["createcachetable"]).exits_with(2);
    let error = finished.stderr;
    assert!(error.contains(&table) && error.contains("column") && error.contains("id"), "{error}");
}

#[test]
fn database_option_selects_one_database() {
    let project = Project::new(
        "databases = { first = 'sqlite:1.db', second = 'sqlite:2.db' }
         [caches.one]
         backend = 'db'
         location = 'one'
         options = { database = 'first' }
         [caches.two]
         backend = 'db'
         location = 'two'
         options = { database = 'second' }",
    );
    assert_eq!(create(&project, &["--database", "second"]), [table("two", "missing")]);
    for (arguments, facts) in [
        (&["--database", "third"][..], ["\"third\"", "\"first\"", "\"second\""]),
        (&["three"], ["\"three\"", "\"one\"", "\"two\""]),
    ] {
        let error = project.run(&[&["createcachetable"], arguments].concat()).fails();
        assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
    }
}

#[test]
fn unreachable_database_does_not_stop_the_others() {
    let project = Project::new(
        "a = 'db://t?url=mysql://root@127.0.0.1:1/shop'\nb = 'db://t?url=sqlite:b.db'",
    );
    let finished = project.run(&["--output", "json", "createcachetable"]).exits_with(2);
    assert_eq!(tables(&finished), [table("t", "missing")]);
    assert!(finished.stderr.contains("127.0.0.1:1"), "{}", finished.stderr);
}

#[test]
fn configuration_without_a_database_has_no_tables() {
    let project = Project::new("default = 'locmem://'");
    assert!(project.run(&["createcachetable"]).succeeds().text().contains("nothing to do"));
    assert_eq!(create(&project, &[]), []);
}
