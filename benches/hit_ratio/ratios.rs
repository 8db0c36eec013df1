//! The hit ratios on a trace as a figure, and a summary of all traces.

use std::fmt::Write as _;

use cachette_benches::Figure;

use crate::{
    policies::{LRU, OURS, PEERS, POLICIES},
    traces::Trace,
};

/// The least mean share of the optimum for locmem's S3-FIFO.
const MEAN: f64 = 0.84;
/// How far it may be below the best peer, in points, if there is space for [`MANY`] entries. In
/// smaller caches, chance moves a ratio by more than that.
const BELOW_PEERS: f64 = 1.0;
const MANY: usize = 500;
/// How far it may be below LRU in a cache of any size, in points.
const BELOW_LRU: f64 = 3.0;

/// The hit ratios on a trace in percent.
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

    /// Adds the hit ratios, as shares, with space for `entries`.
    pub(crate) fn add(&mut self, entries: usize, optimum: f64, found: Vec<f64>) {
        let found = found.into_iter().map(|share| 100.0 * share).collect();
        self.rows.push(Row { entries, optimum: 100.0 * optimum, found });
    }

    /// Returns a line for each policy over the sizes, with a table.
    pub(crate) fn figure(&self) -> Figure {
        let title = format!("Hit ratio, {}", self.trace);
        let figure = Figure::lines(title, "entries", "hits of 100 requests");
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

    /// Returns the largest number of points by which one policy is below another at any size. It is
    /// negative if the policy is always above.
    fn worst_gap(&self, policy: usize, below: usize) -> f64 {
        let gaps = self.rows.iter().map(|row| row.found[below] - row.found[policy]);
        gaps.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns the largest number of points by which a policy is below the best peer with space for
    /// many entries, or `None` if there is no such size.
    fn worst_gap_to_peers(&self, policy: usize) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| row.entries >= MANY);
        let best = |row: &Row| row.found[PEERS..].iter().copied().fold(0.0, f64::max);
        rows.map(|row| best(row) - row.found[policy]).max_by(f64::total_cmp)
    }
}

/// Returns the mean share of the optimum for each policy over all traces, and how far locmem is
/// below others on each trace.
pub(crate) fn summary(all: &[Ratios]) -> String {
    let position =
        |name| POLICIES.iter().position(|policy| policy.name == name).expect("a known policy");
    let (locmem, lru) = (position(OURS), position(LRU));
    let mut out =
        "| policy | mean share of the optimum | below LRU at worst, points |\n|---|---|---|\n"
            .to_owned();
    for (position, policy) in POLICIES.iter().enumerate() {
        let gap = all
            .iter()
            .map(|ratios| ratios.worst_gap(position, lru))
            .fold(f64::NEG_INFINITY, f64::max);
        let _ = writeln!(out, "| {} | {:.3} | {gap:.1} |", policy.name, mean_share(all, position));
    }
    let met = yes_or_no(mean_share(all, locmem) >= MEAN);
    let _ = writeln!(out, "\nMean share of at least {MEAN} with {OURS}: {met}.");
    let _ = writeln!(
        out,
        "\n| trace | locmem below the best peer at worst, points | below LRU | within bounds |\n\
         |---|---|---|---|"
    );
    for ratios in all {
        let (to_peers, to_lru) = (ratios.worst_gap_to_peers(locmem), ratios.worst_gap(locmem, lru));
        let met = to_peers.is_none_or(|gap| gap <= BELOW_PEERS) && to_lru <= BELOW_LRU;
        let to_peers = to_peers.map_or_else(|| "–".to_owned(), |gap| format!("{gap:.2}"));
        let met = yes_or_no(met);
        let _ = writeln!(out, "| {} | {to_peers} | {to_lru:.2} | {met} |", ratios.trace);
    }
    out
}

fn yes_or_no(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn mean_share(all: &[Ratios], policy: usize) -> f64 {
    let rows = all.iter().flat_map(|ratios| &ratios.rows);
    let shares: Vec<f64> = rows.map(|row| row.found[policy] / row.optimum).collect();
    shares.iter().sum::<f64>() / shares.len() as f64
}
