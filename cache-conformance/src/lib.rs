//! The behaviour that every store of cachette has, as a test suite for any implementation of
//! [`Cache`](cache_core::Cache).
//!
//! One macro makes a `#[test]` of each case:
//!
//! ```
//! use cache_conformance::Harness;
//! use cache_locmem::LocMemCache; // or your own store
//!
//! fn harness() -> Harness {
//!     Harness::new(|| async { LocMemCache::default() })
//! }
//!
//! cache_conformance::suite!(harness());
//! # fn main() {}
//! ```
//!
//! Or one function runs them all: [`run`]. What a store honestly can't do is said in a [`Profile`]; whatever else
//! deviates fails. The cases are listed, group by group, in the crate's README, which is made from the list that runs.

#![allow(clippy::unwrap_used, reason = "a case is a test: it fails by panicking")]

mod cases;
mod forwarding;
mod harness;
mod report;

pub use self::{
    cases::{CASES, Case},
    forwarding::Forwarding,
    harness::{Harness, Profile},
    report::{Failure, Report, run},
};

/// Makes a `#[test]` of each case, in a module `conformance`. Takes an expression for the [`Harness`]: it is evaluated
/// for each test.
///
/// Several stores in one file go in a module each: `mod large { … suite!(harness()); }`.
#[macro_export]
macro_rules! suite {
    ($harness:expr) => {
        $crate::__for_each_case! { $crate::__tests, $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ({ $harness:expr } $($group:ident { $($case:ident $(unless $excuse:ident)?,)+ })+) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            $(mod $group {
                #[allow(unused_imports)]
                use super::*;

                $(#[test]
                fn $case() {
                    $crate::__run_test(stringify!($case), $harness);
                })+
            })+
        }
    };
}

#[doc(hidden)]
pub use report::run_test as __run_test;

/// The README's example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
