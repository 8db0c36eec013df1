//! The conformance suite on one server, on a cluster of three, and behind sentinels.

mod common;

use std::time::Duration;

use cache_conformance::{Harness, Profile};
use cache_redis::{RedisCache, RedisOptions};

fn on(urls: fn() -> Vec<String>, options: fn() -> RedisOptions) -> Harness {
    // The server expires keys by a clock of milliseconds.
    let profile = Profile {
        expiry_granularity: Duration::from_millis(1),
        counts_leases: true,
        ..Profile::default()
    };
    Harness::new(move || async move { common::fresh(&urls(), options()) })
        .with_clients(move || async move { clients(&urls(), options()) })
        .with_profile(profile)
}

/// Creates two stores with their own connections and the same keys.
fn clients(urls: &[String], options: RedisOptions) -> (RedisCache, RedisCache) {
    let options = options.namespace(common::fresh_namespace());
    let client = || RedisCache::new(urls, options.clone()).expect("valid options");
    (client(), client())
}

mod one_server {
    use super::*;

    cache_conformance::suite!(on(common::shared_server, common::patient));
}

mod cluster_of_three {
    use super::*;

    cache_conformance::suite!(on(common::shared_cluster, || { common::patient().cluster(true) }));
}

mod sentinels {
    use xtask::servers::RedisSentinels;

    use super::*;

    cache_conformance::suite!(on(common::shared_sentinels, || {
        common::patient().sentinel(RedisSentinels::NAME)
    }));
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(
        on(common::shared_server, common::patient).wrapped_by(cache_conformance::Forwarding::new)
    );
}
