//! Tests of wrappers around stores, and of stores that contain configured stores.
#![cfg(all(feature = "locmem", feature = "toml"))]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cachette::{
    Cache, Caches, ErrorKind, Result, Timeout,
    config::{NestedStore, StoreConfig},
    forward_cache,
    stores::LocMemCache,
};

#[derive(Debug)]
struct Named(&'static str, Arc<dyn Cache>);

#[deny(clippy::missing_trait_methods)]
impl Cache for Named {
    forward_cache!(self.1, except name);

    fn name(&self) -> &str {
        self.0
    }
}

const SHARED: &str = r#"
    [default]
    backend = "locmem"
    [same]
    backend = "locmem"
    [other]
    backend = "locmem"
    location = "other"
"#;

#[tokio::test]
async fn each_store_is_wrapped_once_and_aliases_still_share_it() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let wrap = move |store| {
        counted.fetch_add(1, Ordering::Relaxed);
        Named("wrapped", store)
    };
    let caches =
        Caches::builder().toml(SHARED).wrap(wrap).build().await.expect("valid configuration");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert!(Arc::ptr_eq(caches["default"].store(), caches["same"].store()));
    caches["default"].set("key", &1, Timeout::Default).await.expect("store the entry");
    assert_eq!(caches["same"].get("key").await.expect("a hit"), Some(1));
    assert_eq!(caches["other"].get::<i64>("key").await.expect("a miss"), None);
}

#[tokio::test]
async fn later_wrappers_are_outside_and_those_of_an_alias_outermost() {
    let caches = Caches::builder()
        .toml(SHARED)
        .wrap_cache("same", |store| Named("alias", store))
        .wrap(|store| Named("first", store))
        .wrap(|store| Named("second", store))
        .build()
        .await
        .expect("valid configuration");
    assert_eq!(caches["default"].store().name(), "second");
    let names: Vec<String> =
        std::iter::successors(Some(&**caches["same"].store()), |store| store.inner())
            .map(|store| store.name().to_owned())
            .collect();
    assert_eq!(names[0], "alias");
    assert!(names.iter().position(|n| n == "second") < names.iter().position(|n| n == "first"));
    assert!(caches["same"].store().downcast_ref::<LocMemCache>().is_some());
}

#[tokio::test]
async fn wrapping_an_unknown_alias_is_a_config_error() {
    let builder = Caches::builder().toml(SHARED).wrap_cache("othr", |store| Named("n", store));
    let error = builder.build().await.expect_err("unknown alias");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"othr\""), "{error}");
}

#[cfg(feature = "db-sqlite")]
#[tokio::test]
async fn create_tables_reaches_a_wrapped_store_once() {
    use cachette::stores::CreateTables;

    let caches = Caches::builder()
        .toml(
            r#"
            default = "db://pages?url=sqlite::memory:"
            same = "db://pages?url=sqlite::memory:"
            "#,
        )
        .wrap(|store| Named("outer", Arc::new(Named("inner", store))))
        .wrap_cache("same", |store| Named("alias", store))
        .build()
        .await
        .expect("valid configuration");
    let tables = caches.create_tables(&CreateTables::default()).await.expect("list the tables");
    assert_eq!(tables.len(), 1);
    caches["default"].set("key", &1, Timeout::Default).await.expect("the table exists");
    assert_eq!(caches["same"].stats().await.expect("the table exists").entries, Some(1));
}

#[cfg(feature = "db-sqlite")]
#[tokio::test]
async fn table_and_statistics_of_a_wrapped_db_cache_can_be_inspected() {
    use cachette::stores::{CreateTables, DbCache, TableState};

    let caches = Caches::builder()
        .url("default", "db://pages?url=sqlite::memory:")
        .wrap(|store| Named("outer", Arc::new(Named("inner", store))))
        .build()
        .await
        .expect("valid configuration");
    let cache = &caches["default"];
    let store: &DbCache = cache.store().downcast_ref().expect("a db store");
    let found = async || {
        let tables = store.create_table(true).await.expect("inspect the table");
        tables.into_iter().map(|table| table.state).collect::<Vec<_>>()
    };
    assert_eq!(found().await, [TableState::Missing]);
    caches.create_tables(&CreateTables::default()).await.expect("create the table");
    assert_eq!(found().await, [TableState::Current]);
    cache.set("key", &1, Timeout::Default).await.expect("store the entry");
    assert_eq!(cache.stats().await.expect("the table exists").entries, Some(1));
    assert_eq!(store.stats().await.expect("the table exists").entries, Some(1));
}

#[cfg(feature = "memcached")]
#[tokio::test]
async fn servers_of_a_wrapped_memcached_cache_can_be_inspected() {
    use cachette::stores::MemcachedCache;

    let builder = Caches::builder().url("default", "memcached://127.0.0.1:1");
    let caches = builder.wrap(|store| Named("named", store)).build().await.expect("valid");
    let store = caches["default"].store().downcast_ref::<MemcachedCache>();
    assert_eq!(store.expect("a memcached store").unreachable().await.len(), 1);
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorOptions {
    store: NestedStore,
}

async fn open_mirror(config: StoreConfig) -> Result<Named> {
    let options: MirrorOptions = config.options()?;
    Ok(Named("mirror", config.open_nested("store", &options.store).await?))
}

async fn mirror(store: &str) -> Result<Caches> {
    let text = format!("[default]\nbackend = 'mirror'\noptions = {{ store = {store} }}");
    Caches::builder().toml(&text).backend("mirror", open_mirror).build().await
}

#[tokio::test]
async fn backend_opens_stores_that_its_options_configure() {
    for store in [
        "{ BACKEND = 'locmem', LOCATION = 'm', OPTIONS = { MAX_ENTRIES = 7 } }",
        "'locmem://m?max_entries=7'",
        "{ backend = 'mirror', options = { \
            store = { backend = 'locmem', options = { max_entries = 7 } } } }",
    ] {
        let caches = mirror(store).await.unwrap_or_else(|error| panic!("{store}: {error}"));
        let store: &LocMemCache = caches["default"].store().downcast_ref().expect("a locmem store");
        assert_eq!(store.options().max_entries, 7);
    }
}

#[tokio::test]
async fn error_in_a_nested_configuration_names_the_option_and_the_setting() {
    for (store, facts) in [
        ("{ backend = 'lokmem' }", ["OPTIONS.store", "BACKEND", "\"lokmem\""]),
        ("{ backend = 'locmem', timeout = 3 }", ["OPTIONS.store", "timeout", "backend"]),
        ("{ backend = 'locmem', options = { max_entries = 0 } }", ["store", "max_entries", "0"]),
        ("{ location = 'm' }", ["OPTIONS.store", "BACKEND", "none"]),
        ("7", ["OPTIONS.store: expected a table", "\"locmem://name\"", "found 7"]),
    ] {
        let error = mirror(store).await.expect_err(store);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        for fact in facts {
            assert!(error.to_string().contains(fact), "{store}: {error}");
        }
    }
}
