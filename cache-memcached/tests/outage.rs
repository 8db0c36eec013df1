//! What a handle does while one of several servers is away.

mod common;

use std::sync::Arc;

use cache_core::{Cache, CacheHandle, Clear, Purge, Settings, Tags, Timeout};
use cache_memcached::WhenDead;
use common::{patient, server, store_at};

#[tokio::test]
async fn keys_of_the_other_servers_keep_hitting() {
    let mut servers = [server(), server(), server()];
    let store =
        Arc::new(store_at(&servers.each_ref().map(xtask::servers::Server::port), &patient()));
    let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        cache.set(key, "stored", Timeout::Default).await.expect("it is stored");
    }
    servers[1].kill().expect("kill");
    let mut hits = 0;
    for _ in 0..5 {
        for key in &keys {
            let is_dead = store.server_of(&cache.composed_key(key)) == 1;
            let found: String = cache
                .get_or_set(key, Timeout::Default, async || "produced".into())
                .await
                .expect("a value");
            assert_eq!(found, if is_dead { "produced" } else { "stored" }, "{key}");
            hits += usize::from(!is_dead);
        }
    }
    assert!((50..300).contains(&hits), "{hits} of 300 calls were on servers that are alive");
}

/// `when_dead = "miss"` hides that a server cannot be reached, but not that nothing was purged.
#[tokio::test]
async fn purge_and_clear_that_reach_no_server_are_errors() {
    let mut server = server();
    let options = patient().when_dead(WhenDead::Miss);
    let store = Arc::new(store_at(&[server.port()], &options));
    let settings = Settings { clear: Clear::Generation, ..Settings::default() };
    let cache = CacheHandle::new("default", store, settings);
    let tags = Tags::of(["t"]);
    cache.set_with("k", "v", Timeout::Default, &tags).await.expect("it is stored");
    server.kill().expect("kill");
    cache.set("k", "v", Timeout::Default).await.expect("the outage is hidden");
    for purge in [Purge::Hard, Purge::Soft] {
        let error = cache.purge_tags(["t"], purge).await.expect_err("nothing was purged");
        assert!(error.to_string().contains(":~:tag:t"), "{error}");
        cache.purge_tags(["t", "u"], purge).await.expect_err("nothing was purged");
    }
    let error = cache.clear().await.expect_err("nothing was cleared");
    assert!(error.to_string().contains(":~:clear"), "{error}");
}
