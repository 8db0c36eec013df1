//! Values that are produced while their key is written through another handle of the process.
//!
//! They are never stored over what the write has left: neither on a store with leases, nor behind a
//! wrapper that does not forward them.

use super::*;

/// A store with leases and one without.
fn stores(time: &ManualClock) -> [Arc<dyn Cache>; 2] {
    [locmem(time), Arc::new(Leaseless(locmem(time)))]
}

/// What a write leaves under `k`: a value, or nothing.
type Left = Option<i64>;

/// Writes `k`, with one verb after another, and returns what it leaves.
async fn write(cache: &CacheHandle, verb: usize) -> Option<Left> {
    let done = match verb {
        0 => cache.set("k", &7, TTL).await.map(|()| Some(7)),
        1 => cache.set("k", &7, Timeout::EXPIRED).await.map(|()| None),
        2 => cache.set_many([("other", 7), ("k", 7)], TTL).await.map(|_| Some(7)),
        3 => cache.delete("k").await.map(|_| None),
        4 => cache.delete_many(["other", "k"]).await.map(|_| None),
        5 => cache.touch("k", Timeout::EXPIRED).await.map(|_| None),
        6 => cache.clear().await.map(|()| None),
        7 => {
            cache.delete("k").await.expect("the store works");
            cache.add("k", &7, TTL).await.map(|_| Some(7))
        }
        8 => {
            cache.delete("k").await.expect("the store works");
            cache.incr_or_set("k", 1, 7, TTL).await.map(Some)
        }
        9 => {
            cache.version(1).set("k", &7, TTL).await.expect("stored");
            cache.version(1).incr_version("k", 1).await.map(|_| Some(7))
        }
        _ => return None,
    };
    Some(done.expect("the store works"))
}

#[tokio::test]
async fn late_value_is_not_stored_through_a_handle_of_another_version() {
    for producing in Producing::ALL {
        for verb in 0.. {
            let time = ManualClock::new();
            let mut left = None;
            for store in stores(&time) {
                let cache = process(&store, &time);
                let (producer, writer) = (cache.version(2), cache.version(3).version(2));
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let meanwhile = async move || {
                    let left = write(&writer, verb).await;
                    sender.send(left).expect("the test waits");
                };
                producing.call(&producer, 1, meanwhile).await.expect("produced");
                left = receiver.await.expect("the producer has run");
                let Some(left) = left else { break };
                assert_eq!(cached(&producer).await, left, "{producing:?}, verb {verb}, {store:?}");
            }
            if left.is_none() {
                break;
            }
        }
    }
}

/// A value that becomes stale is replaced through a lease of the entry.
#[tokio::test]
async fn late_refresh_is_not_stored_through_a_handle_of_another_version() {
    let fetch = async |cache: &CacheHandle, value: i64, writer: Option<(CacheHandle, usize)>| {
        let produce = async move |_| {
            if let Some((writer, verb)) = writer {
                write(&writer, verb).await;
            }
            value
        };
        let fetch = cache.fetch("k", produce).ttl(TTL).stale_for(TTL).jitter(0.0);
        fetch.await.expect("produced")
    };
    for verb in 0.. {
        let time = ManualClock::new();
        // What the write leaves is known from the same write without a producer.
        let plain = process(&locmem(&time), &time).version(2);
        plain.set("k", &1_i64, TTL).await.expect("stored");
        let Some(left) = write(&plain, verb).await else { break };
        for store in stores(&time) {
            let cache = process(&store, &time);
            let (producer, writer) = (cache.version(2), cache.version(3).version(2));
            fetch(&producer, 1, None).await;
            time.advance(TTL);
            fetch(&producer, 2, Some((writer, verb))).await;
            assert_eq!(cached(&producer).await, left, "verb {verb}, {store:?}");
        }
    }
}

#[tokio::test]
async fn write_of_another_version_does_not_end_the_lease() {
    for producing in Producing::ALL {
        let time = ManualClock::new();
        for store in stores(&time) {
            let cache = process(&store, &time);
            let (producer, writer) = (cache.version(2), cache.version(3));
            let meanwhile = async move || {
                writer.set("k", &7_i64, TTL).await.expect("stored");
                writer.delete("k").await.expect("the store works");
            };
            producing.call(&producer, 1, meanwhile).await.expect("produced");
            assert_eq!(cached(&producer).await, Some(1), "{producing:?}, {store:?}");
        }
    }
}

/// Without leases of the store, a handle that was created apart counts as another process.
#[tokio::test]
async fn late_value_is_not_stored_over_a_value_of_another_process_without_leases() {
    for producing in Producing::ALL {
        let time = ManualClock::new();
        let store: Arc<dyn Cache> = Arc::new(Leaseless(locmem(&time)));
        let (cache, other) = (process(&store, &time), process(&store, &time));
        let meanwhile = async move || other.set("k", &7_i64, TTL).await.expect("stored");
        producing.call(&cache, 1, meanwhile).await.expect("produced");
        assert_eq!(cached(&cache).await, Some(7), "{producing:?}");
    }
}
