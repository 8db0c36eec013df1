//! Tests of the file store, opened from a configuration.
#![cfg(feature = "filebased")]

use std::{fs, path::Path};

use cachette::{Caches, Clock, ErrorKind, ManualClock, Result, Timeout, config::CacheConfig};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("create a temporary directory")
}

async fn store_an_entry(caches: &Caches) {
    caches["default"].set("k", "v", Timeout::Default).await.expect("write to disk");
}

/// Counts the entries in a directory.
fn entries_in(folder: &Path) -> usize {
    let shards =
        fs::read_dir(folder).expect("present").map(|shard| shard.expect("read from disk").path());
    let files = shards
        .filter_map(|shard| fs::read_dir(shard).ok())
        .flatten()
        .map(|file| file.expect("read from disk"));
    files.filter(|file| file.file_name().to_string_lossy().ends_with(".entry")).count()
}

#[cfg(feature = "toml")]
#[tokio::test]
async fn relative_location_is_resolved_against_the_directory_of_the_configuration() {
    let folder = folder();
    let path = folder.path().join("caches.toml");
    fs::write(&path, "[default]\nbackend = 'filebased'\nlocation = 'some/where'")
        .expect("write to disk");
    store_an_entry(&Caches::from_file(&path).await.expect("valid configuration")).await;
    assert_eq!(entries_in(&folder.path().join("some/where")), 1);
}

#[tokio::test]
async fn relative_location_without_a_file_is_resolved_against_the_current_directory() {
    let folder = folder();
    let start = std::env::current_dir().expect("a current directory");
    let up = "../".repeat(start.components().count() - 1);
    let location =
        format!("{up}{}", folder.path().strip_prefix("/").expect("absolute path").display());
    let config = CacheConfig::new("filebased").location(&location);
    store_an_entry(
        &Caches::builder().cache("default", config).build().await.expect("valid configuration"),
    )
    .await;
    assert_eq!(entries_in(folder.path()), 1);
}

#[tokio::test]
async fn settings_of_a_django_project_open_a_store() {
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
    let caches = Caches::from_json(&json).await.expect("valid configuration");
    store_an_entry(&caches).await;
    assert_eq!(entries_in(&folder.path().join("django_cache")), 1);
    let shown = format!("{:?}", caches["default"].store());
    assert!(shown.contains("max_entries: 1000, cull_frequency: 2"), "{shown}");
}

#[tokio::test]
async fn file_url_names_the_directory() {
    let folder = folder();
    let url = format!("file://{}?max_entries=7", folder.path().display());
    let caches = Caches::from_url(&url).await.expect("valid configuration");
    store_an_entry(&caches).await;
    assert_eq!(entries_in(folder.path()), 1);
}

#[tokio::test]
async fn entries_outlive_the_caches() {
    let folder = folder();
    let url = format!("file://{}", folder.path().display());
    store_an_entry(&Caches::from_url(&url).await.expect("valid configuration")).await;
    let next = Caches::from_url(&url).await.expect("valid configuration");
    assert_eq!(
        next["default"].get::<String>("k").await.expect("read from disk").as_deref(),
        Some("v")
    );
}

#[tokio::test]
async fn aliases_with_the_same_directory_share_a_store_and_its_options() {
    let folder = folder();
    let url = |query: &str| format!("file://{}{query}", folder.path().display());
    let caches = Caches::builder()
        .url("default", &url(""))
        .url("same", &url("/../").replace("/../", "/"))
        .build();
    let caches = caches.await.expect("valid configuration");
    store_an_entry(&caches).await;
    assert!(caches["same"].contains("k").await.expect("read from disk"));

    let other = Caches::builder()
        .url("default", &url("?max_entries=6"))
        .url("other", &url("?max_entries=7"))
        .build()
        .await;
    let error = other.expect_err("different options").to_string();
    assert!(error.contains("OPTIONS") && error.contains("LOCATION"), "{error}");
}

async fn invalid_setting(config: CacheConfig) -> String {
    let error = Caches::builder()
        .cache("default", config)
        .build()
        .await
        .expect_err("invalid configuration");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test]
async fn location_must_be_one_directory() {
    let none = invalid_setting(CacheConfig::new("filebased")).await;
    assert!(none.contains("LOCATION: ") && none.contains("found none"), "{none}");
    let several =
        invalid_setting(CacheConfig::new("filebased").location("/a").location("/b")).await;
    assert!(several.contains("LOCATION: "), "{several}");
    assert!(several.contains("found a list of 2"), "{several}");
    let file = invalid_setting(CacheConfig::new("filebased").location(file!())).await;
    assert!(file.contains("LOCATION: ") && file.contains(file!()), "{file}");
}

#[tokio::test]
async fn unknown_option_is_reported_with_the_known_ones() {
    let error = invalid_setting(
        CacheConfig::new("filebased").location("/nowhere").option("max_entires", 7),
    )
    .await;
    assert!(
        error.contains("max_entires")
            && error.contains("max_entries")
            && error.contains("cull_frequency"),
        "{error}"
    );
}

mod conformance {
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
            async { opening.await.expect("valid configuration") }
        })
        .driven_by(time)
    }

    cache_conformance::suite!(harness());
}
