//! A restart of memcached, whose CAS numbers start again: those of newer entries are the numbers
//! that leases had before.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cachette::CacheHandle;
use xtask::servers::Server;

use crate::{DAY, get, open, set, stores};

/// A server, and two clients that share nothing but the server.
struct Setup {
    server: Mutex<Server>,
    cache: CacheHandle,
    other: CacheHandle,
}

impl Setup {
    async fn new() -> Arc<Self> {
        let mut shared = stores::memcached();
        let server = Mutex::new(shared.server.take().expect("it has a server"));
        let (cache, other) = (open(&shared.config).await, open(&shared.config).await);
        Arc::new(Self { server, cache, other })
    }

    /// Restarts the server and stores a value, and then produces an older one.
    async fn produce_late(&self) -> i64 {
        {
            let mut server = self.server.lock().expect("no panic");
            server.kill().expect("killed");
            server.restart().expect("restarted");
        }
        set(&self.other, "k", 2).await;
        1
    }
}

#[tokio::test]
async fn late_value_is_not_stored_after_a_restart_of_memcached() {
    let setup = Setup::new().await;
    let produced = setup.cache.get_or_set("k", DAY, async || setup.produce_late().await);
    produced.await.expect("produced");
    assert_eq!(get(&setup.other, "k").await, Some(2));
}

#[tokio::test]
async fn late_value_of_fetch_is_not_stored_after_a_restart_of_memcached() {
    let setup = Setup::new().await;
    let late = Arc::clone(&setup);
    setup.cache.fetch("k", async move |_| late.produce_late().await).await.expect("produced");
    assert_eq!(get(&setup.other, "k").await, Some(2));
}

/// The lease of an entry is the CAS number of that.
#[tokio::test]
async fn stale_value_is_not_refreshed_after_a_restart_of_memcached() {
    let setup = Setup::new().await;
    let short = Duration::from_millis(1);
    let old = setup.cache.fetch("k", async |_| 0_i64).ttl(short).stale_for(DAY);
    old.await.expect("produced");
    tokio::time::sleep(2 * short).await;
    let late = Arc::clone(&setup);
    let refreshed = setup.cache.fetch("k", async move |_| late.produce_late().await);
    let refreshed = refreshed.ttl(DAY).soft_timeout(DAY).hard_timeout(DAY).await;
    assert_eq!(refreshed.expect("produced"), 1);
    assert_eq!(get(&setup.other, "k").await, Some(2));
}
