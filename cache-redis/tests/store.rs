//! What the store does on one server, beside what every store does.

mod common;

use std::time::Duration;

use cache_core::{Bytes, Cache, ErrorKind, Ttl, Value};
use cache_redis::{RedisBackend, RedisCache};
use common::{HOUR, alias, fresh, patient, server, server_with, shared_server};
use serde_json::json;

fn bytes(text: &'static str) -> Value {
    Value::Bytes(Bytes::from_static(text.as_bytes()))
}

/// What stands under a key, as anybody else sees it.
async fn raw(url: &str, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(url).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it is there");
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query_async(&mut connection).await.expect("it answers")
}

fn text(text: &str) -> redis::Value {
    redis::Value::BulkString(text.as_bytes().to_vec())
}

#[tokio::test]
async fn an_integer_stands_there_as_django_and_redis_have_it() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    store.set(":1:n", Value::Int(-7), None).await.expect("it is stored");
    assert_eq!(raw(&server.url(), &["GET", ":1:n"]).await, text("-7"));
    raw(&server.url(), &["INCRBY", ":1:n", "10"]).await;
    assert_eq!(store.get(":1:n").await.expect("it answers"), Some(Value::Int(3)));
}

#[tokio::test]
async fn a_sum_beyond_53_bits_is_exact() {
    let store = fresh(&shared_server(), patient());
    store.set("n", Value::Int(i64::MAX - 3), None).await.expect("it is stored");
    assert_eq!(store.incr("n", 2).await.expect("it counts"), Some(i64::MAX - 1));
    store.set("n", Value::Int(0), None).await.expect("it is stored");
    assert_eq!(store.incr("n", i64::MIN).await.expect("it counts"), Some(i64::MIN));
}

#[tokio::test]
async fn a_counter_works_on_after_the_server_forgot_its_scripts() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    store.set("n", Value::Int(1), HOUR).await.expect("it is stored");
    assert_eq!(store.incr("n", 1).await.expect("it counts"), Some(2));
    raw(&server.url(), &["SCRIPT", "FLUSH"]).await;
    assert_eq!(store.incr("n", 1).await.expect("it counts"), Some(3));
    raw(&server.url(), &["SCRIPT", "FLUSH"]).await;
    assert!(store.touch("n", None).await.expect("it answers"));
    assert_eq!(store.ttl("n").await.expect("it answers"), Some(Ttl::Never));
}

#[tokio::test]
async fn touch_without_a_time_to_live_says_true_for_what_had_none() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("v"), None).await.expect("it is stored");
    assert!(store.touch("k", None).await.expect("it answers"));
    assert!(!store.touch("other", None).await.expect("it answers"));
}

#[tokio::test]
async fn a_time_to_live_is_told_to_the_millisecond() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("v"), Some(Duration::from_millis(900_500))).await.expect("it is stored");
    let Some(Ttl::Left(left)) = store.ttl("k").await.expect("it answers") else {
        panic!("it expires")
    };
    assert!(left > Duration::from_secs(840) && left <= Duration::from_millis(900_500), "{left:?}");
    store.set("k", bytes("v"), Some(Duration::MAX)).await.expect("no time is too long");
    assert!(store.touch("k", Some(Duration::MAX)).await.expect("no time is too long"));
    assert!(matches!(store.ttl("k").await, Ok(Some(Ttl::Left(_)))));
}

#[tokio::test]
async fn a_key_that_holds_another_type_is_a_miss_and_no_integer() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    raw(&server.url(), &["LPUSH", ":1:list", "a"]).await;
    assert_eq!(store.get(":1:list").await.expect("a miss"), None);
    assert_eq!(store.get_many(&[":1:list"]).await.expect("a miss"), [None]);
    assert_eq!(
        store.incr(":1:list", 1).await.expect_err("no integer").kind(),
        ErrorKind::NotAnInteger
    );
    store.set(":1:list", bytes("v"), None).await.expect("it is overwritten");
    assert_eq!(store.get(":1:list").await.expect("it answers"), Some(bytes("v")));
}

