//! The conformance suite on one server, on three.

mod common;

use std::time::Duration;

use cache_conformance::{Harness, Profile};

/// Seconds, counters from zero on, and what an item of the default size has room for.
fn on(servers: usize) -> Harness {
    common::harness(servers).with_profile(Profile {
        expiry_granularity: Duration::from_secs(1),
        unsigned_counters: true,
        largest_value: Some(1_000_000),
        ..Profile::default()
    })
}

mod one_server {
    use super::*;

    cache_conformance::suite!(on(1));
}

mod three_servers {
    use super::*;

    cache_conformance::suite!(on(3));
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(on(1).wrapped_by(cache_conformance::Forwarding::new));
}
