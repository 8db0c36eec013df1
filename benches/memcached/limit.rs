//! The least that a client could do: so many commands in one write, and their replies counted by their bytes. No reply is
//! matched to a request, and no error is seen.

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
    pub(crate) async fn get(self, keys: Arc<[Box<str>]>, count: usize, at_once: usize) -> Vec<Duration> {
        let reply = format!("VA {VALUE_LENGTH} f256\r\n").len() + VALUE_LENGTH + 2;
        let command = |out: &mut Vec<u8>, key: &str| {
            for part in ["mg ", key, " v f\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        self.pipelined(&keys, count, at_once, reply, command).await
    }

    /// The same of sets.
    pub(crate) async fn set(self, keys: Arc<[Box<str>]>, count: usize, at_once: usize) -> Vec<Duration> {
        let command = |out: &mut Vec<u8>, key: &str| {
            for part in ["ms ", key, " 100 F256 T3600\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(&[b'v'; VALUE_LENGTH]);
            out.extend_from_slice(b"\r\n");
        };
        self.pipelined(&keys, count, at_once, "HD\r\n".len(), command).await
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
            assert!(replies.starts_with(b"VA ") || replies.starts_with(b"HD"), "it answers something else");
            taken.extend(std::iter::repeat_n(start.elapsed(), at_once));
        }
        taken
    }

    /// What batches took, of the times that their operations took.
    pub(crate) fn of_batches(taken: Vec<Duration>) -> Vec<Duration> {
        taken.into_iter().step_by(BATCH).collect()
    }
}
