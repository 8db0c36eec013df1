//! Seeing inside: what caches do, as a list for each request.
//!
//! [`Observed`] is a wrapper of a store that reports each operation. `Caches` of the crate
//! `cachette` put it around the stores of aliases with `OBSERVE = true`, or of all aliases with
//! `builder().observe(true)`. Without it, none of this costs anything.

mod observed;
mod observer;
mod operation;
mod report;
mod trace;

#[cfg(feature = "fetch")]
pub(crate) use self::trace::Scope;
pub use self::{
    observed::{ObserveOptions, Observed},
    operation::{Operation, Outcome},
    trace::{Collect, Trace, TracedCall},
};
pub(crate) use self::{
    observer::Observer,
    report::{FillReport, WaitReport},
    trace::OpenCall,
};
