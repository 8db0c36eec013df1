//! The conformance suite for a store that stores nothing.

use cache_conformance::{Harness, Profile};
use cache_dummy::DummyCache;

fn harness() -> Harness {
    Harness::new(|| async { DummyCache })
        .with_profile(Profile { keeps_nothing: true, ..Profile::default() })
}

cache_conformance::suite!(harness());

mod wrapped {
    use super::*;

    cache_conformance::suite!(harness().wrapped_by(cache_conformance::Forwarding::new));
}
