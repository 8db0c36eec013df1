//! Instructions of calls in memory, and the cache lines that they move between processors. See this
//! crate's `README.md`.
//!
//! valgrind's tool `lackey` traces a process of this program for each candidate.

mod call;
#[path = "../locmem/peers.rs"]
#[expect(dead_code, reason = "not all of them are traced")]
mod peers;
mod traced;

use std::{collections::HashMap, env, fs::File, io::BufReader, path::Path};

use cachette_benches::{Comparison, Outcome, Report, TracedCall, flag, moved_lines, traced_calls};
use call::Job;
use traced::{CALLS, Keys, Traced};

const LOCMEM: &str = "locmem";
const S3_FIFO: &str = "locmem, S3-FIFO";
const DASHMAP: &str = "DashMap";
const QUICK: &str = "quick_cache";
const QUICK_TTL: &str = "quick_cache with deadlines";
const MOKA: &str = "moka";

const STORES: [&str; 5] = [LOCMEM, DASHMAP, QUICK, QUICK_TTL, MOKA];
const CACHES: [&str; 4] = [LOCMEM, S3_FIFO, QUICK, MOKA];

/// Each candidate of a job is traced once, which takes some seconds.
const JOBS: [(&str, Job, &[&str]); 6] = [
    ("whole get of Bytes", Job::Get, &CACHES),
    ("whole get of a shared object", Job::GetShared, &[LOCMEM, QUICK]),
    ("whole set of Bytes", Job::Set, &CACHES),
    ("store hit", Job::StoreHit, &STORES),
    ("store set", Job::StoreSet, &STORES),
    ("store set of shareable values", Job::StoreSetShareable, &STORES),
];

fn main() {
    if let Some(traced) = Traced::requested() {
        traced.run();
        return;
    }
    let (mut report, mut traces) = (Report::default(), Traces::default());
    let jobs = if flag("--quick") { &JOBS[..1] } else { &JOBS[..] };
    for &(name, job, candidates) in jobs {
        let name = format!("instructions of a {name}");
        report.add(traces.compare(
            &name,
            "instructions",
            job,
            Keys::Zipf,
            candidates,
            instructions,
        ));
    }
    if flag("--quick") {
        report.remark("A quick run counts only the instructions of a whole get.");
    } else {
        for (name, keys) in [("a get of one key", Keys::One), ("gets by Zipf's law", Keys::Zipf)] {
            let name = format!("cache lines that {name} moves");
            report.add(traces.compare(&name, "cache lines", Job::Get, keys, &CACHES, moved_lines));
        }
    }
    report.publish();
}

/// The calls that were traced. Several numbers come from one trace.
#[derive(Default)]
struct Traces(HashMap<Traced, Vec<TracedCall>>);

impl Traces {
    fn compare(
        &mut self,
        name: &str,
        unit: &str,
        job: Job,
        keys: Keys,
        candidates: &[&'static str],
        count: fn([&[TracedCall]; 2]) -> f64,
    ) -> Outcome {
        let mut comparison = Comparison::new(name).unit(unit);
        for &candidate in candidates {
            let traced = Traced { job, keys, candidate: candidate.to_owned() };
            let calls = self.0.entry(traced).or_insert_with_key(trace);
            let (first, second) = calls.split_at(CALLS);
            let counted = count([first, second]);
            comparison = comparison.candidate(candidate, move || counted);
        }
        comparison.run(1)
    }
}

/// The mean number of instructions of a call.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn instructions(processors: [&[TracedCall]; 2]) -> f64 {
    let calls = processors.concat();
    let instructions: u32 = calls.iter().map(|call| call.instructions).sum();
    f64::from(instructions) / calls.len() as f64
}

/// Runs a process of this program under valgrind. Returns its calls: first those of one thread,
/// then those of another.
fn trace(traced: &Traced) -> Vec<TracedCall> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("it can be created");
    let file = folder.path().join("trace");
    let program = env::current_exe().expect("this program has a path");
    let [begin, end] = run(&program, traced, &file);
    let calls = File::open(&file).and_then(|file| traced_calls(BufReader::new(file), begin, end));
    let calls = calls.expect("valgrind has written a trace");
    assert_eq!(calls.len(), 2 * CALLS, "a trace without some calls of {traced:?}");
    calls
}

/// Runs the program, and returns the addresses of its marks.
fn run(program: &Path, traced: &Traced, trace: &Path) -> [u64; 2] {
    let command = xtask::servers::traced(program, trace);
    let mut command = command.unwrap_or_else(|error| panic!("{error}"));
    let output = command.args(traced.arguments()).output().expect("valgrind can be started");
    assert!(output.status.success(), "{traced:?}: {}", String::from_utf8_lossy(&output.stderr));
    Traced::marks(&String::from_utf8_lossy(&output.stdout))
}
