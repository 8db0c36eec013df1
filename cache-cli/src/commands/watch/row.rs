//! What is known about one cache.

use std::time::Duration;

use cachette::{CacheHandle, Stats};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::{Failure, Result};

/// A look takes at most this part of the time, so that a store whose statistics are expensive, such
/// as the number of rows of a large table, is not kept busy.
const MAX_SHARE: u32 = 10;

/// A cache with its last numbers.
pub(super) struct Row {
    pub(super) alias: String,
    pub(super) store: String,
    cache: Option<CacheHandle>,
    pub(super) state: State,
    /// When the next look is due. `None` while one is running.
    due: Option<Instant>,
}

/// What the last look has found.
pub(super) enum State {
    /// No look has ended yet.
    Waiting,
    Known {
        at: Instant,
        stats: Stats,
        rates: Option<Rates>,
    },
    Failed(Failure),
}

/// What happened between two looks, in events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) hits: Option<f64>,
    pub(super) misses: Option<f64>,
    pub(super) evictions: Option<f64>,
}

/// A look that has ended.
pub(super) struct Look {
    began: Instant,
    ended: Instant,
    result: cachette::Result<Stats>,
}

impl Row {
    pub(super) fn new(alias: String, cache: Result<CacheHandle>) -> Self {
        match cache {
            Ok(cache) => Self {
                alias,
                store: cache.store().name().into(),
                cache: Some(cache),
                state: State::Waiting,
                due: Some(Instant::now()),
            },
            Err(failure) => Self {
                alias,
                store: "?".into(),
                cache: None,
                state: State::Failed(failure),
                due: None,
            },
        }
    }

    /// Returns a look if one is due.
    pub(super) fn begin_look(&mut self) -> Option<impl Future<Output = Look> + Send + 'static> {
        let cache = self.cache.clone()?;
        self.due.take_if(|due| *due <= Instant::now())?;
        Some(async move {
            let began = Instant::now();
            let result = cache.stats().await;
            Look { began, ended: Instant::now(), result }
        })
    }

    pub(super) fn end_look(&mut self, look: Look, interval: Duration) {
        let Look { began, ended, result } = look;
        let next = began + interval;
        self.due = Some(match &result {
            // A little earlier, or a frame that comes on time would find it not due yet.
            Ok(_) => next.max(ended + (MAX_SHARE - 1) * (ended - began)) - interval / 10,
            Err(_) => next,
        });
        self.state = match result {
            Ok(stats) => {
                let rates = match &self.state {
                    State::Known { at, stats: before, .. } => {
                        Some(Rates::between(before, &stats, ended - *at))
                    }
                    State::Waiting | State::Failed(_) => None,
                };
                State::Known { at: ended, stats, rates }
            }
            Err(error) => State::Failed(error.into()),
        };
    }

    pub(super) fn as_json(&self) -> Json {
        let mut json = json!({"cache": self.alias, "store": self.store});
        match &self.state {
            State::Waiting => {
                json["ok"] = json!(null);
            }
            State::Failed(failure) => {
                json["ok"] = json!(false);
                json["problem"] = json!(failure.message());
            }
            State::Known { at, stats, rates } => {
                json["ok"] = json!(stats.unreachable.is_empty());
                json["age"] = json!(at.elapsed().as_secs_f64());
                json["entries"] = json!(stats.entries);
                json["expired"] = json!(stats.expired);
                json["bytes"] = json!(stats.bytes);
                json["hits"] = json!(stats.hits);
                json["misses"] = json!(stats.misses);
                json["evictions"] = json!(stats.evictions);
                json["hits_per_second"] = json!(rates.and_then(|rates| rates.hits));
                json["misses_per_second"] = json!(rates.and_then(|rates| rates.misses));
                json["evictions_per_second"] = json!(rates.and_then(|rates| rates.evictions));
                json["unreachable"] =
                    stats.unreachable.iter().map(|(server, _)| server.as_str()).collect();
            }
        }
        json
    }
}

impl Rates {
    fn between(before: &Stats, after: &Stats, time: Duration) -> Self {
        let rate = |before: Option<u64>, after: Option<u64>| {
            // A server that was restarted begins again at zero.
            let more = after?.checked_sub(before?)?;
            // The numbers are far below 2^52.
            Some(more as f64 / time.as_secs_f64().max(0.001))
        };
        // Their counters are missing from the sum.
        if before.unreachable.len() != after.unreachable.len() {
            return Self { hits: None, misses: None, evictions: None };
        }
        Self {
            hits: rate(before.hits, after.hits),
            misses: rate(before.misses, after.misses),
            evictions: rate(before.evictions, after.evictions),
        }
    }

    /// The share of hits in the lookups, unless there were none.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        let (hits, misses) = self.hits.zip(self.misses)?;
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stats(hits: u64, misses: u64) -> Stats {
        Stats { hits: Some(hits), misses: Some(misses), ..Stats::default() }
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let rates = Rates::between(&stats(10, 0), &stats(40, 10), 2 * SECOND);
        assert_eq!(rates, Rates { hits: Some(15.0), misses: Some(5.0), evictions: None });
        assert_eq!(rates.hit_ratio(), Some(0.75));
    }

    #[test]
    fn no_lookups_have_no_hit_ratio() {
        let rates = Rates::between(&stats(10, 5), &stats(10, 5), SECOND);
        assert_eq!((rates.hits, rates.hit_ratio()), (Some(0.0), None));
    }

    #[test]
    fn restarted_server_has_no_rate() {
        let rates = Rates::between(&stats(1000, 10), &stats(1, 20), SECOND);
        assert_eq!((rates.hits, rates.misses), (None, Some(10.0)));
    }

    #[test]
    fn server_that_died_or_came_back_has_no_rate() {
        let partial = Stats { unreachable: vec![("h:1".into(), "down".into())], ..stats(10, 10) };
        let rates = Rates::between(&partial, &stats(1000, 1000), SECOND);
        assert_eq!(rates.hits, None);
    }

    #[tokio::test]
    async fn expensive_look_is_repeated_less_often() {
        let mut row = Row {
            alias: "a".into(),
            store: "db".into(),
            cache: None,
            state: State::Waiting,
            due: None,
        };
        let began = Instant::now();
        let look = |duration| Look { began, ended: began + duration, result: Ok(stats(0, 0)) };
        row.end_look(look(Duration::from_millis(10)), SECOND);
        assert!(row.due.is_some_and(|due| due <= began + SECOND));
        row.end_look(look(2 * SECOND), SECOND);
        assert!(row.due.is_some_and(|due| due >= began + 19 * SECOND));
    }
}
