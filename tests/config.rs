//! Configuration: what is read from where, and what is told of each mistake.

use std::{fs, sync::Arc, time::Duration};

use cachette::{
    CacheHandle, Caches, Error, ErrorKind, KeyFunction, ManualClock, Result, Settings, Timeout,
    Ttl, Version,
    config::{CacheConfig, StoreConfig},
    stores::{DummyCache, LocMemCache, LocMemOptions, Policy},
};

async fn seconds_left(cache: &CacheHandle, key: &str) -> Option<f64> {
    match cache.ttl(key).await.expect("it answers")? {
        Ttl::Left(left) => Some(left.as_secs_f64()),
        Ttl::Never => None,
    }
}

async fn mistake_in_json(json: &str) -> String {
    let error = Caches::from_json(json).await.expect_err("it is a mistake");
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
        .expect("it is fine");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "pages"]);
        let pages = caches.get("pages").expect("it is there");
        assert_eq!(pages.composed_key("k"), "shop:2:k");
        assert_eq!(pages.default_timeout(), Timeout::secs(60));
        let store: &LocMemCache = pages.store().downcast_ref().expect("it is that one");
        assert_eq!(
            store.options(),
            LocMemOptions::default().max_entries(1000).policy(Policy::S3Fifo)
        );
    }

    #[tokio::test]
    async fn the_json_of_a_django_project_loads_unchanged() {
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
                "old": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "old",
                        "TIMEOUT": 5, "timeout": "20", "max_entries": "50",
                        "OPTIONS": {"MAX_ENTRIES": 7, "CULL_FREQUENCY": null}}
            }"#,
        )
        .await
        .expect("it is fine");
        let cache = &caches["default"];
        assert_eq!(cache.composed_key("k"), "site:3:k");
        cache.set("k", "v", Timeout::Default).await.expect("it is stored");
        assert_eq!(cache.ttl("k").await.expect("it answers"), Some(Ttl::Never));
        assert_eq!(caches["dev"].store().name(), "dummy");
        assert_eq!(caches["old"].default_timeout(), Timeout::secs(20));
        assert!(
            format!("{:?}", caches["old"].store()).contains("max_entries: 50"),
            "{:?}",
            caches["old"].store()
        );
    }

    #[tokio::test]
    async fn the_caches_may_be_a_section_of_a_larger_file() {
        let text = "[server]\nport = 80\n[CACHES.default]\nBACKEND = 'locmem'";
        assert!(Caches::from_toml(text).await.is_ok());
        assert!(
            Caches::from_json(r#"{"caches": {"default": {"backend": "locmem"}}, "debug": true}"#)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_file_is_read_by_its_extension() {
        let folder = tempfile::tempdir().expect("there is room");
        for (name, text) in [
            ("caches.toml", "[default]\nbackend = 'locmem'"),
            ("caches.json", r#"{"default": {"backend": "locmem"}}"#),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("there is room");
            let caches = Caches::from_file(&path).await.expect("it is fine");
            assert_eq!(caches["default"].store().name(), "locmem");
        }
    }

    #[tokio::test]
    async fn a_url_configures_one_cache() {
        let url = "locmem://my%20pages?timeout=2.5&key_prefix=shop&version=2&max_entries=1000&cull_frequency=0";
        let caches = Caches::from_url(url).await.expect("it is fine");
        let cache = &caches["default"];
        assert_eq!(cache.composed_key("k"), "shop:2:k");
        assert_eq!(cache.current_version(), &Version::Number(2));
        assert_eq!(cache.default_timeout(), Duration::from_millis(2500).into());
        assert!(format!("{:?}", cache.store()).contains("max_entries: 1000"));
    }

    #[tokio::test]
    async fn a_url_may_stand_in_place_of_a_table() {
        let caches =
            Caches::from_toml("default = 'locmem://?timeout=never'\nnone = 'dummy://'").await;
        let caches = caches.expect("it is fine");
        assert_eq!(caches["default"].default_timeout(), Timeout::Never);
        assert_eq!(caches["none"].store().name(), "dummy");
    }

    #[tokio::test]
    async fn the_environment_configures_an_alias_a_variable() {
        let variables = [
            ("CACHE_URL", "locmem://"),
            ("CACHE_URL_PAGES", "dummy://"),
            ("CACHE_URLS", "no"),
            ("HOME", "/"),
        ];
        let caches = Caches::builder().vars(variables).build().await.expect("it is fine");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "pages"]);
    }

    #[tokio::test]
    async fn a_variable_stands_in_for_an_alias_whatever_its_case_and_its_dashes() {
        let caches = Caches::builder()
            .json(
                r#"{"default": "locmem://", "userPages": "locmem://", "more-pages": "locmem://"}"#,
            )
            .vars([("CACHE_URL_USERPAGES", "dummy://"), ("CACHE_URL_MORE_PAGES", "dummy://")])
            .build()
            .await
            .expect("it is fine");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "more-pages", "userPages"]);
        assert_eq!(caches["userPages"].store().name(), "dummy");
        assert_eq!(caches["more-pages"].store().name(), "dummy");
    }

    #[tokio::test]
    async fn a_mark_of_the_byte_order_does_no_harm() {
        assert!(Caches::from_json("\u{feff}{\"default\": \"locmem://\"}").await.is_ok());
        assert!(Caches::from_toml("\u{feff}default = 'locmem://'").await.is_ok());
    }

    #[tokio::test]
    async fn a_store_gets_a_url_as_it_was_written_and_its_location_decoded() {
        let seen = async |config: StoreConfig| {
            assert_eq!(config.url.as_deref(), Some("far://ada:p%40w@host:1/0"));
            assert_eq!(config.location, ["ada:p@w@host:1/0"]);
            assert!(
                !format!("{config:?}").contains("p@w") && !format!("{config:?}").contains("p%40w"),
                "{config:?}"
            );
            Ok(DummyCache)
        };
        let built = Caches::builder()
            .backend("far", seen)
            .url("default", "far://ada:p%40w@host:1/0?timeout=5")
            .build();
        assert!(built.await.is_ok());
    }

    #[tokio::test]
    async fn the_last_source_that_names_an_alias_wins_it_whole() {
        let caches = Caches::builder()
            .toml("[default]\nbackend = 'locmem'\nkey_prefix = 'file'\n[pages]\nbackend = 'locmem'")
            .vars([("CACHE_URL", "dummy://")])
            .build()
            .await
            .expect("it is fine");
        assert_eq!(caches["default"].store().name(), "dummy");
        assert_eq!(caches["default"].key_prefix(), "");
        assert_eq!(caches["pages"].store().name(), "locmem");
    }

    #[tokio::test]
    async fn code_configures_by_name_or_with_a_store_that_is_made() {
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
            .expect("it is fine");
        assert_eq!(caches["default"].composed_key("k"), ":next:k");
        assert_eq!(caches["made"].composed_key("k"), "made:1:k");
    }
}

