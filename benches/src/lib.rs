//! What the benchmarks share: workloads, interleaved rounds, and tables that put the ratios first.
//!
//! ```
//! use cachette_benches::{Contest, Report, cpu_time};
//!
//! let contest = Contest::new("sum of a hundred numbers")
//!     .candidate("loop", || cpu_time(100, |_| drop((0..100).sum::<u64>())))
//!     .candidate("formula", || cpu_time(100, |_| drop(99 * 100 / 2)))
//!     .at_most(50.0, "formula");
//! let mut report = Report::default();
//! report.add(contest.run(3));
//! assert!(report.to_string().contains("| sum of a hundred numbers | formula |"));
//! ```

mod contest;
mod crates;
mod figure;
mod machine;
mod outcome;
mod page;
mod peers;
mod ready;
mod report;
mod stopwatch;
mod svg;
mod table;
pub mod workload;

pub use self::{
    contest::Contest,
    figure::{Axis, Figure, Kind, Line},
    machine::Machine,
    outcome::{Bound, Measured, Outcome, Target, Verdict},
    page::write_page,
    peers::{Peer, Peers},
    ready::ready,
    report::Report,
    stopwatch::{awaited_cpu_time, cpu_time, task_time, wall_time},
};

/// Whether the program was started with this argument.
#[must_use]
pub fn asked(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}

/// What follows this argument, if the program was started with it.
#[must_use]
pub fn argument(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}
