//! How many requests each policy serves from the cache, on generated and on recorded traces. See
//! this crate's `README.md`.

mod optimum;
mod policies;
mod ratios;
mod traces;

use std::path::Path;

use cachette_benches::{Report, flag, option};

use crate::{policies::POLICIES, ratios::Ratios, traces::Trace};

/// The sizes of the caches, as shares of the number of keys in a trace.
const SIZES: [f64; 6] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// With fewer entries, a ratio says little about a policy.
const MIN_ENTRIES: usize = 20;

fn main() {
    let requests = if flag("--quick") { 100_000 } else { 500_000 };
    let mut traces = traces::generated(requests);
    if let Some(folder) = option("--traces") {
        let recorded = traces::recorded(Path::new(&folder));
        traces.extend(recorded.unwrap_or_else(|error| panic!("{error}")));
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
        let entries = trace.entries(share);
        if entries >= MIN_ENTRIES {
            let found = POLICIES.iter().map(|policy| policy.hit_ratio(trace, entries)).collect();
            ratios.add(entries, optimum::hit_ratio(trace, entries), found);
        }
    }
    ratios
}
