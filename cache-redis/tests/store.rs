//! Behavior on one server, beyond what the conformance suite tests.

mod common;

use std::{collections::BTreeSet, time::Duration};

use cache_core::{Bytes, Cache, ErrorKind, KeyState, Ttl, Value};
use cache_redis::{RedisBackend, RedisCache};
use common::{HOUR, alias, fresh, patient, server, server_with, shared_server};
use serde_json::json;

fn bytes(text: &'static str) -> Value {
    Value::Bytes(Bytes::from_static(text.as_bytes()))
}

/// Executes a command with another client.
async fn raw(url: &str, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query_async(&mut connection).await.expect("a reply")
}

fn text(text: &str) -> redis::Value {
    redis::Value::BulkString(text.as_bytes().to_vec())
}

#[tokio::test]
async fn integer_is_stored_as_decimal_text() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    store.set(":1:n", Value::Int(-7), None).await.expect("stored");
    assert_eq!(raw(&server.url(), &["GET", ":1:n"]).await, text("-7"));
    raw(&server.url(), &["INCRBY", ":1:n", "10"]).await;
    assert_eq!(store.get(":1:n").await.expect("a reply"), Some(Value::Int(3)));
}

#[tokio::test]
async fn sum_beyond_53_bits_is_exact() {
    let store = fresh(&shared_server(), patient());
    store.set("n", Value::Int(i64::MAX - 3), None).await.expect("stored");
    assert_eq!(store.incr("n", 2).await.expect("incremented"), Some(i64::MAX - 1));
    store.set("n", Value::Int(0), None).await.expect("stored");
    assert_eq!(store.incr("n", i64::MIN).await.expect("incremented"), Some(i64::MIN));
}

#[tokio::test]
async fn scripts_are_sent_again_after_script_flush() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    store.set("n", Value::Int(1), HOUR).await.expect("stored");
    assert_eq!(store.incr("n", 1).await.expect("incremented"), Some(2));
    raw(&server.url(), &["SCRIPT", "FLUSH"]).await;
    assert_eq!(store.incr("n", 1).await.expect("incremented"), Some(3));
    raw(&server.url(), &["SCRIPT", "FLUSH"]).await;
    assert!(store.touch("n", None).await.expect("a reply"));
    assert_eq!(store.ttl("n").await.expect("a reply"), Some(Ttl::Never));
}

#[tokio::test]
async fn touch_without_ttl_returns_true_for_an_entry_without_ttl() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("v"), None).await.expect("stored");
    assert!(store.touch("k", None).await.expect("a reply"));
    assert!(!store.touch("other", None).await.expect("a reply"));
}

#[tokio::test]
async fn ttl_has_millisecond_precision() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("v"), Some(Duration::from_millis(900_500))).await.expect("stored");
    let Some(Ttl::Left(left)) = store.ttl("k").await.expect("a reply") else {
        panic!("no time to live")
    };
    assert!(left > Duration::from_secs(840) && left <= Duration::from_millis(900_500), "{left:?}");
    store.set("k", bytes("v"), Some(Duration::MAX)).await.expect("any time to live is accepted");
    assert!(store.touch("k", Some(Duration::MAX)).await.expect("any time to live is accepted"));
    assert!(matches!(store.ttl("k").await, Ok(Some(Ttl::Left(_)))));
}

#[tokio::test]
async fn key_of_another_type_is_a_miss_and_not_an_integer() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    raw(&server.url(), &["LPUSH", ":1:list", "a"]).await;
    assert_eq!(store.get(":1:list").await.expect("a miss"), None);
    assert_eq!(store.get_many(&[":1:list"]).await.expect("a miss"), [None]);
    assert_eq!(
        store.incr(":1:list", 1).await.expect_err("not an integer").kind(),
        ErrorKind::NotAnInteger
    );
    store.set(":1:list", bytes("v"), None).await.expect("overwritten");
    assert_eq!(store.get(":1:list").await.expect("a reply"), Some(bytes("v")));
}