mod settings {
    use super::*;

    #[tokio::test]
    async fn a_timeout_may_be_null_zero_negative_fractional_or_text() {
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
                .expect("it is fine");
            caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
            assert_eq!(seconds_left(&caches["default"], "k").await, seconds, "{written}");
        }
        for expired in ["0", "-1", "\"-3\"", "-0.5"] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", "TIMEOUT": {expired}}}}}"#);
            let caches = Caches::from_json(&json).await.expect("it is fine");
            caches["default"].set("k", "v", Timeout::Default).await.expect("it is answered");
            assert!(!caches["default"].contains("k").await.expect("it answers"), "{expired}");
        }
    }

    #[tokio::test]
    async fn without_a_timeout_entries_live_for_300_seconds() {
        let time = ManualClock::new();
        let caches = Caches::builder()
            .url("default", "locmem://")
            .clock(time.clock())
            .build()
            .await
            .expect("it is fine");
        caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
        assert_eq!(seconds_left(&caches["default"], "k").await, Some(300.0));
    }

    #[tokio::test]
    async fn aliases_with_one_location_share_a_store() {
        let caches = Caches::from_toml(
            "[default]\nbackend = 'locmem'\nlocation = 'a'\n[same]\nbackend = 'locmem'\nlocation = ['a']\n\
             [other]\nbackend = 'locmem'\nlocation = 'b'",
        );
        let caches = caches.await.expect("it is fine");
        caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
        assert!(caches["same"].contains("k").await.expect("it answers"));
        assert!(!caches["other"].contains("k").await.expect("it answers"));
    }

    #[tokio::test]
    async fn two_values_of_caches_share_nothing() {
        let (one, other) =
            (Caches::from_url("locmem://a").await, Caches::from_url("locmem://a").await);
        let (one, other) = (one.expect("it is fine"), other.expect("it is fine"));
        one["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
        assert!(!other["default"].contains("k").await.expect("it answers"));
    }

    #[tokio::test]
    async fn a_key_check_of_error_refuses_a_key_before_it_is_read_or_written() {
        let caches = Caches::from_url("locmem://?key_check=error").await.expect("it is fine");
        let cache = &caches["default"];
        let refused = [
            cache.set("two words", "v", Timeout::Default).await.map(drop),
            cache.get::<String>("two words").await.map(drop),
            cache.get_many::<String, _>(["fine", "two words"]).await.map(drop),
            cache.set_many([("fine", 1), ("two words", 2)], Timeout::Default).await.map(drop),
            cache.delete_many(["two words"]).await.map(drop),
            cache.incr(&"x".repeat(300), 1).await.map(drop),
        ];
        for answer in refused {
            assert_eq!(answer.expect_err("it is refused").kind(), ErrorKind::InvalidKey);
        }
        assert!(!cache.contains("fine").await.expect("it answers"));
    }

    #[tokio::test]
    async fn the_hashed_key_function_makes_any_key_portable() {
        let caches = Caches::from_url("locmem://?key_function=hashed&key_check=error")
            .await
            .expect("it is fine");
        caches["default"].set("two words", "v", Timeout::Default).await.expect("it is stored");
        let found = caches["default"].get::<String>("two words").await.expect("it answers");
        assert_eq!(found.as_deref(), Some("v"));
    }

    #[tokio::test]
    async fn a_codec_may_be_chosen_and_changed() {
        let store = Arc::new(LocMemCache::default());
        let compact = cfg!(feature = "postcard").then_some("postcard");
        for codec in ["json", "msgpack"].into_iter().chain(compact).chain(["json"]) {
            let shared = Arc::clone(&store);
            let caches = Caches::builder()
                .backend("mine", move |_: StoreConfig| {
                    let shared = Arc::clone(&shared);
                    async { Ok(shared) }
                })
                .url("default", &format!("mine://?codec={codec}"))
                .build()
                .await
                .expect("it is fine");
            let cache = &caches["default"];
            if let Some(before) = cache.get::<(u8, Option<String>)>("k").await.expect("it answers")
            {
                assert_eq!(before, (7, Some("seven".into())), "what another codec wrote");
            }
            cache.set("k", &(7_u8, Some("seven")), Timeout::Default).await.expect("it is stored");
            assert!(cache.contains("k").await.expect("it answers"));
            assert_eq!(cache.undecodable_seen(), 0);
        }
    }
}

