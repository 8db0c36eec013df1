//! The conformance suite in each wrapper, without faults.

use std::sync::Arc;

use cache_conformance::Harness;
use cache_core::{
    Cache, ManualClock,
    observe::{ObserveOptions, Observed},
};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_testing::{Chaos, Pause, Recorder, Remote};

fn harness() -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let create = move |options| {
        let store = LocMemCache::with_clock(options, clock.clone()).expect("valid options");
        std::future::ready(store)
    };
    let bounded = create.clone();
    Harness::new(move || create(LocMemOptions::default()))
        .with_limits(move |max_entries, cull_frequency| {
            let size = |number| usize::try_from(number).expect("the suite uses small numbers");
            let options = LocMemOptions::default().max_entries(size(max_entries));
            bounded(options.cull_frequency(size(cull_frequency)))
        })
        .driven_by(time)
}

/// Both ways in which a handle can call a store: with and without `get_now` and objects.
macro_rules! suites {
    ($($wrapper:ident $new:expr;)*) => {
        $(mod $wrapper {
            use super::*;

            cache_conformance::suite!(harness().wrapped_by($new));

            mod remote {
                use super::*;

                cache_conformance::suite!(harness().wrapped_by(Remote::new).wrapped_by($new));
            }
        })*
    };
}

suites! {
    chaos Chaos::new;
    recorder Recorder::new;
    pause Pause::new;
    observed |store| Observed::new("default", store, ObserveOptions::default());
    all |store: Arc<dyn Cache>| Recorder::new(Arc::new(Pause::new(Arc::new(Chaos::new(store)))));
}

/// A store without leases, as `cache-core` provides the method.
#[derive(Debug)]
struct Leaseless(LocMemCache);

impl Cache for Leaseless {
    cache_core::forward_cache!(self.0, except leases);
}

#[test]
fn wrappers_of_a_store_without_leases_have_none() {
    let store: Arc<dyn Cache> = Arc::new(Leaseless(LocMemCache::default()));
    let wrappers: [Arc<dyn Cache>; 4] = [
        Arc::new(Chaos::new(Arc::clone(&store))),
        Arc::new(Recorder::new(Arc::clone(&store))),
        Arc::new(Pause::new(Arc::clone(&store))),
        Arc::new(Remote::new(store)),
    ];
    for wrapper in wrappers {
        assert!(wrapper.leases().is_none(), "{wrapper:?}");
    }
}
