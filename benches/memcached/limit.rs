//! The least work of a client: many commands in one write, and replies counted by their bytes.
//! Replies are not matched to requests, and errors are not handled.
//!
//! There are two kinds of batches. The replies to many commands arrive in several pieces, each of
//! which wakes the reader. The store asks for a batch so that its reply arrives in one piece, and
//! so does the second kind.

use std::{
    iter::repeat_n,
    sync::Arc,
    time::{Duration, Instant},
};

use cachette_benches::{
    Job,
    workload::{VALUE, VALUE_LENGTH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

#[derive(Clone)]
pub(crate) struct Limit(Arc<Mutex<TcpStream>>);

type Keys<'a> = &'a mut dyn Iterator<Item = &'a str>;

impl Limit {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it connects");
        stream.set_nodelay(true).expect("no error");
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Performs `count` gets with `pipelined` in each write. Returns the duration of each get.
    pub(crate) async fn get(
        self,
        keys: &[Box<str>],
        count: usize,
        pipelined: usize,
    ) -> Vec<Duration> {
        let turns = self.exchange(keys, count / pipelined, pipelined, pipelined * META_VALUE, gets);
        turns.await.into_iter().flat_map(|time| repeat_n(time, pipelined)).collect()
    }

    /// Performs batches of gets or sets, with a reply for each key or one for the batch. Returns
    /// the duration of each batch.
    pub(crate) async fn batches(
        self,
        keys: &[Box<str>],
        count: usize,
        job: Job,
        one_reply: bool,
    ) -> Vec<Duration> {
        let value = format!("VALUE {} 256 {VALUE_LENGTH}\r\n", keys[0]).len() + VALUE_LENGTH + 2;
        let (reply, request): (usize, fn(&mut Vec<u8>, Keys<'_>)) = match (job, one_reply) {
            (Job::SetMany, false) => (Job::BATCH * "HD\r\n".len(), sets),
            (Job::SetMany, true) => ("MN\r\n".len(), quiet_sets),
            (_, false) => (Job::BATCH * META_VALUE, gets),
            (_, true) => (Job::BATCH * value + "END\r\n".len(), classic_get),
        };
        self.exchange(keys, count, Job::BATCH, reply, request).await
    }

    /// Sends a request for `size` keys and reads a reply of this length, `turns` times. Returns the
    /// duration of each turn.
    async fn exchange(
        &self,
        keys: &[Box<str>],
        turns: usize,
        size: usize,
        reply: usize,
        request: fn(&mut Vec<u8>, Keys<'_>),
    ) -> Vec<Duration> {
        let mut stream = self.0.lock().await;
        let mut durations = Vec::with_capacity(turns);
        let (mut out, mut reply) = (Vec::new(), vec![0; reply]);
        for turn in 0..turns {
            let start = Instant::now();
            out.clear();
            let numbers = turn * size..(turn + 1) * size;
            request(&mut out, &mut numbers.map(|number| &*keys[number % keys.len()]));
            stream.write_all(&out).await.expect("no error");
            stream.read_exact(&mut reply).await.expect("no error");
            let expected = [&b"VA "[..], b"VALUE", b"HD\r\n", b"MN\r\n"];
            assert!(expected.iter().any(|start| reply.starts_with(start)), "another reply");
            durations.push(start.elapsed());
        }
        durations
    }
}

/// The length of a reply to `mg`: `VA 100 f256`, the value and two line ends.
const META_VALUE: usize = "VA 100 f256\r\n".len() + VALUE_LENGTH + 2;

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn gets(out: &mut Vec<u8>, keys: Keys<'_>) {
    keys.for_each(|key| push(out, &["mg ", key, " v f\r\n"]));
}

fn classic_get(out: &mut Vec<u8>, keys: Keys<'_>) {
    push(out, &["get"]);
    keys.for_each(|key| push(out, &[" ", key]));
    push(out, &["\r\n"]);
}

fn sets(out: &mut Vec<u8>, keys: Keys<'_>) {
    keys.for_each(|key| push_set(out, key, ""));
}

/// Quiet sets and a no-op, whose reply follows when they are done.
fn quiet_sets(out: &mut Vec<u8>, keys: Keys<'_>) {
    keys.for_each(|key| push_set(out, key, " q"));
    push(out, &["mn\r\n"]);
}

fn push_set(out: &mut Vec<u8>, key: &str, quiet: &str) {
    push(out, &["ms ", key, " 100 F256 T3600", quiet, "\r\n"]);
    out.extend_from_slice(&VALUE);
    push(out, &["\r\n"]);
}
