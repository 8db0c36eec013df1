//! locmem against `DashMap`, `quick_cache`, moka, foyer and cached. See this crate's `README.md`.

mod contention;
mod full;
mod peers;
mod python;
mod store;
mod whole_get;

use std::hint::black_box;

use bytes::Bytes;
use cachette_benches::{
    Report, flag,
    workload::{KEYS, VALUE, keys, zipf},
};

const LOCMEM: &str = "locmem";
const DASHMAP: &str = "DashMap";
const QUICK: &str = "quick_cache";
const QUICK_TTL: &str = "quick_cache with deadlines";
const MOKA: &str = "moka";
const FOYER: &str = "foyer, S3-FIFO";
const CACHED: &str = "cached";
const BY_HAND: &str = "format!, moka and postcard";

/// What every comparison needs.
struct Bench {
    rounds: usize,
    /// Operations in a pass.
    operations: usize,
    keys: Vec<Box<str>>,
    absent: Vec<Box<str>>,
    /// A position in `keys` for each operation.
    order: Vec<usize>,
}

fn main() {
    let (rounds, operations) = if flag("--quick") { (5, 50_000) } else { (11, 200_000) };
    let bench = Bench::new(KEYS, rounds, operations);
    let mut report = Report::default();
    store::run(&bench, &mut report);
    whole_get::run(&bench, &mut report);
    whole_get::run_once(&bench, &mut report);
    for keys in [10_000, 1_000] {
        whole_get::run(&Bench::new(keys, rounds, operations), &mut report);
    }
    contention::run(&bench, &mut report);
    full::run(&bench, &mut report);
    python::run(&bench, &mut report);
    report.draw_bars("What a hit costs", "store hit");
    report.draw_bars("What a whole get costs: bytes", "whole get of Bytes");
    report.draw_bars("What a whole get costs: a shared object", "whole get of a shared object");
    report.publish();
}

impl Bench {
    fn new(count: usize, rounds: usize, operations: usize) -> Self {
        let (keys, absent) = (keys("there", count), keys("other", count));
        Self { rounds, operations, keys, absent, order: zipf(count, operations) }
    }

    /// The name of a job, with the number of keys if it is not the usual one.
    fn name(&self, job: &str) -> String {
        match self.keys.len() {
            KEYS => job.to_owned(),
            keys => format!("{job}, {keys} keys"),
        }
    }

    fn key(&self, operation: usize) -> &str {
        &self.keys[self.order[operation]]
    }

    fn absent_key(&self, operation: usize) -> &str {
        &self.absent[self.order[operation]]
    }

    /// Space for twice as many entries as there are keys, so that nothing is evicted.
    fn capacity(&self) -> usize {
        2 * self.keys.len()
    }
}

fn fresh_value() -> Bytes {
    Bytes::copy_from_slice(black_box(&VALUE))
}
