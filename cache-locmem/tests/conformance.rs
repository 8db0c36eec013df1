//! The conformance suite, on a store in strict order and on one with shards.

use cache_conformance::Harness;
use cache_core::ManualClock;
use cache_locmem::{LocMemCache, LocMemOptions};

fn harness(options: LocMemOptions) -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let make = move || LocMemCache::with_clock(options, clock.clone()).expect("the options are fine");
    Harness::new(move || std::future::ready(make())).driven_by(time)
}

mod strict {
    use super::*;

    cache_conformance::suite!(harness(LocMemOptions::default()));
}

mod sharded {
    use super::*;

    cache_conformance::suite!(harness(LocMemOptions { max_entries: 100_000, ..LocMemOptions::default() }));
}

mod bounded_in_bytes {
    use super::*;

    use cache_conformance::Profile;

    /// What housekeeping takes is not for the value.
    const LARGEST: usize = (2 << 20) - 256;

    fn bounded() -> Harness {
        let options = LocMemOptions { max_bytes: Some(2 << 20), ..LocMemOptions::default() };
        harness(options).with_profile(Profile { largest_value: Some(LARGEST), ..Profile::default() })
    }

    cache_conformance::suite!(bounded());
}

mod by_the_system_s_clock {
    use super::*;

    cache_conformance::suite!(Harness::new(|| async { LocMemCache::default() }));
}
