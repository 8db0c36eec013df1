//! The last requests, as they were answered: seen from outside of every cache.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    extract::{Request, State},
    http::HeaderValue,
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::timings::{Timings, milliseconds};

const KEPT: usize = 20;

#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    last: VecDeque<Answered>,
    layers: BTreeMap<String, Layer>,
}

#[derive(Clone, Debug, Serialize)]
struct Answered {
    number: u64,
    method: String,
    path: String,
    status: u16,
    milliseconds: f64,
    cache_status: String,
    outcome: &'static str,
}

/// How long a layer's hits took, and how long what it kept took to make.
#[derive(Debug, Default)]
struct Layer {
    hit: Timings,
    made: Timings,
}

/// Notes each request, and tells its client how long it took and what the caches said, where a page's own script can read
/// it: a header of that kind is the only part of a cached page that is fresh.
pub(crate) async fn note(
    State(requests): State<Requests>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let start = Instant::now();
    let mut response = next.run(request).await;
    let took = start.elapsed();
    let lines =
        response.headers().get_all("cache-status").iter().filter_map(|line| line.to_str().ok());
    let cache_status = lines.collect::<Vec<_>>().join(", ");
    let timing = format!("cache;desc=\"{cache_status}\", total;dur={:.3}", milliseconds(took));
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        response.headers_mut().insert("server-timing", timing);
    }

    let outcome = outcome(&cache_status);
    let mut seen = requests.seen();
    match (outcome, decisive(&cache_status)) {
        ("hit", Some(layer)) => seen.layers.entry(layer).or_default().hit.add(took),
        ("miss", Some(layer)) => seen.layers.entry(layer).or_default().made.add(took),
        _ => {}
    }
    seen.count += 1;
    let answered = Answered {
        number: seen.count,
        method,
        path,
        status: response.status().as_u16(),
        milliseconds: milliseconds(took),
        cache_status,
        outcome,
    };
    seen.last.push_front(answered);
    seen.last.truncate(KEPT);
    drop(seen);
    response
}

impl Requests {
    /// The newest first.
    pub(crate) fn last(&self) -> Value {
        json!(self.seen().last)
    }

    pub(crate) fn timings(&self, layer: &str) -> Value {
        self.seen().layers.get(layer).map_or(
            Value::Null,
            |layer| json!({ "hit": layer.hit.read(), "made": layer.made.read() }),
        )
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a `Cache-Status` comes to, in a word; a miss is one that was stored.
fn outcome(cache_status: &str) -> &'static str {
    let has = |what: &str| {
        members(cache_status).any(|member| member.split("; ").skip(1).any(|word| word == what))
    };
    match () {
        () if has("hit") || has("collapsed") => "hit",
        () if has("stored") => "miss",
        () if has("fwd=bypass") || has("fwd=method") => "bypass",
        () => "refused",
    }
}

/// The cache that had the page or stored it. There are two members where a view has a layer of its own.
fn decisive(cache_status: &str) -> Option<String> {
    let decided = |member: &&str| {
        member.contains("; hit") || member.contains("; stored") || member.contains("; collapsed")
    };
    members(cache_status).find(decided)?.split(';').next().map(str::to_owned)
}

fn members(cache_status: &str) -> impl Iterator<Item = &str> {
    cache_status.split(", ")
}
