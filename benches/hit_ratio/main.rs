//! How many requests each policy answers from the cache, on made and on recorded traces. The `README.md` of this crate says
//! how to read it.

mod optimum;
mod policies;
mod ratios;
mod traces;

use std::path::Path;

use cachette_benches::{Report, argument, asked};

use crate::{policies::POLICIES, ratios::Ratios, traces::Trace};

/// How much fits in, as a share of the keys of a trace.
const SIZES: [f64; 6] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// With fewer entries, the answer says little about a policy.
const FEWEST: usize = 20;

fn main() {
    let requests = if asked("--quick") { 100_000 } else { 500_000 };
    let mut traces = traces::made(requests);
    if let Some(folder) = argument("--traces") {
        traces.extend(traces::recorded(Path::new(&folder)).unwrap_or_else(|why| panic!("{why}")));
    }
    let mut report = Report::default();
    let ratios: Vec<Ratios> = traces.iter().map(measure).collect();
    for ratios in &ratios {
        report.draw(ratios.figure());
    }
    report.remark(ratios::summary(&ratios));
    report.publish();
}

fn measure(trace: &Trace) -> Ratios {
    let mut ratios = Ratios::new(trace);
    for share in SIZES {
        let entries = trace.part(share);
        if entries >= FEWEST {
            let found = POLICIES.iter().map(|policy| policy.hit_ratio(trace, entries)).collect();
            ratios.add(entries, optimum::hit_ratio(trace, entries), found);
        }
    }
    ratios
}
