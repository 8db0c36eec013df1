//! The conformance suite on each database, with a manual clock.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use cache_conformance::{Forwarding, Harness, Profile};
use cache_core::{Clock, ManualClock};
use cache_db::DbOptions;

/// Runs each case on a store with its own table.
fn on(options: impl Fn() -> DbOptions + Copy + Send + Sync + 'static) -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let make = move || common::fresh(options(), clock.clone());
    let with_limits = move |max_entries, cull_frequency| {
        let options = options().max_entries(max_entries).cull_frequency(cull_frequency);
        common::fresh(options, Clock::system())
    };
    Harness::new(make).with_limits(with_limits).driven_by(time)
}

mod sqlite_file {
    use super::*;

    cache_conformance::suite!(on(common::sqlite_file));
}

mod sqlite_memory {
    use super::*;

    cache_conformance::suite!(on(|| DbOptions::new("sqlite::memory:")));
}

mod postgres {
    use super::*;

    cache_conformance::suite!(on(common::postgres));
}

mod postgres_behind_pgbouncer {
    use super::*;

    cache_conformance::suite!(on(common::pgbouncer));
}

mod mariadb {
    use super::*;

    /// MariaDB accepts packets of at most 16 MiB by default.
    fn mariadb() -> Harness {
        on(common::mysql)
            .with_profile(Profile { largest_value: Some(10 << 20), ..Profile::default() })
    }

    cache_conformance::suite!(mariadb());
}

mod system_clock {
    use super::*;

    cache_conformance::suite!(Harness::new(|| common::fresh(
        common::sqlite_file(),
        Clock::system()
    )));
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(on(common::sqlite_file).wrapped_by(Forwarding::new));
}
