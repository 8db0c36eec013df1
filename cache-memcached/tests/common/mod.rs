//! Helpers shared by the integration tests.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{sync::Arc, sync::Mutex, time::Duration};

use cache_conformance::Harness;
use cache_core::{Bytes, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use xtask::{
    proxy::Proxy,
    servers::{Kind, Server},
};

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// Starts a server for one test.
pub(crate) fn server() -> Server {
    server_with(&[])
}

pub(crate) fn server_with(arguments: &[&str]) -> Server {
    Server::start_with(Kind::Memcached, arguments).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn proxy(server: &Server) -> Proxy {
    Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Timeouts that do not expire on a busy machine.
pub(crate) fn patient() -> MemcachedOptions {
    let timeout = Duration::from_secs(20);
    MemcachedOptions::default().timeout(timeout).connect_timeout(timeout)
}

/// Timeouts for tests of faults. A call takes at most 1.5 s if its connection breaks and it tries
/// another one.
pub(crate) fn impatient() -> MemcachedOptions {
    MemcachedOptions::default()
        .timeout(Duration::from_millis(400))
        .connect_timeout(Duration::from_millis(300))
        .dead_timeout(Duration::from_millis(500))
}

pub(crate) fn store_at(ports: &[u16], options: &MemcachedOptions) -> MemcachedCache {
    let location: Vec<String> = ports.iter().map(|port| address(*port)).collect();
    MemcachedCache::new(&location, options).expect("location and options should be valid")
}

pub(crate) fn store(servers: &[Server]) -> MemcachedCache {
    let ports: Vec<u16> = servers.iter().map(Server::port).collect();
    store_at(&ports, &patient())
}

/// Returns a harness that starts this many servers for each store, or for two clients. They end
/// with the harness.
pub(crate) fn harness(servers: usize) -> Harness {
    let running = Arc::new(Mutex::new(Vec::new()));
    let start = move || {
        let started: Vec<Server> = (0..servers).map(|_| server()).collect();
        let ports: Vec<u16> = started.iter().map(Server::port).collect();
        running.lock().expect("no panic while locked").extend(started);
        move || store_at(&ports, &patient())
    };
    let start_for_two = start.clone();
    Harness::new(move || {
        let client = start();
        async move { client() }
    })
    .with_clients(move || {
        let client = start_for_two();
        async move { (client(), client()) }
    })
}

pub(crate) fn bytes(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}
