//! The least work of a client: requests in one write, and a read of as many bytes as the replies
//! have.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    iter::repeat_n,
    net::TcpStream,
    time::Instant,
};

use cachette_benches::{
    Job, Times,
    workload::{VALUE, VALUE_LENGTH},
};

use crate::peers::millis;

/// A connection without a client.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it connects");
        stream.set_nodelay(true).expect("no error");
        Self(stream)
    }

    /// Performs `count` operations, as many at once as there would be tasks.
    pub(crate) fn run(&mut self, job: Job, tasks: usize, count: usize, keys: &[Box<str>]) -> Times {
        let size = job.keys();
        let value = format!("${VALUE_LENGTH}\r\n").len() + VALUE_LENGTH + "\r\n".len();
        let length = match job {
            Job::Get => value,
            Job::GetMany => format!("*{size}\r\n").len() + size * value,
            Job::Set | Job::SetMany => size * "+OK\r\n".len(),
        };
        let mut replies = vec![0; tasks * length];
        let mut requests = String::new();
        Times::of(|| {
            let mut durations = Vec::with_capacity(count);
            for turn in 0..count / tasks {
                let start = Instant::now();
                requests.clear();
                for number in turn * tasks..(turn + 1) * tasks {
                    let keys =
                        (number * size..(number + 1) * size).map(|key| &*keys[key % keys.len()]);
                    push_request(&mut requests, job, keys);
                }
                self.0.write_all(requests.as_bytes()).expect("no error");
                self.0.read_exact(&mut replies).expect("no error");
                assert!(matches!(replies[0], b'$' | b'*' | b'+') && replies.ends_with(b"\r\n"));
                durations.extend(repeat_n(start.elapsed(), tasks));
            }
            durations
        })
    }
}

fn push_request<'a>(out: &mut String, job: Job, keys: impl Iterator<Item = &'a str>) {
    let value = str::from_utf8(&VALUE).expect("it is text");
    match job {
        Job::Get => keys.for_each(|key| push(out, &["GET", key])),
        Job::GetMany => push(out, &["MGET"].into_iter().chain(keys).collect::<Vec<_>>()),
        Job::Set | Job::SetMany => {
            let millis = millis().to_string();
            keys.for_each(|key| push(out, &["SET", key, value, "PX", &millis]));
        }
    }
}

fn push(out: &mut String, words: &[&str]) {
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n{word}\r\n", word.len());
    }
}