#[tokio::test]
async fn clear_keeps_keys_of_other_applications() {
    let server = server();
    let backend = RedisBackend::default();
    let store = alias(&backend, &server.url(), "shop:", json!({}));
    for key in ["session:1", "shopping:1:k", "xshop:1:k", "SHOP:1:k"] {
        raw(&server.url(), &["SET", key, "theirs"]).await;
    }
    let keys: Vec<String> =
        (0..5000).map(|number| format!("shop:{}:{number}", number % 3)).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("ours"))).collect();
    store.set_many(&entries, HOUR).await.expect("stored");
    assert_eq!(store.stats().await.expect("a reply").entries, Some(5000));
    store.clear().await.expect("cleared");
    assert_eq!(raw(&server.url(), &["DBSIZE"]).await, redis::Value::Int(4));
    assert_eq!(store.stats().await.expect("a reply").entries, Some(0));
}

#[tokio::test]
async fn clear_keeps_keys_of_aliases_with_longer_prefixes() {
    let server = server();
    let backend = RedisBackend::default();
    let shop = alias(&backend, &server.url(), "shop:", json!({}));
    let europe = alias(&backend, &server.url(), "shop:eu:", json!({"client_name": "europe"}));
    let odd = alias(&backend, &server.url(), "s*p[a-z]?:", json!({}));
    for (store, key) in [(&shop, "shop:1:k"), (&europe, "shop:eu:1:k"), (&odd, "s*p[a-z]?:1:k")] {
        store.set(key, bytes("v"), None).await.expect("stored");
    }
    odd.clear().await.expect("cleared");
    assert!(!odd.contains("s*p[a-z]?:1:k").await.expect("a reply"));
    shop.clear().await.expect("cleared");
    assert!(!shop.contains("shop:1:k").await.expect("a reply"));
    assert!(europe.contains("shop:eu:1:k").await.expect("a reply"));
    europe.clear().await.expect("cleared");
    assert!(!europe.contains("shop:eu:1:k").await.expect("a reply"));
}

#[tokio::test]
async fn clear_with_empty_prefix_removes_every_version() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    for key in [":1:k", ":2:k", ":name:k"] {
        store.set(key, bytes("v"), None).await.expect("stored");
    }
    raw(&server.url(), &["SET", "celery", "theirs"]).await;
    store.clear().await.expect("cleared");
    assert_eq!(raw(&server.url(), &["KEYS", "*"]).await, redis::Value::Array(vec![text("celery")]));
}

#[tokio::test]
async fn clear_needs_a_prefix_or_ownership_of_the_database() {
    let server = server();
    let store = RedisCache::new(&[server.url()], patient()).expect("valid options");
    store.set("k", bytes("v"), None).await.expect("stored");
    let error = store.clear().await.expect_err("no prefix");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("OPTIONS.namespace"), "{error}");
    assert!(store.contains("k").await.expect("a reply"));

    let options = patient().clear_database(true);
    let owner = RedisCache::new(&[server.url()], options).expect("valid options");
    assert_eq!(owner.stats().await.expect("a reply").entries, Some(1));
    owner.clear().await.expect("cleared");
    assert_eq!(raw(&server.url(), &["DBSIZE"]).await, redis::Value::Int(0));
}

#[tokio::test]
async fn aliases_share_a_connection_and_databases_are_separate() {
    let server = server();
    let backend = RedisBackend::default();
    let clients = async || {
        let redis::Value::BulkString(list) = raw(&server.url(), &["CLIENT", "LIST"]).await else {
            panic!("not a string")
        };
        // Without the client that executes this command.
        String::from_utf8(list).expect("text").lines().count() - 1
    };
    let one = alias(&backend, &server.url(), "a:", json!({}));
    let two = alias(&backend, &server.url(), "b:", json!({}));
    one.set("k", bytes("v"), None).await.expect("stored");
    assert!(two.contains("k").await.expect("a reply"));
    assert_eq!(clients().await, 1);
    let elsewhere = alias(&backend, &format!("{}/7", server.url()), "a:", json!({"db": 3}));
    assert!(!elsewhere.contains("k").await.expect("a reply"), "another database");
    elsewhere.set("k", bytes("w"), None).await.expect("stored");
    assert_eq!(raw(&format!("{}/7", server.url()), &["GET", "k"]).await, text("w"));
    one.close().await.expect("closed");
    elsewhere.close().await.expect("closed");
    common::eventually("connections are closed", async || clients().await == 0).await;
    assert!(one.contains("k").await.expect("reconnected"));
}

