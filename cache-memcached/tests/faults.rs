//! Servers that are killed, restarted, silent, or send garbage.

mod common;

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cache_core::{Cache, Error, ErrorKind, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions, WhenDead};
use common::{HOUR, bytes, impatient, proxy, server, store_at};
use tracing_subscriber::fmt::MakeWriter;
use xtask::proxy::Mode;

/// The longest time that a call may take (see the options), plus a margin for a busy machine.
const LIMIT: Duration = Duration::from_millis(1500 + 15_000);

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let result = call.await;
    assert!(start.elapsed() < LIMIT, "the call took {:?}", start.elapsed());
    result
}

/// Asserts that every operation fails in time and names the address of the server.
async fn assert_unavailable(store: &MemcachedCache, port: u16) {
    let results: [(&str, Result<(), Error>); 12] = [
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
    for (verb, result) in results {
        let error = result.expect_err(verb);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{verb}: {error}");
        assert!(error.is_temporary(), "{verb}: {error}");
        assert!(
            error.to_string().starts_with(&format!("memcached: 127.0.0.1:{port}: ")),
            "{verb}: {error}"
        );
    }
    let stats = in_time(store.stats()).await.expect("stats");
    assert_eq!(stats.entries, None);
    assert_eq!(stats.details[0].0, format!("127.0.0.1:{port} down"));
}

/// Sets a key until the server replies, for at most 30 seconds. A busy machine can exceed the
/// timeout of a single call.
async fn set_until_ok(store: &MemcachedCache, key: &str, value: Value) {
    let start = Instant::now();
    while let Err(error) = store.set(key, value.clone(), HOUR).await {
        assert!(start.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Calls until the server replies, for at most 30 seconds.
async fn assert_recovers(store: &MemcachedCache) {
    set_until_ok(store, "k", Value::Int(3)).await;
    let start = Instant::now();
    loop {
        match store.get("k").await {
            Ok(found) => return assert_eq!(found, Some(Value::Int(3))),
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error}"),
        }
    }
}

/// Timeouts that do not expire on a busy machine, for servers that reply or refuse connections.
fn patient() -> MemcachedOptions {
    common::patient().dead_timeout(Duration::from_millis(500))
}

#[tokio::test]
async fn killed_server_is_unavailable_until_it_is_restarted() {
    let mut server = server();
    let store = store_at(&[server.port()], &patient());
    store.set("k", Value::Int(1), HOUR).await.expect("set");
    server.kill().expect("kill");
    assert_unavailable(&store, server.port()).await;
    server.restart().expect("restart");
    assert_recovers(&store).await;
}

#[tokio::test]
async fn frozen_server_is_unavailable_until_it_continues() {
    let server = server();
    let store = store_at(&[server.port()], &impatient());
    set_until_ok(&store, "k", Value::Int(1)).await;
    server.freeze().expect("freeze");
    assert_unavailable(&store, server.port()).await;
    server.thaw().expect("thaw");
    assert_recovers(&store).await;
}

#[tokio::test]
async fn restart_between_two_calls_causes_no_error() {
    let mut server = server();
    let store = store_at(&[server.port()], &patient());
    for _ in 0..5 {
        store.set("k", Value::Int(1), HOUR).await.expect("set");
        server.kill().expect("kill");
        server.restart().expect("restart");
        assert_eq!(store.get("k").await.expect("get"), None);
    }
}

#[tokio::test]
async fn silent_network_is_unavailable_until_it_continues() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    set_until_ok(&store, "k", Value::Int(1)).await;
    proxy.switch(Mode::Blackhole);
    assert_unavailable(&store, proxy.port()).await;
    proxy.switch(Mode::Pass);
    assert_recovers(&store).await;
}

/// This happens if the machine behind an address is replaced by another one.
#[tokio::test]
async fn silent_connection_is_replaced() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    set_until_ok(&store, "k", Value::Int(1)).await;
    proxy.strand();
    let error = in_time(store.get("k")).await.expect_err("no reply");
    assert!(error.to_string().contains("within 400ms"), "{error}");
    assert_recovers(&store).await;
}

#[tokio::test]
async fn late_reply_is_discarded() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    for key in ["a", "b"] {
        set_until_ok(&store, key, bytes(key)).await;
    }
    proxy.switch(Mode::Delay(Duration::from_millis(600)));
    let late = in_time(store.get("a")).await.expect_err("timeout");
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
    assert_recovers(&store).await;
}

/// Each of these faults closes the connection. The call fails or is repeated on a new one.
#[tokio::test]
async fn truncated_or_corrupt_reply_is_never_returned() {
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
        set_until_ok(&store, "k", value.clone()).await;
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
        assert_recovers(&store).await;
    }
}

