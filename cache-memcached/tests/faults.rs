//! Servers that die, come back, fall silent, and answer rubbish.

mod common;

use std::time::{Duration, Instant};

use cache_core::{Cache, Error, ErrorKind, Value};
use cache_memcached::{MemcachedCache, WhenDead};
use common::{HOUR, bytes, impatient, proxy, server, store_at};
use xtask::proxy::Mode;

/// What a call may take at most (see the options), and something for a machine that is busy with others.
const LIMIT: Duration = Duration::from_millis(1500 + 3000);

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let answer = call.await;
    assert!(start.elapsed() < LIMIT, "it took {:?}", start.elapsed());
    answer
}

/// Every verb, and that each is told as it should be, in time and with the server's address.
async fn all_are_unavailable(store: &MemcachedCache, port: u16) {
    let answers: [(&str, Result<(), Error>); 12] = [
        ("get", in_time(store.get("k")).await.map(drop)),
        ("set", in_time(store.set("k", Value::Int(2), HOUR)).await),
        ("add", in_time(store.add("k", Value::Int(2), HOUR)).await.map(drop)),
        ("touch", in_time(store.touch("k", HOUR)).await.map(drop)),
        ("incr", in_time(store.incr("k", 1)).await.map(drop)),
        ("delete", in_time(store.delete("k")).await.map(drop)),
        ("ttl", in_time(store.ttl("k")).await.map(drop)),
        ("contains", in_time(store.contains("k")).await.map(drop)),
        ("get_many", in_time(store.get_many(&["k", "n"])).await.map(drop)),
        ("set_many", in_time(store.set_many(&[("k", Value::Int(1))], HOUR)).await.map(drop)),
        ("delete_many", in_time(store.delete_many(&["k", "n"])).await.map(drop)),
        ("clear", in_time(store.clear()).await),
    ];
    for (verb, answer) in answers {
        let error = answer.expect_err(verb);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{verb}: {error}");
        assert!(error.is_temporary(), "{verb}: {error}");
        assert!(
            error.to_string().starts_with(&format!("memcached: 127.0.0.1:{port}: ")),
            "{verb}: {error}"
        );
    }
    let stats = in_time(store.stats()).await.expect("it tells that the server is down");
    assert_eq!(stats.entries, None);
    assert_eq!(stats.details[0].0, format!("127.0.0.1:{port} down"));
}

/// Asks until it is answered, which has to be soon.
async fn comes_back(store: &MemcachedCache) {
    let start = Instant::now();
    while let Err(error) = store.set("k", Value::Int(3), HOUR).await {
        assert!(start.elapsed() < Duration::from_secs(5), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(3)));
}

