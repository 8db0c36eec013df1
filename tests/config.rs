//! Tests of configuration: its sources, its settings and its errors.

mod warnings;

use std::{fs, sync::Arc, time::Duration};

use cachette::{
    CacheHandle, Caches, Error, ErrorKind, KeyFunction, ManualClock, Result, Settings, Timeout,
    Ttl, Version,
    config::{CacheConfig, StoreConfig},
    stores::{DummyCache, LocMemCache, LocMemOptions, Policy},
};
use warnings::Warnings;

async fn seconds_left(cache: &CacheHandle, key: &str) -> Option<f64> {
    match cache.ttl(key).await.expect("store responds")? {
        Ttl::Left(left) => Some(left.as_secs_f64()),
        Ttl::Never => None,
    }
}

async fn json_error(json: &str) -> String {
    let error = Caches::from_json(json).await.expect_err("invalid configuration");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

mod sources {
    use super::*;

    #[tokio::test]
    async fn toml_configures_each_alias() {
        let caches = Caches::from_toml(
            r#"
            [default]
            backend = "locmem"

            [pages]
            backend = "locmem"
            location = "pages"
            timeout = 60
            key_prefix = "shop"
            version = 2
            options = { max_entries = 1000, policy = "s3-fifo" }
            "#,
        )
        .await
        .expect("valid configuration");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "pages"]);
        let pages = caches.get("pages").expect("present");
        assert_eq!(pages.composed_key("k"), "shop:2:k");
        assert_eq!(pages.default_timeout(), Timeout::secs(60));
        let store: &LocMemCache = pages.store().downcast_ref().expect("a locmem store");
        assert_eq!(
            store.options(),
            LocMemOptions::default().max_entries(1000).policy(Policy::S3Fifo)
        );
    }

    #[tokio::test]
    async fn json_of_a_django_project_loads_unchanged() {
        let caches = Caches::from_json(
            r#"{
                "default": {
                    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                    "LOCATION": "unique-snowflake",
                    "TIMEOUT": null,
                    "OPTIONS": {"MAX_ENTRIES": 1000, "CULL_FREQUENCY": 2},
                    "KEY_PREFIX": "site",
                    "VERSION": 3,
                    "KEY_FUNCTION": null
                },
                "dev": {"BACKEND": "django.core.cache.backends.dummy.DummyCache", "LOCATION": ""},
                "old": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                        "LOCATION": "old", "TIMEOUT": 5, "timeout": "20", "max_entries": "50",
                        "OPTIONS": {"MAX_ENTRIES": 7, "CULL_FREQUENCY": null}}
            }"#,
        )
        .await
        .expect("valid configuration");
        let cache = &caches["default"];
        assert_eq!(cache.composed_key("k"), "site:3:k");
        cache.set("k", "v", Timeout::Default).await.expect("store the entry");
        assert_eq!(cache.ttl("k").await.expect("store responds"), Some(Ttl::Never));
        assert_eq!(caches["dev"].store().name(), "dummy");
        assert_eq!(caches["old"].default_timeout(), Timeout::secs(20));
        assert!(
            format!("{:?}", caches["old"].store()).contains("max_entries: 50"),
            "{:?}",
            caches["old"].store()
        );
    }

    #[tokio::test]
    async fn caches_can_be_a_section_of_a_file() {
        let text = "[server]\nport = 80\n[CACHES.default]\nBACKEND = 'locmem'";
        assert!(Caches::from_toml(text).await.is_ok());
        assert!(
            Caches::from_json(r#"{"caches": {"default": {"backend": "locmem"}}, "debug": true}"#)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn file_extension_selects_the_format() {
        let folder = tempfile::tempdir().expect("create a temporary directory");
        for (name, text) in [
            ("caches.toml", "[default]\nbackend = 'locmem'"),
            ("caches.json", r#"{"default": {"backend": "locmem"}}"#),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("write to disk");
            let caches = Caches::from_file(&path).await.expect("valid configuration");
            assert_eq!(caches["default"].store().name(), "locmem");
        }
    }

    #[tokio::test]
    async fn url_configures_one_cache() {
        let url = "locmem://my%20pages?timeout=2.5&key_prefix=shop&version=2\
                   &max_entries=1000&cull_frequency=0";
        let caches = Caches::from_url(url).await.expect("valid configuration");
        let cache = &caches["default"];
        assert_eq!(cache.composed_key("k"), "shop:2:k");
        assert_eq!(cache.current_version(), &Version::Number(2));
        assert_eq!(cache.default_timeout(), Duration::from_millis(2500).into());
        assert!(format!("{:?}", cache.store()).contains("max_entries: 1000"));
    }

    #[tokio::test]
    async fn url_can_replace_a_table() {
        let caches =
            Caches::from_toml("default = 'locmem://?timeout=never'\nnone = 'dummy://'").await;
        let caches = caches.expect("valid configuration");
        assert_eq!(caches["default"].default_timeout(), Timeout::Never);
        assert_eq!(caches["none"].store().name(), "dummy");
    }

    #[tokio::test]
    async fn environment_variable_configures_an_alias() {
        let variables = [
            ("CACHE_URL", "locmem://"),
            ("CACHE_URL_PAGES", "dummy://"),
            ("CACHE_URLS", "no"),
            ("HOME", "/"),
        ];
        let caches = Caches::builder().vars(variables).build().await.expect("valid configuration");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "pages"]);
    }

    #[tokio::test]
    async fn variable_overrides_an_alias_in_any_case_and_with_dashes() {
        let caches = Caches::builder()
            .json(
                r#"{"default": "locmem://", "userPages": "locmem://", "more-pages": "locmem://"}"#,
            )
            .vars([("CACHE_URL_USERPAGES", "dummy://"), ("CACHE_URL_MORE_PAGES", "dummy://")])
            .build()
            .await
            .expect("valid configuration");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "more-pages", "userPages"]);
        assert_eq!(caches["userPages"].store().name(), "dummy");
        assert_eq!(caches["more-pages"].store().name(), "dummy");
    }

    #[tokio::test]
    async fn byte_order_mark_is_ignored() {
        assert!(Caches::from_json("\u{feff}{\"default\": \"locmem://\"}").await.is_ok());
        assert!(Caches::from_toml("\u{feff}default = 'locmem://'").await.is_ok());
    }

    #[tokio::test]
    async fn store_gets_the_raw_url_and_the_decoded_location() {
        let open = async |config: StoreConfig| {
            assert_eq!(config.url.as_deref(), Some("far://ada:p%40w@host:1/0"));
            assert_eq!(config.location, ["ada:p@w@host:1/0"]);
            assert!(
                !format!("{config:?}").contains("p@w") && !format!("{config:?}").contains("p%40w"),
                "{config:?}"
            );
            Ok(DummyCache)
        };
        let built = Caches::builder()
            .backend("far", open)
            .url("default", "far://ada:p%40w@host:1/0?timeout=5")
            .build();
        assert!(built.await.is_ok());
    }

    #[tokio::test]
    async fn last_source_of_an_alias_replaces_earlier_ones() {
        let caches = Caches::builder()
            .toml("[default]\nbackend = 'locmem'\nkey_prefix = 'file'\n[pages]\nbackend = 'locmem'")
            .vars([("CACHE_URL", "dummy://")])
            .build()
            .await
            .expect("valid configuration");
        assert_eq!(caches["default"].store().name(), "dummy");
        assert_eq!(caches["default"].key_prefix(), "");
        assert_eq!(caches["pages"].store().name(), "locmem");
    }

    #[tokio::test]
    async fn code_configures_a_cache_by_name_or_with_an_open_store() {
        let caches = Caches::builder()
            .cache(
                "default",
                CacheConfig::new("locmem").option("max_entries", 5).timeout(None).version("next"),
            )
            .store(
                "made",
                Arc::new(DummyCache),
                Settings { key_prefix: "made".into(), ..Settings::default() },
            )
            .build()
            .await
            .expect("valid configuration");
        assert_eq!(caches["default"].composed_key("k"), ":next:k");
        assert_eq!(caches["made"].composed_key("k"), "made:1:k");
    }
}

