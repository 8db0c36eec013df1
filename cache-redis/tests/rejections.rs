//! Servers and proxies that reject a command, a connection or a handshake.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use cache_core::{Cache, Error, ErrorKind, Value};
use cache_redis::{RedisCache, RedisOptions};
use common::{HOUR, fresh, moderate, patient, server, server_with};
use xtask::{
    proxy::{Mode, Proxy},
    servers::{RedisCluster, Server},
};

async fn execute(server: &Server, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let (name, arguments) = command.split_first().expect("a command");
    redis::cmd(name).arg(arguments).query_async(&mut connection).await.expect("a reply")
}

fn at(port: u16, options: RedisOptions) -> RedisCache {
    fresh(&[format!("redis://127.0.0.1:{port}")], options)
}

fn proxy_to(server: &Server) -> Proxy {
    Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a server a replica, as a failover does, without a primary that it could copy.
async fn demote(server: &Server) {
    execute(server, &["REPLICAOF", "127.0.0.1", "1"]).await;
}

fn assert_temporary(error: &Error) {
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
}

mod lost_primary {
    use super::*;

    /// The address of a managed primary leads to another server after a failover.
    #[tokio::test]
    async fn writes_follow_the_address_at_once() {
        for verb in ["set", "incr", "set_many"] {
            let (old, new) = (server(), server());
            let proxy = proxy_to(&old);
            let store = at(proxy.port(), patient());
            for url in [old.url(), new.url()] {
                let direct = store.options().clone();
                let direct = RedisCache::new(&[url], direct).expect("valid options");
                direct.set("n", Value::Int(1), HOUR).await.expect("stored");
            }
            store.get("n").await.expect("a reply");
            demote(&old).await;
            proxy.lead_to(new.port());
            match verb {
                "set" => store.set("n", Value::Int(2), HOUR).await.expect(verb),
                "incr" => assert_eq!(store.incr("n", 1).await.expect(verb), Some(2)),
                _ => {
                    let entries = [("n", Value::Int(2)), ("m", Value::Int(3))];
                    assert!(store.set_many(&entries, HOUR).await.expect(verb).is_empty());
                }
            }
            assert_eq!(store.get("n").await.expect("a reply"), Some(Value::Int(2)), "{verb}");
            assert_eq!(proxy.accepted(), 2, "{verb}: one new connection");
        }
    }

    #[tokio::test]
    async fn write_that_a_replica_rejects_is_a_temporary_error() {
        let (old, new) = (server(), server());
        let proxy = proxy_to(&old);
        let store = at(proxy.port(), patient());
        store.set("k", Value::Int(1), HOUR).await.expect("stored");
        demote(&old).await;
        let error = store.add("l", Value::Int(1), HOUR).await.expect_err("a replica");
        assert_temporary(&error);
        assert!(error.to_string().contains("READONLY"), "{error}");
        proxy.lead_to(new.port());
        assert!(store.add("l", Value::Int(1), HOUR).await.expect("the next call reaches it"));
    }

    /// An isolated primary cannot tell that another one took over.
    #[tokio::test]
    async fn primary_without_enough_replicas_is_left() {
        let (old, new) = (server(), server());
        let proxy = proxy_to(&old);
        let store = at(proxy.port(), patient());
        store.set("n", Value::Int(1), HOUR).await.expect("stored");
        execute(&old, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
        let error = store.set("n", Value::Int(2), HOUR).await.expect_err("no replicas");
        assert_temporary(&error);
        proxy.lead_to(new.port());
        store.set("n", Value::Int(3), HOUR).await.expect("the next call reaches the new one");
    }

    #[tokio::test]
    async fn connection_that_lost_its_login_is_replaced() {
        let server = server();
        let proxy = proxy_to(&server);
        let store = at(proxy.port(), patient());
        store.set("n", Value::Int(1), HOUR).await.expect("stored");
        proxy.switch(Mode::Garbage(b"-NOAUTH Authentication required.\r\n".into()));
        let error = store.incr("n", 1).await.expect_err("no login");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, false), "{error}");
        proxy.switch(Mode::Pass);
        assert_eq!(store.incr("n", 1).await.expect("a new connection"), Some(2));
    }
}

/// A server that rejects every client with an error and closes the connection before it has read
/// anything, as Redis does.
fn rejecting_server(error: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(error.as_bytes());
        }
    });
    port
}

