//! Entries that other applications wrote, and the memory that entries take.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use cache_core::{Cache, ErrorKind, Ttl, Value};
use common::{HOUR, server, store};

/// Stores an item as another application does.
fn write(port: u16, key: &str, flags: u32, data: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let command = format!("set {key} {flags} 3600 {}\r\n{data}\r\n", data.len());
    stream.write_all(command.as_bytes()).expect("sent");
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"STORED\r\n");
}

/// pymemcache stores an integer beyond 32 bits with the flags 4, and other clients with 0.
#[tokio::test]
async fn foreign_counter_is_an_integer_in_every_operation() {
    let server = [server()];
    let store = store(&server);
    for (flags, data) in [(4, "41"), (0, "41"), (16, " 41"), (1 << 12, "+41")] {
        write(server[0].port(), "n", flags, data);
        let place = format!("{flags} {data:?}");
        assert_eq!(store.get("n").await.expect("a reply"), Some(Value::Int(41)), "{place}");
        assert!(store.contains("n").await.expect("a reply"), "{place}");
        assert!(matches!(store.ttl("n").await.expect("a reply"), Some(Ttl::Left(_))), "{place}");
        assert_eq!(store.incr("n", 1).await.expect("counted"), Some(42), "{place}");
        assert_eq!(store.incr("n", 1 << 40).await.expect("counted"), Some(42 + (1 << 40)));
        assert_eq!(store.incr("n", -(1 << 40)).await.expect("counted"), Some(42));
    }
}

#[tokio::test]
async fn foreign_entry_that_is_no_counter_is_a_miss_in_every_operation() {
    let server = [server()];
    let store = store(&server);
    for (flags, data) in [(4, "-7"), (0, "text"), (16, "4 1"), (1, "41x"), (0, "")] {
        write(server[0].port(), "n", flags, data);
        let place = format!("{flags} {data:?}");
        assert_eq!(store.get("n").await.expect("a reply"), None, "{place}");
        assert!(!store.contains("n").await.expect("a reply"), "{place}");
        assert_eq!(store.ttl("n").await.expect("a reply"), None, "{place}");
        if data != "4 1" && !data.is_empty() {
            let error = store.incr("n", 1).await.expect_err("not a number");
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{place}: {error}");
        }
    }
}

/// A few kilobytes on the server can claim many megabytes.
#[cfg(feature = "compression")]
#[tokio::test]
async fn memory_of_a_batch_of_compressed_values_is_limited() {
    let server = server();
    let max = 1 << 20;
    let options = common::patient().compress_above(100).max_decompressed(max);
    let store = common::store_at(&[server.port()], &options);
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let bomb = Value::Bytes(vec![0; max].into());
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), bomb.clone())).collect();
    assert!(store.set_many(&entries, HOUR).await.expect("stored").is_empty());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = store.get_many(&keys).await.expect("a reply");
    let hits = found.iter().flatten().count();
    assert!((1..=4).contains(&hits), "{hits} hits");
    assert_eq!(store.get("k19").await.expect("a reply"), Some(bomb), "one value is in the limit");
}
