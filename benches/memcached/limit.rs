//! The least that a client could do: so many commands in one write, and their replies counted by their bytes. No reply is
//! matched to a request, and no error is seen.
//!
//! Of a batch there are two. Replies to so many commands come in several pieces, each of which wakes the reader; the replies
//! to a batch [in one piece](Limit::get_in_one) do not, and are what the store asks for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cachette_benches::workload::VALUE_LENGTH;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use crate::load::BATCH;

#[derive(Clone)]
pub(crate) struct Limit(Arc<Mutex<TcpStream>>);

impl Limit {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        stream.set_nodelay(true).expect("it can be set");
        Self(Arc::new(Mutex::new(stream)))
    }

    /// `count` gets, of which so many are on their way at once.
    pub(crate) async fn get(
        self,
        keys: Arc<[Box<str>]>,
        count: usize,
        at_once: usize,
    ) -> Vec<Duration> {
        let reply = format!("VA {VALUE_LENGTH} f256\r\n").len() + VALUE_LENGTH + 2;
        let command = |out: &mut Vec<u8>, key: &str| {
            for part in ["mg ", key, " v f\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        self.pipelined(&keys, count, at_once, reply, command).await
    }

    /// The same of sets.
    pub(crate) async fn set(
        self,
        keys: Arc<[Box<str>]>,
        count: usize,
        at_once: usize,
    ) -> Vec<Duration> {
        let command = |out: &mut Vec<u8>, key: &str| push_set(out, key, "");
        self.pipelined(&keys, count, at_once, "HD\r\n".len(), command).await
    }

    /// As many batches, each as one `get` of all its keys.
    pub(crate) async fn get_in_one(self, keys: Arc<[Box<str>]>, batches: usize) -> Vec<Duration> {
        let value = format!("VALUE {} 256 {VALUE_LENGTH}\r\n", keys[0]).len() + VALUE_LENGTH + 2;
        let reply = value * BATCH + "END\r\n".len();
        let request = |out: &mut Vec<u8>, keys: &[Box<str>]| {
            out.extend_from_slice(b"get");
            for part in keys.iter().flat_map(|key| [" ", key]) {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        };
        self.in_one(&keys, batches, reply, request).await
    }

    /// The same of sets: quiet ones, and a no-op that is answered when they are done.
    pub(crate) async fn set_in_one(self, keys: Arc<[Box<str>]>, batches: usize) -> Vec<Duration> {
        let request = |out: &mut Vec<u8>, keys: &[Box<str>]| {
            keys.iter().for_each(|key| push_set(out, key, " q"));
            out.extend_from_slice(b"mn\r\n");
        };
        self.in_one(&keys, batches, "MN\r\n".len(), request).await
    }

    async fn in_one(
        &self,
        keys: &[Box<str>],
        batches: usize,
        reply: usize,
        request: impl Fn(&mut Vec<u8>, &[Box<str>]) + Send + Sync,
    ) -> Vec<Duration> {
        let mut stream = self.0.lock().await;
        let mut taken = Vec::with_capacity(batches);
        let mut out = Vec::new();
        let mut replies = vec![0; reply];
        for keys in keys.chunks_exact(BATCH).cycle().take(batches) {
            let start = Instant::now();
            out.clear();
            request(&mut out, keys);
            stream.write_all(&out).await.expect("it reads");
            stream.read_exact(&mut replies).await.expect("it answers");
            assert!(
                replies.ends_with(b"END\r\n") || replies == b"MN\r\n",
                "it answers something else"
            );
            taken.push(start.elapsed());
        }
        taken
    }

    async fn pipelined(
        &self,
        keys: &[Box<str>],
        count: usize,
        at_once: usize,
        reply: usize,
        command: impl Fn(&mut Vec<u8>, &str) + Send + Sync,
    ) -> Vec<Duration> {
        let mut stream = self.0.lock().await;
        let mut taken = Vec::with_capacity(count);
        let mut out = Vec::new();
        let mut replies = vec![0; reply * at_once];
        for turn in 0..count / at_once {
            let start = Instant::now();
            out.clear();
            for number in turn * at_once..(turn + 1) * at_once {
                command(&mut out, &keys[number % keys.len()]);
            }
            stream.write_all(&out).await.expect("it reads");
            stream.read_exact(&mut replies).await.expect("it answers");
            assert!(
                replies.starts_with(b"VA ") || replies.starts_with(b"HD"),
                "it answers something else"
            );
            taken.extend(std::iter::repeat_n(start.elapsed(), at_once));
        }
        taken
    }

    /// What batches took, of the times that their operations took.
    pub(crate) fn of_batches(taken: Vec<Duration>) -> Vec<Duration> {
        taken.into_iter().step_by(BATCH).collect()
    }
}

fn push_set(out: &mut Vec<u8>, key: &str, quiet: &str) {
    for part in ["ms ", key, " 100 F256 T3600", quiet, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(&[b'v'; VALUE_LENGTH]);
    out.extend_from_slice(b"\r\n");
}
