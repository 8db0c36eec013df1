//! What memcached does differently from other stores, and what others leave there.

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Ttl, Value};
use common::{HOUR, bytes, server, store};
use tokio::task::JoinSet;
use xtask::servers::Server;

/// A command by somebody else, and the first line of the answer.
fn by_somebody_else(server: &Server, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn integers_of_django_are_integers_and_its_other_entries_are_missed() {
    let servers = [server()];
    let store = store(&servers);
    for (entry, read) in [
        ("set k 2 0 2\r\n42", Some(Value::Int(42))),
        ("set k 2 0 3\r\n-42", Some(Value::Int(-42))),
        ("set k 2 0 20\r\n99999999999999999999", None),
        ("set k 1 0 4\r\n\u{5}\u{5}\u{5}\u{5}", None),
        ("set k 16 0 4\r\ntext", None),
        ("set k 0 0 2\r\n42", None),
        ("set k 256 0 4\r\nours", Some(bytes("ours"))),
    ] {
        assert_eq!(by_somebody_else(&servers[0], entry), "STORED");
        assert_eq!(store.get("k").await.expect("it answers"), read, "{entry:?}");
        assert_eq!(store.get_many(&["k"]).await.expect("it answers"), [read]);
    }
    by_somebody_else(&servers[0], "set k 16 0 4\r\ntext");
    assert!(!store.contains("k").await.expect("it answers"), "what get misses is not there");
    assert_eq!(store.ttl("k").await.expect("it answers"), None);
    assert!(
        !store.add("k", Value::Int(1), HOUR).await.expect("it answers"),
        "but the place is taken"
    );
}

#[tokio::test]
async fn of_many_keys_each_gets_its_own_value_whoever_wrote_it() {
    let servers = [server()];
    let store = store(&servers);
    let keys: Vec<String> = (0..600).map(|number| format!("schlüssel-{number}")).collect();
    let value = |number: usize| match number % 4 {
        0 => Some(Value::Int(number as i64)),
        1 => Some(bytes(&format!("{number}\r\nEND\r\nVALUE {} 256 1\r\n", keys[number]))),
        2 => Some(bytes(&"long ".repeat(number * 5))),
        _ => None,
    };
    let entries: Vec<(&str, Value)> = keys
        .iter()
        .enumerate()
        .filter_map(|(number, key)| Some((&**key, value(number)?)))
        .collect();
    assert!(store.set_many(&entries, HOUR).await.expect("it is stored").is_empty());
    by_somebody_else(&servers[0], &format!("set {} 16 0 4\r\ntext", keys[3]));
    let asked: Vec<&str> = keys.iter().chain(&keys[..300]).map(String::as_str).collect();
    let expected: Vec<Option<Value>> = (0..600).chain(0..300).map(value).collect();
    assert!(store.get_many(&asked).await.expect("it answers") == expected);
    assert_eq!(store.get_many(&["no such key"; 0]).await.expect("nothing is asked"), []);
    assert_eq!(
        store.get_many(&["no-such-key"; 20]).await.expect("it answers"),
        [const { None }; 20]
    );
}

#[tokio::test]
async fn integers_are_django_s_integers() {
    let servers = [server()];
    store(&servers).set("k", Value::Int(-7), HOUR).await.expect("it is stored");
    let mut stream = TcpStream::connect(("127.0.0.1", servers[0].port())).expect("it listens");
    stream.write_all(b"get k\r\nquit\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert_eq!(answer, "VALUE k 2 2\r\n-7\r\nEND\r\n");
}

#[tokio::test]
async fn a_negative_integer_comes_back_but_cannot_be_counted() {
    let servers = [server()];
    let store = store(&servers);
    for number in [-1, i64::MIN] {
        store.set("k", Value::Int(number), HOUR).await.expect("it is stored");
        for delta in [1, i64::MAX] {
            let error = store.incr("k", delta).await.expect_err("the server counts from zero on");
            assert_eq!(error.kind(), ErrorKind::NotAnInteger);
        }
        assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(number)));
    }
}

