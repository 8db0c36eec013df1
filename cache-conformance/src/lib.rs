//! A test suite for implementations of [`Cache`](cache_core::Cache): the behaviour that every store
//! of cachette has.
//!
//! [`suite!`] generates one `#[test]` for each case:
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
//! [`run`] runs all cases and returns a [`Report`]. A [`Profile`] states known limitations of a
//! store; any other deviation fails. [`Harness::wrapped_by`] runs the suite on a store inside a
//! wrapper.
//!
//! The README of the crate lists the cases by group. The list is generated from [`CASES`].

#![allow(clippy::unwrap_used, reason = "a case fails by panicking, like any test")]

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

/// Asserts that an error has the meaning that all stores give to "no room".
///
/// It cannot be a case of the suite, because each store is filled in its own way.
///
/// # Panics
///
/// Panics with the error if it has another meaning.
pub fn assert_storage_full(error: &cache_core::Error) {
    assert_eq!(error.kind(), cache_core::ErrorKind::StorageFull, "{error:#}");
    assert!(error.is_temporary(), "{error:#}");
    assert!(error.to_string().contains("the store is full: "), "{error:#}");
}

/// Generates a `#[test]` for each case, in a module named `conformance`.
///
/// The argument is an expression for the [`Harness`], which is evaluated for each test. To test
/// several stores in one file, call the macro in a module for each:
/// `mod large { … suite!(harness()); }`.
#[macro_export]
macro_rules! suite {
    ($harness:expr) => {
        $crate::__for_each_case! { $crate::__tests, $harness }
    };
}

/// Generates a `#[test]` for each group of cases, in a module named `conformance`.
///
/// This is [`suite!`] for a store with a real clock and long times to live, such as one that counts
/// whole seconds: the cases of a group wait at the same time, up to eight at once. A failure names
/// the case.
#[macro_export]
macro_rules! suite_by_group {
    ($harness:expr) => {
        $crate::__for_each_case! { $crate::__group_tests, $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __group_tests {
    ({ $harness:expr } $($group:ident { $($case:ident $(unless $excuse:ident)?,)+ })+) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $group() {
                $crate::__run_group(stringify!($group), || $harness);
            })+
        }
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
pub use report::{run_group as __run_group, run_test as __run_test};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
