//! Behavior that is specific to memcached, and entries of other applications.

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

/// Sends a command as another client and returns the first line of the reply.
fn send_as_other_client(server: &Server, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connect");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("write");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("read");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn integers_of_django_are_decoded_and_its_other_entries_are_misses() {
    let servers = [server()];
    let store = store(&servers);
    for (entry, expected) in [
        ("set k 2 0 2\r\n42", Some(Value::Int(42))),
        ("set k 2 0 3\r\n-42", Some(Value::Int(-42))),
        ("set k 2 0 20\r\n99999999999999999999", None),
        ("set k 1 0 4\r\n\u{5}\u{5}\u{5}\u{5}", None),
        ("set k 16 0 4\r\ntext", None),
        // The server counts from it, whatever its flags.
        ("set k 0 0 2\r\n42", Some(Value::Int(42))),
        ("set k 0 0 3\r\n42!", None),
        ("set k 256 0 4\r\nours", Some(bytes("ours"))),
    ] {
        assert_eq!(send_as_other_client(&servers[0], entry), "STORED");
        assert_eq!(store.get("k").await.expect("get"), expected, "{entry:?}");
        assert_eq!(store.get_many(&["k"]).await.expect("get_many"), [expected]);
    }
    send_as_other_client(&servers[0], "set k 16 0 4\r\ntext");
    assert!(
        !store.contains("k").await.expect("contains"),
        "an entry that get misses is not contained"
    );
    assert_eq!(store.ttl("k").await.expect("ttl"), None);
    assert!(!store.add("k", Value::Int(1), HOUR).await.expect("add"), "add does not replace it");
}

#[tokio::test]
async fn get_many_returns_each_key_its_own_value() {
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
    assert!(store.set_many(&entries, HOUR).await.expect("set_many").is_empty());
    send_as_other_client(&servers[0], &format!("set {} 16 0 4\r\ntext", keys[3]));
    let requested: Vec<&str> = keys.iter().chain(&keys[..300]).map(String::as_str).collect();
    let expected: Vec<Option<Value>> = (0..600).chain(0..300).map(value).collect();
    assert!(store.get_many(&requested).await.expect("get_many") == expected);
    assert_eq!(store.get_many(&["no such key"; 0]).await.expect("get_many"), []);
    assert_eq!(store.get_many(&["no-such-key"; 20]).await.expect("get_many"), [const { None }; 20]);
}

#[tokio::test]
async fn integers_are_stored_as_django_stores_them() {
    let servers = [server()];
    store(&servers).set("k", Value::Int(-7), HOUR).await.expect("set");
    let mut stream = TcpStream::connect(("127.0.0.1", servers[0].port())).expect("connect");
    stream.write_all(b"get k\r\nquit\r\n").expect("write");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("read");
    assert_eq!(reply, "VALUE k 2 2\r\n-7\r\nEND\r\n");
}

#[tokio::test]
async fn negative_integer_round_trips_but_cannot_be_incremented() {
    let servers = [server()];
    let store = store(&servers);
    for number in [-1, i64::MIN] {
        store.set("k", Value::Int(number), HOUR).await.expect("set");
        for delta in [1, i64::MAX] {
            let error = store.incr("k", delta).await.expect_err("counters are unsigned");
            assert_eq!(error.kind(), ErrorKind::NotAnInteger);
        }
        assert_eq!(store.get("k").await.expect("get"), Some(Value::Int(number)));
    }
}