#[tokio::test]
async fn refused_connection_is_unavailable() {
    let store = store_at(&[1], &patient());
    for _ in 0..100 {
        let error = in_time(store.get("k")).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let message = error.to_string();
        assert!(message.starts_with("memcached: 127.0.0.1:1: "), "{message}");
        assert!(message.to_lowercase().contains("connection refused"), "{message}");
    }
}

#[tokio::test]
async fn unknown_host_is_unavailable() {
    let store = MemcachedCache::new(&["no-such-host.invalid:11211"], &patient())
        .expect("location should be valid");
    let error = store.get("k").await.expect_err("unknown host");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("memcached: no-such-host.invalid:11211: "), "{error}");
}

#[tokio::test]
async fn other_protocol_is_reported() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.writable().await;
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let error = store_at(&[port], &patient()).get("k").await.expect_err("not memcached");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message = error.to_string();
    assert!(message.contains("not memcached 1.6 or later"), "{message}");
    assert!(message.contains("\"HTTP/1.1 400 Bad Request\""), "{message}");
    assert!(!error.is_temporary());
}

/// Sets 60 keys and returns those of each server, which it finds with one store per server.
async fn keys_by_server(
    servers: &[xtask::servers::Server],
    all: &MemcachedCache,
) -> Vec<Vec<String>> {
    let mut keys = vec![Vec::new(); servers.len()];
    let stores: Vec<MemcachedCache> =
        servers.iter().map(|server| store_at(&[server.port()], &patient())).collect();
    for number in 0..60 {
        let key = format!("key-{number}");
        all.set(&key, bytes(&key), HOUR).await.expect("set");
        for (store, keys) in stores.iter().zip(&mut keys) {
            if store.contains(&key).await.expect("contains") {
                keys.push(key.clone());
            }
        }
    }
    assert!(keys.iter().all(|keys| keys.len() > 5), "{keys:?}");
    assert_eq!(keys.iter().map(Vec::len).sum::<usize>(), 60, "each key should be on one server");
    keys
}

#[tokio::test]
async fn keys_of_other_servers_are_not_affected() {
    let mut servers = [server(), server(), server()];
    let ports = servers.each_ref().map(xtask::servers::Server::port);
    let store = store_at(&ports, &patient().timeout(Duration::from_secs(5)));
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("kill");
    servers[2].freeze().expect("freeze");
    for _ in 0..20 {
        for key in &keys[0] {
            assert_eq!(store.get(key).await.expect("get"), Some(bytes(key)));
        }
    }
    assert_eq!(
        store.get(&keys[1][0]).await.expect_err("server is down").kind(),
        ErrorKind::Unavailable
    );
    let mixed = [&*keys[0][0], &*keys[1][0]];
    let error = store.get_many(&mixed).await.expect_err("one server is down");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}: ", ports[1])), "{error}");
    let entries = [(&*keys[1][0], Value::Int(1)), (&*keys[0][0], Value::Int(1))];
    store.set_many(&entries, HOUR).await.expect_err("one server is down");
    assert_eq!(
        store.get(&keys[0][0]).await.expect("get"),
        Some(Value::Int(1)),
        "the other server should store its entry"
    );
    let stats = store.stats().await.expect("stats");
    let down: Vec<&str> =
        stats.details.iter().filter_map(|(name, _)| name.strip_suffix(" down")).collect();
    assert_eq!(down, [format!("127.0.0.1:{}", ports[1]), format!("127.0.0.1:{}", ports[2])]);
    assert!(stats.unreachable.iter().map(|(server, _)| server).eq(down), "{stats:?}");
    assert_eq!(stats.entries, Some(keys[0].len() as u64));
    let mut pages = store.inspector().expect("the store lists its keys").keys("");
    let page = pages.next_page().await.expect("the first server replies").expect("a page");
    assert_eq!(page.len(), keys[0].len());
    let error = pages.next_page().await.expect_err("the other servers are down");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("127.0.0.1:{}: ", ports[1])), "{error}");
    servers[2].thaw().expect("thaw");
}

