//! `get_or_set` against what a user would choose instead: many tasks that miss one key at once, and
//! hits. See this crate's `README.md`.

mod hits;
mod stampede;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{CacheHandle, Settings};
use cache_locmem::{LocMemCache, LocMemOptions};
use cachette_benches::{
    Report, flag,
    workload::{HOUR, KEYS},
};
use moka::future::Cache as Moka;

const GET_OR_SET: &str = "get_or_set, locmem";
const GET_WITH: &str = "moka, get_with";

/// Space for more keys than any run has, so that nothing is evicted.
const CAPACITY: usize = 2 * KEYS;

fn main() {
    let (rounds, bursts, hits) = if flag("--quick") { (5, 5, 50_000) } else { (11, 20, 200_000) };
    let mut report = Report::default();
    stampede::run(rounds, bursts, &mut report);
    hits::run(rounds, hits, &mut report);
    report.draw_bars("Values produced for 1000 tasks on a cold key", "values produced");
    report.publish();
}

fn handle() -> CacheHandle {
    let store = LocMemCache::new(LocMemOptions::default().max_entries(CAPACITY));
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    CacheHandle::new("default", Arc::new(store.expect("valid options")), settings)
}

fn moka() -> Moka<String, Bytes> {
    Moka::builder().max_capacity(CAPACITY as u64).time_to_live(TTL).build()
}

const TTL: Duration = HOUR;