/// The server has added the delta by the time the store sees that the sum is too large. The store
/// subtracts it again, even if other callers change the counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_overflows_leave_the_counter_unchanged() {
    let servers = [server()];
    let store = store(&servers);
    for (start, delta) in [(i64::MAX - 100, 101), (i64::MAX, i64::MAX), (i64::MAX - 5, 1 << 32)] {
        store.set("k", Value::Int(start), HOUR).await.expect("set");
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let store = store.clone();
            tasks.spawn(async move {
                for _ in 0..20 {
                    let error = store.incr("k", delta).await.expect_err("overflow");
                    assert_eq!(error.kind(), ErrorKind::Overflow);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("every call should overflow");
        }
        assert_eq!(
            store.get("k").await.expect("get"),
            Some(Value::Int(start)),
            "{delta} at a time"
        );
    }
    assert_eq!(store.incr("k", 5).await.expect("incr"), Some(i64::MAX));
    assert_eq!(store.incr("k", -i64::MAX).await.expect("incr"), Some(0));
}

#[tokio::test]
async fn fraction_of_a_second_is_rounded_up() {
    let servers = [server()];
    let store = store(&servers);
    // The server's clock ticks once per second. The entry is gone if a tick comes between.
    loop {
        store.set("k", Value::Int(1), Some(Duration::from_millis(1))).await.expect("set");
        store.touch("k", Some(Duration::from_millis(1500))).await.expect("touch");
        let left = store.ttl("k").await.expect("ttl");
        assert!(left != Some(Ttl::Never));
        if let Some(Ttl::Left(left)) = left {
            assert!(left <= Duration::from_secs(2), "{left:?}");
            return;
        }
    }
}

#[tokio::test]
async fn rejected_key_is_never_sent() {
    let servers = [server()];
    let store = store(&servers);
    store.set("k", Value::Int(1), HOUR).await.expect("set");
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
        let error = store.get(key).await.expect_err("invalid key");
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        store.get_many(&["k", key]).await.expect_err("invalid key");
        store
            .set_many(&[("k", Value::Int(2)), (key, Value::Int(2))], HOUR)
            .await
            .expect_err("invalid key");
    }
    let details = store.stats().await.expect("stats").details;
    let hits =
        details.iter().find(|(name, _)| name.ends_with(" get_hits")).map(|(_, hits)| hits.as_str());
    assert_eq!(hits, Some("0"), "the valid keys of the call should not be sent either");
    assert_eq!(store.get("k").await.expect("get"), Some(Value::Int(1)));
}

#[tokio::test]
async fn value_that_looks_like_commands_is_stored_unchanged() {
    let servers = [server()];
    let store = store(&servers);
    store.set("other", Value::Int(1), HOUR).await.expect("set");
    for text in ["\r\nflush_all\r\n", "VA 3 f256\r\nabc\r\n", "\r\n", "EN\r\n", "mn\r\n"] {
        store.set("k", bytes(text), HOUR).await.expect("set");
        assert_eq!(
            store.get_many(&["k", "other"]).await.expect("get_many"),
            [Some(bytes(text)), Some(Value::Int(1))]
        );
    }
}

#[tokio::test]
async fn stats_have_totals_and_details_of_each_server() {
    let servers = [server(), server()];
    let store = store(&servers);
    for number in 0..30 {
        store.set(&format!("key-{number}"), Value::Int(number), HOUR).await.expect("set");
    }
    for key in ["key-0", "key-1", "key-2", "absent"] {
        store.get(key).await.expect("get");
    }
    let stats = store.stats().await.expect("stats");
    assert_eq!(stats.entries, Some(30));
    assert_eq!((stats.hits, stats.misses, stats.evictions), (Some(3), Some(1), Some(0)));
    assert_eq!(stats.unreachable, []);
    assert!(stats.bytes.is_some_and(|bytes| bytes > 30 * 10));
    for server in &servers {
        for name in ["version", "uptime", "limit_maxbytes", "get_hits", "get_misses", "evictions"] {
            let name = format!("127.0.0.1:{} {name}", server.port());
            assert!(stats.details.iter().any(|(found, _)| *found == name), "{name}: {stats:?}");
        }
    }
}

/// The server goes on for a moment after a client has left, and rejects the next one meanwhile.
#[tokio::test]
async fn keys_are_listed_after_a_listing_that_was_not_read_to_its_end() {
    let servers = [server()];
    let store = store(&servers);
    let keys: Vec<String> = (0..20_000).map(|number| format!("user:{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (&**key, Value::Int(1))).collect();
    store.set_many(&entries, HOUR).await.expect("stored");
    let inspector = store.inspector().expect("the store lists its keys");
    for _ in 0..20 {
        inspector.keys("").next_page().await.expect("listed").expect("a page");
    }
    let (mut pages, mut count) = (inspector.keys(""), 0);
    while let Some(page) = pages.next_page().await.expect("listed") {
        count += page.len();
    }
    assert_eq!(count, keys.len());
}

#[tokio::test]
async fn close_closes_the_connections() {
    let servers = [server()];
    let store = store(&servers);
    let connections = || connection_count(&servers[0]);
    store.set("k", Value::Int(1), HOUR).await.expect("set");
    let open = connections();
    store.close().await.expect("close");
    while connections() >= open {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.get("k").await.expect("get"), Some(Value::Int(1)));
}

fn connection_count(server: &Server) -> u32 {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connect");
    stream.write_all(b"stats\r\nquit\r\n").expect("write");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("read");
    let line = reply.lines().find_map(|line| line.strip_prefix("STAT curr_connections "));
    line.expect("curr_connections").parse().expect("a number")
}