#[tokio::test]
async fn reason_of_a_rejected_connection_is_reported() {
    for (error, temporary) in [
        ("-ERR max number of clients reached\r\n", true),
        ("-DENIED Redis is running in protected mode\r\n", false),
    ] {
        let port = rejecting_server(error);
        for options in [patient(), patient().password("secret".to_owned())] {
            for _ in 0..50 {
                let reported = at(port, options.clone()).get("k").await.expect_err("rejected");
                let reason = error.trim_end().trim_start_matches("-");
                assert!(reported.to_string().contains(reason), "{reported}");
                assert_eq!(reported.is_temporary(), temporary, "{reported}");
            }
        }
    }
}

#[tokio::test]
async fn server_without_free_connections_is_temporarily_unavailable() {
    let server = server_with(&["--maxclients", "1"]);
    let client = redis::Client::open(server.url()).expect("a URL");
    let only = client.get_multiplexed_async_connection().await.expect("connected");
    let store = at(server.port(), patient());
    for _ in 0..50 {
        let error = store.get("k").await.expect_err("no free connection");
        assert_temporary(&error);
        assert!(error.to_string().contains("max number of clients"), "{error}");
    }
    drop(only);
    common::eventually("a connection is free", async || store.get("k").await.is_ok()).await;
}

/// A proxy that closes the connection after a command it does not know, as twemproxy does. Returns
/// its port and how many connections it has accepted.
fn strict_proxy(server: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else { return };
            let (reader, writer) = (near.try_clone(), far.try_clone());
            thread::spawn(move || std::io::copy(&mut &far, &mut &near));
            thread::spawn(move || {
                let (mut reader, mut writer) = (reader?, writer?);
                let mut buffer = [0; 4096];
                loop {
                    let length = reader.read(&mut buffer)?;
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    let is_unknown =
                        ["CLIENT", "CONFIG", "CLUSTER"].map(|name| text.contains(name));
                    if length == 0 || is_unknown.contains(&true) {
                        writer.shutdown(Shutdown::Both)?;
                        return reader.shutdown(Shutdown::Both);
                    }
                    writer.write_all(&buffer[..length])?;
                }
            });
        }
    });
    (port, accepted)
}

#[tokio::test]
async fn proxy_that_hangs_up_on_courtesies_is_usable() {
    let server = server_with(&["--requirepass", "secret"]);
    let (port, accepted) = strict_proxy(server.port());
    let options = patient().password("secret".to_owned()).client_name("shop".to_owned());
    let store = at(port, options);
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(1)));
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
    store.close().await.expect("closed");
    store.get("k").await.expect("a reply");
    assert_eq!(accepted.load(Ordering::Relaxed), 3, "the second connection knows better");
}

#[tokio::test]
async fn user_without_rights_for_courtesies_can_connect() {
    let server = server_with(&["--user", "ada", "on", ">lovelace", "~*", "+get", "+set"]);
    let options = patient().username("ada".to_owned()).password("lovelace".to_owned());
    let store = at(server.port(), options);
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(1)));
}

#[tokio::test]
async fn connections_have_the_configured_library() {
    let server = server();
    let clients = async |store: &RedisCache| {
        store.get("k").await.expect("a reply");
        match execute(&server, &["CLIENT", "LIST"]).await {
            redis::Value::BulkString(list) => String::from_utf8(list).expect("text"),
            other => panic!("{other:?}"),
        }
    };
    if !clients(&at(server.port(), patient())).await.contains("lib-name=") {
        // CLIENT SETINFO is of Redis 7.2.
        return;
    }
    let named = at(server.port(), patient().lib_name("shop").lib_version("7"));
    assert!(clients(&named).await.contains("lib-name=shop lib-ver=7"));
}

mod cluster_without_its_option {
    use super::*;

