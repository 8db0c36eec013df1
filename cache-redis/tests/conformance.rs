//! The conformance suite on a server, and on a cluster of three.

mod common;

use cache_conformance::Harness;
use cache_redis::RedisOptions;

fn on(urls: fn() -> Vec<String>, options: fn() -> RedisOptions) -> Harness {
    Harness::new(move || async move { common::fresh(&urls(), options()) })
}

mod one_server {
    use super::*;

    cache_conformance::suite!(on(common::shared_server, common::patient));
}

mod cluster_of_three {
    use super::*;

    cache_conformance::suite!(on(common::shared_cluster, || {
        let mut options = common::patient();
        options.cluster = true;
        options
    }));
}
