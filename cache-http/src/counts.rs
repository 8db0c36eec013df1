//! Source often the cache answered, and reason it did not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Key, Label, Level, Metadata};

use crate::policy::Reason;

/// What became of the requests of a cache and its clones, in this process.
///
/// The same is in the metrics `cachette_http_requests_total`, by `cache` (the alias), `result` (`hit`, `stale`, `miss`, `bypass`)
/// and `reason`, and `cachette_http_responses_total`, by `cache`, `result` (`stored`, `rejected`) and `reason`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Answered with a fresh page of the store, or with one that another request just made.
    pub hits: u64,
    /// Answered with a stale page.
    pub stale: u64,
    /// Not answered from the store.
    pub misses: u64,
    /// Passed by, or left to a layer further inside, which counts them too.
    pub bypasses: u64,
    /// Pages stored.
    pub stored: u64,
    /// Responses that were not stored.
    pub rejected: u64,
    /// Reason requests were missed or passed by and responses rejected, with how often; those that never were are left out.
    pub reasons: Vec<(Reason, u64)>,
}

#[derive(Debug)]
pub(crate) struct Counters {
    /// The metric of a hit, ready to be handed to whichever recorder there is at the time.
    hit: Key,
    totals: [AtomicU64; 6],
    reasons: Box<[AtomicU64]>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Hit,
    Stale,
    Miss(Reason),
    Bypass(Reason),
    Stored,
    Rejected(Reason),
}

impl Event {
    const fn place(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::Stale => 1,
            Self::Miss(_) => 2,
            Self::Bypass(_) => 3,
            Self::Stored => 4,
            Self::Rejected(_) => 5,
        }
    }

    const fn reason(self) -> Option<Reason> {
        match self {
            Self::Miss(reason) | Self::Bypass(reason) | Self::Rejected(reason) => Some(reason),
            Self::Hit | Self::Stale | Self::Stored => None,
        }
    }
}

const RESULTS: [&str; 6] = ["hit", "stale", "miss", "bypass", "stored", "rejected"];

impl Counters {
    pub(crate) fn new(alias: &str) -> Self {
        Self {
            hit: metric(alias, Event::Hit),
            totals: Default::default(),
            reasons: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn count(&self, alias: &str, event: Event) {
        self.totals[event.place()].fetch_add(1, Relaxed);
        if let Some(reason) = event.reason() {
            self.reasons[reason as usize].fetch_add(1, Relaxed);
        }
        match event {
            Event::Hit => publish(&self.hit),
            event => publish(&metric(alias, event)),
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let [hits, stale, misses, bypasses, stored, rejected] =
            self.totals.each_ref().map(|count| count.load(Relaxed));
        let reasons = Reason::ALL
            .iter()
            .zip(&self.reasons)
            .map(|(reason, count)| (*reason, count.load(Relaxed)));
        let reasons = reasons.filter(|(_, count)| *count > 0).collect();
        Counts { hits, stale, misses, bypasses, stored, rejected, reasons }
    }
}

fn metric(alias: &str, event: Event) -> Key {
    let name = if event.place() < 4 {
        "cachette_http_requests_total"
    } else {
        "cachette_http_responses_total"
    };
    let labels = vec![
        Label::new("cache", alias.to_owned()),
        Label::new("result", RESULTS[event.place()]),
        Label::new("reason", event.reason().map_or("", Reason::name)),
    ];
    Key::from_parts(name, labels)
}

fn publish(metric: &Key) {
    static METADATA: Metadata<'_> =
        Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(metric, &METADATA).increment(1));
}