    #[tokio::test]
    async fn every_call_on_every_server_names_the_option() {
        let cluster = RedisCluster::start(2, false).expect("a cluster");
        for server in &cluster.servers {
            for number in 0..20 {
                let store = at(server.port(), patient());
                let error = store.get(&format!("k{number}")).await.expect_err("a cluster");
                assert_eq!(error.kind(), ErrorKind::Config, "{error}");
                assert!(!error.is_temporary(), "{error}");
                assert!(error.to_string().contains("OPTIONS.cluster"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn cluster_of_one_server_needs_no_option() {
        let cluster = RedisCluster::start(1, false).expect("a cluster");
        let store = at(cluster.servers[0].port(), patient());
        for number in 0..20 {
            store.set(&format!("k{number}"), Value::Int(number), HOUR).await.expect("stored");
        }
    }
}

mod too_large {
    use super::*;

    /// A server that rejects all commands but those with the key `endless`. Its reply to these
    /// starts with `start` and goes on with `more` for ever.
    ///
    /// Returns its port, and a channel that receives how many bytes it sent on each connection,
    /// once that is closed.
    fn endless_server(start: &'static [u8], more: &'static [u8]) -> (u16, mpsc::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (closes, closed) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0; 64 << 10];
                while let Ok(length @ 1..) = stream.read(&mut request) {
                    let request = &request[..length];
                    if request.windows(7).any(|key| key == b"endless") {
                        break;
                    }
                    let commands = request.iter().filter(|byte| **byte == b'*').count();
                    let reply = b"-ERR unknown command\r\n".repeat(commands);
                    stream.write_all(&reply).expect("the client reads");
                }
                let (mut sent, more) = (0, more.repeat(1000));
                let mut next = start;
                while stream.write_all(next).is_ok() {
                    sent += next.len();
                    next = &more;
                }
                closes.send(sent).expect("the test waits");
            }
        });
        (port, closed)
    }

    #[tokio::test]
    async fn reply_without_an_end_closes_the_connection() {
        for (start, more) in
            [(&b"$536870912\r\n"[..], &b"x"[..]), (b"+", b"x"), (b"*1000000000\r\n", b":1\r\n")]
        {
            let (port, closed) = endless_server(start, more);
            let store = at(port, moderate().max_value_bytes(1 << 20));
            let error = store.get("endless").await.expect_err("too long");
            assert_eq!(
                (error.kind(), error.is_temporary()),
                (ErrorKind::Backend, false),
                "{error}"
            );
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
            assert!(error.to_string().contains("of more than"), "{error}");
            let sent = closed.recv_timeout(Duration::from_secs(60)).expect("it is closed");
            // What the kernel buffers is lost.
            assert!(sent < 64 << 20, "{sent} bytes after {start:?}");
            assert!(closed.try_recv().is_err(), "the command is not sent again");
        }
    }

    #[tokio::test]
    async fn configured_maximum_bounds_what_is_stored_and_what_is_received() {
        let server = server();
        let options = patient().namespace("shared");
        let store = |max| {
            let options = options.clone().max_value_bytes(max);
            RedisCache::new(&[server.url()], options).expect("valid options")
        };
        let (small, large) = (store(2 << 20), store(4 << 20));
        let value = |size| Value::Bytes(vec![7; size].into());
        let error = small.set("k", value((2 << 20) + 1), HOUR).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        small.set("k", value(2 << 20), HOUR).await.expect("stored");
        assert_eq!(small.get("k").await.expect("a reply"), Some(value(2 << 20)));
        large.set("k", value((2 << 20) + 1), HOUR).await.expect("stored");
        let error = small.get("k").await.expect_err("too large");
        assert!(error.to_string().contains("max_value_bytes"), "{error}");
        assert_eq!(small.get("other").await.expect("a new connection"), None);
    }

    /// The server would close the connection, and with it the calls of others.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn value_above_the_servers_limit_is_not_sent() {
        let server = server_with(&["--proto-max-bulk-len", "1mb"]);
        let proxy = proxy_to(&server);
        let store = at(proxy.port(), patient());
        let large = Value::Bytes(vec![7; 2 << 20].into());
        store.set("k", Value::Int(1), HOUR).await.expect("stored");
        store.set("n", Value::Int(0), HOUR).await.expect("stored");
        let counting = tokio::spawn({
            let store = store.clone();
            async move {
                for _ in 0..500 {
                    store.incr("n", 1).await.expect("undisturbed");
                }
            }
        });
        for _ in 0..20 {
            let error = store.set("k", large.clone(), HOUR).await.expect_err("too large");
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        }
        assert_eq!(store.get("k").await.expect("a reply"), None, "the old value was removed");
        let entries = [("a", Value::Int(1)), ("b", large.clone())];
        assert_eq!(store.set_many(&entries, HOUR).await.expect("stored"), [1]);
        counting.await.expect("no error");
        assert_eq!(proxy.accepted(), 1);
    }

    #[tokio::test]
    async fn first_value_on_a_new_store_respects_the_servers_limit() {
        let server = server_with(&["--proto-max-bulk-len", "1mb"]);
        let large = Value::Bytes(vec![7; 2 << 20].into());
        let error =
            at(server.port(), patient()).set("k", large, HOUR).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
}
