//! What a handle does while Redis is away.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{CacheHandle, ErrorKind, Settings, Timeout};
use common::{fresh, moderate, server};
use tokio::{task::JoinSet, time::sleep};

const PRODUCER: Duration = Duration::from_secs(5);

#[tokio::test]
async fn thousand_calls_return_values_in_twice_the_time_of_a_producer() {
    let mut redis = server();
    let store = fresh(&[redis.url()], moderate());
    let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
    cache.set("0", &0, Timeout::Default).await.expect("it is stored");
    redis.kill().expect("kill");
    let mut calls = JoinSet::new();
    for number in 0..1000_u32 {
        let cache = cache.clone();
        calls.spawn(async move {
            let produce = async || {
                sleep(PRODUCER).await;
                number
            };
            let started_at = Instant::now();
            let produced = cache.get_or_set(&number.to_string(), Timeout::Default, produce).await;
            assert_eq!(produced.expect("produced"), number);
            started_at.elapsed()
        });
    }
    let longest = calls.join_all().await.into_iter().max().expect("there are calls");
    assert!(longest < 2 * PRODUCER, "a call took {longest:?}");
    let error = cache.get::<u32>("0").await.expect_err("a plain verb");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
