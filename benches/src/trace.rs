//! Calls in a trace of valgrind's tool `lackey`, and the cache lines that they move between
//! processors.
//!
//! A trace lists the instructions and the memory accesses of a program:
//!
//! ```text
//! I  0011f2a4,7
//!  S 1ffeffe7d0,8
//!  L 0402a3b8,4
//!  M 0421c7cc,4
//! ```
//!
//! The program marks its calls by a store to one address before each, and to another one after it.

use std::{
    collections::HashMap,
    io::{self, BufRead},
};

/// The size of a cache line in bytes.
const LINE: u64 = 64;

/// What one call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedCall {
    /// The number of instructions.
    pub instructions: u32,
    /// The cache lines, and whether the call wrote to each.
    lines: HashMap<u64, bool>,
}

/// Reads the calls in a trace, which stores to `begin` and `end` mark.
///
/// # Errors
///
/// If the trace cannot be read.
pub fn traced_calls(mut trace: impl BufRead, begin: u64, end: u64) -> io::Result<Vec<TracedCall>> {
    let mut calls = Vec::new();
    let mut current: Option<TracedCall> = None;
    let mut line = String::new();
    while trace.read_line(&mut line)? > 0 {
        match Event::parse(&line) {
            Some(Event::Access { address, written: true, .. }) if address == begin => {
                current = Some(TracedCall::default());
            }
            Some(Event::Access { address, written: true, .. }) if address == end => {
                calls.extend(current.take());
            }
            Some(event) => current.iter_mut().for_each(|call| call.add(&event)),
            None => {}
        }
        line.clear();
    }
    Ok(calls)
}

/// Returns how many cache lines a processor has to get from another one, per call, if two
/// processors make these calls in turn. The first half of the calls only warms up their caches.
///
/// With more processors, which call in an arbitrary order, the other processor is one of many; the
/// number hardly changes.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub fn moved_lines(processors: [&[TracedCall]; 2]) -> f64 {
    let [first, second] = processors;
    let rounds = first.len().min(second.len());
    let mut lines: HashMap<u64, Line> = HashMap::new();
    let (mut moved, mut counted) = (0, 0);
    for (round, calls) in first.iter().zip(second).enumerate() {
        for (processor, call) in [calls.0, calls.1].into_iter().enumerate() {
            let is_counted = round >= rounds / 2;
            counted += usize::from(is_counted);
            for (&line, &written) in &call.lines {
                let is_moved = lines.entry(line).or_default().access(processor, written);
                moved += usize::from(is_moved && is_counted);
            }
        }
    }
    moved as f64 / counted as f64
}

/// What the caches of two processors know of a line.
#[derive(Default)]
struct Line {
    /// Whether each has accessed it since the other wrote it.
    held: [bool; 2],
    /// Whether the other one has written it since each accessed it.
    outdated: [bool; 2],
}

impl Line {
    /// Returns whether the line moves: the other processor has its contents, or must give it up.
    fn access(&mut self, processor: usize, written: bool) -> bool {
        let other = 1 - processor;
        let moves = self.outdated[processor] || (written && self.held[other]);
        (self.held[processor], self.outdated[processor]) = (true, false);
        if written {
            (self.held[other], self.outdated[other]) = (false, true);
        }
        moves
    }
}

/// A line of a trace.
enum Event {
    Instruction,
    Access { address: u64, size: u64, written: bool },
}

impl Event {
    /// Returns `None` for what valgrind itself reports.
    fn parse(line: &str) -> Option<Self> {
        let (kind, access) = line.split_at_checked(3)?;
        let written = match kind {
            "I  " => return Some(Self::Instruction),
            " L " => false,
            " S " | " M " => true,
            _ => return None,
        };
        let (address, size) = access.trim_end().split_once(',')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some(Self::Access { address, size: size.parse().ok()?, written })
    }
}

impl TracedCall {
    fn add(&mut self, event: &Event) {
        match *event {
            Event::Instruction => self.instructions += 1,
            Event::Access { address, size, written } => {
                for line in address / LINE..=(address + size.max(1) - 1) / LINE {
                    *self.lines.entry(line).or_default() |= written;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that reads and writes these cache lines.
    fn call(read: &[u64], written: &[u64]) -> TracedCall {
        let lines = read.iter().map(|&line| (line, false));
        let lines = lines.chain(written.iter().map(|&line| (line, true))).collect();
        TracedCall { instructions: 1, lines }
    }

    #[test]
    fn calls_are_what_is_between_two_marks() {
        let trace = "==7== Lackey\n\
                     I  0010,3\n S 1000,8\nI  0013,3\n L 0040,4\nI  0016,3\n M 003e,4\n S 1008,8\n\
                     I  0019,3\n L 0900,4\n S 1000,8\n S 1008,8\n";
        let calls = traced_calls(trace.as_bytes(), 0x1000, 0x1008).expect("it can be read");
        let lines = [(0, true), (1, true)].into();
        assert_eq!(calls, [TracedCall { instructions: 2, lines }, TracedCall::default()]);
    }

    #[test]
    fn line_that_is_only_read_is_not_moved() {
        let calls = vec![call(&[7], &[]); 4];
        assert_eq!(moved_lines([&calls, &calls]), 0.0);
    }

    #[test]
    fn first_read_of_a_line_that_nobody_writes_is_not_a_move() {
        let (early, late) = (call(&[7], &[]), call(&[8], &[]));
        let first = [early.clone(), early.clone(), early.clone(), early.clone()];
        assert_eq!(moved_lines([&first, &[late.clone(), late.clone(), late, early]]), 0.0);
    }

    #[test]
    fn line_that_every_call_writes_is_moved_by_every_call() {
        let calls = vec![call(&[7], &[8, 9]); 4];
        assert_eq!(moved_lines([&calls, &calls]), 2.0);
    }

    #[test]
    fn line_that_one_processor_writes_is_moved_in_both_directions() {
        assert_eq!(moved_lines([&vec![call(&[], &[7]); 4], &vec![call(&[7], &[]); 4]]), 1.0);
    }

    #[test]
    fn line_of_one_processor_is_not_moved() {
        assert_eq!(moved_lines([&vec![call(&[], &[7]); 4], &vec![call(&[], &[8]); 4]]), 0.0);
    }
}
