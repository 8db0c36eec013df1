//! Counters of requests and responses, and the metrics of the same numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Key, Label, Level, Metadata};

use crate::{policy::Reason, unknown_cookies::UnknownCookies};

/// The numbers of requests and responses that a layer and its clones have handled in this process.
///
/// The same numbers are published as the metrics `cachette_http_requests_total` and
/// `cachette_http_responses_total`, with these labels:
///
/// - `cache`: the alias.
/// - `result`: `hit`, `stale`, `miss` or `bypass` of requests, `stored` or `rejected` of responses.
/// - `reason`: the [name](Reason::name) of the reason, or an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests served with a fresh page, from the store or just produced for another request.
    pub hits: u64,
    /// Requests served with a stale page.
    pub stale: u64,
    /// Requests that were not served from the store.
    pub misses: u64,
    /// Requests that bypassed the cache, or that a layer further inside handles and counts.
    pub bypasses: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Responses that were not stored.
    pub rejected: u64,
    /// The reasons of misses, bypasses and rejected responses, with their numbers. Reasons that
    /// have not occurred are left out.
    pub reasons: Vec<(Reason, u64)>,
    /// The names of [unknown cookies](crate::Policy#cookies), with the numbers of requests that
    /// bypassed the cache because of them, the most frequent first. At most 64 names are kept.
    pub unknown_cookies: Vec<(String, u64)>,
}

#[derive(Debug)]
pub(crate) struct Counters {
    /// The metric of a hit. It is built in advance because hits are frequent.
    hit: Key,
    totals: [AtomicU64; 6],
    reasons: Box<[AtomicU64]>,
    pub(crate) unknown_cookies: UnknownCookies,
}

/// Something that is counted.
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
    const fn index(self) -> usize {
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
            unknown_cookies: UnknownCookies::default(),
        }
    }

    pub(crate) fn count(&self, alias: &str, event: Event) {
        self.totals[event.index()].fetch_add(1, Relaxed);
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
        let unknown_cookies = self.unknown_cookies.read();
        Counts { hits, stale, misses, bypasses, stored, rejected, reasons, unknown_cookies }
    }
}

fn metric(alias: &str, event: Event) -> Key {
    let name = if event.index() < 4 {
        "cachette_http_requests_total"
    } else {
        "cachette_http_responses_total"
    };
    let labels = vec![
        Label::new("cache", alias.to_owned()),
        Label::new("result", RESULTS[event.index()]),
        Label::new("reason", event.reason().map_or("", Reason::name)),
    ];
    Key::from_parts(name, labels)
}

fn publish(metric: &Key) {
    static METADATA: Metadata<'_> =
        Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(metric, &METADATA).increment(1));
}
