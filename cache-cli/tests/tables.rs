//! `cachette createcachetable`, on each database.

mod common;

use std::{env, process, thread};

use common::Caches;

/// The URL of a database of each kind.
fn databases() -> [String; 3] {
    let server = |variable: &str| {
        env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run this test by `cargo xtask test`, which starts the servers that it needs")
        })
    };
    ["sqlite:cache.db".into(), server("CACHETTE_POSTGRES_URL"), server("CACHETTE_MYSQL_URL")]
}

/// A cache in each database, in a table of a name that no other test has.
fn caches(about: &str) -> (Caches, String) {
    let table = format!("{about} {}", process::id());
    let section = |(number, url): (usize, &String)| {
        format!(
            "[c{number}]\nbackend = 'db'\nlocation = \"{table}\"\noptions = {{ url = '{url}' }}\n"
        )
    };
    let text: String = databases().iter().enumerate().map(section).collect();
    (Caches::new(&text), table)
}

#[test]
fn tables_are_made_where_there_are_none_and_left_where_they_are() {
    let (caches, table) = caches("made");
    caches.run(&["check"]).exits_with(1);
    let made = caches.run(&["createcachetable"]).done();
    assert_eq!(
        made.text().matches(&format!("made the table {table:?} in ")).count(),
        3,
        "{}",
        made.text()
    );
    caches.run(&["check"]).done();
    for alias in ["c0", "c1", "c2"] {
        caches.run(&["--cache", alias, "set", "k", "1"]).done();
    }
    let again = caches.run(&["createcachetable", &table]).done();
    assert_eq!(again.text().matches("is there already").count(), 3, "{}", again.text());
    for alias in ["c0", "c1", "c2"] {
        caches.run(&["--cache", alias, "get", "k"]).says("1\n");
    }
}

#[test]
fn a_cache_with_a_mistake_is_told_and_not_taken_for_none() {
    let caches = Caches::new("default = 'db://?url=sqlite:cache.db'");
    let error = caches.run(&["createcachetable"]).fails();
    assert!(error.contains("LOCATION: found none"), "{error}");
}

#[test]
fn one_cache_that_is_asked_for_is_not_taken_for_all() {
    let caches = Caches::new("a = 'db://a?url=sqlite:cache.db'\nb = 'db://b?url=sqlite:cache.db'");
    let error = caches.run(&["createcachetable", "--cache", "a"]).fails();
    assert!(error.contains("name the table"), "{error}");
    let made = caches.run(&["createcachetable", "a"]).done();
    assert!(
        made.text().starts_with("made the table \"a\" in sqlite:")
            && made.text().lines().count() == 1,
        "{made:?}"
    );
}

#[test]
fn a_dry_run_prints_the_sql_of_each_database_and_changes_nothing() {
    let (caches, table) = caches("dry");
    let said = caches.run(&["createcachetable", "--dry-run"]).done();
    for sql in [
        format!("CREATE TABLE IF NOT EXISTS \"{table}\" (cache_key BLOB"),
        format!("CREATE TABLE IF NOT EXISTS \"{table}\" (cache_key bytea"),
        format!("CREATE TABLE IF NOT EXISTS `{table}` (cache_key VARBINARY"),
    ] {
        assert!(said.text().contains(&sql), "{sql:?} in {}", said.text());
    }
    assert!(
        said.text().lines().all(|line| line.starts_with("-- ") || line.ends_with(';')),
        "{}",
        said.text()
    );
    caches.run(&["check"]).exits_with(1);
}

#[test]
fn eight_who_make_a_table_at_once_all_succeed() {
    let (caches, _) = caches("at once");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| caches.run(&["createcachetable"]).done());
        }
    });
    caches.run(&["check"]).done();
}

#[test]
fn a_name_that_would_be_sql_is_a_name() {
    for table in [r#"x"; DROP TABLE y; --"#, "it's `mine`", "Žluťoučký kůň"] {
        let caches = Caches::new("");
        let section = |(number, url): (usize, &String)| {
            format!(
                "[c{number}]\nbackend = 'db'\nlocation = '''{table}'''\noptions = {{ url = '{url}' }}\n"
            )
        };
        caches.configure(&databases().iter().enumerate().map(section).collect::<String>());
        caches.run(&["createcachetable", table]).done();
        caches.run(&["check"]).done();
    }
}

#[test]
fn a_table_of_somebody_else_s_is_left_alone() {
    let (caches, table) = caches("theirs");
    let postgres = &databases()[1];
    let theirs = format!("CREATE TABLE \"{table}\" (id int)");
    let made =
        process::Command::new("psql").args([postgres, "-c", &theirs]).output().expect("psql runs");
    assert!(made.status.success(), "{made:?}");
    let said = caches.run(&["createcachetable"]).exits_with(2);
    assert!(said.err.contains("is not a cache's, as its columns are id"), "{}", said.err);
}

#[test]
fn one_database_can_be_chosen_by_its_name() {
    let caches = Caches::new(
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
    let made = caches.run(&["createcachetable", "--database", "second"]).done();
    assert!(
        made.text().starts_with("made the table \"two\"") && made.text().lines().count() == 1,
        "{}",
        made.text()
    );
    let error = caches.run(&["createcachetable", "--database", "third"]).fails();
    assert!(error.contains(r#"a database "third"; there are "first" and "second""#), "{error}");
    let error = caches.run(&["createcachetable", "three"]).fails();
    assert!(error.contains(r#"a table "three"; there are "one" and "two""#), "{error}");
}

#[test]
fn one_database_that_is_away_does_not_keep_the_others_from_their_tables() {
    let caches =
        Caches::new("a = 'db://t?url=mysql://root@127.0.0.1:1/shop'\nb = 'db://t?url=sqlite:b.db'");
    let said = caches.run(&["createcachetable"]).exits_with(2);
    assert!(said.text().starts_with("made the table \"t\""), "{}", said.text());
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
}

#[test]
fn without_a_cache_in_a_database_there_is_nothing_to_do() {
    let caches = Caches::new("default = 'locmem://'");
    caches
        .run(&["createcachetable"])
        .says("no cache is kept in a database: there is nothing to do\n");
}