mod own {
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
    async fn a_store_of_one_s_own_is_configured_by_its_name() {
        let caches = Caches::builder()
            .backend("shelf", open)
            .toml("[default]\nbackend = 'shelf'\nlocation = ['north', 'south']\noptions = { shelves = 3 }")
            .build()
            .await
            .expect("it is fine");
        caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    }

    #[tokio::test]
    async fn a_mistake_in_its_options_is_located_as_in_any_other() {
        let error = Caches::builder()
            .backend("shelf", open)
            .toml("[default]\nbackend = 'shelf'\noptions = { shelves = 'many' }")
            .build()
            .await
            .expect_err("it is a mistake");
        assert_eq!(
            error.to_string(),
            "the TOML given: cache \"default\": OPTIONS.shelves: found \"many\", expected a whole number of at least 0"
        );
    }

    #[tokio::test]
    async fn an_error_of_another_kind_keeps_its_kind_and_its_source() {
        async fn fail(_: StoreConfig) -> Result<DummyCache> {
            Err(Error::new(ErrorKind::Unavailable, "cannot reach redis://ada:lovelace@host"))
        }
        let error = Caches::builder().backend("far", fail).url("default", "far://").build().await;
        let error = error.expect_err("it fails");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_temporary());
        assert_eq!(
            error.to_string(),
            "the URL given: cache \"default\": cannot reach redis://***@host"
        );
        assert!(!format!("{error:?}").contains("lovelace"), "{error:?}");
    }

    #[tokio::test]
    async fn a_key_function_of_one_s_own_is_configured_by_its_name() {
        let shout = KeyFunction::custom(|key, _, _| key.to_uppercase());
        let caches = Caches::builder()
            .key_function("shop.keys.shout", shout)
            .json(r#"{"default": {"BACKEND": "locmem", "KEY_FUNCTION": "shop.keys.shout"}}"#)
            .build()
            .await
            .expect("it is fine");
        assert_eq!(caches["default"].composed_key("hello"), "HELLO");
    }
}

