//! Seeing inside: what caches do, as metrics, as spans, and as a list for each request.
//!
//! [`Observed`] is a wrapper of a store that reports each operation. `Caches` of the crate
//! `cachette` put it around the stores of aliases with `OBSERVE = true`, or of all aliases with
//! `builder().observe(true)`. Without it, none of this costs anything.
//!
//! - **Metrics** go to the recorder of the crate [`metrics`], such as an exporter for Prometheus.
//!   [`METRICS`] lists them. Install the recorder first: an alias registers its metrics at its
//!   first operation, and with the recorder of that time. Publish them with [`Observed::publish`]
//!   before they are read.
//! - **Spans** of `tracing` have the level `DEBUG` and the target `cachette`. Their names and
//!   fields are those of [Sentry's module for caches][sentry].
//! - A [`Trace`] lists what one request did.
//!
//! # Performance
//!
//! An operation that waits for I/O costs one allocation and two readings of the clock more. One
//! that does not wait, such as a hit in memory, is counted in a variable that threads rarely share,
//! and one in 64 is measured.
//!
//! [sentry]: https://develop.sentry.dev/sdk/telemetry/traces/modules/caches/

mod counts;
mod handles;
mod names;
mod observed;
mod observer;
mod operation;
mod report;
mod spans;
mod trace;

#[cfg(feature = "fetch")]
pub(crate) use self::names::FAILED_FETCHES;
#[cfg(feature = "fetch")]
pub(crate) use self::report::in_task;
use self::trace::OpenCall;
pub(crate) use self::{
    names::{FILLS_LOST, OUTAGE_ERRORS, TAG_PURGES, UNDECODABLE},
    observer::Observer,
    report::{FillReport, StaleReason, WaitReport, Where},
};
pub use self::{
    names::{METRICS, Metric, MetricKind, SECONDS_BUCKETS, describe_metrics},
    observed::{ObserveOptions, Observed},
    operation::{Operation, Outcome},
    trace::{Collect, Trace, TracedCall},
};