#[tokio::test]
async fn clear_leaves_what_other_applications_wrote() {
    let server = server();
    let backend = RedisBackend::default();
    let store = alias(&backend, &server.url(), "shop:", json!({}));
    for key in ["session:1", "shopping:1:k", "xshop:1:k", "SHOP:1:k"] {
        raw(&server.url(), &["SET", key, "theirs"]).await;
    }
    let keys: Vec<String> =
        (0..5000).map(|number| format!("shop:{}:{number}", number % 3)).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bytes("ours"))).collect();
    store.set_many(&entries, HOUR).await.expect("they are stored");
    assert_eq!(store.stats().await.expect("it answers").entries, Some(5000));
    store.clear().await.expect("it is emptied");
    assert_eq!(raw(&server.url(), &["DBSIZE"]).await, redis::Value::Int(4));
    assert_eq!(store.stats().await.expect("it answers").entries, Some(0));
}

#[tokio::test]
async fn clear_of_one_alias_leaves_the_others_even_where_one_prefix_begins_like_another() {
    let server = server();
    let backend = RedisBackend::default();
    let shop = alias(&backend, &server.url(), "shop:", json!({}));
    let europe = alias(&backend, &server.url(), "shop:eu:", json!({"client_name": "europe"}));
    let odd = alias(&backend, &server.url(), "s*p[a-z]?:", json!({}));
    for (store, key) in [(&shop, "shop:1:k"), (&europe, "shop:eu:1:k"), (&odd, "s*p[a-z]?:1:k")] {
        store.set(key, bytes("v"), None).await.expect("it is stored");
    }
    odd.clear().await.expect("it is emptied");
    assert!(!odd.contains("s*p[a-z]?:1:k").await.expect("it answers"));
    shop.clear().await.expect("it is emptied");
    assert!(!shop.contains("shop:1:k").await.expect("it answers"));
    assert!(europe.contains("shop:eu:1:k").await.expect("it answers"));
    europe.clear().await.expect("it is emptied");
    assert!(!europe.contains("shop:eu:1:k").await.expect("it answers"));
}

#[tokio::test]
async fn clear_without_a_prefix_takes_what_has_none_in_any_version() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    for key in [":1:k", ":2:k", ":name:k"] {
        store.set(key, bytes("v"), None).await.expect("it is stored");
    }
    raw(&server.url(), &["SET", "celery", "theirs"]).await;
    store.clear().await.expect("it is emptied");
    assert_eq!(raw(&server.url(), &["KEYS", "*"]).await, redis::Value::Array(vec![text("celery")]));
}

#[tokio::test]
async fn clear_refuses_where_keys_cannot_be_told_apart_and_empties_the_database_where_it_may() {
    let server = server();
    let store = RedisCache::new(&[server.url()], patient()).expect("it is fine");
    store.set("k", bytes("v"), None).await.expect("it is stored");
    let error = store.clear().await.expect_err("it can't be told apart");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("OPTIONS.namespace"), "{error}");
    assert!(store.contains("k").await.expect("it answers"));

    let mut options = patient();
    options.clear_database = true;
    let owner = RedisCache::new(&[server.url()], options).expect("it is fine");
    assert_eq!(owner.stats().await.expect("it answers").entries, Some(1));
    owner.clear().await.expect("it is emptied");
    assert_eq!(raw(&server.url(), &["DBSIZE"]).await, redis::Value::Int(0));
}

#[tokio::test]
async fn aliases_of_one_server_share_its_connection_and_databases_are_apart() {
    let server = server();
    let backend = RedisBackend::default();
    let clients = async || {
        let redis::Value::BulkString(list) = raw(&server.url(), &["CLIENT", "LIST"]).await else {
            panic!("a text")
        };
        // The one that asks is there, too.
        String::from_utf8(list).expect("it is text").lines().count() - 1
    };
    let one = alias(&backend, &server.url(), "a:", json!({}));
    let two = alias(&backend, &server.url(), "b:", json!({}));
    one.set("k", bytes("v"), None).await.expect("it is stored");
    assert!(two.contains("k").await.expect("it answers"));
    assert_eq!(clients().await, 1);
    let elsewhere = alias(&backend, &format!("{}/7", server.url()), "a:", json!({"db": 3}));
    assert!(!elsewhere.contains("k").await.expect("it answers"), "another database");
    elsewhere.set("k", bytes("w"), None).await.expect("it is stored");
    assert_eq!(raw(&format!("{}/7", server.url()), &["GET", "k"]).await, text("w"));
    one.close().await.expect("it closes");
    elsewhere.close().await.expect("it closes");
    common::eventually("that connections are closed", async || clients().await == 0).await;
    assert!(one.contains("k").await.expect("it connects again"));
}

