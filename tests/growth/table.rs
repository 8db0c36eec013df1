//! The table of all counts.

use std::fmt::Write as _;

use crate::{CALLS, FEW, MANY};

/// A count of one verb, with few entries and with many.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) store: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) few: u64,
    pub(crate) many: u64,
}

/// The highest allowed ratio. A B-tree may have one more level.
const LIMIT: f64 = 1.3;

/// How much a count may grow besides: work in the background that earlier calls have started may
/// end within the calls that are counted.
const SLACK: f64 = 5.0;

impl Row {
    fn ratio(&self) -> f64 {
        if self.few == self.many { 1.0 } else { self.many as f64 / self.few as f64 }
    }

    fn grows(&self) -> bool {
        self.many as f64 > self.few as f64 * LIMIT + SLACK
    }
}

/// Prints the table, and fails if a count grows.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn check(rows: &[Row]) {
    println!("{}", table(rows));
    let grown: Vec<_> = rows.iter().filter(|row| row.grows()).cloned().collect();
    assert!(grown.is_empty(), "grows with the number of entries:\n{}", table(&grown));
}

fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "| store | verb | counted, {CALLS} calls | {FEW} entries | {MANY} entries | ratio |\n\
         |---|---|---|---|---|---|\n"
    );
    for row in rows {
        let Row { store, verb, unit, few, many } = row;
        let ratio = row.ratio();
        writeln!(table, "| {store} | {verb} | {unit} | {few} | {many} | {ratio:.2} |")
            .expect("writing to a string succeeds");
    }
    table
}