#[tokio::test]
async fn stats_include_role_memory_and_hits_of_the_server() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    store.set(":1:k", bytes("v"), None).await.expect("stored");
    store.get(":1:k").await.expect("a reply");
    store.get(":1:missing").await.expect("a reply");
    raw(&server.url(), &["SET", "theirs", "v"]).await;
    let stats = store.stats().await.expect("a reply");
    let detail = |name: &str| {
        let name = if name == "keys" {
            name.into()
        } else {
            format!("127.0.0.1:{} {name}", server.port())
        };
        stats.details.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(stats.entries, Some(1));
    assert_eq!((stats.hits, stats.misses, stats.evictions), (Some(1), Some(1), Some(0)));
    assert_eq!(stats.expirations, Some(0));
    assert!(stats.bytes.is_some_and(|bytes| bytes > 1000), "{stats:?}");
    assert_eq!(detail("keys"), Some("2"));
    assert_eq!(detail("role"), Some("master"));
    assert_eq!(detail("keyspace_hits"), Some("1"));
    assert_eq!(detail("keyspace_misses"), Some("1"));
    assert_eq!(detail("evicted_keys"), Some("0"));
    assert!(detail("redis_version").is_some() && detail("used_memory").is_some(), "{stats:?}");
}

#[tokio::test]
async fn user_is_authenticated_and_rejected_logins_are_reported() {
    let server = server_with(&[
        "--requirepass",
        "p@ss,w/rd;",
        "--user",
        "ada",
        "on",
        ">love:lace",
        "~*",
        "+@all",
    ]);
    let at = |user: &str| vec![server.url().replace("redis://", &format!("redis://{user}@"))];
    for user in [":p%40ss%2Cw%2Frd%3B", "ada:love%3Alace"] {
        let store = fresh(&at(user), patient());
        store.set("k", bytes("v"), HOUR).await.expect(user);
    }
    let options = patient().username("ada").password("love:lace");
    let store = fresh(&[server.url()], options);
    store.set("k", bytes("v"), HOUR).await.expect("authenticated by OPTIONS");
    for user in ["ada:hunter2", ":hunter2"] {
        let store = fresh(&at(user), patient());
        let error = store.get("k").await.expect_err("rejected");
        assert!(!error.is_temporary(), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
        assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?} {store:?}");
    }
    let error = fresh(&[server.url()], patient()).get("k").await.expect_err("rejected");
    assert!(error.to_string().contains("NOAUTH"), "{error}");
}

#[tokio::test]
async fn unix_socket_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s");
    let _server = server_with(&["--unixsocket", &socket.display().to_string()]);
    for url in
        [format!("unix://{}?db=2", socket.display()), format!("redis://{}", socket.display())]
    {
        let store = fresh(&[url], patient());
        store.set("k", bytes("v"), HOUR).await.expect("stored");
        assert_eq!(store.get("k").await.expect("a reply"), Some(bytes("v")));
    }
}

#[tokio::test]
async fn server_without_memory_is_full() {
    let server = server_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = fresh(&[server.url()], patient());
    let large = Value::Bytes(vec![7; 1 << 20].into());
    let mut outcome = Ok(());
    for number in 0..20 {
        outcome = outcome.and(store.set(&format!("k{number}"), large.clone(), HOUR).await);
    }
    let error = outcome.expect_err("out of memory");
    cache_conformance::assert_storage_full(&error);
    assert!(error.to_string().contains("OOM"), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
    let entries = [("a", large.clone()), ("b", large)];
    let error = store.set_many(&entries, HOUR).await.expect_err("none is stored");
    cache_conformance::assert_storage_full(&error);
    store.delete("k0").await.expect("deletions work");
}

#[tokio::test]
async fn set_many_returns_the_entries_without_room() {
    let server = server_with(&["--maxmemory", "8mb", "--maxmemory-policy", "noeviction"]);
    let store = fresh(&[server.url()], patient());
    let large = Value::Bytes(vec![7; 1 << 20].into());
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), large.clone())).collect();
    let rejected = store.set_many(&entries, HOUR).await.expect("some are stored");
    assert!(!rejected.is_empty() && rejected.len() < 20, "{rejected:?}");
    for (position, key) in keys.iter().enumerate() {
        let stored = store.contains(key).await.expect("a reply");
        assert_eq!(stored, !rejected.contains(&position), "{key}");
    }
}

