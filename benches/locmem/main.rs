//! locmem against `DashMap`, `quick_cache`, moka, foyer and cached. The `README.md` of this crate says how to read it.

mod full;
mod peers;
mod python;
mod store;
mod whole_get;

use std::{env, hint::black_box};

use bytes::Bytes;
use cachette_benches::{
    Report,
    workload::{KEYS, VALUE_LENGTH, keys, zipf},
};

const LOCMEM: &str = "locmem";
const DASHMAP: &str = "DashMap";
const QUICK: &str = "quick_cache";
const QUICK_TTL: &str = "quick_cache with deadlines";
const MOKA: &str = "moka";
const FOYER: &str = "foyer, S3-FIFO";
const CACHED: &str = "cached";
const BY_HAND: &str = "format!, moka and postcard";

/// Room for all keys twice over, so that nothing is evicted.
const ROOMY: usize = 2 * KEYS;

/// What every contest here works with.
struct Bench {
    rounds: usize,
    /// Operations of one pass.
    operations: usize,
    keys: Vec<Box<str>>,
    absent: Vec<Box<str>>,
    /// Positions in `keys`, one an operation.
    order: Vec<usize>,
}

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, operations) = if quick { (5, 50_000) } else { (11, 200_000) };
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
    Bytes::copy_from_slice(black_box(&[b'v'; VALUE_LENGTH]))
}