#[tokio::test]
async fn stats_tell_the_server_s_role_memory_and_hits() {
    let server = server();
    let store = alias(&RedisBackend::default(), &server.url(), ":", json!({}));
    store.set(":1:k", bytes("v"), None).await.expect("it is stored");
    store.get(":1:k").await.expect("it answers");
    store.get(":1:missing").await.expect("it answers");
    raw(&server.url(), &["SET", "theirs", "v"]).await;
    let stats = store.stats().await.expect("it answers");
    let detail = |name: &str| {
        let name = if name == "keys" {
            name.into()
        } else {
            format!("127.0.0.1:{} {name}", server.port())
        };
        stats.details.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(stats.entries, Some(1));
    assert_eq!(detail("keys"), Some("2"));
    assert_eq!(detail("role"), Some("master"));
    assert_eq!(detail("keyspace_hits"), Some("1"));
    assert_eq!(detail("keyspace_misses"), Some("1"));
    assert_eq!(detail("evicted_keys"), Some("0"));
    assert!(detail("redis_version").is_some() && detail("used_memory").is_some(), "{stats:?}");
}

#[tokio::test]
async fn a_user_is_let_in_by_name_and_password_and_others_are_told_why_not() {
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
    let mut options = patient();
    (options.username, options.password) = (Some("ada".into()), Some("love:lace".into()));
    fresh(&[server.url()], options)
        .set("k", bytes("v"), HOUR)
        .await
        .expect("it is let in by OPTIONS");
    for user in ["ada:hunter2", ":hunter2"] {
        let store = fresh(&at(user), patient());
        let error = store.get("k").await.expect_err("it is not let in");
        assert!(!error.is_temporary(), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
        assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?} {store:?}");
    }
    let error = fresh(&[server.url()], patient()).get("k").await.expect_err("it is not let in");
    assert!(error.to_string().contains("NOAUTH"), "{error}");
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    let folder = tempfile::tempdir().expect("there is room");
    let socket = folder.path().join("s");
    let _server = server_with(&["--unixsocket", &socket.display().to_string()]);
    for url in
        [format!("unix://{}?db=2", socket.display()), format!("redis://{}", socket.display())]
    {
        let store = fresh(&[url], patient());
        store.set("k", bytes("v"), HOUR).await.expect("it is stored");
        assert_eq!(store.get("k").await.expect("it answers"), Some(bytes("v")));
    }
}

#[tokio::test]
async fn a_server_without_memory_to_give_is_a_temporary_error() {
    let server = server_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = fresh(&[server.url()], patient());
    let large = Value::Bytes(vec![7; 1 << 20].into());
    let mut outcome = Ok(());
    for number in 0..20 {
        outcome = outcome.and(store.set(&format!("k{number}"), large.clone(), HOUR).await);
    }
    let error = outcome.expect_err("it is full");
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true), "{error}");
    assert!(error.to_string().contains("OOM"), "{error}");
}

#[tokio::test]
async fn a_value_that_is_too_large_for_the_server_is_refused_and_leaves_nothing() {
    let store = fresh(&shared_server(), patient());
    store.set("k", bytes("small"), HOUR).await.expect("it is stored");
    // Never touched, so it takes no memory.
    let large = Value::Bytes(vec![0; cache_redis::MAX_VALUE_BYTES + 1].into());
    let error = store.set("k", large.clone(), HOUR).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.expect("it answers"), None);
    let entries = [
        ("a", bytes("v")),
        ("k", bytes("v")),
        ("k", large.clone()),
        ("b", large),
        ("b", bytes("v")),
    ];
    assert_eq!(store.set_many(&entries, HOUR).await.expect("the others are stored"), [2, 3]);
    let stored = store.get_many(&["a", "k", "b"]).await.expect("it answers");
    assert_eq!(
        stored,
        [Some(bytes("v")), None, Some(bytes("v"))],
        "of entries with one key, the last counts"
    );
}

#[tokio::test]
async fn connections_have_the_name_they_are_given() {
    let server = server();
    let mut options = patient();
    options.client_name = Some("shop-web".into());
    let store = fresh(&[server.url()], options);
    store.get("k").await.expect("it answers");
    let redis::Value::BulkString(list) = raw(&server.url(), &["CLIENT", "LIST"]).await else {
        panic!("a text")
    };
    assert!(String::from_utf8_lossy(&list).contains("name=shop-web"));
}
