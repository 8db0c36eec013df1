//! The limit: requests written as one piece, and so many bytes read as the answers must have.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use cachette_benches::workload::VALUE_LENGTH;

use crate::{
    BATCH,
    measure::{self, Sample, cpu_time, keys_of},
    peers::{VALUE, millis},
};

/// A connection without a client.
pub(crate) struct Raw {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it is there");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, answer: Vec::new() }
    }

    /// As many at once as there are tasks.
    pub(crate) fn gets(&mut self, tasks: usize, operations: usize, keys: &[Box<str>]) -> Sample {
        let share = operations / tasks;
        let keys: Vec<_> = (0..tasks).map(|task| keys_of(task, share, keys)).collect();
        let length = tasks * value_in_answer().len();
        let mut times = Vec::with_capacity(operations);
        let (start, cpu) = (Instant::now(), cpu_time());
        for number in 0..share {
            let start = Instant::now();
            let mut request = String::with_capacity(tasks * 64);
            for keys in &keys {
                push(&mut request, &["GET", &keys[number]]);
            }
            self.ask(request.as_bytes(), length);
            times.extend(std::iter::repeat_n(start.elapsed(), tasks));
        }
        measure::sample(start.elapsed(), cpu_time() - cpu, times)
    }

    pub(crate) fn get_batches<'k>(
        &mut self,
        batches: usize,
        batch: impl Fn(usize) -> Vec<&'k str>,
    ) -> Sample {
        let length = format!("*{BATCH}\r\n").len() + BATCH * value_in_answer().len();
        self.batches(batches, length, |number| {
            let words: Vec<&str> = ["MGET"].into_iter().chain(batch(number)).collect();
            let mut request = String::with_capacity(BATCH * 48);
            push(&mut request, &words);
            request
        })
    }

    pub(crate) fn set_batches<'k>(
        &mut self,
        batches: usize,
        batch: impl Fn(usize) -> Vec<&'k str>,
    ) -> Sample {
        let value = str::from_utf8(&VALUE).expect("it is text");
        self.batches(batches, BATCH * "+OK\r\n".len(), |number| {
            let mut request = String::with_capacity(BATCH * 240);
            for key in batch(number) {
                push(&mut request, &["SET", key, value, "PX", &millis().to_string()]);
            }
            request
        })
    }

    fn batches(
        &mut self,
        batches: usize,
        length: usize,
        request: impl Fn(usize) -> String,
    ) -> Sample {
        let mut times = Vec::with_capacity(batches);
        let (start, cpu) = (Instant::now(), cpu_time());
        for number in 0..batches {
            let start = Instant::now();
            self.ask(request(number).as_bytes(), length);
            times.push(start.elapsed());
        }
        measure::sample(start.elapsed(), cpu_time() - cpu, times)
    }

    fn ask(&mut self, request: &[u8], length: usize) {
        self.stream.write_all(request).expect("it is there");
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer).expect("it answers");
        assert!(
            matches!(self.answer[0], b'$' | b'*' | b'+') && self.answer.ends_with(b"\r\n"),
            "it is no error"
        );
    }
}

/// An entry as the server answers it.
fn value_in_answer() -> String {
    format!("${VALUE_LENGTH}\r\n{}\r\n", "v".repeat(VALUE_LENGTH))
}

fn push(request: &mut String, words: &[&str]) {
    let _ = write!(request, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
}
