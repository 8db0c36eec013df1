//! What the generation costs.

use cache_core::Tags;

use super::{Fixture, MEMO, TTL};

impl Fixture {
    /// The number of round trips of `call`.
    async fn round_trips<T>(&self, call: impl Future<Output = T>) -> usize {
        self.recorder.reset();
        call.await;
        self.recorder.round_trips()
    }
}

#[tokio::test]
async fn first_operation_of_a_second_costs_one_round_trip_more() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    assert_eq!(fixture.round_trips(fixture.get("k")).await, 3, "creates the record");
    for _ in 0..3 {
        assert_eq!(fixture.round_trips(fixture.get("k")).await, 1);
        assert_eq!(fixture.round_trips(cache.get_many::<u8, _>(["k", "l"])).await, 1);
        assert_eq!(fixture.round_trips(cache.version(2).set("k", &1, TTL)).await, 1);
        fixture.time.advance(MEMO);
        assert_eq!(fixture.round_trips(cache.incr_or_set("n", 1, 1, TTL)).await, 2);
        assert_eq!(fixture.recorder.calls()[0], *format!("get_many {}", fixture.record()));
    }
}

#[tokio::test]
async fn every_verb_reads_the_generation_once_a_second() {
    let fixture = Fixture::remote();
    let cache = &fixture.cache;
    fixture.get("k").await;
    macro_rules! assert_costs_one_more {
        ($($call:expr),+ $(,)?) => {$(
            let _ = $call.await;
            let usual = fixture.round_trips(async { $call.await }).await;
            fixture.time.advance(MEMO);
            let with_read = fixture.round_trips(async { $call.await }).await;
            assert_eq!(with_read, usual + 1, stringify!($call));
        )+};
    }
    assert_costs_one_more!(
        cache.set("k", "v", TTL),
        cache.set_many([("k", "v")], TTL),
        cache.add("k", "v", TTL),
        cache.get::<String>("k"),
        cache.get_shared::<String>("k"),
        cache.get_many::<String, _>(["k"]),
        cache.get_and_touch::<String>("k", TTL),
        cache.get_or_set("k", TTL, async || String::new()),
        cache.update("k", TTL, |_: Option<u8>| 1),
        cache.touch("k", TTL),
        cache.contains("k"),
        cache.ttl("k"),
        cache.inspect("k"),
        cache.incr("k", 1),
        cache.incr_or_set("k", 1, 1, TTL),
        cache.set_with("k", "v", TTL, &Tags::of(["t"])),
        cache.tags(["t"]),
        cache.delete("k"),
        cache.delete_many(["k"]),
    );
    #[cfg(feature = "fetch")]
    assert_costs_one_more!(cache.fetch("k", async |_| 1_u8).early(0.0));
}

#[tokio::test]
async fn clear_costs_one_round_trip_however_many_entries_there_are() {
    let fixture = Fixture::remote();
    for key in 0..100 {
        fixture.set(&key.to_string(), "v").await;
    }
    assert_eq!(fixture.round_trips(fixture.cache.clear()).await, 1);
    assert_eq!(fixture.recorder.calls(), [&*format!("set_many {}", fixture.record())]);
    assert_eq!(fixture.round_trips(fixture.get("1")).await, 2);
    assert_eq!(fixture.round_trips(fixture.get("1")).await, 1);
}

#[tokio::test]
async fn purge_of_tags_needs_no_generation() {
    let fixture = Fixture::remote();
    fixture.set("k", "v").await;
    fixture.time.advance(MEMO);
    let purge = fixture.cache.purge_tags(["t"], cache_core::Purge::Hard);
    assert_eq!(fixture.round_trips(purge).await, 1);
}
