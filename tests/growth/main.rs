//! What a get and a set cost in each store when it has ten times the entries.
//!
//! Times differ between machines and from run to run, so this counts: allocations, bytes on the
//! wire and in files, commands, rows, blocks, and what happens to files. None of them may grow
//! with the number of entries. `--nocapture` shows the table.
#![cfg(all(
    target_os = "linux",
    feature = "filebased",
    feature = "db-sqlite",
    feature = "db-postgres",
    feature = "db-mysql",
    feature = "memcached",
    feature = "redis",
    feature = "toml"
))]

mod databases;
mod local;
mod servers;
mod table;
mod wire;

use std::time::Duration;

use cachette::{CacheHandle, Caches};
use table::Row;
use tokio::runtime::Runtime;

const FEW: usize = 1_000;
const MANY: usize = 10 * FEW;

/// Longer than any run.
const HOUR: Duration = Duration::from_secs(3600);

/// The number of calls that are counted together.
const CALLS: usize = 20;

/// Named numbers, such as bytes.
type Counts = Vec<(&'static str, u64)>;

/// A store, and a meter of the work that it causes.
trait Subject {
    /// What the table calls it.
    const NAME: &'static str;

    /// Whether it is closed after each call, so that none finds what an earlier one has read.
    const COLD: bool = false;

    /// The configuration of the cache.
    fn config(&self) -> String;

    /// Prepares the meter. The store has all its entries.
    fn prepare(&mut self, _runtime: &Runtime) {}

    /// Runs calls, after which the store is closed, and counts their work.
    fn count(&mut self, runtime: &Runtime, calls: impl FnOnce()) -> Counts;
}

/// The calls that are counted.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Get,
    SetNew,
    Overwrite,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Get, Self::SetNew, Self::Overwrite];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::SetNew => "set of a new key",
            Self::Overwrite => "overwrite",
        }
    }

    /// Makes a call in a store with `entries` entries, at another place for each number.
    async fn call(self, cache: &CacheHandle, entries: usize, number: usize) {
        let key = key(number * entries / CALLS);
        match self {
            Self::Get => {
                let found: Option<String> = cache.get(&key).await.expect("the store responds");
                assert!(found.is_some(), "{key} is missing");
            }
            Self::SetNew => set(cache, &format!("{key}+{entries:05}")).await,
            Self::Overwrite => set(cache, &key).await,
        }
    }
}

/// All keys have the same length, so that no key takes more bytes than another.
fn key(number: usize) -> String {
    format!("key:{number:05}")
}

fn value() -> String {
    "x".repeat(100)
}

async fn set(cache: &CacheHandle, key: &str) {
    cache.set(key, &value(), HOUR).await.expect("the store responds");
}

/// Stores entries.
async fn fill(cache: &CacheHandle, numbers: std::ops::Range<usize>) {
    let entries: Vec<_> = numbers.map(|number| (key(number), value())).collect();
    for entries in entries.chunks(500) {
        let entries = entries.iter().map(|(key, value)| (key, value));
        let rejected = cache.set_many(entries, HOUR).await;
        assert!(rejected.expect("the store responds").is_empty());
    }
}

/// Counts the work of each verb with few entries and with many.
fn rows<S: Subject>(mut subject: S) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let config = format!("[default]\n{}", subject.config());
    let caches = runtime.block_on(Caches::from_toml(&config)).expect("valid configuration");
    let close = async || caches.close_all().await.expect("the store closes");
    let cache = &caches["default"];
    let mut counts = Vec::new();
    for (first, entries) in [(0, FEW), (FEW, MANY)] {
        runtime.block_on(async {
            fill(cache, first..entries).await;
            // Waits for what the store does in the background after many writes.
            close().await;
        });
        subject.prepare(&runtime);
        counts.push(Verb::ALL.map(|verb| {
            let calls = async {
                for number in 0..CALLS {
                    verb.call(cache, entries, number).await;
                    if S::COLD {
                        close().await;
                    }
                }
                close().await;
            };
            subject.count(&runtime, || runtime.block_on(calls))
        }));
    }
    let [few, many] = [counts.remove(0), counts.remove(0)];
    let mut rows = Vec::new();
    for ((verb, few), many) in Verb::ALL.into_iter().zip(few).zip(many) {
        for ((unit, few), (_, many)) in few.into_iter().zip(many) {
            rows.push(Row { store: S::NAME, verb: verb.name(), unit, few, many });
        }
    }
    rows
}

#[test]
fn get_and_set_cost_as_much_with_ten_times_the_entries() {
    let rows = [
        rows(local::Memory),
        rows(local::Files::new()),
        rows(local::Sqlite::new()),
        rows(databases::postgres()),
        rows(databases::mariadb()),
        rows(servers::memcached()),
        rows(servers::redis()),
    ];
    table::check(&rows.concat());
}
