//! The last requests and their timings, recorded outside every cache.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use axum::{
    extract::{Request, State},
    http::HeaderValue,
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    templates::time_of_day,
    timings::{Timings, milliseconds},
};

const CAPACITY: usize = 20;

#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    count: u64,
    last: VecDeque<RecordedRequest>,
    layers: BTreeMap<String, LayerTimings>,
}

#[derive(Clone, Debug, Serialize)]
struct RecordedRequest {
    number: u64,
    /// The time of day in UTC.
    at: String,
    method: String,
    path: String,
    status: u16,
    milliseconds: f64,
    cache_status: String,
    outcome: &'static str,
}

/// The durations of a layer's hits and of its misses that were stored.
#[derive(Debug, Default)]
struct LayerTimings {
    hit: Timings,
    made: Timings,
}

/// Records each request, and adds a `Server-Timing` header with its duration and `Cache-Status`.
///
/// A script on the page can read this header. The body may be cached, but the header is fresh.
pub(crate) async fn record(
    State(requests): State<Requests>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let start = Instant::now();
    let mut response = next.run(request).await;
    let elapsed = start.elapsed();
    let lines =
        response.headers().get_all("cache-status").iter().filter_map(|line| line.to_str().ok());
    let cache_status = lines.collect::<Vec<_>>().join(", ");
    let timing = format!("cache;desc=\"{cache_status}\", total;dur={:.3}", milliseconds(elapsed));
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        response.headers_mut().append("server-timing", timing);
    }

    let outcome = outcome(&cache_status);
    let mut recorded = requests.lock();
    match (outcome, deciding_layer(&cache_status)) {
        ("hit", Some(layer)) => recorded.layers.entry(layer).or_default().hit.add(elapsed),
        ("miss", Some(layer)) => recorded.layers.entry(layer).or_default().made.add(elapsed),
        _ => {}
    }
    recorded.count += 1;
    let request = RecordedRequest {
        number: recorded.count,
        at: time_of_day(SystemTime::now()).chars().take("HH:MM:SS".len()).collect(),
        method,
        path,
        status: response.status().as_u16(),
        milliseconds: milliseconds(elapsed),
        cache_status,
        outcome,
    };
    recorded.last.push_front(request);
    recorded.last.truncate(CAPACITY);
    drop(recorded);
    response
}

/// Adds a `Server-Timing` header with the duration, to pages outside every cache.
pub(crate) async fn time(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let mut response = next.run(request).await;
    let timing = format!("total;dur={:.3}", milliseconds(start.elapsed()));
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        response.headers_mut().insert("server-timing", timing);
    }
    response
}

impl Requests {
    /// The last requests, the newest first.
    pub(crate) fn last(&self) -> Value {
        json!(self.lock().last)
    }

    pub(crate) fn timings(&self, layer: &str) -> Value {
        self.lock().layers.get(layer).map_or(
            Value::Null,
            |layer| json!({ "hit": layer.hit.percentiles(), "made": layer.made.percentiles() }),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Summarizes a `Cache-Status` in one word. A miss is a response that was stored.
fn outcome(cache_status: &str) -> &'static str {
    let has = |parameter: &str| {
        members(cache_status).any(|member| member.split("; ").skip(1).any(|word| word == parameter))
    };
    match () {
        () if has("hit") || has("collapsed") => "hit",
        () if has("stored") => "miss",
        () if has("fwd=bypass") || has("fwd=method") => "bypass",
        () => "rejected",
    }
}

/// The layer that had the page or stored it. If the view has its own layer, `Cache-Status` has two
/// members.
fn deciding_layer(cache_status: &str) -> Option<String> {
    let has_decided = |member: &&str| {
        member.contains("; hit") || member.contains("; stored") || member.contains("; collapsed")
    };
    members(cache_status).find(has_decided)?.split(';').next().map(str::to_owned)
}

fn members(cache_status: &str) -> impl Iterator<Item = &str> {
    cache_status.split(", ")
}
