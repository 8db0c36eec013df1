//! memcached and Redis.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use crate::{Counts, Subject, wire::Wire};

pub(crate) fn start(kind: Kind) -> Server {
    Server::start(kind).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) struct Memcached {
    wire: Wire,
    _server: Server,
}

pub(crate) fn memcached() -> Memcached {
    let server = start(Kind::Memcached);
    Memcached { wire: Wire::before(server.port()), _server: server }
}

impl Subject for Memcached {
    const NAME: &'static str = "memcached";

    fn config(&self) -> String {
        format!(
            "backend = 'memcached'\nlocation = '127.0.0.1:{}'\n\
             options = {{ timeout = 20, connect_timeout = 20 }}",
            self.wire.port()
        )
    }

    fn count(&mut self, _runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        self.wire.take();
        calls();
        self.wire.take()
    }
}

pub(crate) struct Redis {
    wire: Wire,
    server: Server,
}

pub(crate) fn redis() -> Redis {
    let server = start(Kind::Redis);
    Redis { wire: Wire::before(server.port()), server }
}

impl Redis {
    /// How many commands the server has executed, including those of scripts and this one.
    fn commands(&self) -> u64 {
        let mut server = TcpStream::connect(("127.0.0.1", self.server.port())).expect("it listens");
        server.write_all(b"INFO commandstats\r\nQUIT\r\n").expect("it reads");
        let lines = BufReader::new(server).lines().map(|line| line.expect("it replies"));
        // `cmdstat_get:calls=20,usec=31,…`
        let calls = lines.filter_map(|line| {
            line.split_once(":calls=")?.1.split(',').next()?.parse::<u64>().ok()
        });
        calls.sum()
    }
}

impl Subject for Redis {
    const NAME: &'static str = "Redis";

    fn config(&self) -> String {
        format!(
            "backend = 'redis'\nlocation = 'redis://127.0.0.1:{}'\n\
             options = {{ socket_timeout = 20, socket_connect_timeout = 20 }}",
            self.wire.port()
        )
    }

    fn count(&mut self, _runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        self.wire.take();
        let before = self.commands();
        calls();
        let mut counts = self.wire.take();
        counts.push(("commands", self.commands() - before));
        counts
    }
}
