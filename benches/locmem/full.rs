//! New keys in a full store, and in one far below its limit.

use bytes::Bytes;
use cachette_benches::{Comparison, Report, cpu_time, workload::keys};

use crate::{
    Bench, LOCMEM, QUICK, fresh_value,
    peers::{Peer, locmem, quick},
};

const FULL: usize = 50_000;
const LARGE: usize = 20 * FULL;
const BELOW: &str = "far below the limit";

/// Both stores have [`FULL`] entries at the start, and receive as many new ones. Some are untimed.
pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let (old, new) = (keys("older", FULL), keys("newer", 2 * FULL));
    let pass = |store: &dyn Peer| {
        old.iter().for_each(|key| store.store(key, fresh_value()));
        let mut new = new.iter();
        cpu_time(FULL, |_| store.store(new.next().expect("enough keys"), fresh_value()))
    };
    let comparison = Comparison::new(format!("set of a new key when full, {LOCMEM}"))
        .candidate("full", || pass(&locmem(FULL)))
        .candidate(BELOW, || pass(&locmem(LARGE)))
        .at_most(1.3, BELOW);
    report.add(comparison.run(bench.rounds));
    let comparison = Comparison::new(format!("set of a new key when full, {QUICK}"))
        .candidate("full", || pass(&quick::<Bytes>(FULL)))
        .candidate(BELOW, || pass(&quick::<Bytes>(LARGE)));
    report.add(comparison.run(bench.rounds));
}
