//! Shared by the benchmarks: workloads, comparisons in interleaved rounds, and reports.
//!
//! ```
//! use cachette_benches::{Comparison, Report, cpu_time};
//!
//! let comparison = Comparison::new("sum of a hundred numbers")
//!     .candidate("loop", || cpu_time(100, |_| drop((0..100).sum::<u64>())))
//!     .candidate("formula", || cpu_time(100, |_| drop(99 * 100 / 2)))
//!     .at_most(50.0, "formula");
//! let mut report = Report::default();
//! report.add(comparison.run(3));
//! assert!(report.to_string().contains("| sum of a hundred numbers | formula |"));
//! ```

mod client;
mod comparison;
mod figure;
mod machine;
mod outcome;
mod page;
mod python;
mod report;
mod stopwatch;
mod svg;
mod table;
mod trace;
pub mod workload;

pub use self::{
    client::{Client, HandleClient, Job, Load, StoreClient, Times},
    comparison::Comparison,
    figure::{Figure, Kind, Line},
    machine::{Machine, on_processor},
    outcome::{Bound, Measurement, Outcome, Target, Verdict},
    page::write_page,
    python::{Peer, Peers},
    report::Report,
    stopwatch::{awaited_cpu_time, cpu_time, ready, task_time, wall_time},
    trace::{TracedCall, moved_lines, traced_calls},
};

/// Returns `true` if the program was started with this flag.
#[must_use]
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

/// Returns the value of this option, if the program was started with it.
#[must_use]
pub fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