#[tokio::test]
async fn a_killed_server_is_unavailable_until_it_is_back() {
    let mut server = server();
    let store = store_at(&[server.port()], &impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.kill().expect("it is killed");
    all_are_unavailable(&store, server.port()).await;
    server.restart().expect("it starts again");
    comes_back(&store).await;
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_in_time_and_recovers() {
    let server = server();
    let store = store_at(&[server.port()], &impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.freeze().expect("it is stopped");
    all_are_unavailable(&store, server.port()).await;
    server.thaw().expect("it goes on");
    comes_back(&store).await;
}

#[tokio::test]
async fn a_server_that_restarts_between_two_calls_goes_unnoticed() {
    let mut server = server();
    let store = store_at(&[server.port()], &impatient());
    for _ in 0..5 {
        store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
        server.kill().expect("it is killed");
        server.restart().expect("it starts again");
        assert_eq!(store.get("k").await.expect("it is asked anew"), None);
    }
}

#[tokio::test]
async fn a_network_that_falls_silent_is_unavailable_in_time_and_recovers() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    proxy.switch(Mode::Blackhole);
    all_are_unavailable(&store, proxy.port()).await;
    proxy.switch(Mode::Pass);
    comes_back(&store).await;
}

/// As when a machine behind an address is replaced by another: nothing more is heard of the old connections.
#[tokio::test]
async fn a_connection_of_which_nothing_is_heard_is_replaced() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    proxy.strand();
    let error = in_time(store.get("k")).await.expect_err("nothing is heard");
    assert!(error.to_string().ends_with(": no answer within 400ms"), "{error}");
    comes_back(&store).await;
}

/// A late reply is nobody's: the next call gets its own.
#[tokio::test]
async fn a_reply_that_comes_late_is_given_to_nobody() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    for key in ["a", "b"] {
        store.set(key, bytes(key), HOUR).await.expect("it is stored");
    }
    proxy.switch(Mode::Delay(Duration::from_millis(600)));
    let late = in_time(store.get("a")).await.expect_err("it comes too late");
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    proxy.switch(Mode::Pass);
    for _ in 0..100 {
        for key in ["b", "a"] {
            if let Ok(value) = in_time(store.get(key)).await {
                assert_eq!(value, Some(bytes(key)));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    comes_back(&store).await;
}

/// Each of these ends the connection, and is told or made good by a new one; no half value is served.
#[tokio::test]
async fn a_reply_that_is_cut_or_garbled_is_never_served() {
    let server = server();
    let value = bytes(&"value ".repeat(2000));
    let forged = b"VA 5 f256 O7777777\r\nwrong\r\n".to_vec();
    for bad in [
        Mode::Truncate(1),
        Mode::Truncate(700),
        Mode::Reset(1),
        Mode::Reset(700),
        Mode::Garbage(b"rubbish\r\n".into()),
        Mode::Garbage(vec![0; 5000]),
        Mode::Garbage(b"HD\r\n".into()),
        Mode::Garbage(forged),
        Mode::Garbage(b"VA 999999999 f256 O0\r\n".into()),
        Mode::Garbage(b"END\r\n".into()),
        Mode::Garbage(b"MN\r\n".into()),
        Mode::Garbage(b"EN O1\r\nVALUE other 256 5\r\nwrong\r\nEND\r\n".into()),
        Mode::Garbage(b"VALUE k 256 5\r\nwrong\r\nEND\r\n".into()),
    ] {
        let proxy = proxy(&server);
        let store = store_at(&[proxy.port()], &impatient());
        store.set("k", value.clone(), HOUR).await.expect("it is stored");
        proxy.switch(bad.clone());
        let fails = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{bad:?}: {error}");
            assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port())), "{error}");
        };
        for _ in 0..5 {
            match in_time(store.get_many(&["k"; 20])).await {
                Ok(got) => assert!(got == vec![Some(value.clone()); 20], "{bad:?}"),
                Err(error) => fails(error),
            }
            match in_time(store.get("k")).await {
                Ok(got) => assert_eq!(got, Some(value.clone()), "{bad:?}"),
                Err(error) => fails(error),
            }
            if let Err(error) = in_time(store.set_many(&vec![("k", value.clone()); 20], HOUR)).await
            {
                fails(error);
            }
        }
        proxy.switch(Mode::Pass);
        comes_back(&store).await;
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable_at_once() {
    let store = store_at(&[1], &impatient());
    for _ in 0..100 {
        let error = in_time(store.get("k")).await.expect_err("nobody listens");
        assert!(
            error.to_string().starts_with("memcached: 127.0.0.1:1: cannot be reached: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_name_that_means_nothing_is_unavailable_and_told() {
    let store = MemcachedCache::new(&["no-such-host.invalid:11211"], &common::patient())
        .expect("it is fine");
    let error = store.get("k").await.expect_err("there is no such host");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().starts_with("memcached: no-such-host.invalid:11211: cannot be reached: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_told_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.writable().await;
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error = store_at(&[port], &impatient()).get("k").await.expect_err("it is no memcached");
    let told = "it is not memcached 1.6 or later, or it asks for a username and a password: it answers \"HTTP/1.1 400 Bad Request\"";
    assert!(error.to_string().ends_with(told), "{error}");
    assert!(!error.is_temporary());
}

/// Keys of each of three servers, told by asking each server by itself.
async fn keys_by_server(
    servers: &[xtask::servers::Server],
    all: &MemcachedCache,
) -> Vec<Vec<String>> {
    let mut keys = vec![Vec::new(); servers.len()];
    let alone: Vec<MemcachedCache> =
        servers.iter().map(|server| store_at(&[server.port()], &impatient())).collect();
    for number in 0..60 {
        let key = format!("key-{number}");
        all.set(&key, bytes(&key), HOUR).await.expect("it is stored");
        for (store, keys) in alone.iter().zip(&mut keys) {
            if store.contains(&key).await.expect("it answers") {
                keys.push(key.clone());
            }
        }
    }
    assert!(keys.iter().all(|keys| keys.len() > 5), "{keys:?}");
    assert_eq!(keys.iter().map(Vec::len).sum::<usize>(), 60, "each key is on one server");
    keys
}

#[tokio::test]
async fn the_keys_of_other_servers_do_not_notice() {
    let mut servers = [server(), server(), server()];
    let ports = servers.each_ref().map(xtask::servers::Server::port);
    let store = store_at(&ports, &impatient());
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("it is killed");
    servers[2].freeze().expect("it is stopped");
    for _ in 0..20 {
        for key in &keys[0] {
            assert_eq!(store.get(key).await.expect("its server is there"), Some(bytes(key)));
        }
    }
    assert_eq!(
        store.get(&keys[1][0]).await.expect_err("it is dead").kind(),
        ErrorKind::Unavailable
    );
    let mixed = [&*keys[0][0], &*keys[1][0]];
    let error = store.get_many(&mixed).await.expect_err("one of them is dead");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}: ", ports[1])), "{error}");
    let entries = [(&*keys[1][0], Value::Int(1)), (&*keys[0][0], Value::Int(1))];
    store.set_many(&entries, HOUR).await.expect_err("one of them is dead");
    assert_eq!(
        store.get(&keys[0][0]).await.expect("it is there"),
        Some(Value::Int(1)),
        "stored all the same"
    );
    let stats = store.stats().await.expect("it tells");
    let down: Vec<&str> =
        stats.details.iter().filter_map(|(name, _)| name.strip_suffix(" down")).collect();
    assert_eq!(down, [format!("127.0.0.1:{}", ports[1]), format!("127.0.0.1:{}", ports[2])]);
    assert_eq!(stats.entries, Some(keys[0].len() as u64));
    servers[2].thaw().expect("it goes on");
}

#[tokio::test]
async fn the_keys_of_a_dead_server_can_be_missed_instead() {
    let mut servers = [server(), server()];
    let options = impatient().when_dead(WhenDead::Miss);
    let store = store_at(&[servers[0].port(), servers[1].port()], &options);
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("it is killed");
    let (alive, dead) = (&*keys[0][0], &*keys[1][0]);
    assert_eq!(store.get(dead).await.expect("a miss"), None);
    store.set(dead, Value::Int(1), HOUR).await.expect("nothing is done");
    assert!(!store.add(dead, Value::Int(1), HOUR).await.expect("nothing is done"));
    assert!(!store.touch(dead, HOUR).await.expect("nothing is done"));
    assert!(!store.delete(dead).await.expect("nothing is done"));
    assert_eq!(store.incr(dead, 1).await.expect("nothing is done"), None);
    assert_eq!(store.get_many(&[alive, dead]).await.expect("a miss"), [Some(bytes(alive)), None]);
    let entries = [(alive, Value::Int(1)), (dead, Value::Int(1))];
    assert_eq!(store.set_many(&entries, HOUR).await.expect("one is not stored"), [1]);
    assert_eq!(store.delete_many(&[alive, dead]).await.expect("one is removed"), 1);
    let error = store.clear().await.expect_err("one was not emptied");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_keys_of_a_dead_server_can_go_to_the_next() {
    let mut servers = [server(), server(), server()];
    let ports = servers.each_ref().map(xtask::servers::Server::port);
    let options = impatient().when_dead(WhenDead::Next);
    let store = store_at(&ports, &options);
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("it is killed");
    for key in &keys[1] {
        assert_eq!(store.get(key).await.expect("the next answers"), None);
        store.set(key, bytes(key), HOUR).await.expect("the next stores it");
        assert_eq!(store.get(key).await.expect("the next has it"), Some(bytes(key)));
    }
    let all: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
    let expected: Vec<_> = all.iter().map(|key| Some(bytes(key))).collect();
    assert_eq!(store.get_many(&all).await.expect("the next answer"), expected);
    assert_eq!(store.delete_many(&all).await.expect("the next remove"), 60);
    for server in &mut servers {
        let _ = server.kill();
    }
    assert_eq!(store.get("k").await.expect_err("all are dead").kind(), ErrorKind::Unavailable);
    assert_eq!(
        store.get_many(&all).await.expect_err("all are dead").kind(),
        ErrorKind::Unavailable
    );
}
