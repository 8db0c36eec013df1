//! New keys, in a store that is full and in one that is far from it.

use bytes::Bytes;
use cachette_benches::{Contest, Report, cpu_time, workload::keys};

use crate::{
    Bench, LOCMEM, QUICK, fresh_value,
    peers::{Peer, locmem, quick},
};

const FULL: usize = 50_000;
const ROOM_TO_SPARE: usize = 20 * FULL;
const BELOW: &str = "far below its bound";

/// Both stores hold [`FULL`] entries when the clock starts, and are given as many new ones, and a few before.
pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let (old, new) = (keys("older", FULL), keys("newer", 2 * FULL));
    let pass = |store: &dyn Peer| {
        old.iter().for_each(|key| store.store(key, fresh_value()));
        let mut new = new.iter();
        cpu_time(FULL, |_| store.store(new.next().expect("enough keys"), fresh_value()))
    };
    let contest = Contest::new(format!("set of a new key when full, {LOCMEM}"))
        .candidate("full", || pass(&locmem(FULL)))
        .candidate(BELOW, || pass(&locmem(ROOM_TO_SPARE)))
        .at_most(1.3, BELOW);
    report.add(contest.run(bench.rounds));
    let contest = Contest::new(format!("set of a new key when full, {QUICK}"))
        .candidate("full", || pass(&quick::<Bytes>(FULL)))
        .candidate(BELOW, || pass(&quick::<Bytes>(ROOM_TO_SPARE)));
    report.add(contest.run(bench.rounds));
}
