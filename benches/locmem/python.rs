//! The same get and set in Django's store in memory.

use std::path::Path;

use bytes::Bytes;
use cache_core::{CacheHandle, Settings, Timeout};
use cachette_benches::{Comparison, Peers, Report, ready};

use crate::{Bench, LOCMEM, fresh_value, peers::locmem};

const DJANGO: &str = "Django";

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let Some(peers) = Peers::if_requested(Path::new(env!("CARGO_TARGET_TMPDIR")), report) else {
        return;
    };
    let django = peers.start("django-locmem", "benchmark", bench.keys.len() as u64);
    let mut django = django.unwrap_or_else(|error| panic!("{error}"));
    report.measured_with(django.ready());
    let cache = CacheHandle::new("default", locmem(bench.capacity()), Settings::default());
    let set = async |key: &str| cache.set(key, &fresh_value(), Timeout::Default).await.map(Some);
    assert!(bench.keys.iter().all(|key| ready(set(key)).is_ok()), "no error");
    let get = Comparison::new("whole get, with Python")
        .candidate(LOCMEM, || bench.awaited_hits(|key| cache.get::<Bytes>(key)))
        .candidate(DJANGO, || django.time("get", bench.operations));
    report.add(get.run(bench.rounds));
    let set = Comparison::new("whole set, with Python")
        .candidate(LOCMEM, || bench.awaited_hits(set))
        .candidate(DJANGO, || django.time("set", bench.operations));
    report.add(set.run(bench.rounds));
}
