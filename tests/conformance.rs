//! Runs the conformance suite on each store, opened from a configuration.

use cache_conformance::{Harness, Profile};
use cachette::{Caches, ManualClock};

fn harness(url: &'static str) -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let make = move || {
        let caches = Caches::builder().url("default", url).clock(clock.clone()).build();
        async { caches.await.expect("valid configuration")["default"].store().clone() }
    };
    Harness::new(make).driven_by(time)
}

mod locmem {
    use super::*;

    cache_conformance::suite!(harness("locmem://?max_entries=500&max_bytes=100000000"));
}

mod dummy {
    use super::*;

    fn stores_nothing() -> Harness {
        harness("dummy://").with_profile(Profile { keeps_nothing: true, ..Profile::default() })
    }

    cache_conformance::suite!(stores_nothing());
}

#[cfg(feature = "db-sqlite")]
mod db {
    use super::*;

    cache_conformance::suite!(harness("db://pages?url=sqlite::memory:"));
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(
        harness("locmem://?max_entries=500").wrapped_by(cache_conformance::Forwarding::new)
    );
}