mod settings {
    use super::*;

    #[tokio::test]
    async fn timeout_can_be_null_zero_negative_fractional_or_a_string() {
        for (written, seconds) in [
            ("null", None),
            ("\"never\"", None),
            ("7", Some(7.0)),
            ("7.5", Some(7.5)),
            ("\"7\"", Some(7.0)),
        ] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", "TIMEOUT": {written}}}}}"#);
            let time = ManualClock::new();
            let caches = Caches::builder()
                .json(&json)
                .clock(time.clock())
                .build()
                .await
                .expect("valid configuration");
            caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
            assert_eq!(seconds_left(&caches["default"], "k").await, seconds, "{written}");
        }
        for expired in ["0", "-1", "\"-3\"", "-0.5"] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", "TIMEOUT": {expired}}}}}"#);
            let caches = Caches::from_json(&json).await.expect("valid configuration");
            caches["default"].set("k", "v", Timeout::Default).await.expect("store responds");
            assert!(!caches["default"].contains("k").await.expect("store responds"), "{expired}");
        }
    }

    #[tokio::test]
    async fn default_timeout_is_300_seconds() {
        let time = ManualClock::new();
        let caches = Caches::builder()
            .url("default", "locmem://")
            .clock(time.clock())
            .build()
            .await
            .expect("valid configuration");
        caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
        assert_eq!(seconds_left(&caches["default"], "k").await, Some(300.0));
    }

    #[tokio::test]
    async fn aliases_with_the_same_location_share_a_store() {
        let caches = Caches::from_toml(
            "[default]\nbackend = 'locmem'\nlocation = 'a'\n\
             [same]\nbackend = 'locmem'\nlocation = ['a']\n\
             [other]\nbackend = 'locmem'\nlocation = 'b'",
        );
        let caches = caches.await.expect("valid configuration");
        caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
        assert!(caches["same"].contains("k").await.expect("store responds"));
        assert!(!caches["other"].contains("k").await.expect("store responds"));
    }

    #[cfg(all(feature = "filebased", feature = "db-sqlite"))]
    #[tokio::test]
    async fn alias_without_options_shares_those_of_another_alias_at_its_location() {
        let folder = tempfile::tempdir().expect("create a temporary directory");
        let path = folder.path().display();
        for (place, options) in [
            (r#""BACKEND": "locmem", "LOCATION": "shared""#.to_owned(), ""),
            (format!(r#""BACKEND": "filebased", "LOCATION": "{path}/files""#), ""),
            (r#""BACKEND": "db", "LOCATION": "shared""#.to_owned(), r#""DATABASE": "main""#),
        ] {
            let comma = if options.is_empty() { "" } else { "," };
            let json = format!(
                r#"{{"databases": {{"main": "sqlite:{path}/a.db"}}, "caches": {{
                    "default": {{{place}, "OPTIONS": {{{options}}}}},
                    "limited": {{{place}, "OPTIONS": {{"MAX_ENTRIES": 5{comma} {options}}}}},
                    "short": {{{place}, "OPTIONS": {{{options}}}, "TIMEOUT": 1}}
                }}}}"#
            );
            let caches = Caches::from_json(&json).await.unwrap_or_else(|error| panic!("{error}"));
            for alias in ["limited", "short"] {
                assert!(Arc::ptr_eq(caches["default"].store(), caches[alias].store()), "{place}");
            }
            let store = format!("{:?}", caches["default"].store());
            assert!(store.contains("max_entries: 5"), "{store}");
        }
    }

    #[tokio::test]
    async fn separately_built_caches_share_no_store() {
        let (one, other) =
            (Caches::from_url("locmem://a").await, Caches::from_url("locmem://a").await);
        let (one, other) = (one.expect("valid configuration"), other.expect("valid configuration"));
        one["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
        assert!(!other["default"].contains("k").await.expect("store responds"));
    }

    #[tokio::test]
    async fn setting_that_another_one_replaces_is_logged() {
        xtask::run_alone!();
        let warnings = Warnings::collect();
        for (settings, timeout, logged) in [
            (
                r#""TIMEOUT": 1, "timeout": 2"#,
                Timeout::secs(2),
                Some("TIMEOUT = 1 is ignored, because timeout = 2"),
            ),
            (r#""TIMEOUT": 2, "timeout": 2"#, Timeout::secs(2), None),
            (
                r#""max_entries": 9, "OPTIONS": {"MAX_ENTRIES": 7}"#,
                Timeout::Default,
                Some("OPTIONS.MAX_ENTRIES = 7 is ignored, because max_entries = 9"),
            ),
            (
                r#""TIMEOUT": 1, "max_entries": 9, "OPTIONS": {"CULL_FREQUENCY": 7}"#,
                Timeout::secs(1),
                None,
            ),
        ] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", {settings}}}}}"#);
            let caches = Caches::from_json(&json).await.expect("valid configuration");
            assert_eq!(caches["default"].default_timeout(), timeout, "{settings}");
            let lines = warnings.take();
            assert_eq!(lines.len(), logged.into_iter().count(), "{settings}: {lines:?}");
            if let Some(logged) = logged {
                assert!(lines[0].contains(logged) && lines[0].contains("\"default\""), "{lines:?}");
            }
        }
    }

    #[cfg(all(feature = "redis", feature = "memcached", feature = "db-postgres"))]
    #[tokio::test]
    async fn outage_is_a_miss_in_every_store_if_the_alias_is_configured_so() {
        for url in [
            "redis://127.0.0.1:1?",
            "memcached://127.0.0.1:1?when_dead=error&",
            "db://table?url=postgres://ada@127.0.0.1:1/shop&",
        ] {
            let error = Caches::from_url(url.trim_end_matches(['?', '&'])).await;
            let error = error.expect("valid configuration")["default"].get::<u8>("k").await;
            assert_eq!(error.expect_err("no server").kind(), ErrorKind::Unavailable, "{url}");

            let caches = Caches::from_url(&format!("{url}on_outage=miss")).await;
            let cache = &caches.expect("valid configuration")["default"];
            assert_eq!(cache.get::<u8>("k").await.expect("a miss"), None, "{url}");
            assert!(!cache.add("k", &1, Timeout::Default).await.expect("not added"), "{url}");
        }
    }

    #[tokio::test]
    async fn key_check_error_rejects_invalid_keys_in_every_method() {
        let caches =
            Caches::from_url("locmem://?key_check=error").await.expect("valid configuration");
        let cache = &caches["default"];
        let results = [
            cache.set("two words", "v", Timeout::Default).await.map(drop),
            cache.get::<String>("two words").await.map(drop),
            cache.get_many::<String, _>(["fine", "two words"]).await.map(drop),
            cache.set_many([("fine", 1), ("two words", 2)], Timeout::Default).await.map(drop),
            cache.delete_many(["two words"]).await.map(drop),
            cache.incr(&"x".repeat(300), 1).await.map(drop),
        ];
        for result in results {
            assert_eq!(result.expect_err("invalid key").kind(), ErrorKind::InvalidKey);
        }
        assert!(!cache.contains("fine").await.expect("store responds"));
    }

    #[tokio::test]
    async fn hashed_key_function_accepts_any_key() {
        let caches = Caches::from_url("locmem://?key_function=hashed&key_check=error")
            .await
            .expect("valid configuration");
        caches["default"].set("two words", "v", Timeout::Default).await.expect("store the entry");
        let found = caches["default"].get::<String>("two words").await.expect("store responds");
        assert_eq!(found.as_deref(), Some("v"));
    }

    #[tokio::test]
    async fn codec_can_be_changed() {
        let store = Arc::new(LocMemCache::default());
        // postcard is decoded only in aliases that name it.
        let compact = cfg!(feature = "postcard").then_some("postcard");
        let also_decode = compact.unwrap_or_default();
        for codec in ["json", "msgpack"].into_iter().chain(compact).chain(["json"]) {
            let shared = Arc::clone(&store);
            let caches = Caches::builder()
                .backend("mine", move |_: StoreConfig| {
                    let shared = Arc::clone(&shared);
                    async { Ok(shared) }
                })
                .url("default", &format!("mine://?codec={codec}&also_decode={also_decode}"))
                .build()
                .await
                .expect("valid configuration");
            let cache = &caches["default"];
            if let Some(before) =
                cache.get::<(u8, Option<String>)>("k").await.expect("store responds")
            {
                assert_eq!(before, (7, Some("seven".into())), "written by another codec");
            }
            cache
                .set("k", &(7_u8, Some("seven")), Timeout::Default)
                .await
                .expect("store the entry");
            assert!(cache.contains("k").await.expect("store responds"));
            assert_eq!(cache.undecodable_seen(), 0);
        }
    }
}

