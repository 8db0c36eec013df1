//! The database store as a configuration makes it.
#![cfg(all(feature = "db-sqlite", feature = "toml"))]

use std::fs;

use cachette::{
    Caches, ErrorKind, Timeout,
    stores::{CreateTables, DbBackend, DbCache, Router, TableCreation, TableState},
};

async fn invalid_setting(options: &str) -> String {
    let text =
        format!("[default]\nbackend = 'db'\nlocation = 'pages'\n[default.options]\n{options}");
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
    assert!(error.to_string().contains("the option create_table = true"), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn aliases_of_one_table_share_a_store_and_must_agree_on_its_options() {
    let agreeing = "db://pages?url=sqlite::memory:&key_prefix=";
    let caches = Caches::builder()
        .url("default", &format!("{agreeing}a"))
        .url("other", &format!("{agreeing}b"));
    let caches = caches.build().await.expect("it is fine");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    caches["other"].clear().await.expect("it is emptied");
    assert!(!caches["default"].contains("k").await.expect("it answers"), "both are in one table");

    let disagreeing = Caches::builder()
        .url("default", agreeing)
        .url("other", "db://pages?url=sqlite::memory:&max_entries=5");
    assert_eq!(disagreeing.build().await.expect_err("they differ").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_option() {
    for (options, told) in [
        ("", "OPTIONS.url: found none, expected the URL of a database"),
        (
            "url = 'oracle://host'",
            "OPTIONS.url: found \"oracle://host\", expected the URL of a database",
        ),
        ("url = 'sqlite:'", "OPTIONS.url: found \"sqlite:\", expected the URL of a database"),
        ("url = 'postgres://host/db?sslmode=verify'", "unknown value \"verify\" for `ssl_mode`"),
        (
            "url = 'sqlite:x'\nread_url = 'y'",
            "OPTIONS.read_url: found \"y\", expected the URL of a database",
        ),
        ("url = 'sqlite:x'\nstatement_timeout = -1", "OPTIONS.statement_timeout: found -1"),
        (
            "url = 'sqlite:x'\nmax_entries = 0",
            "OPTIONS.max_entries: found 0, expected a whole number of at least 1",
        ),
    ] {
        let found = invalid_setting(options).await;
        assert!(found.contains(told), "{found}");
    }
    let error = Caches::from_url("db://?url=sqlite:x").await.expect_err("there is no table's name");
    assert!(
        error.to_string().contains("LOCATION: found none, expected the name of a table"),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_is_never_shown() {
    for url in
        ["postgres://ada:hunter2@[", "mysql://ada:hunter2@host:port", "oracle://ada:hunter2@host"]
    {
        let told = invalid_setting(&format!("url = '{url}'")).await;
        assert!(!told.contains("hunter2"), "{told}");
    }
}

/// A file, and the caches that it configures.
async fn configured(name: &str, text: &str) -> (tempfile::TempDir, Caches) {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("there is room");
    let caches = Caches::from_file(&path).await.expect("it is fine");
    (folder, caches)
}

const PRIMARY_AND_REPLICA: &str = "
    databases = { default = 'sqlite:primary.db', replica = { url = 'sqlite:replica.db' } }
    [caches.default]
    backend = 'db'
    location = 'pages'
    options = { read_database = 'replica' }
    [caches.plain]
    backend = 'db'
    location = 'plain'
    [caches.elsewhere]
    backend = 'db'
    location = 'elsewhere'
    options = { database = 'replica' }
";

#[tokio::test]
async fn a_cache_names_its_databases_and_means_the_default_one_otherwise() {
    let (_folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let made = caches.create_tables(&CreateTables::default()).await.expect("they are made");
    let told: Vec<String> =
        made.into_iter().map(|made| made.expect("it is made").to_string()).collect();
    let ends = [("pages", "primary.db"), ("elsewhere", "replica.db"), ("plain", "primary.db")];
    assert_eq!(told.len(), ends.len(), "{told:?}");
    for (told, (table, database)) in told.iter().zip(ends) {
        assert!(
            told.starts_with(&format!("created table {table:?}")) && told.ends_with(database),
            "{told}"
        );
    }
    caches["plain"].set("k", "v", Timeout::Default).await.expect("it is stored");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    let error =
        caches["default"].get::<String>("k").await.expect_err("the replica has no such table yet");
    assert!(error.to_string().contains("replica.db has no table \"pages\""), "{error}");
}

#[tokio::test]
async fn one_table_or_one_database_can_be_asked_for() {
    let (_folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let create = async |tables: &[&str], database: Option<&str>, dry_run| {
        let tables = tables.iter().map(|&table| table.to_owned()).collect();
        let wanted = CreateTables { tables, database: database.map(Into::into), dry_run };
        let made = caches.create_tables(&wanted).await;
        let outcome =
            |made: cachette::Result<TableCreation>| made.map(|made| (made.table, made.state));
        made.and_then(|made| made.into_iter().map(outcome).collect::<Result<Vec<_>, _>>())
    };
    let named = |table: &str, found| (table.to_owned(), found);
    assert_eq!(
        create(&["plain"], None, true).await.expect("it looks"),
        [named("plain", TableState::Missing)]
    );
    assert_eq!(
        create(&["plain"], None, false).await.expect("it makes"),
        [named("plain", TableState::Missing)]
    );
    assert_eq!(
        create(&["plain"], None, false).await.expect("it looks"),
        [named("plain", TableState::Current)]
    );
    let elsewhere = create(&[], Some("replica"), false).await.expect("it makes");
    assert_eq!(
        elsewhere,
        [named("elsewhere", TableState::Missing)],
        "a replica gets no table of its own"
    );
    let error = create(&["palin"], None, false).await.expect_err("there is none");
    let expected =
        "no cache is kept in a table \"palin\"; there are \"elsewhere\", \"pages\" and \"plain\"";
    assert_eq!(error.to_string(), expected);
    assert!(
        create(&[], Some("main"), false)
            .await
            .expect_err("there is none")
            .to_string()
            .contains("database \"main\"")
    );
}

#[tokio::test]
async fn what_a_django_project_says_of_its_caches_and_databases_loads_unchanged() {
    let text = r#"{
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "ATOMIC_REQUESTS": true}},
        "CACHES": {"default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "my_cache_table",
            "OPTIONS": {"MAX_ENTRIES": 1000, "CULL_FREQUENCY": 4}
        }}
    }"#;
    let (folder, caches) = configured("caches.json", text).await;
    caches.create_tables(&CreateTables::default()).await.expect("it is made");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    assert!(folder.path().join("db.sqlite3").is_file());
}

#[tokio::test]
async fn a_missing_table_is_told_with_the_command_that_makes_it() {
    let (folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let error = caches["plain"].get::<String>("k").await.expect_err("there is no table");
    let file = folder.path().join("caches.toml");
    let command = format!("`cachette --config {} createcachetable plain`", file.display());
    assert!(error.to_string().contains(&command), "{error}");
}

#[tokio::test]
async fn a_pool_that_is_handed_over_is_used_by_its_name() {
    let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").expect("it is a URL");
    let caches =
        Caches::builder().backend("db", DbBackend::default().database("shop", pool.clone()));
    let caches = caches
        .url("default", "db://pages?database=shop&create_table=true")
        .build()
        .await
        .expect("it is fine");
    caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pages")
        .fetch_one(&pool)
        .await
        .expect("it is there");
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_router_chooses_among_all_databases() {
    #[derive(Debug)]
    struct ByTable;
    impl Router for ByTable {
        fn db_for_write(&self, table: &str) -> &str {
            if table == "sessions" { "second" } else { "first" }
        }
    }
    let folder = tempfile::tempdir().expect("there is room");
    let at = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let builder = || {
        Caches::builder()
            .backend("db", DbBackend::default().router(ByTable))
            .database("first", &at("1.db"))
    };
    let caches = builder()
        .database("second", &at("2.db"))
        .url("default", "db://pages")
        .url("other", "db://sessions");
    let caches = caches.build().await.expect("it is fine");
    let made = caches.create_tables(&CreateTables::default()).await.expect("they are made");
    let places: Vec<String> =
        made.into_iter().map(|made| made.expect("it is made").database).collect();
    assert!(places[0].ends_with("1.db") && places[1].ends_with("2.db"), "{places:?}");

    let named = builder()
        .url("default", "db://pages?database=first")
        .build()
        .await
        .expect_err("the router chooses");
    assert!(
        named.to_string().contains("OPTIONS.database: found \"first\", expected none"),
        "{named}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_those_that_are() {
    for (options, told) in [
        (
            "database = 'main'",
            "OPTIONS.database: found \"main\", expected a name from the section [databases] (\"a\")",
        ),
        (
            "url = 'sqlite:x'\ndatabase = 'a'",
            "OPTIONS.database: found url as well, expected either url",
        ),
        (
            "url = 'sqlite:x'\nread_database = 'a'",
            "OPTIONS.read_database: found url as well, expected either url",
        ),
        ("read_url = 'sqlite:x'", "OPTIONS.read_url: found no url, expected either url"),
    ] {
        let text = format!(
            "databases = {{ a = 'sqlite:a.db' }}\n[caches.default]\nbackend = 'db'\nlocation = 'pages'\n\
             [caches.default.options]\n{options}"
        );
        let error = Caches::from_toml(&text).await.expect_err("it is a mistake");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_store_can_be_had_as_the_type_it_is() {
    let caches = Caches::from_url("db://pages?url=sqlite::memory:").await.expect("it is fine");
    let store: &DbCache = caches["default"].store().downcast_ref().expect("it is one");
    assert_eq!(store.table(), "pages");
}

#[tokio::test]
async fn the_password_of_a_named_database_is_never_shown() {
    let url = "postgres://ada:hunter2@[";
    let text = format!(
        "databases = {{ default = '{url}' }}\n[caches.default]\nbackend = 'db'\nlocation = 'pages'"
    );
    let error = Caches::from_toml(&text).await.expect_err("it is a mistake");
    assert!(
        error.to_string().contains("databases.default: found")
            && !error.to_string().contains("hunter2"),
        "{error}"
    );
    let builder = Caches::builder().database("default", url);
    assert!(!format!("{builder:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_database_that_is_away_does_not_keep_the_others_from_their_tables() {
    let caches = Caches::builder()
        .url("default", "db://pages?url=postgres://ada@127.0.0.1:1/shop")
        .url("other", "db://pages?url=sqlite::memory:");
    let caches = caches.build().await.expect("it is fine");
    let made = caches.create_tables(&CreateTables::default()).await.expect("all is known");
    assert_eq!(made[0].as_ref().expect_err("there is no server").kind(), ErrorKind::Unavailable);
    assert_eq!(made[1].as_ref().expect("it is made").state, TableState::Missing);
}

#[tokio::test]
async fn an_alias_with_a_mistake_hides_no_other_where_that_is_asked_for() {
    let text = "default = 'locmem://'\nbad = 'locmem://?max_entries=many'\nworse = 'no://where'";
    let (caches, mistakes) =
        Caches::builder().toml(text).build_partial().await.expect("the source is fine");
    assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default"]);
    assert_eq!(mistakes.keys().collect::<Vec<_>>(), ["bad", "worse"]);
    assert!(
        mistakes["bad"].to_string().contains("cache \"bad\": OPTIONS.max_entries: found \"many\"")
    );
}
