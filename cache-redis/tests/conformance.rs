//! The conformance suite on one server and on a cluster of three.

mod common;

use std::time::Duration;

use cache_conformance::{Harness, Profile};
use cache_redis::RedisOptions;

fn on(urls: fn() -> Vec<String>, options: fn() -> RedisOptions) -> Harness {
    // The server expires keys by a clock of milliseconds.
    let profile = Profile { expiry_granularity: Duration::from_millis(1), ..Profile::default() };
    Harness::new(move || async move { common::fresh(&urls(), options()) }).with_profile(profile)
}

mod one_server {
    use super::*;

    cache_conformance::suite!(on(common::shared_server, common::patient));
}

mod cluster_of_three {
    use super::*;

    cache_conformance::suite!(on(common::shared_cluster, || { common::patient().cluster(true) }));
}

mod wrapped {
    use super::*;

    cache_conformance::suite!(
        on(common::shared_server, common::patient).wrapped_by(cache_conformance::Forwarding::new)
    );
}