/// The server has added it when we see that it is too much; it is taken back, whoever else is at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_overflow_at_once_none_leaves_a_trace() {
    let servers = [server()];
    let store = store(&servers);
    for (start, delta) in [(i64::MAX - 100, 101), (i64::MAX, i64::MAX), (i64::MAX - 5, 1 << 32)] {
        store.set("k", Value::Int(start), HOUR).await.expect("it is stored");
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let store = store.clone();
            tasks.spawn(async move {
                for _ in 0..20 {
                    let error = store.incr("k", delta).await.expect_err("it is too much");
                    assert_eq!(error.kind(), ErrorKind::Overflow);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("all overflow");
        }
        assert_eq!(
            store.get("k").await.expect("it answers"),
            Some(Value::Int(start)),
            "{delta} at a time"
        );
    }
    assert_eq!(store.incr("k", 5).await.expect("it counts"), Some(i64::MAX));
    assert_eq!(store.incr("k", -i64::MAX).await.expect("it counts"), Some(0));
}

#[tokio::test]
async fn a_fraction_of_a_second_is_rounded_up_to_one() {
    let servers = [server()];
    let store = store(&servers);
    store.set("k", Value::Int(1), Some(Duration::from_millis(1))).await.expect("it is stored");
    store.touch("k", Some(Duration::from_millis(1500))).await.expect("it is there");
    let Some(Ttl::Left(left)) = store.ttl("k").await.expect("it answers") else {
        panic!("it expires")
    };
    assert!(left <= Duration::from_secs(2));
}

/// What has come to nothing is not a request for the server either.
#[tokio::test]
async fn a_key_that_is_refused_is_never_sent() {
    let servers = [server()];
    let store = store(&servers);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    let long = "x".repeat(251);
    for key in [
        "",
        " ",
        "k\r\nflush_all",
        "k\nflush_all",
        "k\0",
        "k\u{7f}",
        "ä".repeat(126).as_str(),
        &long,
    ] {
        let error = store.get(key).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        store.get_many(&["k", key]).await.expect_err("it is refused");
        store
            .set_many(&[("k", Value::Int(2)), (key, Value::Int(2))], HOUR)
            .await
            .expect_err("it is refused");
    }
    let details = store.stats().await.expect("it tells").details;
    let hits =
        details.iter().find(|(name, _)| name.ends_with(" get_hits")).map(|(_, hits)| hits.as_str());
    assert_eq!(hits, Some("0"), "not even the other keys were asked for");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));
}

#[tokio::test]
async fn what_looks_like_commands_is_only_a_value() {
    let servers = [server()];
    let store = store(&servers);
    store.set("other", Value::Int(1), HOUR).await.expect("it is stored");
    for text in ["\r\nflush_all\r\n", "VA 3 f256\r\nabc\r\n", "\r\n", "EN\r\n", "mn\r\n"] {
        store.set("k", bytes(text), HOUR).await.expect("it is stored");
        assert_eq!(
            store.get_many(&["k", "other"]).await.expect("it answers"),
            [Some(bytes(text)), Some(Value::Int(1))]
        );
    }
}

#[tokio::test]
async fn stats_add_up_and_tell_of_each_server() {
    let servers = [server(), server()];
    let store = store(&servers);
    for number in 0..30 {
        store.set(&format!("key-{number}"), Value::Int(number), HOUR).await.expect("it is stored");
    }
    let stats = store.stats().await.expect("it tells");
    assert_eq!(stats.entries, Some(30));
    assert!(stats.bytes.is_some_and(|bytes| bytes > 30 * 10));
    for server in &servers {
        for name in ["version", "uptime", "limit_maxbytes", "get_hits", "get_misses", "evictions"] {
            let name = format!("127.0.0.1:{} {name}", server.port());
            assert!(stats.details.iter().any(|(found, _)| *found == name), "{name}: {stats:?}");
        }
    }
}

#[tokio::test]
async fn closing_lets_go_of_the_connections() {
    let servers = [server()];
    let store = store(&servers);
    let connections = || by_somebody_else_counted(&servers[0]);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    let open = connections();
    store.close().await.expect("it closes");
    while connections() >= open {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.get("k").await.expect("it is opened again"), Some(Value::Int(1)));
}

fn by_somebody_else_counted(server: &Server) -> u32 {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.write_all(b"stats\r\nquit\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let line = answer.lines().find_map(|line| line.strip_prefix("STAT curr_connections "));
    line.expect("it is told").parse().expect("it is a number")
}
