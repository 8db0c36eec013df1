//! locmem against `DashMap`, `quick_cache`, moka, foyer and cached. See this crate's `README.md`.

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

/// Space for twice as many entries as there are keys, so that nothing is evicted.
const CAPACITY: usize = 2 * KEYS;

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
    let (keys, absent, order) = (keys("there", KEYS), keys("other", KEYS), zipf(operations));
    let bench = Bench { rounds, operations, keys, absent, order };
    let mut report = Report::default();
    store::run(&bench, &mut report);
    whole_get::run(&bench, &mut report);
    full::run(&bench, &mut report);
    python::run(&bench, &mut report);
    report.draw_bars("What a hit costs", "store hit");
    report.draw_bars("What a whole get costs: bytes", "whole get of Bytes");
    report.draw_bars("What a whole get costs: a shared object", "whole get of a shared object");
    report.publish();
}

impl Bench {
    fn key(&self, operation: usize) -> &str {
        &self.keys[self.order[operation]]
    }

    fn absent_key(&self, operation: usize) -> &str {
        &self.absent[self.order[operation]]
    }
}

fn fresh_value() -> Bytes {
    Bytes::copy_from_slice(black_box(&VALUE))
}