#[tokio::test]
async fn when_dead_miss_turns_errors_into_misses() {
    let mut servers = [server(), server()];
    let options = patient().when_dead(WhenDead::Miss);
    let store = store_at(&[servers[0].port(), servers[1].port()], &options);
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("kill");
    let (alive, dead) = (&*keys[0][0], &*keys[1][0]);
    assert_eq!(store.get(dead).await.expect("get"), None);
    store.set(dead, Value::Int(1), HOUR).await.expect("set");
    assert!(!store.add(dead, Value::Int(1), HOUR).await.expect("add"));
    assert!(!store.touch(dead, HOUR).await.expect("touch"));
    assert!(!store.delete(dead).await.expect("delete"));
    assert_eq!(store.incr(dead, 1).await.expect("incr"), None);
    assert_eq!(store.get_many(&[alive, dead]).await.expect("get_many"), [Some(bytes(alive)), None]);
    let entries = [(alive, Value::Int(1)), (dead, Value::Int(1))];
    assert_eq!(store.set_many(&entries, HOUR).await.expect("set_many"), [1]);
    assert_eq!(store.delete_many(&[alive, dead]).await.expect("delete_many"), 1);
    let error = store.clear().await.expect_err("one server is down");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn when_dead_next_moves_keys_to_the_next_server() {
    let mut servers = [server(), server(), server()];
    let ports = servers.each_ref().map(xtask::servers::Server::port);
    let options = patient().when_dead(WhenDead::Next);
    let store = store_at(&ports, &options);
    let keys = keys_by_server(&servers, &store).await;
    servers[1].kill().expect("kill");
    for key in &keys[1] {
        assert_eq!(store.get(key).await.expect("get"), None);
        store.set(key, bytes(key), HOUR).await.expect("set");
        assert_eq!(store.get(key).await.expect("get"), Some(bytes(key)));
    }
    let all: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
    let expected: Vec<_> = all.iter().map(|key| Some(bytes(key))).collect();
    assert_eq!(store.get_many(&all).await.expect("get_many"), expected);
    assert_eq!(store.delete_many(&all).await.expect("delete_many"), 60);
    for server in &mut servers {
        let _ = server.kill();
    }
    assert_eq!(
        store.get("k").await.expect_err("all servers are down").kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(
        store.get_many(&all).await.expect_err("all servers are down").kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
async fn server_without_memory_is_full() {
    // Without evictions.
    let server = common::server_with(&["-M", "-m", "4"]);
    let store = store_at(&[server.port()], &patient());
    let large = bytes(&"x".repeat(200_000));
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), large.clone())).collect();
    let rejected = store.set_many(&entries, HOUR).await.expect("some are stored");
    assert!(!rejected.is_empty() && rejected.len() < 100, "{rejected:?}");
    for (position, key) in keys.iter().enumerate() {
        let stored = store.contains(key).await.expect("a reply");
        assert_eq!(stored, !rejected.contains(&position), "{key}");
    }
    let error = store.set("more", large.clone(), HOUR).await.expect_err("out of memory");
    cache_conformance::assert_storage_full(&error);
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
    let entries = [("more", large.clone()), ("again", large)];
    let error = store.set_many(&entries, HOUR).await.expect_err("none is stored");
    cache_conformance::assert_storage_full(&error);
}

#[tokio::test]
async fn connection_that_lost_its_login_is_replaced() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    set_until_ok(&store, "k", Value::Int(1)).await;
    proxy.switch(Mode::Garbage(b"CLIENT_ERROR unauthenticated\r\n".into()));
    in_time(store.incr("k", 1)).await.expect_err("no login");
    proxy.switch(Mode::Pass);
    assert_recovers(&store).await;
    assert!(proxy.accepted() > 1, "a new connection");
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while locked")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while locked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Calls still succeed, on the connection that was to be renewed.
#[tokio::test]
async fn failed_renewal_does_not_mark_the_server_down() {
    xtask::run_alone!();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &patient());
    store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
    // Nobody listens there, so the proxy closes new connections.
    proxy.lead_to(1);
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(600)).await;
        tokio::time::resume();
        let lines = log.text().lines().count();
        while log.text().lines().count() == lines {
            assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
        }
    }
    proxy.lead_to(server.port());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    while proxy.accepted() < 2 {
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
    }
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
    let log = log.text();
    let reported = log.matches("cannot renew the connection").count();
    assert_eq!((reported, log.lines().count()), (2, 2), "nothing else is logged: {log}");
}

/// The connection is never idle, and the first server does not end it.
#[tokio::test]
async fn busy_connection_follows_a_name_that_leads_to_another_server() {
    let (first, second) = (server(), server());
    let proxy = proxy(&first);
    let store = store_at(&[proxy.port()], &patient());
    store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
    proxy.lead_to(second.port());
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    // No call fails. The new connection is opened in the background.
    let renewed = async { while store.get("k").await.expect("get succeeds").is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("it is renewed");
    assert_eq!(proxy.accepted(), 2);
}
