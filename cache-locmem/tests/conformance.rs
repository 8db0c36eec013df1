//! The conformance suite on stores of one and of several shards, under each policy.

use cache_conformance::Harness;
use cache_core::ManualClock;
use cache_locmem::{LocMemCache, LocMemOptions};

fn harness(options: LocMemOptions) -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let create = move || LocMemCache::with_clock(options, clock.clone()).expect("valid options");
    Harness::new(move || std::future::ready(create())).driven_by(time)
}

/// The suites that run under each policy.
macro_rules! suites_under {
    ($policy:expr) => {
        use cache_conformance::Profile;

        use super::*;

        fn options() -> LocMemOptions {
            LocMemOptions::default().policy($policy)
        }

        mod strict {
            use super::*;

            cache_conformance::suite!(harness(options()));
        }

        mod sharded {
            use super::*;

            cache_conformance::suite!(harness(options().max_entries(100_000)));
        }

        mod bounded_in_bytes {
            use super::*;

            /// The overhead of an entry reduces the space for its value.
            const LARGEST: usize = (2 << 20) - 256;

            fn bounded() -> Harness {
                harness(options().max_bytes(2 << 20))
                    .with_profile(Profile { largest_value: Some(LARGEST), ..Profile::default() })
            }

            cache_conformance::suite!(bounded());
        }
    };
}

mod lru {
    suites_under!(cache_locmem::Policy::Lru);
}

mod s3_fifo {
    suites_under!(cache_locmem::Policy::S3Fifo);
}

mod system_clock {
    use super::*;

    cache_conformance::suite!(Harness::new(|| async { LocMemCache::default() }));
}

mod wrapped {
    use cache_conformance::Forwarding;

    use super::*;

    fn bounded(max_entries: u64, cull_frequency: u64) -> LocMemCache {
        let set = |mut options: LocMemOptions| {
            options.max_entries = max_entries.try_into().expect("a small number");
            options.cull_frequency = cull_frequency.try_into().expect("a small number");
            options
        };
        LocMemCache::new(set(LocMemOptions::default())).expect("valid options")
    }

    fn wrapped() -> Harness {
        harness(LocMemOptions::default())
            .with_limits(|max_entries, cull_frequency| {
                std::future::ready(bounded(max_entries, cull_frequency))
            })
            .wrapped_by(Forwarding::new)
    }

    cache_conformance::suite!(wrapped());
}
