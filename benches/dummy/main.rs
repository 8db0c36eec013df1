//! What a get costs without the work of a store: the handle on a store that stores nothing. See
//! this crate's `README.md`.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use cache_core::{Cache, CacheHandle, Settings};
use cache_dummy::DummyCache;
use cachette_benches::{Comparison, Report, awaited_cpu_time, cpu_time, flag};

const HANDLE: &str = "the handle";
const DYN: &str = "one call to the store as `dyn Cache`";
/// Why the target is missed.
const NANOSECONDS: &str = "\
the bound is a time, so a slow processor misses it: compare with the time of the call.";
const KEY: &str = "there:user:000000000000042";

fn main() {
    let (rounds, operations) = match (flag("--bench"), flag("--quick")) {
        (true, false) => (11, 1_000_000),
        (true, true) => (5, 200_000),
        // As a test, it only runs to its end.
        (false, _) => (1, 1000),
    };
    let store: Arc<dyn Cache> = Arc::new(DummyCache);
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let handle = CacheHandle::new("default", Arc::clone(&store), settings);
    let through_handle = async |_| {
        let value = handle.get::<Bytes>(black_box(KEY)).await.expect("no error");
        assert!(black_box(value).is_none(), "nothing is stored");
    };
    let at_the_store = |_| {
        let value = store.get_now(black_box(KEY)).expect("it never waits").expect("no error");
        assert!(black_box(value).is_none(), "nothing is stored");
    };
    let get = Comparison::new("get")
        .candidate(HANDLE, || awaited_cpu_time(operations, through_handle))
        .candidate(DYN, || cpu_time(operations, at_the_store))
        .at_most_more(30.0, DYN)
        .because(NANOSECONDS);
    let mut report = Report::default();
    report.add(get.run(rounds));
    report.publish();
}
