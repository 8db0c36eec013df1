//! What a request has done with its caches, and its short forms.

use std::time::{Duration, Instant};

use cache_core::observe::{Operation, Outcome, Trace, TracedCall};
use http::HeaderValue;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Extension of a request that [`CacheDebugLayer`](crate::CacheDebugLayer) shows: what the request
/// does with its caches.
///
/// It can be serialized, in the form that the header `Cache-Calls: json` returns. Other requests do
/// not have it. A page that contains it must not be stored: add [`NoStore`](crate::NoStore).
///
/// # Examples
///
/// ```
/// use axum::{Extension, response::IntoResponse};
/// use cache_http::{CacheCalls, NoStore};
///
/// async fn report(calls: Option<Extension<CacheCalls>>) -> impl IntoResponse {
///     let calls = calls.map(|Extension(calls)| calls);
///     (Extension(NoStore), serde_json::to_string(&calls).unwrap_or_default())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CacheCalls {
    trace: Trace,
    began_at: Instant,
}

/// The sums over the calls of a request.
pub(super) struct Summary {
    pub(super) calls: usize,
    pub(super) hits: usize,
    pub(super) misses: usize,
    pub(super) errors: usize,
    pub(super) omitted: usize,
    /// The time during which at least one operation was running.
    pub(super) time: Duration,
}

impl CacheCalls {
    pub(super) fn new(trace: Trace) -> Self {
        Self { trace, began_at: Instant::now() }
    }

    /// Returns the trace of the request, which collects its operations.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.began_at.elapsed()
    }

    pub(super) fn server_timing(&self) -> HeaderValue {
        let summary = Summary::of(&self.trace.calls(), self.trace.omitted());
        let value = format!("cache;desc=\"{summary}\";dur={:.3}", milliseconds(summary.time));
        // The text consists of digits and of words from here.
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("cache"))
    }

    fn to_json(&self) -> Value {
        let (calls, omitted) = (self.trace.calls(), self.trace.omitted());
        let summary = Summary::of(&calls, omitted);
        json!({
            "calls": summary.calls, "hits": summary.hits, "misses": summary.misses,
            "errors": summary.errors, "milliseconds": milliseconds(summary.time),
            "omitted": omitted,
            "operations": calls.iter().map(operation).collect::<Vec<_>>(),
        })
    }
}

impl Serialize for CacheCalls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

fn operation(call: &TracedCall) -> Value {
    json!({
        "operation": call.operation.name(), "cache": &*call.cache,
        "store": &*call.store,
        "keys": call.keys, "key_count": call.key_count, "outcome": call.outcome.name(),
        "hits": call.hits, "error": call.error.map(|kind| format!("{kind:?}")), "size": call.size,
        "began_at_milliseconds": milliseconds(call.began_at),
        "took_milliseconds": call.took.map(milliseconds),
        "parent": call.parent, "depth": call.depth,
    })
}

impl Summary {
    pub(super) fn of(calls: &[TracedCall], omitted: usize) -> Self {
        let calls: Vec<_> = calls.iter().filter(|call| is_of_store(call.operation)).collect();
        let count = |outcomes: &[Outcome]| {
            calls.iter().filter(|call| outcomes.contains(&call.outcome)).count()
        };
        Self {
            calls: calls.len() + omitted,
            hits: count(&[Outcome::Hit, Outcome::Stale]),
            misses: count(&[Outcome::Miss]),
            errors: count(&[Outcome::Error]),
            omitted,
            time: time_of_any(&calls),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, hits, .. } = self;
        write!(f, "{calls} {}, {hits} ", if *calls == 1 { "call" } else { "calls" })?;
        match (self.omitted, hits) {
            (0, 1) => f.write_str("hit"),
            (0, _) => f.write_str("hits"),
            (_, _) => f.write_str("or more hits"),
        }
    }
}

/// Whether an operation is one of a store. Others are the work of the application, and waiting.
fn is_of_store(operation: Operation) -> bool {
    !matches!(operation, Operation::Produce | Operation::Wait)
}

/// The time during which at least one of the calls was running. They are in the order in which they
/// began.
fn time_of_any(calls: &[&TracedCall]) -> Duration {
    let (mut time, mut end) = (Duration::ZERO, Duration::ZERO);
    for call in calls {
        let call_end = call.began_at.saturating_add(call.took.unwrap_or_default());
        time += call_end.saturating_sub(call.began_at.max(end));
        end = end.max(call_end);
    }
    time
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    // Microseconds suffice.
    #[expect(clippy::cast_precision_loss, reason = "a request does not take that long")]
    let microseconds = duration.as_micros() as f64;
    microseconds / 1000.0
}
