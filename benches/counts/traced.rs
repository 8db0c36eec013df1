//! The process that is traced.

use std::{
    ptr,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use cachette_benches::{
    option,
    workload::{self, zipf},
};

use crate::call::{Job, KEYS};

/// The number of calls that each of the two threads makes.
pub(crate) const CALLS: usize = 200;
/// The number of calls before them, which initialize what each thread initializes once.
const WARM_UP: usize = 20;

/// A store before each call marks its begin in the trace.
static BEGIN: AtomicU64 = AtomicU64::new(0);
/// A store after each call marks its end.
static END: AtomicU64 = AtomicU64::new(0);

/// Which keys the calls receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Keys {
    /// All the same.
    One,
    /// By Zipf's law.
    Zipf,
}

/// Calls of a candidate to be traced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Traced {
    pub(crate) job: Job,
    pub(crate) keys: Keys,
    pub(crate) candidate: String,
}

impl Traced {
    /// Returns what the program was started for, if it was started by itself.
    pub(crate) fn requested() -> Option<Self> {
        let name = option("--job")?;
        let job = Job::ALL.into_iter().find(|job| format!("{job:?}") == name).expect("a job");
        let keys = if option("--keys")? == "One" { Keys::One } else { Keys::Zipf };
        Some(Self { job, keys, candidate: option("--candidate")? })
    }

    pub(crate) fn arguments(&self) -> [String; 6] {
        let Self { job, keys, candidate } = self;
        [
            "--job".into(),
            format!("{job:?}"),
            "--keys".into(),
            format!("{keys:?}"),
            "--candidate".into(),
            candidate.clone(),
        ]
    }

    /// Makes the calls on one thread, and then on another. Each has its own stack and its own
    /// thread-local memory, so both live until the end.
    #[expect(clippy::print_stdout, reason = "the process that reads the trace reads it")]
    pub(crate) fn run(&self) {
        println!("{:x} {:x}", ptr::from_ref(&BEGIN).addr(), ptr::from_ref(&END).addr());
        let call = self.job.call(&self.candidate);
        let (names, order) = (workload::keys("there", KEYS), zipf(KEYS, 2 * (WARM_UP + CALLS)));
        let name = |position: usize| match self.keys {
            Keys::One => &*names[0],
            Keys::Zipf => &*names[order[position]],
        };
        let (turn, finished) = (Barrier::new(2), Barrier::new(2));
        let make_calls = |first: usize| {
            let begin = first + WARM_UP;
            (first..begin).for_each(|position| call(name(position)));
            for position in begin..begin + CALLS {
                let key = name(position);
                BEGIN.store(1, Ordering::SeqCst);
                call(key);
                END.store(1, Ordering::SeqCst);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                make_calls(0);
                turn.wait();
                finished.wait();
            });
            scope.spawn(|| {
                turn.wait();
                make_calls(WARM_UP + CALLS);
                finished.wait();
            });
        });
    }

    /// Reads the addresses of the marks in the output of [`run`](Self::run).
    pub(crate) fn marks(output: &str) -> [u64; 2] {
        let mut marks = output.split_whitespace().map(|mark| u64::from_str_radix(mark, 16));
        let mut next = || marks.next().expect("two marks").expect("an address");
        [next(), next()]
    }
}