#[tokio::test]
async fn server_that_cannot_write_to_its_disk_is_full() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    raw(&server.url(), &["CONFIG", "SET", "save", "3600 1"]).await;
    raw(&server.url(), &["CONFIG", "SET", "rdbcompression", "no"]).await;
    // A directory in place of the file makes every snapshot fail.
    let redis::Value::Array(folder) = raw(&server.url(), &["CONFIG", "GET", "dir"]).await else {
        panic!("not an array")
    };
    let redis::Value::BulkString(folder) = &folder[1] else { panic!("not a string") };
    let file = std::path::Path::new(str::from_utf8(folder).expect("text")).join("dump.rdb");
    std::fs::create_dir(file).expect("the folder of the server is writable");
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    raw(&server.url(), &["BGSAVE"]).await;
    common::eventually("the snapshot has failed", async || {
        store.get("k").await.expect("reads work");
        store.set("k", Value::Int(2), HOUR).await.is_err()
    })
    .await;
    let error = store.set("k", Value::Int(2), HOUR).await.expect_err("the disk is full");
    cache_conformance::assert_storage_full(&error);
    assert!(error.to_string().contains("MISCONF"), "{error}");
}

#[tokio::test]
async fn oversized_value_is_rejected_and_removes_the_old_one() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("small"), HOUR).await.expect("stored");
    // The pages are never written, so they take no memory.
    let large = Value::Bytes(vec![0; cache_redis::MAX_VALUE_BYTES + 1].into());
    let error = store.set("k", large.clone(), HOUR).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.expect("a reply"), None);
    let entries = [
        ("a", bytes("v")),
        ("k", bytes("v")),
        ("k", large.clone()),
        ("b", large),
        ("b", bytes("v")),
    ];
    assert_eq!(store.set_many(&entries, HOUR).await.expect("the others stored"), [2, 3]);
    let stored = store.get_many(&["a", "k", "b"]).await.expect("a reply");
    assert_eq!(stored, [Some(bytes("v")), None, Some(bytes("v"))], "the last entry of a key wins");
}

#[tokio::test]
async fn connections_have_the_configured_name() {
    let server = server();
    let store = fresh(&[server.url()], patient().client_name("shop-web"));
    store.get("k").await.expect("a reply");
    let redis::Value::BulkString(list) = raw(&server.url(), &["CLIENT", "LIST"]).await else {
        panic!("not a string")
    };
    assert!(String::from_utf8_lossy(&list).contains("name=shop-web"));
}

#[tokio::test]
async fn keys_are_listed_in_pages_with_those_of_other_types() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), "shop:", json!({}));
    raw(&server.url(), &["RPUSH", "queue", "job"]).await;
    let keys: Vec<String> = (0..3000).map(|number| format!("shop:1:{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("ours"))).collect();
    store.set_many(&entries, HOUR).await.expect("stored");
    let (mut listed, mut largest) = (BTreeSet::new(), 0);
    let mut pages = store.inspector().expect("the store lists its keys").keys("");
    while let Some(page) = pages.next_page().await.expect("a page") {
        largest = largest.max(page.len());
        listed.extend(page.into_iter().map(|listed| (listed.key, listed.state)));
    }
    assert_eq!(listed.len(), 3001);
    assert!(listed.contains(&("queue".into(), KeyState::Live)));
    assert!((1..2000).contains(&largest), "{largest} keys in a page");
}
