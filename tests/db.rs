//! Tests of the database store, opened from a configuration.
#![cfg(all(feature = "db-sqlite", feature = "toml"))]

use std::fs;

use cachette::{
    Caches, ErrorKind, Timeout,
    stores::{CreateTables, DbBackend, DbCache, Router, TableCreation, TableState},
};

async fn invalid_setting(options: &str) -> String {
    let text =
        format!("[default]\nbackend = 'db'\nlocation = 'pages'\n[default.options]\n{options}");
    let error = Caches::from_toml(&text).await.expect_err("invalid configuration");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn relative_path_is_resolved_against_the_directory_of_the_configuration() {
    let folder = tempfile::tempdir().expect("create a temporary directory");
    let path = folder.path().join("caches.toml");
    let text = "[default]
        backend = 'django.core.cache.backends.db.DatabaseCache'
        location = 'pages'
        options = { url = 'sqlite:cache.db', create_table = true }";
    fs::write(&path, text).expect("write to disk");
    let caches = Caches::from_file(&path).await.expect("valid configuration");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    assert!(folder.path().join("cache.db").is_file());
}

#[tokio::test]
async fn missing_table_error_suggests_create_table() {
    let folder = tempfile::tempdir().expect("create a temporary directory");
    let url = format!("db://my%20pages?url=sqlite:{}/cache.db", folder.path().display());
    let caches = Caches::from_url(&url).await.expect("valid configuration");
    let error = caches["default"].get::<String>("k").await.expect_err("no table");
    assert!(error.to_string().contains("create_table = true"), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn aliases_with_the_same_table_share_a_store_and_its_options() {
    let url = "db://pages?url=sqlite::memory:&key_prefix=";
    let caches =
        Caches::builder().url("default", &format!("{url}a")).url("other", &format!("{url}b"));
    let caches = caches.build().await.expect("valid configuration");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    caches["other"].clear().await.expect("clear the store");
    assert!(
        !caches["default"].contains("k").await.expect("store responds"),
        "both use the same table"
    );

    let limited = |entries| format!("db://pages?url=sqlite::memory:&max_entries={entries}");
    let different = Caches::builder().url("default", &limited(4)).url("other", &limited(5));
    assert_eq!(different.build().await.expect_err("different options").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn invalid_option_is_reported_with_its_name() {
    for (options, facts) in [
        ("", ["OPTIONS.url: ", "none"]),
        ("url = 'oracle://host'", ["OPTIONS.url: ", "\"oracle://host\""]),
        ("url = 'sqlite:'", ["OPTIONS.url: ", "\"sqlite:\""]),
        ("url = 'postgres://host/db?sslmode=verify'", ["OPTIONS.url: ", "\"verify\""]),
        ("url = 'sqlite:x'\nread_url = 'y'", ["OPTIONS.read_url: ", "\"y\""]),
        ("url = 'sqlite:x'\nstatement_timeout = -1", ["OPTIONS.statement_timeout: ", "-1"]),
        ("url = 'sqlite:x'\nmax_entries = 0", ["OPTIONS.max_entries: ", "0"]),
    ] {
        let error = invalid_setting(options).await;
        assert!(facts.iter().all(|fact| error.contains(fact)), "{facts:?} in {error}");
    }
    let error = Caches::from_url("db://?url=sqlite:x").await.expect_err("no table name");
    assert!(error.to_string().contains("LOCATION: "), "{error}");
}

#[tokio::test]
async fn passwords_are_never_shown() {
    for url in
        ["postgres://ada:hunter2@[", "mysql://ada:hunter2@host:port", "oracle://ada:hunter2@host"]
    {
        let error = invalid_setting(&format!("url = '{url}'")).await;
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// Writes a configuration file, and opens its caches.
async fn configured(name: &str, text: &str) -> (tempfile::TempDir, Caches) {
    let folder = tempfile::tempdir().expect("create a temporary directory");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("write to disk");
    let caches = Caches::from_file(&path).await.expect("valid configuration");
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
async fn cache_uses_the_named_database_or_default() {
    let (_folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let created = caches.create_tables(&CreateTables::default()).await.expect("create the tables");
    let created: Vec<TableCreation> =
        created.into_iter().map(|creation| creation.expect("create the table")).collect();
    let expected = [("pages", "primary.db"), ("elsewhere", "replica.db"), ("plain", "primary.db")];
    assert_eq!(created.len(), expected.len(), "{created:?}");
    for (creation, (table, database)) in created.iter().zip(expected) {
        assert_eq!((&*creation.table, creation.state), (table, TableState::Missing));
        assert!(creation.database.ends_with(database), "{creation:?}");
    }
    caches["plain"].set("k", "v", Timeout::Default).await.expect("store the entry");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    let error = caches["default"].get::<String>("k").await.expect_err("no table in the replica");
    assert!(
        error.to_string().contains("replica.db") && error.to_string().contains("\"pages\""),
        "{error}"
    );
}

#[tokio::test]
async fn create_tables_can_select_tables_and_a_database() {
    let (_folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let create = async |selected: CreateTables| {
        let created = caches.create_tables(&selected).await?;
        let facts = |creation: cachette::Result<TableCreation>| {
            creation.map(|creation| (creation.table, creation.state))
        };
        created.into_iter().map(facts).collect::<cachette::Result<Vec<_>>>()
    };
    let found = |table: &str, found| vec![(table.to_owned(), found)];
    let plain = CreateTables::default().table("plain");
    for (selected, expected) in [
        (plain.clone().dry_run(true), TableState::Missing),
        (plain.clone(), TableState::Missing),
        (plain, TableState::Current),
    ] {
        let created = create(selected).await.expect("create the table");
        assert_eq!(created, found("plain", expected));
    }
    let replica = CreateTables::default().database("replica");
    let created = create(replica).await.expect("create the table");
    assert_eq!(created, found("elsewhere", TableState::Missing), "none for a read_database");

    for (selected, facts) in [
        (
            CreateTables::default().table("palin"),
            ["table \"palin\"", "\"elsewhere\", \"pages\", \"plain\""],
        ),
        (
            CreateTables::default().database("main"),
            ["database \"main\"", "\"default\", \"replica\""],
        ),
    ] {
        let error = create(selected).await.expect_err("unknown name");
        assert_eq!(error.kind(), ErrorKind::Config);
        for fact in facts {
            assert!(error.to_string().contains(fact), "{error}");
        }
    }
}

#[tokio::test]
async fn caches_and_databases_of_a_django_project_load_unchanged() {
    let text = r#"{
        "DATABASES": {"default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "ATOMIC_REQUESTS": true
        }},
        "CACHES": {"default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "my_cache_table",
            "OPTIONS": {"MAX_ENTRIES": 1000, "CULL_FREQUENCY": 4}
        }}
    }"#;
    let (folder, caches) = configured("caches.json", text).await;
    caches.create_tables(&CreateTables::default()).await.expect("create the tables");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    assert!(folder.path().join("db.sqlite3").is_file());
}

#[tokio::test]
async fn missing_table_error_names_the_command_that_creates_it() {
    let (folder, caches) = configured("caches.toml", PRIMARY_AND_REPLICA).await;
    let error = caches["plain"].get::<String>("k").await.expect_err("no table");
    let file = folder.path().join("caches.toml");
    let command = format!("`cachette --config {} createcachetable plain`", file.display());
    assert!(error.to_string().contains(&command), "{error}");
}

#[cfg(feature = "db-postgres")]
#[tokio::test]
async fn pool_of_the_application_is_used_by_name() {
    let url = std::env::var("CACHETTE_POSTGRES_URL").expect("run `cargo xtask test`");
    let pool = sqlx::PgPool::connect(&url).await.expect("the server accepts connections");
    let caches =
        Caches::builder().backend("db", DbBackend::default().database("shop", pool.clone()));
    let caches = caches
        .url("default", "db://pages%20of%20the%20shop?database=shop&create_table=true")
        .build()
        .await
        .expect("valid configuration");
    caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    let count = "SELECT COUNT(*) FROM \"pages of the shop\"";
    let rows: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.expect("present");
    assert_eq!(rows, 1);
}

#[cfg(feature = "db-postgres")]
#[tokio::test]
async fn pool_of_sqlite_is_an_error_that_names_the_option_url() {
    let pool = sqlx::SqlitePool::connect_lazy("sqlite:///srv/shop.db").expect("valid URL");
    let caches = Caches::builder().backend("db", DbBackend::default().database("shop", pool));
    let error = caches.url("default", "db://pages?database=shop").build().await;
    let error = error.expect_err("the store opens SQLite files itself");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("url = \"sqlite:/srv/shop.db\""), "{error}");
}

#[tokio::test]
async fn router_selects_the_database() {
    #[derive(Debug)]
    struct ByTable;
    impl Router for ByTable {
        fn db_for_write(&self, table: &str) -> &str {
            if table == "sessions" { "second" } else { "first" }
        }
    }
    let folder = tempfile::tempdir().expect("create a temporary directory");
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
    let caches = caches.build().await.expect("valid configuration");
    let created = caches.create_tables(&CreateTables::default()).await.expect("create the tables");
    let databases: Vec<String> =
        created.into_iter().map(|creation| creation.expect("create the table").database).collect();
    assert!(databases[0].ends_with("1.db") && databases[1].ends_with("2.db"), "{databases:?}");

    let named = builder()
        .url("default", "db://pages?database=first")
        .build()
        .await
        .expect_err("router and database");
    assert!(named.to_string().contains("OPTIONS.database: "), "{named}");
    assert!(named.to_string().contains("found \"first\""), "{named}");
}

#[tokio::test]
async fn unknown_database_is_reported_with_the_known_ones() {
    for (options, facts) in [
        ("database = 'main'", ["OPTIONS.database: ", "\"main\"", "\"a\""]),
        ("url = 'sqlite:x'\ndatabase = 'a'", ["OPTIONS.database: ", "found", "url"]),
        ("url = 'sqlite:x'\nread_database = 'a'", ["OPTIONS.read_database: ", "found", "url"]),
        ("read_url = 'sqlite:x'", ["OPTIONS.read_url: ", "no url", "expected"]),
    ] {
        let text = format!(
            "databases = {{ a = 'sqlite:a.db' }}\n\
             [caches.default]\nbackend = 'db'\nlocation = 'pages'\n\
             [caches.default.options]\n{options}"
        );
        let error = Caches::from_toml(&text).await.expect_err("invalid configuration");
        for fact in facts {
            assert!(error.to_string().contains(fact), "{error}");
        }
    }
}

#[tokio::test]
async fn downcast_ref_returns_the_store() {
    let caches =
        Caches::from_url("db://pages?url=sqlite::memory:").await.expect("valid configuration");
    let store: &DbCache = caches["default"].store().downcast_ref().expect("a db store");
    assert_eq!(store.table(), "pages");
}

#[tokio::test]
async fn password_of_a_named_database_is_never_shown() {
    let url = "postgres://ada:hunter2@[";
    let text = format!(
        "databases = {{ default = '{url}' }}\n[caches.default]\nbackend = 'db'\nlocation = 'pages'"
    );
    let error = Caches::from_toml(&text).await.expect_err("invalid configuration");
    assert!(
        error.to_string().contains("databases.default: ") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    let builder = Caches::builder().database("default", url);
    assert!(!format!("{builder:?}").contains("hunter2"));
}

#[tokio::test]
async fn unreachable_database_does_not_stop_the_others() {
    let caches = Caches::builder()
        .url("default", "db://pages?url=postgres://ada@127.0.0.1:1/shop")
        .url("other", "db://pages?url=sqlite::memory:");
    let caches = caches.build().await.expect("valid configuration");
    let created = caches.create_tables(&CreateTables::default()).await.expect("valid selection");
    assert_eq!(created[0].as_ref().expect_err("no server").kind(), ErrorKind::Unavailable);
    assert_eq!(created[1].as_ref().expect("create the table").state, TableState::Missing);
}

#[tokio::test]
async fn build_partial_opens_the_valid_caches() {
    let text = "default = 'locmem://'\nbad = 'locmem://?max_entries=many'\nworse = 'no://where'";
    let (caches, errors) =
        Caches::builder().toml(text).build_partial().await.expect("valid source");
    assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default"]);
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["bad", "worse"]);
    let bad = errors["bad"].to_string();
    assert!(bad.contains("cache \"bad\": OPTIONS.max_entries: "), "{bad}");
    assert!(bad.contains("found \"many\""), "{bad}");
}
