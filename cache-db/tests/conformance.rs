//! The conformance suite on each database, with a manual clock.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use cache_conformance::{Forwarding, Harness, Profile};
use cache_core::{Clock, ManualClock};
use cache_db::{DbCache, DbOptions};

/// Runs each case on a store with its own table.
fn on(options: impl Fn() -> DbOptions + Copy + Send + Sync + 'static) -> Harness {
    let time = ManualClock::new();
    let clock = time.clock();
    let make = {
        let clock = clock.clone();
        move || common::fresh(options(), clock.clone())
    };
    let with_clients = move || clients(options(), clock.clone());
    let with_limits = move |max_entries, cull_frequency| {
        let options = options().max_entries(max_entries).cull_frequency(cull_frequency);
        common::fresh(options, Clock::system())
    };
    Harness::new(make).with_clients(with_clients).with_limits(with_limits).driven_by(time)
}

/// Creates two stores on one new table, with their own connections unless it is in memory.
async fn clients(options: DbOptions, clock: Clock) -> (DbCache, DbCache) {
    let one = common::fresh(options.clone(), clock.clone()).await;
    if options.url == "sqlite::memory:" {
        return (one.clone(), one);
    }
    let other = DbCache::open(one.table(), options, None, clock).expect("valid options");
    (one, other)
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

    fn harness() -> Harness {
        Harness::new(|| common::fresh(common::sqlite_file(), Clock::system()))
            .with_clients(|| clients(common::sqlite_file(), Clock::system()))
    }

    cache_conformance::suite!(harness());
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(on(common::sqlite_file).wrapped_by(Forwarding::new));
}
