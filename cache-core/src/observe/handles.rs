//! The metrics of one alias.

use std::sync::{Arc, Mutex, OnceLock};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    Operation, Outcome,
    counts::{Count, Counts},
    names,
    operation::Tally,
    report::{StaleReason, Where},
};
use crate::{Moment, Stats};

/// How often the counts of calls that do not wait are published.
const PUBLISH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// The metrics of one alias, registered at its first operation.
///
/// A handle of a metric that is created before the recorder is installed counts nothing forever, so
/// none is created when caches are built.
pub(super) struct Handles {
    alias: Arc<str>,
    store: Arc<str>,
    lookups: [Counter; 4],
    operations: [OnceLock<OperationHandles>; Operation::COUNT],
    fills: [Counter; 5],
    fill_seconds: Histogram,
    stale_served: [Counter; 3],
    waits: [(Counter, Histogram); 2],
    pub(super) breaker_open: Gauge,
    entries: Gauge,
    bytes: Gauge,
    evictions: OnceLock<Counter>,
    expirations: OnceLock<Counter>,
    published: Mutex<Published>,
}

struct OperationHandles {
    /// Registered when the operation is counted, because lookups have a metric of their own.
    outcomes: OnceLock<[Counter; 3]>,
    seconds: Histogram,
}

#[derive(Default)]
struct Published {
    sums: [u64; 7],
    at: Option<Moment>,
}

const LOOKUP_OUTCOMES: [Outcome; 4] = [Outcome::Hit, Outcome::Stale, Outcome::Miss, Outcome::Error];
const OPERATION_OUTCOMES: [Outcome; 3] = [Outcome::Ok, Outcome::Rejected, Outcome::Error];
const FILL_OUTCOMES: [Outcome; 5] =
    [Outcome::Stored, Outcome::Lost, Outcome::Failed, Outcome::Panicked, Outcome::NotStored];

impl Handles {
    pub(super) fn register(alias: &Arc<str>, store: &Arc<str>) -> Self {
        names::describe_metrics();
        let cache = || Arc::clone(alias);
        Self {
            alias: Arc::clone(alias),
            store: Arc::clone(store),
            lookups: LOOKUP_OUTCOMES.map(|outcome| {
                counter!(
                    names::LOOKUPS,
                    "cache" => cache(), "store" => Arc::clone(store), "outcome" => outcome.name()
                )
            }),
            operations: [const { OnceLock::new() }; Operation::COUNT],
            fills: FILL_OUTCOMES.map(|outcome| {
                counter!(names::FILLS, "cache" => cache(), "outcome" => outcome.name())
            }),
            fill_seconds: histogram!(names::FILL_SECONDS, "cache" => cache()),
            stale_served: StaleReason::ALL.map(|reason| {
                counter!(names::STALE_SERVED, "cache" => cache(), "reason" => reason.name())
            }),
            waits: Where::ALL.map(|place| {
                let place = place.name();
                (
                    counter!(names::WAITS, "cache" => cache(), "where" => place),
                    histogram!(names::WAIT_SECONDS, "cache" => cache(), "where" => place),
                )
            }),
            breaker_open: gauge!(names::BREAKER_OPEN, "cache" => cache()),
            entries: gauge!(names::ENTRIES, "cache" => cache()),
            bytes: gauge!(names::BYTES, "cache" => cache()),
            evictions: OnceLock::new(),
            expirations: OnceLock::new(),
            published: Mutex::default(),
        }
    }

    pub(super) fn count(&self, operation: Operation, tally: &Tally) {
        if operation.is_lookup() {
            let hits = tally.hits.saturating_sub(tally.undecided);
            let counts = [hits, tally.stale, tally.misses, tally.errors];
            add(&self.lookups, counts.map(|count| count as u64));
        } else {
            let counts = [tally.ok, tally.rejected, tally.errors];
            add(self.outcomes(operation), counts.map(|count| count as u64));
        }
    }

    pub(super) fn time(&self, operation: Operation, seconds: f64) {
        self.operation(operation).seconds.record(seconds);
    }

    pub(super) fn count_fill(&self, outcome: Outcome, producer_seconds: f64) {
        if let Some(index) = FILL_OUTCOMES.iter().position(|known| *known == outcome) {
            self.fills[index].increment(1);
            self.fill_seconds.record(producer_seconds);
        }
    }

    pub(super) fn count_stale(&self, reason: StaleReason) {
        self.stale_served[reason as usize].increment(1);
    }

    pub(super) fn count_wait(&self, place: Where, seconds: f64) {
        let (count, histogram) = &self.waits[place as usize];
        count.increment(1);
        histogram.record(seconds);
    }

    /// Publishes the counts of calls that do not wait, unless that was done less than a second ago.
    pub(super) fn publish_if_due(&self, counts: &Counts, now: Moment) {
        // Another thread publishes already.
        let Ok(mut published) = self.published.try_lock() else { return };
        if published.at.is_none_or(|at| now.since(at) >= PUBLISH_INTERVAL) {
            published.at = Some(now);
            self.publish_difference(&mut published, counts);
        }
    }

    pub(super) fn publish(&self, counts: &Counts) {
        let published = self.published.lock();
        let mut published = published.unwrap_or_else(std::sync::PoisonError::into_inner);
        self.publish_difference(&mut published, counts);
    }

    fn publish_difference(&self, published: &mut Published, counts: &Counts) {
        let sums = counts.sums();
        let new = |count: Count| sums[count as usize] - published.sums[count as usize];
        let lookups = [Count::Hit, Count::Stale, Count::Miss, Count::LookupError].map(new);
        let sets = [Count::SetOk, Count::SetRejected, Count::SetError].map(new);
        add(&self.lookups, lookups);
        if sets != [0; 3] {
            add(self.outcomes(Operation::Set), sets);
        }
        published.sums = sums;
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn set_stats(&self, stats: &Stats) {
        if let Some(entries) = stats.entries {
            self.entries.set(entries as f64);
        }
        if let Some(bytes) = stats.bytes {
            self.bytes.set(bytes as f64);
        }
        for (counter, cause, count) in [
            (&self.evictions, "capacity", stats.evictions),
            (&self.expirations, "expired", stats.expirations),
        ] {
            // Only for stores that know the number.
            let Some(count) = count else { continue };
            let cache = || Arc::clone(&self.alias);
            let register = || counter!(names::EVICTIONS, "cache" => cache(), "cause" => cause);
            counter.get_or_init(register).absolute(count);
        }
    }

    fn operation(&self, operation: Operation) -> &OperationHandles {
        self.operations[operation as usize].get_or_init(|| {
            let seconds = histogram!(
                names::OPERATION_SECONDS,
                "cache" => Arc::clone(&self.alias),
                "store" => Arc::clone(&self.store),
                "op" => operation.name()
            );
            OperationHandles { outcomes: OnceLock::new(), seconds }
        })
    }

    fn outcomes(&self, operation: Operation) -> &[Counter; 3] {
        self.operation(operation).outcomes.get_or_init(|| {
            OPERATION_OUTCOMES.map(|outcome| {
                counter!(
                    names::OPERATIONS,
                    "cache" => Arc::clone(&self.alias),
                    "store" => Arc::clone(&self.store),
                    "op" => operation.name(),
                    "outcome" => outcome.name()
                )
            })
        })
    }
}

fn add<const N: usize>(counters: &[Counter; N], counts: [u64; N]) {
    for (counter, count) in counters.iter().zip(counts).filter(|(_, count)| *count > 0) {
        counter.increment(count);
    }
}
