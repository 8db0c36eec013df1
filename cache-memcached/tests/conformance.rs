//! The conformance suite on one server and on three servers.
//!
//! The server counts whole seconds, so the cases of a group wait at the same time.

mod common;

use std::time::Duration;

use cache_conformance::{Harness, Profile};

/// The server counts whole seconds and unsigned counters, and limits items to 1 MiB by default.
fn on(servers: usize) -> Harness {
    common::harness(servers).with_profile(Profile {
        expiry_granularity: Duration::from_secs(1),
        unsigned_counters: true,
        largest_value: Some(1_000_000),
        counts_leases: true,
        ..Profile::default()
    })
}

mod one_server {
    use super::*;

    cache_conformance::suite_by_group!(on(1));
}

mod three_servers {
    use super::*;

    cache_conformance::suite_by_group!(on(3));
}

mod wrapped {
    use super::*;

    cache_conformance::suite_by_group!(on(1).wrapped_by(cache_conformance::Forwarding::new));
}