mod custom {
    use super::*;

    async fn open(config: StoreConfig) -> Result<LocMemCache> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Options {
            shelves: u8,
        }
        let Options { shelves } = config.options()?;
        assert_eq!(shelves, 3);
        assert_eq!(config.location, ["north", "south"]);
        Ok(LocMemCache::default())
    }

    #[tokio::test]
    async fn custom_backend_is_configured_by_name() {
        let caches = Caches::builder()
            .backend("shelf", open)
            .toml(
                "[default]\nbackend = 'shelf'\nlocation = ['north', 'south']\n\
                 options = { shelves = 3 }",
            )
            .build()
            .await
            .expect("valid configuration");
        caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    }

    #[tokio::test]
    async fn error_in_custom_options_names_cache_and_option() {
        let error = Caches::builder()
            .backend("shelf", open)
            .toml("[default]\nbackend = 'shelf'\noptions = { shelves = 'many' }")
            .build()
            .await
            .expect_err("invalid configuration");
        let error = error.to_string();
        for fact in ["TOML", "cache \"default\"", "OPTIONS.shelves", "\"many\""] {
            assert!(error.contains(fact), "{fact:?} is not in {error}");
        }
    }

    #[tokio::test]
    async fn error_of_a_backend_keeps_its_kind() {
        async fn fail(_: StoreConfig) -> Result<DummyCache> {
            Err(Error::new(ErrorKind::Unavailable, "cannot reach redis://ada:lovelace@host"))
        }
        let error = Caches::builder().backend("far", fail).url("default", "far://").build().await;
        let error = error.expect_err("the backend fails");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_temporary());
        let message = error.to_string();
        assert!(message.contains("cache \"default\""), "{message}");
        assert!(message.contains("cannot reach redis://***@host"), "{message}");
        assert!(!format!("{error:?}").contains("lovelace"), "{error:?}");
    }

    #[tokio::test]
    async fn custom_key_function_is_configured_by_name() {
        let shout = KeyFunction::custom(|key, _, _| key.to_uppercase());
        let caches = Caches::builder()
            .key_function("shop.keys.shout", shout)
            .json(r#"{"default": {"BACKEND": "locmem", "KEY_FUNCTION": "shop.keys.shout"}}"#)
            .build()
            .await
            .expect("valid configuration");
        assert_eq!(caches["default"].composed_key("hello"), "HELLO");
    }
}

