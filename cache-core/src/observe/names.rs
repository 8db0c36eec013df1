//! The metrics of all crates of cachette: their names, labels and descriptions.

use metrics::Unit;

/// A metric of cachette.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// The name, such as `"cachette_lookups_total"`.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
    /// Whether it is published only for aliases that are [observed](super::Observed). The others
    /// are always published.
    pub is_observed: bool,
}

/// The kind of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number of items or bytes.
    Gauge,
    /// Durations in seconds.
    Histogram,
}

/// The bounds of buckets, in seconds, that suit the histograms of cachette: from a hit in memory to
/// a slow producer.
///
/// Pass them to the recorder, for example to `PrometheusBuilder::set_buckets`.
pub const SECONDS_BUCKETS: [f64; 16] = [
    0.000_000_1,
    0.000_000_5,
    0.000_001,
    0.000_005,
    0.000_01,
    0.000_05,
    0.000_1,
    0.000_5,
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
];

/// Writes the constants of names and the list of all metrics.
macro_rules! metrics {
    ($(
        $scope:ident $kind:ident $constant:ident = $name:literal [$($label:literal),*] $help:literal;
    )*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// All metrics that crates of cachette publish.
        ///
        /// [`describe_metrics`] passes them to the recorder. No label has a value that comes from a
        /// key, a tag or the text of an error.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $constant,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            help: $help,
            is_observed: is_observed!($scope),
        }),*];
    };
}

macro_rules! is_observed {
    (observed) => {
        true
    };
    (always) => {
        false
    };
}

metrics! {
    observed Counter LOOKUPS = "cachette_lookups_total" ["cache", "store", "outcome"]
        "Lookups of keys, one for each key: hit, stale, miss or error";
    observed Counter OPERATIONS = "cachette_operations_total" ["cache", "store", "op", "outcome"]
        "Operations except lookups, one for each key: ok, rejected or error";
    observed Histogram OPERATION_SECONDS = "cachette_operation_seconds" ["cache", "store", "op"]
        "Time of operations; of those in memory, one in 64 is measured";
    observed Counter FILLS = "cachette_fills_total" ["cache", "outcome"]
        "Values that were produced on a miss: stored, lost, failed, panicked or not_stored";
    observed Histogram FILL_SECONDS = "cachette_fill_seconds" ["cache"]
        "Time of producers";
    observed Counter STALE_SERVED = "cachette_stale_served_total" ["cache", "reason"]
        "Stale values that callers got, because the producer was refreshing, slow or failed";
    observed Counter WAITS = "cachette_waits_total" ["cache", "where"]
        "Calls that waited for a value that another caller produced, in this process or elsewhere \
         (store)";
    observed Histogram WAIT_SECONDS = "cachette_wait_seconds" ["cache", "where"]
        "Time for which calls waited for a value of another caller";
    observed Gauge BREAKER_OPEN = "cachette_breaker_open" ["cache"]
        "Servers of the store that get_or_set and fetch do not read, because they are unavailable";
    observed Gauge ENTRIES = "cachette_entries" ["cache"]
        "Entries of the store, including expired ones that are not removed yet";
    observed Gauge BYTES = "cachette_bytes" ["cache"]
        "Size of the entries of the store in bytes, as it counts them";
    observed Counter EVICTIONS = "cachette_evictions_total" ["cache", "cause"]
        "Entries that the store removed for lack of room (capacity) or after their time (expired); \
         servers count those of all their clients";
    always Counter UNDECODABLE = "cachette_undecodable_total" ["cache"]
        "Entries that could not be decoded and were treated as misses or errors";
    always Counter FILLS_LOST = "cachette_fills_lost_total" ["cache"]
        "Values that were produced and not stored, because their lease had ended or a tag was \
         purged";
    always Counter FAILED_FETCHES = "cachette_failed_fetches_total" ["cache"]
        "Producers of fetch that failed or panicked";
    always Counter TAG_PURGES = "cachette_tag_purges_total" ["cache", "kind"]
        "Tags whose entries were purged by this process: hard or soft";
    always Counter OUTAGE_ERRORS = "cachette_outage_errors_total" ["cache"]
        "Errors of the store that were not returned to the caller: it is unavailable, or a value \
         is too large";
    always Counter UNUSABLE = "cachette_unusable_total" ["store", "reason"]
        "Files of filebased that are corrupt or of another format";
    always Counter MEMCACHED_FOREIGN = "cachette_memcached_foreign_total" []
        "Items of memcached that are corrupt or were written by another application";
    always Counter MEMCACHED_MARKED_DOWN = "cachette_memcached_marked_down_total" ["server"]
        "Failed attempts to connect to a memcached server";
    always Counter HTTP_REQUESTS = "cachette_http_requests_total" ["cache", "result", "reason"]
        "Requests to a page cache: hit, stale, miss or bypass";
    always Counter HTTP_RESPONSES = "cachette_http_responses_total" ["cache", "result", "reason"]
        "Responses that a page cache stored or rejected";
}

/// Describes all metrics to the installed recorder.
///
/// The first operation of an observed cache does this by itself. Call it to describe the metrics of
/// caches that are not observed.
pub fn describe_metrics() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => {
                metrics::describe_counter!(metric.name, Unit::Count, metric.help);
            }
            MetricKind::Gauge => {
                let unit = if metric.name == BYTES { Unit::Bytes } else { Unit::Count };
                metrics::describe_gauge!(metric.name, unit, metric.help);
            }
            MetricKind::Histogram => {
                metrics::describe_histogram!(metric.name, Unit::Seconds, metric.help);
            }
        }
    }
}
