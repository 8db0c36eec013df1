//! The metrics of the caches, for Prometheus and for `/caches`.

use std::{collections::BTreeMap, time::Duration};

use cachette::{
    Caches,
    observe::{SECONDS_BUCKETS, describe_metrics},
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};

use crate::timings::milliseconds;

#[derive(Clone, Debug)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder. Call it before the caches are used, or they count into nothing.
    pub(crate) fn install() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS_BUCKETS)?;
        let handle = recorder.install_recorder()?;
        describe_metrics();
        Ok(Self(handle))
    }

    /// Returns the text that Prometheus scrapes.
    pub(crate) async fn render(&self, caches: &Caches) -> String {
        // The statistics of a store that has failed are those of the last scrape. Its errors are in
        // the metrics.
        let _ = caches.publish_metrics().await;
        self.0.run_upkeep();
        self.0.render()
    }
}

/// The samples of a scrape.
pub(crate) struct Scrape(Vec<Sample>);

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Sample::parse).collect())
    }

    /// The counts and the timings of an alias.
    pub(crate) fn statistics(&self, alias: &str) -> Value {
        let lookups =
            |outcome| self.sum("cachette_lookups_total", &[("cache", alias), ("outcome", outcome)]);
        let timings = |operations: &[&str]| {
            let [p50, p99] = [0.5, 0.99].map(|share| self.percentile(alias, operations, share));
            p50.zip(p99).map(|(p50, p99)| json!({ "p50": p50, "p99": p99 }))
        };
        json!({
            "hits": lookups("hit"),
            "misses": lookups("miss") + lookups("stale"),
            "lookup": timings(&["get", "get_many"]),
            "write": timings(&["set", "add", "fill"]),
        })
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let has = |sample: &Sample, label: &str, value: &str| {
            sample.labels.get(label).is_some_and(|found| found == value)
        };
        self.0.iter().filter(move |sample| {
            sample.name == name && labels.iter().all(|(label, value)| has(sample, label, value))
        })
    }

    /// The upper bound of the bucket with this share of the durations, in milliseconds.
    fn percentile(&self, alias: &str, operations: &[&str], share: f64) -> Option<f64> {
        let mut buckets = BTreeMap::new();
        for operation in operations {
            let labels = [("cache", alias), ("op", *operation)];
            for sample in self.find("cachette_operation_seconds_bucket", &labels) {
                let seconds: f64 = sample.labels.get("le")?.parse().ok()?;
                // Durations are ordered like their bits.
                *buckets.entry(seconds.to_bits()).or_insert(0.0) += sample.value;
            }
        }
        let all = *buckets.last_key_value()?.1;
        if all == 0.0 {
            return None;
        }
        let (seconds, _) = buckets.into_iter().find(|(_, count)| *count >= share * all)?;
        let seconds = f64::from_bits(seconds).min(60.0);
        Some(milliseconds(Duration::from_secs_f64(seconds)))
    }
}

impl Sample {
    /// Reads `name{label="value",label="value"} number`. Comments are no samples.
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
            let (label, value) = label.split_once("=\"")?;
            Some((label.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Some(Self { name: name.to_owned(), labels: labels.collect(), value: value.parse().ok()? })
    }
}