mod errors {
    use super::*;

    /// Asserts that `message` contains each of `facts`.
    #[track_caller]
    fn assert_facts(message: &str, facts: &[&str]) {
        for fact in facts {
            assert!(message.contains(fact), "{fact:?} is not in {message:?}");
        }
    }

    #[tokio::test]
    async fn invalid_setting_is_reported_with_setting_found_and_expected() {
        for (settings, facts) in [
            (r#""TIMEOUT": "soon""#, &["TIMEOUT: ", "\"soon\"", "seconds", "\"never\""][..]),
            (r#""TIMEOUT": true"#, &["TIMEOUT: ", "true", "seconds"]),
            (r#""TIMEOUT": "nan""#, &["TIMEOUT: ", "\"nan\"", "seconds"]),
            (r#""OPTIONS": {"MAX_ENTRIES": 0}"#, &["OPTIONS.MAX_ENTRIES: ", "found 0", "1"]),
            (r#""max_entries": 0"#, &["OPTIONS.max_entries: ", "found 0", "1"]),
            (
                r#""OPTIONS": {"MAX_ENTRIES": "lots"}"#,
                &["OPTIONS.MAX_ENTRIES: ", "\"lots\"", "at least 1"],
            ),
            (
                r#""OPTIONS": {"POLICY": "fifo"}"#,
                &["OPTIONS.POLICY: ", "\"fifo\"", "\"lru\"", "\"s3-fifo\""],
            ),
            (
                r#""OPTIONS": {"MAX_ENTRYS": 5}"#,
                &["OPTIONS.MAX_ENTRYS: ", "max_entries, cull_frequency, max_bytes, policy"],
            ),
            (r#""OPTIONS": []"#, &["OPTIONS: ", "list of 0", "table"]),
            (r#""LOCATION": 5"#, &["LOCATION: ", "found 5", "list"]),
            (r#""LOCATION": ["a", "b"]"#, &["LOCATION: ", "list of 2", "one"]),
            (r#""VERSION": [1]"#, &["VERSION: ", "list of 1"]),
            (r#""KEY_PREFIX": 5"#, &["KEY_PREFIX: ", "found 5"]),
            (
                r#""KEY_CHECK": "maybe""#,
                &["KEY_CHECK: ", "\"maybe\"", "\"warn\"", "\"error\"", "\"off\""],
            ),
            (r#""SHARE": "proces""#, &["SHARE: ", "\"proces\"", "\"store\" or \"process\""]),
            (
                r#""CLEAR": "generatoin""#,
                &["CLEAR: ", "\"store\" or \"generation\"", "did you mean \"generation\"?"],
            ),
            (r#""TAGS": {"SKEW": -1}"#, &["TAGS.SKEW: ", "found -1", "a number of seconds"]),
            (r#""TAGS": {"skew": "5s"}"#, &["TAGS.skew: ", "\"5s\"", "a number of seconds"]),
            (r#""TAGS": {"SKWE": 1}"#, &["TAGS.SKWE: ", "did you mean \"SKEW\"?"]),
            (r#""TAGS": 1"#, &["TAGS: ", "found 1", "table"]),
            (r#""CLEAR": true"#, &["CLEAR: ", "found true", "\"store\" or \"generation\""]),
            (r#""SHARE": true"#, &["SHARE: ", "found true", "\"store\" or \"process\""]),
            (r#""SHARE": ["store"]"#, &["SHARE: ", "list of 1", "\"store\" or \"process\""]),
            (
                r#""ON_OUTAGE": "ignore""#,
                &["ON_OUTAGE: ", "\"ignore\"", "\"produce\"", "\"error\"", "\"miss\""],
            ),
            (r#""ON_OUTAGE": 1"#, &["ON_OUTAGE: ", "found 1", "\"produce\""]),
            (r#""PATIENCE": "soon""#, &["PATIENCE: ", "a number of seconds", "\"soon\""]),
            (r#""PATIENCE": true"#, &["PATIENCE: ", "a number of seconds", "found true"]),
            (r#""PATIENCE": -1"#, &["PATIENCE: ", "a number of seconds from 0 to", "found -1"]),
            (r#""PATIENCE": 1e10"#, &["PATIENCE: ", "from 0 to 2147483", "found 1"]),
            (r#""PATIENCE": {"max": 5}"#, &["PATIENCE: ", "a number of seconds", "a table"]),
            (r#""FILL": 5"#, &["FILL: ", "found 5", "a table"]),
            (r#""FILL": "stale""#, &["FILL: ", "\"stale\"", "a table"]),
            (r#""FILL": [60]"#, &["FILL: ", "a list of 1", "a table"]),
            (r#""FILL": {"stale_for": -1}"#, &["FILL.stale_for: ", "a number of seconds", "-1"]),
            (
                r#""FILL": {"stale_for": "1h"}"#,
                &["FILL.stale_for: ", "a number of seconds", "\"1h\""],
            ),
            (
                r#""FILL": {"soft_timeout": false}"#,
                &["FILL.soft_timeout: ", "a number of seconds", "false"],
            ),
            (r#""FILL": {"hard_timeout": 1e12}"#, &["FILL.hard_timeout: ", "from 0 to 2147483"]),
            (r#""FILL": {"HARD_TIMEOUT": -5}"#, &["FILL.HARD_TIMEOUT: ", "from 0 to", "-5"]),
            (
                r#""FILL": {"retry_after": null}"#,
                &["FILL.retry_after: ", "a number of seconds", "null"],
            ),
            (r#""FILL": {"hard_timeout": 0}"#, &["FILL.hard_timeout: ", "more than 0", "0"]),
            (r#""FILL": {"early": 10}"#, &["FILL.early: ", "a number from 0 to 1", "10"]),
            (r#""OBSERVE": "maybe""#, &["OBSERVE: ", "\"maybe\"", "{ keys = true }"]),
            (r#""OBSERVE": {"key": true}"#, &["OBSERVE.key: ", "keys"]),
            (r#""FILL": {"early": "10%"}"#, &["FILL.early: ", "a number from 0 to 1", "\"10%\""]),
            (r#""FILL": {"jitter": -0.1}"#, &["FILL.jitter: ", "a number from 0 to 1", "-0.1"]),
            (r#""FILL": {"jitter": true}"#, &["FILL.jitter: ", "a number from 0 to 1", "true"]),
            (r#""FILL": {"stale": 1}"#, &["FILL.stale: ", "stale_for", "soft_timeout"]),
            (r#""HARD_TIMEOUT": 5"#, &["HARD_TIMEOUT: ", "unknown", "fill"]),
            (r#""OPTIONS": {"SHARE": "store"}"#, &["OPTIONS.SHARE: ", "unknown", "max_entries"]),
            (
                r#""KEY_FUNCTION": "shout""#,
                &[
                    "KEY_FUNCTION: ",
                    "\"shout\"",
                    "\"default\"",
                    "\"django.core.cache.backends.base.default_key_func\"",
                    "\"hashed\"",
                    "CachesBuilder::key_function",
                ],
            ),
            (
                r#""TIMOUT": 5"#,
                &[
                    "TIMOUT: ",
                    "backend, location, timeout, key_prefix, version, key_function, options, \
                     key_check, codec, also_decode, undecodable, on_outage, patience, \
                     share, fill, tags, clear, observe, max_entries, cull_frequency",
                ],
            ),
            (r#""KEY_PREFIX": "a", "key_prefix": "b""#, &["key_prefix: ", "twice"]),
        ] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", {settings}}}}}"#);
            let error = json_error(&json).await;
            assert!(error.starts_with("JSON string: cache \"default\": "), "{error}");
            assert_facts(&error, facts);
        }
    }

    #[tokio::test]
    async fn value_that_is_no_table_and_no_url_is_reported() {
        for (found, shown) in [("7", "7"), ("null", "null"), ("[1, 2]", "a list of 2")] {
            let error = json_error(&format!(r#"{{"default": {found}}}"#)).await;
            assert_facts(&error, &["cache \"default\": ", "\"locmem://name\""]);
            assert!(error.ends_with(&format!(", found {shown}")), "{error}");
            let databases = format!(r#"{{"databases": {{"shop": {found}}}, "caches": {{}}}}"#);
            let error = json_error(&databases).await;
            assert_facts(&error, &["databases.shop: ", "postgres://"]);
            assert!(error.ends_with(&format!(", found {shown}")), "{error}");
        }
    }

    #[tokio::test]
    async fn missing_or_unknown_backend_is_reported_with_the_registered_ones() {
        for (json, found) in [
            (r#"{"default": {}}"#, "none"),
            (r#"{"default": {"BACKEND": "locmen"}}"#, "\"locmen\""),
        ] {
            let error = json_error(json).await;
            let found = format!("found {found}");
            let facts = ["cache \"default\": BACKEND: ", &found, "\"dummy\"", "\"locmem\""];
            assert_facts(&error, &facts);
        }
    }

    #[tokio::test]
    async fn missing_default_is_an_error_unless_it_is_allowed() {
        let error = json_error(r#"{"pages": {"BACKEND": "locmem"}}"#).await;
        assert_facts(&error, &["JSON string: ", "\"default\"", "\"pages\"", "without_default"]);
        assert!(Caches::builder().build().await.is_err());
        assert_facts(&json_error("{}").await, &["JSON string: ", "\"default\""]);
        let empty = Caches::builder().vars([("HOME", "/")]).build().await;
        let error = empty.expect_err("no caches").to_string();
        assert_facts(&error, &["CACHE_URL", "\"default\""]);

        let caches = Caches::builder()
            .url("pages", "locmem://")
            .without_default()
            .build()
            .await
            .expect("valid configuration");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["pages"]);
    }

    #[tokio::test]
    async fn error_in_a_file_names_the_file() {
        let folder = tempfile::tempdir().expect("create a temporary directory");
        let path = folder.path().join("caches.toml");
        let name = path.display().to_string();

        let error = Caches::from_file(&path).await.expect_err("missing file");
        assert_facts(&error.to_string(), &[&name]);
        let source = std::error::Error::source(&error).expect("an I/O error");
        let kind = source.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::NotFound));

        fs::write(&path, "[default]\nbackend = 'locmem'\ntimeout = [1]").expect("write to disk");
        let error = Caches::from_file(&path).await.expect_err("invalid timeout").to_string();
        assert_facts(&error, &[&name, "cache \"default\"", "timeout: ", "list of 1"]);

        fs::write(&path, "[default]\nbackend 'locmem'").expect("write to disk");
        let error = Caches::from_file(&path).await.expect_err("invalid TOML").to_string();
        assert_facts(&error, &[&name, "line 2"]);

        let error = Caches::from_file("caches.yaml").await.expect_err("unknown format").to_string();
        assert_facts(&error, &["\"caches.yaml\"", ".toml", ".json"]);
    }

    #[tokio::test]
    async fn error_in_a_variable_names_the_variable() {
        let variables = [("CACHE_URL", "locmem://"), ("CACHE_URL_PAGES", "pages")];
        let caches = Caches::builder().vars(variables).build().await;
        let error = caches.expect_err("invalid URL").to_string();
        assert!(error.starts_with("CACHE_URL_PAGES: URL: "), "{error}");
        assert_facts(&error, &["\"pages\"", "backend://location?setting=value"]);
    }

    #[tokio::test]
    async fn two_variables_for_one_alias_are_an_error() {
        let variables = [("CACHE_URL", "locmem://"), ("CACHE_URL_DEFAULT", "dummy://")];
        let caches = Caches::builder().vars(variables).build().await;
        let error = caches.expect_err("ambiguous").to_string();
        assert_facts(&error, &["CACHE_URL_DEFAULT: ", "CACHE_URL also", "\"default\""]);
    }

    #[tokio::test]
    async fn duplicate_name_is_an_error() {
        for json in [
            r#"{"default": "locmem://", "default": "dummy://"}"#,
            r#"{"default": {"BACKEND": "locmem", "TIMEOUT": 1, "TIMEOUT": 2}}"#,
        ] {
            assert_facts(&json_error(json).await, &["duplicate", "line 1"]);
        }
        let json = r#"{"CACHES": {"default": "locmem://"}, "caches": {"default": "dummy://"}}"#;
        assert_facts(&json_error(json).await, &["JSON string: ", "two sections", "caches"]);
    }

    #[tokio::test]
    async fn invalid_url_is_an_error() {
        for (url, facts) in [
            ("locmem://?timeout=1&timeout=2", &["URL: ", "\"timeout\" twice"][..]),
            ("locmem://?timeout", &["URL: ", "no \"=\"", "parameter 1", "setting=value"]),
            ("locmem://%ff", &["URL: ", "UTF-8", "location"]),
            ("locmem://?max_entries=0", &["OPTIONS.max_entries: ", "\"0\"", "1"]),
        ] {
            let error = Caches::from_url(url).await.expect_err(url).to_string();
            assert!(error.starts_with("URL string: cache \"default\": "), "{error}");
            assert_facts(&error, facts);
        }
    }

    #[tokio::test]
    async fn different_options_for_one_location_are_an_error() {
        let json = r#"{
            "default": {"BACKEND": "locmem", "OPTIONS": {"MAX_ENTRIES": 6}},
            "more": {"BACKEND": "locmem", "OPTIONS": {"MAX_ENTRIES": 5}}
        }"#;
        let error = json_error(json).await;
        assert_facts(&error, &["cache \"more\": OPTIONS.MAX_ENTRIES: ", "LOCATION"]);
        assert_facts(&error, &["cache \"default\"", "expected 6", "found 5"]);
    }

    #[tokio::test]
    async fn unknown_alias_is_reported_with_the_configured_ones() {
        let caches = Caches::from_url("locmem://").await.expect("valid configuration");
        let error = caches.get("pages").expect_err("unknown alias");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_facts(&error.to_string(), &["\"pages\"", "\"default\""]);
    }

    #[tokio::test]
    async fn debug_and_errors_contain_no_secret() {
        let config = CacheConfig::new("far")
            .location("redis://ada:hunter2@host")
            .option("password", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");

        let builder = Caches::builder().url("default", "far://ada:hunter2@host?token=hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
        let error = builder.build().await.expect_err("unknown backend");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");

        for text in [
            "[default]\nbackend = 'locmem'\nlocation = 'redis://ada:hunter2@host'\n\
             timeout = 'redis://ada:hunter2@host'",
            "[default]\nbackend = 'redis://ada:hunter2@host'",
            "[default]\nbackend = 'locmem'\noptions = { password = 'hunter2' }",
            "[default]\nbackend = 'locmem'\npassword = 'hunter2'",
            "[default]\nlocation = 'redis://ada:hunter2@host",
            "default = ['redis://ada:hunter2@host']",
            "default = 'redis:/ada:hunter2@host'",
            "default = 'redis://ada:hunter2%ff@host'",
            "default = 'redis://ada:hunter2 x@host:port'",
            "default = 'locmem://?password=hunter2%ff'",
            "default = 'locmem://?pwd=hunter2'",
            "[default]\nbackend = 'ada:hunter2@host'",
        ] {
            let error = Caches::from_toml(text).await.expect_err("invalid configuration");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        }
    }
}

mod closing {
    use cachette::{
        Cache, async_trait,
        config::Backend,
        testing::{Chaos, Fault, Recorder, Verb},
    };

    use super::*;

    /// Opens the same store for every alias.
    struct SharedBackend(Arc<dyn Cache>);

    #[async_trait]
    impl Backend for SharedBackend {
        async fn open(&self, _: &StoreConfig) -> Result<Arc<dyn Cache>> {
            Ok(Arc::clone(&self.0))
        }
    }

    #[tokio::test]
    async fn close_all_closes_each_store_once_even_if_one_fails() {
        let chaos = Chaos::new(Arc::new(DummyCache));
        chaos.inject(Fault::error(ErrorKind::Backend).on(Verb::Close));
        let failing = Recorder::new(Arc::new(chaos));
        let working = Recorder::new(Arc::new(DummyCache));
        let caches = Caches::builder()
            .backend("shared", SharedBackend(Arc::new(failing.clone())))
            .url("default", "shared://")
            .url("again", "shared://")
            .store("working", Arc::new(working.clone()), Settings::default())
            .build()
            .await
            .expect("valid configuration");
        let error = caches.close_all().await.expect_err("one store fails");
        assert_eq!(error.cache(), Some("again"));
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert_eq!(failing.count(Verb::Close), 1);
        assert_eq!(working.count(Verb::Close), 1);
    }

    #[cfg(feature = "fetch")]
    #[tokio::test]
    async fn close_all_waits_for_the_producers_of_fetch() {
        let caches = Caches::from_url("locmem://").await.expect("valid configuration");
        let (end, ended) = tokio::sync::oneshot::channel();
        let produce = async move |_| {
            ended.await.expect("the test ends the producer");
            7_u8
        };
        let fetch = caches["default"].fetch("k", produce).hard_timeout(Duration::ZERO);
        assert!(fetch.await.is_err(), "it does not wait");
        let (closed, ()) = tokio::join!(caches.close_all(), async {
            tokio::task::yield_now().await;
            end.send(()).expect("the producer runs");
        });
        closed.expect("close the stores");
        let stored = caches["default"].get("k").await.expect("locmem does not fail");
        assert_eq!(stored, Some(7_u8));
    }

    #[tokio::test]
    async fn caches_are_usable_after_close_all() {
        let caches = Caches::from_url("locmem://").await.expect("valid configuration");
        caches.close_all().await.expect("close the stores");
        caches["default"].set("k", "v", Timeout::Default).await.expect("store the entry");
    }
}
