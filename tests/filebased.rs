//! Files by configuration.
#![cfg(feature = "filebased")]

use std::{fs, path::Path};

use cachette::{Caches, Clock, ErrorKind, ManualClock, Result, Timeout, config::CacheConfig};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room")
}

async fn store_something(caches: &Caches) {
    caches["default"].set("k", "v", Timeout::Default).await.expect("there is room");
}

/// How many entries lie in a folder.
fn entries_in(folder: &Path) -> usize {
    let shards =
        fs::read_dir(folder).expect("it is there").map(|shard| shard.expect("it reads").path());
    let files = shards
        .filter_map(|shard| fs::read_dir(shard).ok())
        .flatten()
        .map(|file| file.expect("it reads"));
    files.filter(|file| file.file_name().to_string_lossy().ends_with(".entry")).count()
}

#[cfg(feature = "toml")]
#[tokio::test]
async fn a_relative_location_starts_at_the_folder_of_the_configuration() {
    let folder = folder();
    let path = folder.path().join("caches.toml");
    fs::write(&path, "[default]\nbackend = 'filebased'\nlocation = 'some/where'")
        .expect("there is room");
    store_something(&Caches::from_file(&path).await.expect("it is fine")).await;
    assert_eq!(entries_in(&folder.path().join("some/where")), 1);
}

#[tokio::test]
async fn a_relative_location_of_no_file_starts_at_the_folder_of_the_process() {
    let folder = folder();
    let start = std::env::current_dir().expect("there is one");
    let up = "../".repeat(start.components().count() - 1);
    let location =
        format!("{up}{}", folder.path().strip_prefix("/").expect("it is absolute").display());
    let config = CacheConfig::new("filebased").location(&location);
    store_something(&Caches::builder().cache("default", config).build().await.expect("it is fine"))
        .await;
    assert_eq!(entries_in(folder.path()), 1);
}

#[tokio::test]
async fn the_settings_of_a_django_project_make_a_store_on_disk() {
    let folder = folder();
    let json = format!(
        r#"{{"default": {{
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": "{}/django_cache",
            "TIMEOUT": 60,
            "OPTIONS": {{"MAX_ENTRIES": 1000, "CULL_FREQUENCY": 2}}
        }}}}"#,
        folder.path().display()
    );
    let caches = Caches::from_json(&json).await.expect("it is fine");
    store_something(&caches).await;
    assert_eq!(entries_in(&folder.path().join("django_cache")), 1);
    let shown = format!("{:?}", caches["default"].store());
    assert!(shown.contains("max_entries: 1000, cull_frequency: 2"), "{shown}");
}

#[tokio::test]
async fn a_file_url_names_the_folder() {
    let folder = folder();
    let url = format!("file://{}?max_entries=7", folder.path().display());
    let caches = Caches::from_url(&url).await.expect("it is fine");
    store_something(&caches).await;
    assert_eq!(entries_in(folder.path()), 1);
}

#[tokio::test]
async fn what_one_run_stored_is_there_in_the_next() {
    let folder = folder();
    let url = format!("file://{}", folder.path().display());
    store_something(&Caches::from_url(&url).await.expect("it is fine")).await;
    let next = Caches::from_url(&url).await.expect("it is fine");
    assert_eq!(next["default"].get::<String>("k").await.expect("it reads").as_deref(), Some("v"));
}

#[tokio::test]
async fn aliases_of_one_folder_share_a_store_and_need_the_same_options() {
    let folder = folder();
    let url = |query: &str| format!("file://{}{query}", folder.path().display());
    let caches = Caches::builder()
        .url("default", &url(""))
        .url("same", &url("/../").replace("/../", "/"))
        .build();
    let caches = caches.await.expect("it is fine");
    store_something(&caches).await;
    assert!(caches["same"].contains("k").await.expect("it reads"));

    let other = Caches::builder()
        .url("default", &url(""))
        .url("other", &url("?max_entries=7"))
        .build()
        .await;
    let told = other.expect_err("the options differ").to_string();
    assert!(told.contains("or a LOCATION of its own"), "{told}");
}

async fn invalid_setting(config: CacheConfig) -> String {
    let error =
        Caches::builder().cache("default", config).build().await.expect_err("it is a mistake");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn a_location_that_is_missing_or_no_folder_is_a_mistake() {
    let none = invalid_setting(CacheConfig::new("filebased")).await;
    assert!(none.ends_with("LOCATION: found none, expected a folder"), "{none}");
    let several =
        invalid_setting(CacheConfig::new("filebased").location("/a").location("/b")).await;
    assert!(several.contains("LOCATION: found a list of 2, expected one text"), "{several}");
    let file = invalid_setting(CacheConfig::new("filebased").location(file!())).await;
    assert!(file.contains("which is no folder"), "{file}");
}

#[tokio::test]
async fn an_unknown_option_is_told_with_the_known_ones() {
    let told = invalid_setting(
        CacheConfig::new("filebased").location("/nowhere").option("max_entires", 7),
    )
    .await;
    assert!(
        told.contains("max_entires")
            && told.contains("max_entries")
            && told.contains("cull_frequency"),
        "{told}"
    );
}

mod by_configuration {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use cache_conformance::Harness;
    use cachette::Cache;

    async fn open(url: String, clock: Clock) -> Result<Arc<dyn Cache>> {
        Ok(Arc::clone(
            Caches::builder().url("default", &url).clock(clock).build().await?["default"].store(),
        ))
    }

    fn harness() -> Harness {
        let time = ManualClock::new();
        let (within, number, clock) = (folder(), AtomicUsize::new(0), time.clock());
        Harness::new(move || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let url = format!("file://{}/{number}", within.path().display());
            let opening = open(url, clock.clone());
            async { opening.await.expect("it is fine") }
        })
        .driven_by(time)
    }

    cache_conformance::suite!(harness());
}