mod mistakes {
    use super::*;

    #[tokio::test]
    async fn each_is_told_with_place_and_remedy() {
        for (settings, told) in [
            (
                r#""TIMEOUT": "soon""#,
                r#"TIMEOUT: found "soon", expected a number of seconds, or null or "never" for entries that do not expire"#,
            ),
            (
                r#""TIMEOUT": true"#,
                r#"TIMEOUT: found true, expected a number of seconds, or null or "never" for entries that do not expire"#,
            ),
            (
                r#""OPTIONS": {"MAX_ENTRIES": 0}"#,
                "OPTIONS.MAX_ENTRIES: found 0, expected a whole number of at least 1",
            ),
            (
                r#""OPTIONS": {"POLICY": "fifo"}"#,
                r#"OPTIONS.POLICY: found "fifo", expected "lru" or "s3-fifo""#,
            ),
            (
                r#""max_entries": 0"#,
                "OPTIONS.max_entries: found 0, expected a whole number of at least 1",
            ),
            (
                r#""OPTIONS": {"MAX_ENTRIES": "lots"}"#,
                r#"OPTIONS.MAX_ENTRIES: found "lots", expected a whole number of at least 1"#,
            ),
            (
                r#""OPTIONS": {"MAX_ENTRYS": 5}"#,
                "OPTIONS.MAX_ENTRYS: unknown, expected one of max_entries, cull_frequency, max_bytes, policy",
            ),
            (r#""OPTIONS": []"#, "OPTIONS: found a list of 0, expected a table"),
            (r#""LOCATION": 5"#, "LOCATION: found 5, expected a text or a list of texts"),
            (r#""LOCATION": ["a", "b"]"#, "LOCATION: found a list of 2, expected one text"),
            (r#""VERSION": [1]"#, "VERSION: found a list of 1, expected a whole number or a text"),
            (r#""KEY_PREFIX": 5"#, "KEY_PREFIX: found 5, expected a text"),
            (
                r#""KEY_CHECK": "maybe""#,
                r#"KEY_CHECK: found "maybe", expected "warn" or "error" or "off""#,
            ),
            (
                r#""KEY_FUNCTION": "shout""#,
                r#"KEY_FUNCTION: found "shout", expected one that there is: there are "default", "django.core.cache.backends.base.default_key_func" and "hashed", and CachesBuilder::key_function adds others"#,
            ),
            (
                r#""TIMOUT": 5"#,
                "TIMOUT: unknown, expected one of backend, location, timeout, key_prefix, version, key_function, options, key_check, codec, undecodable, max_entries, cull_frequency",
            ),
            (
                r#""KEY_PREFIX": "a", "key_prefix": "b""#,
                "key_prefix: given twice, in upper and in lower case",
            ),
            (
                r#""TIMEOUT": "nan""#,
                r#"TIMEOUT: found "nan", expected a number of seconds, or null or "never" for entries that do not expire"#,
            ),
        ] {
            let json = format!(r#"{{"default": {{"BACKEND": "locmem", {settings}}}}}"#);
            let expected = format!("the JSON given: cache \"default\": {told}");
            assert_eq!(mistake_in_json(&json).await, expected);
        }
    }

    #[tokio::test]
    async fn a_backend_that_is_missing_or_unknown_is_told_with_those_there_are() {
        for (json, found) in [
            (r#"{"default": {}}"#, "none"),
            (r#"{"default": {"BACKEND": "locmen"}}"#, "\"locmen\""),
        ] {
            let told = mistake_in_json(json).await;
            let begin = format!(
                "the JSON given: cache \"default\": BACKEND: found {found}, expected one that there is: "
            );
            let there = told.strip_prefix(&begin).expect(&told);
            assert!(there.contains("\"dummy\"") && there.contains("\"locmem\""), "{there}");
        }
    }

    #[tokio::test]
    async fn a_missing_default_is_told_unless_none_is_asked_for() {
        let told = mistake_in_json(r#"{"pages": {"BACKEND": "locmem"}}"#).await;
        assert!(told.starts_with("the JSON given: there is no cache \"default\""), "{told}");
        assert!(told.contains("there is \"pages\""), "{told}");
        assert!(Caches::builder().build().await.is_err());
        let told = mistake_in_json("{}").await;
        assert!(told.starts_with("the JSON given: there is no cache \"default\""), "{told}");
        let told = Caches::builder()
            .vars([("HOME", "/")])
            .build()
            .await
            .expect_err("there are none")
            .to_string();
        assert!(
            told.starts_with("CACHE_URL in the environment: there is no cache \"default\""),
            "{told}"
        );

        let caches = Caches::builder()
            .url("pages", "locmem://")
            .without_default()
            .build()
            .await
            .expect("it is fine");
        assert_eq!(caches.aliases().collect::<Vec<_>>(), ["pages"]);
    }

    #[tokio::test]
    async fn a_file_is_named() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("caches.toml");
        let told = |error: Error| error.to_string();

        let absent = told(Caches::from_file(&path).await.expect_err("it is absent"));
        assert!(absent.starts_with(&format!("{}: cannot be read: ", path.display())), "{absent}");

        fs::write(&path, "[default]\nbackend = 'locmem'\ntimeout = [1]").expect("there is room");
        let wrong = told(Caches::from_file(&path).await.expect_err("it is wrong"));
        assert!(
            wrong.starts_with(&format!(
                "{}: cache \"default\": timeout: found a list of 1",
                path.display()
            )),
            "{wrong}"
        );

        fs::write(&path, "[default]\nbackend 'locmem'").expect("there is room");
        let broken = told(Caches::from_file(&path).await.expect_err("it is broken"));
        assert!(broken.starts_with(&format!("{}: line 2: ", path.display())), "{broken}");

        let yaml =
            told(Caches::from_file("caches.yaml").await.expect_err("it is no format of ours"));
        assert_eq!(
            yaml,
            "the file of the configuration: found \"caches.yaml\", expected one ending in .toml or .json"
        );
    }

    #[tokio::test]
    async fn a_variable_is_named() {
        let error = Caches::builder()
            .vars([("CACHE_URL", "locmem://"), ("CACHE_URL_PAGES", "pages")])
            .build()
            .await;
        let told = error.expect_err("it is no URL").to_string();
        assert_eq!(
            told,
            "CACHE_URL_PAGES: URL: found \"pages\", expected backend://location?setting=value"
        );
    }

    #[tokio::test]
    async fn two_variables_for_one_alias_are_told() {
        let variables = [("CACHE_URL", "locmem://"), ("CACHE_URL_DEFAULT", "dummy://")];
        let told = Caches::builder().vars(variables).build().await.expect_err("which?").to_string();
        assert_eq!(
            told,
            "CACHE_URL_DEFAULT: CACHE_URL configures the cache \"default\" as well, expected one of them"
        );
    }

    #[tokio::test]
    async fn a_name_given_twice_is_told() {
        for json in [
            r#"{"default": "locmem://", "default": "dummy://"}"#,
            r#"{"default": {"BACKEND": "locmem", "TIMEOUT": 1, "TIMEOUT": 2}}"#,
        ] {
            assert!(mistake_in_json(json).await.contains("is given twice at line 1"));
        }
        let told = mistake_in_json(
            r#"{"CACHES": {"default": "locmem://"}, "caches": {"default": "dummy://"}}"#,
        )
        .await;
        assert_eq!(told, "the JSON given: found two sections of caches, expected one");
    }

    #[tokio::test]
    async fn what_is_wrong_in_a_url_is_told() {
        for (url, told) in [
            (
                "locmem://?timeout=1&timeout=2",
                "URL: found \"timeout\" twice, expected each setting once",
            ),
            (
                "locmem://?timeout",
                "URL: found no \"=\" in part 1 of its query, expected setting=value",
            ),
            ("locmem://%ff", "URL: found no UTF-8 in location, expected UTF-8, percent-encoded"),
            (
                "locmem://?max_entries=0",
                "OPTIONS.max_entries: found \"0\", expected a whole number of at least 1",
            ),
        ] {
            let error = Caches::from_url(url).await.expect_err(url);
            assert_eq!(error.to_string(), format!("the URL given: cache \"default\": {told}"));
        }
    }

    #[tokio::test]
    async fn one_location_with_two_minds_is_told() {
        let told = mistake_in_json(
            r#"{"default": {"BACKEND": "locmem"}, "more": {"BACKEND": "locmem", "OPTIONS": {"MAX_ENTRIES": 5}}}"#,
        );
        let told = told.await;
        assert!(told.contains("cache \"more\": OPTIONS: found"), "{told}");
        assert!(told.contains("max_entries: 5") && told.contains("max_entries: 300"), "{told}");
        assert!(told.contains("a LOCATION of its own"), "{told}");
    }

    #[tokio::test]
    async fn an_unknown_alias_is_told_with_those_there_are() {
        let caches = Caches::from_url("locmem://").await.expect("it is fine");
        let told = caches.get("pages").expect_err("there is none").to_string();
        assert_eq!(told, "there is no cache \"pages\"; there is \"default\"");
    }

    #[tokio::test]
    async fn no_secret_is_in_debug_or_in_an_error() {
        let config = CacheConfig::new("far")
            .location("redis://ada:hunter2@host")
            .option("password", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");

        let builder = Caches::builder().url("default", "far://ada:hunter2@host?token=hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
        let error = builder.build().await.expect_err("there is no such store");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");

        for text in [
            "[default]\nbackend = 'locmem'\nlocation = 'redis://ada:hunter2@host'\ntimeout = 'redis://ada:hunter2@host'",
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
            let error = Caches::from_toml(text).await.expect_err("it is a mistake");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        }
    }
}

mod lifetime {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cachette::{Cache, Value, async_trait, config::Backend};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Closing {
        closed: Arc<AtomicUsize>,
        fails: bool,
    }

    #[async_trait]
    impl Cache for Closing {
        fn name(&self) -> &str {
            "closing"
        }
        async fn get(&self, _: &str) -> Result<Option<Value>> {
            Ok(None)
        }
        async fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<()> {
            Ok(())
        }
        async fn add(&self, _: &str, _: Value, _: Option<Duration>) -> Result<bool> {
            Ok(true)
        }
        async fn touch(&self, _: &str, _: Option<Duration>) -> Result<bool> {
            Ok(false)
        }
        async fn incr(&self, _: &str, _: i64) -> Result<Option<i64>> {
            Ok(None)
        }
        async fn delete(&self, _: &str) -> Result<bool> {
            Ok(false)
        }
        async fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
            Ok(None)
        }
        async fn clear(&self) -> Result<()> {
            Ok(())
        }
        async fn close(&self) -> Result<()> {
            self.closed.fetch_add(1, Ordering::SeqCst);
            if self.fails { Err(Error::new(ErrorKind::Backend, "stuck")) } else { Ok(()) }
        }
    }

    /// Gives every alias the same store.
    struct OneForAll(Arc<Closing>);

    #[async_trait]
    impl Backend for OneForAll {
        async fn open(&self, _: &StoreConfig) -> Result<Arc<dyn Cache>> {
            Ok(Arc::clone(&self.0) as Arc<dyn Cache>)
        }
    }

    #[tokio::test]
    async fn close_all_closes_each_store_once_even_after_one_failed() {
        let (stuck, fine) = (Closing { fails: true, ..Closing::default() }, Closing::default());
        let caches = Caches::builder()
            .backend("shared", OneForAll(Arc::new(stuck.clone())))
            .url("default", "shared://")
            .url("again", "shared://")
            .store("fine", Arc::new(fine.clone()), Settings::default())
            .build()
            .await
            .expect("it is fine");
        let error = caches.close_all().await.expect_err("one is stuck");
        assert_eq!(error.to_string(), "cache \"again\" (closing): stuck");
        assert_eq!(stuck.closed.load(Ordering::SeqCst), 1);
        assert_eq!(fine.closed.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_caches_are_usable_after_close_all() {
        let caches = Caches::from_url("locmem://").await.expect("it is fine");
        caches.close_all().await.expect("it closes");
        caches["default"].set("k", "v", Timeout::Default).await.expect("it is stored");
    }
}
