//! What was found on a trace, as a figure and in summary.

use std::fmt::Write as _;

use cachette_benches::Figure;

use crate::{
    policies::{LRU, OURS, POLICIES, QUICK},
    traces::Trace,
};

/// How far below `quick_cache`, and below LRU, our S3-FIFO may come, in points.
const BELOW_QUICK: f64 = 1.0;
const BELOW_LRU: f64 = 3.0;

/// The hit ratios on one trace, in percent.
pub(crate) struct Ratios {
    trace: String,
    rows: Vec<Row>,
}

struct Row {
    entries: usize,
    optimum: f64,
    /// In the order of [`POLICIES`].
    found: Vec<f64>,
}

impl Ratios {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self { trace: trace.name.clone(), rows: Vec::new() }
    }

    /// Adds what was found with room for so many entries, as shares.
    pub(crate) fn add(&mut self, entries: usize, optimum: f64, found: Vec<f64>) {
        let found = found.into_iter().map(|share| 100.0 * share).collect();
        self.rows.push(Row { entries, optimum: 100.0 * optimum, found });
    }

    /// A line for each policy over the sizes, and a table of the same.
    pub(crate) fn figure(&self) -> Figure {
        let figure =
            Figure::lines(format!("Hit ratio, {}", self.trace), "entries", "hits of 100 requests")
                .log_x();
        let lines = POLICIES.iter().enumerate();
        let figure = lines.fold(figure, |figure, (position, policy)| {
            figure.line(policy.name, self.points(|row| row.found[position]))
        });
        figure.line("optimum", self.points(|row| row.optimum)).with_table()
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn points(&self, ratio: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
        self.rows.iter().map(|row| (row.entries as f64, ratio(row))).collect()
    }

    /// By how many points one policy was below another at the size where that is worst; negative where it was always above.
    fn worst_gap(&self, policy: usize, below: usize) -> f64 {
        self.rows
            .iter()
            .map(|row| row.found[below] - row.found[policy])
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Over all traces: the mean share of the optimum for each policy, and how far ours came below the others on each trace.
pub(crate) fn summary(all: &[Ratios]) -> String {
    let position =
        |name| POLICIES.iter().position(|policy| policy.name == name).expect("it is one of them");
    let (ours, lru, quick) = (position(OURS), position(LRU), position(QUICK));
    let mut told =
        "| policy | mean share of the optimum | below LRU at worst, points |\n|---|---|---|\n"
            .to_owned();
    for (position, policy) in POLICIES.iter().enumerate() {
        let gap = all
            .iter()
            .map(|ratios| ratios.worst_gap(position, lru))
            .fold(f64::NEG_INFINITY, f64::max);
        let _ = writeln!(told, "| {} | {:.3} | {gap:.1} |", policy.name, mean_share(all, position));
    }
    told += "\n| trace | ours below quick_cache at worst, points | below LRU | within bounds |\n|---|---|---|---|\n";
    for ratios in all {
        let (to_quick, to_lru) = (ratios.worst_gap(ours, quick), ratios.worst_gap(ours, lru));
        let met = if to_quick <= BELOW_QUICK && to_lru <= BELOW_LRU { "yes" } else { "**no**" };
        let _ = writeln!(told, "| {} | {to_quick:.2} | {to_lru:.2} | {met} |", ratios.trace);
    }
    told
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn mean_share(all: &[Ratios], policy: usize) -> f64 {
    let rows = all.iter().flat_map(|ratios| &ratios.rows);
    let shares: Vec<f64> = rows.map(|row| row.found[policy] / row.optimum).collect();
    shares.iter().sum::<f64>() / shares.len() as f64
}
